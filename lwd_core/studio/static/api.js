// What the server is asked. The key of the link lets this browser label; it is kept for this server alone.

const STORED = "lwd-key";

// Whether the address brought one; it stands there no longer.
export function takeKey() {
  const found = /^#key=([\w-]+)$/.exec(location.hash);
  if (!found) return false;
  localStorage.setItem(STORED, found[1]);
  history.replaceState(null, "", "#/episodes");
  return true;
}

export const key = () => localStorage.getItem(STORED) ?? "";

export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function answered(response) {
  if (response.ok) return response;
  let said = `${response.status} ${response.statusText}`;
  try {
    said = (await response.json()).error ?? said;
  } catch { /* no JSON: the status has to do */ }
  throw new Refused(said, response.status);
}

export async function get(path, params = "", signal = undefined) {
  const query = params.toString();
  return (await answered(await fetch(`/api/${path}${query ? `?${query}` : ""}`, { signal }))).json();
}

export async function send(method, path, value = {}) {
  const headers = { "Content-Type": "application/json", "X-LWD-Key": key() };
  return (await answered(await fetch(`/api/${path}`, { method, headers, body: JSON.stringify(value) }))).json();
}

// The lines of an episode: names, then steps (i32) and values (f32) of each.
export async function curves(id, signal) {
  const bytes = await (await answered(await fetch(`/api/episode/${id}/curves`, { signal }))).arrayBuffer();
  const length = new DataView(bytes).getUint32(0, true);
  const lines = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, length)));
  let at = 4 + length;
  for (const line of lines) {
    line.steps = new Int32Array(bytes, at, line.points);
    line.values = new Float32Array(bytes, at + 4 * line.points, line.points);
    at += 8 * line.points;
  }
  return lines;
}
