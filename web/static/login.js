// Shows why a login failed and takes the person back to where they came from.
const words = {
  key: "This key is not known, or no longer live.",
  scope: "This key does not have the scope admin.",
  wait: "That were too many tries. Wait a minute and try again.",
  unavailable: "The service cannot check keys just now. Try again in a moment.",
};
const query = new URLSearchParams(location.search);
const why = words[query.get("failed")];
if (why) {
  const line = document.getElementById("failed");
  line.textContent = why;
  line.hidden = false;
}
const next = query.get("next");
if (next && next.startsWith("/") && !next.startsWith("//")) document.getElementById("next").value = next;
