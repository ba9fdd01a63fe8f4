// Draws the reference from the server's own description of itself. Everything is
// put in as text, so nothing in the description can become a part of the page.

const el = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
};

// marked makes what stands between backticks code.
const marked = (text) => text.split("`").map((part, i) => (i % 2 ? el("code", {}, part) : part));

let doc;
const resolve = (schema) => {
  let name;
  while (schema && schema.$ref) {
    name = schema.$ref.split("/").pop();
    schema = doc.components.schemas[name];
  }
  return [schema || {}, name];
};

const typeOf = (schema) => {
  const [s, name] = resolve(schema);
  if (name) return name;
  if (s.oneOf) return s.oneOf.map(typeOf).join(" or ");
  if (s.enum) return s.enum.map((v) => JSON.stringify(v)).join(" | ");
  const types = [].concat(s.type || "any");
  return types.map((t) => (t === "array" && s.items ? `list of ${typeOf(s.items)}` : t)).join(" or ") + (s.format ? ` (${s.format})` : "");
};

const limits = (s) => {
  const out = [];
  if (s.default !== undefined) out.push(`default ${JSON.stringify(s.default)}`);
  if (s.minimum !== undefined) out.push(`at least ${s.minimum}`);
  if (s.maximum !== undefined) out.push(`at most ${s.maximum}`);
  if (s.minLength !== undefined) out.push(`at least ${s.minLength} character${s.minLength === 1 ? "" : "s"}`);
  if (s.maxLength !== undefined) out.push(`at most ${s.maxLength} characters`);
  if (s.minItems !== undefined) out.push(`at least ${s.minItems} item${s.minItems === 1 ? "" : "s"}`);
  if (s.maxItems !== undefined) out.push(`at most ${s.maxItems} items`);
  if (s.pattern !== undefined) out.push(`matches ${s.pattern}`);
  return out.join(", ");
};

const inner = (schema) => {
  const [s] = resolve(schema);
  if (s.properties) return s;
  if (s.items) return inner(s.items);
  if (s.oneOf) return s.oneOf.map(inner).find(Boolean) || null;
  return null;
};

const fields = (schema, seen = []) => {
  const [s] = resolve(schema);
  const rows = Object.entries(s.properties || {}).map(([name, property]) => {
    const [target, ref] = resolve(property);
    const deeper = inner(property);
    const key = ref || (target.items && target.items.$ref);
    const more = deeper && !seen.includes(key)
      ? el("details", {}, el("summary", {}, "fields"), el("div", {}, fields(deeper, [...seen, key])))
      : null;
    return el("tr", {},
      el("td", {}, el("code", {}, name), (s.required || []).includes(name) ? el("span", { class: "must" }, "needed") : null),
      el("td", {}, el("span", { class: "type" }, [typeOf(property), limits(target)].filter(Boolean).join(" · ")),
        property.description || target.description ? el("div", {}, property.description || target.description) : null, more));
  });
  return rows.length ? el("table", {}, ...rows) : el("p", { class: "soft" }, typeOf(schema));
};

// sample makes a value that fits a schema, for the command line.
const sample = (schema, depth = 0) => {
  const [s] = resolve(schema);
  if (s.enum) return s.enum[0];
  if (s.oneOf) return sample(s.oneOf[0], depth);
  const type = [].concat(s.type || "any").find((t) => t !== "null");
  if (type === "object") {
    const out = {};
    if (depth > 5) return out;
    for (const name of s.required || []) out[name] = sample(s.properties[name], depth + 1);
    return out;
  }
  if (type === "array") return [sample(s.items || {}, depth + 1)];
  return { string: "…", integer: s.minimum || 1, number: s.minimum || 1, boolean: true }[type] ?? {};
};

const command = (method, path, body) => {
  const lines = [`curl -X ${method.toUpperCase()} ${location.origin}${path}`, `  -H "Authorization: Bearer $TENEX_API_KEY"`];
  if (body) lines.push(`  -H "Content-Type: application/json"`, `  -d '${JSON.stringify(sample(body))}'`);
  return lines.join(" \\\n");
};

