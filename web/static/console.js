// Tells whose session this is. Everything is put in as text.
const put = (id, text) => { document.getElementById(id).textContent = text; };
const answer = await fetch("/console/session", { headers: { Accept: "application/json" } });
if (answer.status === 401) location.assign("/login?next=/console");
if (answer.ok) {
  const me = await answer.json();
  put("workspace", me.workspace_name ? `${me.workspace_name} (${me.workspace_id})` : me.workspace_id);
  put("key", `${me.key_name} (tnx_${me.key_prefix}_…)`);
  put("scopes", me.scopes.join(", "));
  document.getElementById("monitoring").hidden = !me.monitoring;
}