const draw = (method, path, op) => {
  const body = op.requestBody?.content?.["application/json"]?.schema;
  const answers = Object.entries(op.responses || {}).sort(([a], [b]) => a.localeCompare(b));
  const good = answers.filter(([status]) => status < "400");
  const bad = answers.filter(([status]) => status >= "400");
  const article = el("article", { id: op.operationId },
    el("h3", {}, op.summary),
    el("div", { class: "path" }, el("span", { class: `method ${method}` }, method), el("code", {}, path)),
    op.description ? el("p", { class: "soft" }, ...marked(op.description)) : null);
  if (op.parameters?.length) {
    article.append(el("h4", {}, "Parameters"), el("table", {}, ...op.parameters.map((p) => el("tr", {},
      el("td", {}, el("code", {}, p.name), p.required ? el("span", { class: "must" }, "needed") : null),
      el("td", {}, el("span", { class: "type" }, [p.in, typeOf(p.schema), limits(resolve(p.schema)[0])].filter(Boolean).join(" · ")),
        p.description || p.schema.description ? el("div", {}, p.description || p.schema.description) : null)))));
  }
  if (body) article.append(el("h4", {}, "Body"), fields(body));
  for (const [status, answer] of good) {
    const schema = answer.content?.["application/json"]?.schema;
    const [s] = resolve(schema);
    article.append(el("h4", {}, `Answer ${status} ${answer.description || ""}`));
    if (schema && (s.properties || s.$ref)) article.append(el("details", {}, el("summary", {}, "fields"), el("div", {}, fields(schema))));
    else if (answer.content) article.append(el("p", { class: "soft" }, Object.keys(answer.content).join(", ")));
  }
  article.append(el("h4", {}, "Refusals"), el("p", { class: "soft" }, bad.map(([status]) => status).join(" · ")));
  article.append(el("details", {}, el("summary", {}, "curl"), el("pre", {}, command(method, path, body))));
  return article;
};

const codes = [
  ["malformed", 400, "The request is not JSON, or not readable at all."], ["invalid_cursor", 400, "The cursor is not one that this list gave."],
  ["unauthorized", 401, "There is no live API key in the request."], ["forbidden_scope", 403, "The key's scopes do not allow this."],
  ["forbidden_origin", 403, "A form was sent by a page of another site."], ["not_found", 404, "There is nothing here by that name."], ["method_not_allowed", 405, "The address does not know that method."],
  ["conflict", 409, "The name is taken, or something changed at the same time."], ["invalid_state", 409, "What it is doing now does not allow this."],
  ["workflow_not_active", 409, "Only an active workflow starts runs."], ["version_archived", 409, "An archived version cannot be used."],
  ["concurrency_limit", 409, "The workflow's settings let no more runs start now: the start was skipped, or became part of the run in run_id."],
  ["precondition_failed", 412, "If-Match names another state than the present one."], ["request_timeout", 408, "The request did not arrive in time."], ["too_large", 413, "The body is larger than the server accepts."],
  ["unsupported_media_type", 415, "The body has to be sent as application/json."], ["invalid", 422, "errors names what is wrong, and where."],
  ["idempotency_mismatch", 422, "The Idempotency-Key was used with another request."], ["rate_limited", 429, "Retry-After says when to go on."],
  ["headers_too_large", 431, "The headers are larger than the server accepts."], ["internal", 500, "Our fault; request_id names it in the logs."],
  ["unavailable", 503, "The database, or Redis where it is needed, is away."],
];

const start = async () => {
  const answer = await fetch("/openapi.json");
  if (!answer.ok) throw new Error(`openapi.json: ${answer.status}`);
  doc = await answer.json();
  const reference = document.getElementById("reference");
  const index = document.getElementById("index");
  const groups = new Map((doc.tags || []).map((tag) => [tag.name, []]));
  for (const [path, item] of Object.entries(doc.paths)) {
    for (const method of ["get", "post", "put", "patch", "delete"]) {
      if (!item[method]) continue;
      const tag = item[method].tags?.[0] || "other";
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push([method, path, item[method]]);
    }
  }
  reference.replaceChildren(el("h1", {}, `${doc.info.title} ${doc.info.version}`), el("p", { class: "soft" }, doc.info.description || ""));
  for (const [tag, operations] of groups) {
    reference.append(el("h2", {}, tag));
    index.append(el("h3", {}, tag));
    for (const [method, path, op] of operations) {
      reference.append(draw(method, path, op));
      index.append(el("a", { href: `#${op.operationId}`, "data-find": `${op.summary} ${path} ${method}`.toLowerCase() },
        el("span", { class: `method ${method}` }, method), op.summary));
    }
  }
  reference.append(el("h2", {}, "errors"), el("article", {}, el("table", {}, ...codes.map(([code, status, text]) =>
    el("tr", { id: code }, el("td", {}, el("code", {}, code)), el("td", {}, el("span", { class: "type" }, String(status)), ` ${text}`))))));
  document.getElementById("search").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const link of index.querySelectorAll("a")) link.hidden = !words.every((w) => link.dataset.find.includes(w));
  });
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
};

start().catch((err) => { document.getElementById("state").textContent = `The description cannot be read: ${err.message}`; });
