// Which page is open, by the address; its keys; and what of the lake is new.

import { get, key, takeKey } from "./api.js";
import { ComparePage, showDuel } from "./compare.js";
import { el, fill, say } from "./dom.js";
import { EpisodePage, fetchAhead } from "./episode.js";
import { Filters } from "./filters.js";
import { Grid } from "./grid.js";
import { bind, keys } from "./keys.js";
import { Labelling } from "./labelling.js";

const main = document.getElementById("main");
const WINDOW = 240, BACK = 40, EVERY_MS = 3000;
let page = null, state = { by: "", episodes: 0, at: 0 }, labelling = null, order = null, finding = null, last = "#/episodes";

function where() {
  const [path, query = ""] = location.hash.slice(1).split("?");
  return [path.split("/").filter(Boolean), new URLSearchParams(query)];
}

const address = (filter) => `#/episodes${filter.toString() ? `?${filter}` : ""}`;

async function route() {
  // a link that was opened in this tab is another server's start: the page begins anew, as what it is there
  if (takeKey()) { location.reload(); return; }
  say("");
  document.getElementById("notice").replaceChildren();
  const [[name, ...rest], filter] = where();
  if (!(page instanceof Grid && (name ?? "episodes") === "episodes")) {
    page?.close?.();
    page = null;
  }
  try {
    if (name === "episode") await openEpisode(rest[0], filter);
    else if (name === "compare") await openCompare(rest);
    else if (name === "policies") { last = location.hash; bind([...common()]); await showDuel(main, rest[0], rest[1]); }
    else if (name === "queue") await openQueue(rest[0]);
    else await openGrid(filter);
  } catch (error) {
    if (error.name !== "AbortError") fill(main, el("p", { class: "error" }, error.message));
  }
}

function common() {
  return [
    ["?", "these keys", help],
    ["g", "the grid", () => { location.hash = last.startsWith("#/episodes") ? last : "#/episodes"; }],
    ["Q", "a queue of episodes to judge", queues],
  ];
}

async function openGrid(filter) {
  last = location.hash || "#/episodes";
  labelling.commit();
  if (page instanceof Grid) { await page.again(filter); return; }
  const side = el("nav", { class: "filters", "aria-label": "filters" });
  const view = el("div", { class: "grid", tabIndex: 0, "aria-label": "episodes" });
  fill(main, el("div", { class: "browse" }, side, view));
  const count = document.getElementById("count");
  const filters = new Filters(side, (next) => { location.hash = address(next).slice(1); }, state.by && key() ? state.by : "");
  filters.show(filter);
  const grid = new Grid(view, {
    opened: (id, index) => { order = null; grid.pinned = index; location.hash = grid.address(id).slice(1); },
    counted: (found) => {
      count.textContent = found.error ? "" : `${found.total.toLocaleString("en")} episodes`;
      if (found.error) return;
      const params = new URLSearchParams(grid.filter);
      params.set("at", found.at);
      get("counts", params).then((said) => { if (page === grid) filters.counted(said.counts); }).catch((e) => say(e.message));
    },
    marked: (ids) => { document.getElementById("notice").textContent = ids.length === 2 ? "c compares the two" : ids.length ? "mark another with x" : ""; },
  });
  page = grid;
  grid.refresh = () => grid.show(grid.filter, { keep: true });
  grid.again = (next) => { filters.show(next); return grid.show(next); };
  bind([
    ["ArrowRight l", "next", () => grid.move(1)],
    ["ArrowLeft h", "the one before", () => grid.move(-1)],
    ["ArrowDown j", "a row down", () => grid.move(grid.columns)],
    ["ArrowUp k", "a row up", () => grid.move(-grid.columns)],
    ["PageDown", "a screen down", () => grid.move(grid.columns * 4)],
    ["PageUp", "a screen up", () => grid.move(-grid.columns * 4)],
    ["Home", "the first", () => grid.select(0, true)],
    ["End", "the last", () => grid.select(grid.total - 1, true)],
    ["Enter", "open", () => grid.open()],
    ["/", "search", () => filters.focus("text")],
    ["w", "SQL condition", () => filters.focus("where")],
    ["x", "mark for comparing", () => grid.mark()],
    ["c", "compare the two marked", () => { if (grid.marks.length === 2) location.hash = `#/compare/${grid.marks.join("/")}`; }],
    ["r", "what is new", () => grid.refresh()],
    ...common(),
  ]);
  await grid.show(filter);
  view.focus({ preventScroll: true });
}

// The episodes around one in the order of the grid, so that the next one is known at once.
function around(id, filter) {
  if (order?.ids.includes(id)) return Promise.resolve();
  if (finding?.id !== id) finding = { id, found: find(id, filter).finally(() => { finding = null; }) };
  return finding.found;
}

async function find(id, filter) {
  const params = new URLSearchParams(filter);
  params.set("episode", id);
  const { place, at } = await get("place", params);
  if (place === null) { order = { ids: [id] }; return; }
  params.delete("episode");
  params.set("at", at);
  params.set("offset", Math.max(0, place - BACK));
  params.set("limit", WINDOW);
  const { cards } = await get("episodes", params);
  order = { ids: cards.map((card) => card.episode_id), filter, offset: Math.max(0, place - BACK) };
}

async function neighbour(id, by) {
  const filter = where()[1];
  await around(id, filter);
  let next = order.ids[order.ids.indexOf(id) + by];
  if (next === undefined && order.filter) {
    const known = order;
    await find(id, filter);
    if (!order.filter) order = known;
    next = order.ids[order.ids.indexOf(id) + by];
  }
  if (next === undefined) { say(by > 0 ? "that was the last one" : "that is the first one"); return; }
  const query = where()[1].toString();
  location.hash = `#/episode/${next}${query ? `?${query}` : ""}`;
}

async function openEpisode(id, filter) {
  const open = new EpisodePage(main, id, filter);
  page = open;
  fill(main, el("p", { class: "quiet" }, "…"));
  const go = (by) => neighbour(id, by).catch((e) => say(e.message));
  await open.show(state.by ? labelling : null);
  if (page !== open) return;
  const p = open.player;
  bind([
    ["Space", "play, pause", () => p.toggle()],
    ["ArrowRight", "a step on", () => p.move(1)],
    ["ArrowLeft", "a step back", () => p.move(-1)],
    ["Shift+ArrowRight", "ten steps on", () => p.move(10)],
    ["Shift+ArrowLeft", "ten steps back", () => p.move(-10)],
    ["Home", "the beginning", () => p.toStep(0)],
    ["End", "the end", () => p.seek(p.length)],
    [".", "faster", () => p.faster(1)],
    [",", "slower", () => p.faster(-1)],
    ["j ArrowDown", "next episode", () => go(1)],
    ["k ArrowUp", "the episode before", () => go(-1)],
    ["o", "Foxglove at this moment", () => open.foxglove()],
    ["i", "Rerun at this moment", () => open.rerun()],
    ["Escape", "back", () => { location.hash = order?.queue ? `#/queue/${order.queue}` : address(filter).slice(1); }],
    ...(state.by ? labelling.keys(open, go) : []),
    ...common(),
  ]);
  await around(id, filter);
  if (page !== open) return;
  const at = order.ids.indexOf(id);
  main.querySelector(".episode").dataset.place = (order.offset ?? 0) + at;
  fetchAhead(order.ids[at + 1]);
}

async function openCompare(ids) {
  const open = new ComparePage(main, ids.slice(0, 2));
  page = open;
  await open.show();
  bind([
    ["Space", "play, pause both", () => open.lead.toggle()],
    ["ArrowRight", "a step on", () => open.lead.move(1)],
    ["ArrowLeft", "a step back", () => open.lead.move(-1)],
    [".", "faster", () => open.lead.faster(1)],
    [",", "slower", () => open.lead.faster(-1)],
    ["Escape", "back", () => history.back()],
    ...common(),
  ]);
}

async function openQueue(name) {
  labelling.commit();
  const found = await get(`queue/${name}`);
  order = { ids: found.rows.map((row) => row.episode_id), queue: name };
  fill(main, el("div", { class: "duel" }, el("h1", {}, `${found.wait} ${found.what}`),
    el("table", {}, ...found.rows.map((row) => el("tr", {}, el("td", {}, el("a", { href: `#/episode/${row.episode_id}` }, row.task)),
      el("td", { class: `outcome ${row.outcome}` }, row.outcome), el("td", {}, `${row.robot_id} · ${row.day}`), el("td", {}, row.why))))));
  bind([["Enter s", "begin", () => { if (order.ids.length) location.hash = `#/episode/${order.ids[0]}`; }], ...common()]);
}

async function queues() {
  const all = await get("queues").catch((e) => { say(e.message); return {}; });
  dialog("queues", ...Object.entries(all).map(([name, what]) => el("p", {}, el("a", { href: `#/queue/${name}`, onclick: () => document.getElementById("help").close() }, name), ` ${what}`)));
}

function dialog(title, ...inside) {
  const open = document.getElementById("help");
  fill(open, el("h2", {}, title), ...inside, el("p", { class: "quiet" }, "Escape closes this"));
  open.showModal();
}

function help() {
  dialog("keys", el("table", {}, ...keys().map(([names, what]) => el("tr", {}, el("td", {}, ...names.split(" ").map((one) => el("kbd", {}, one.replace("Shift+", "⇧ ").replace("Arrow", "")))), el("td", {}, what)))));
}

async function follow() {
  if (document.hidden) return;
  try {
    const now = await get("state");
    const before = state;
    state = now;
    labelling.fares(now.outbox);
    if (before.at && now.at !== before.at && page instanceof Grid) {
      // whoever hasn't gone anywhere sees what is new; nothing moves under the eyes of the rest
      if (page.view.scrollTop === 0 && page.selected === 0) page.refresh();
      else fill(document.getElementById("notice"), el("button", { onclick: () => page.refresh() }, "the lake has moved on ", el("kbd", {}, "r")));
    }
  } catch (error) {
    say(`the server doesn't answer (${error.message}); lwd studio starts it again`);
  }
}

async function begin() {
  takeKey();
  document.getElementById("help-button").addEventListener("click", help);
  state = await get("state");
  document.getElementById("who").textContent = state.by ? `labels by ${state.by}` : "read only";
  labelling = new Labelling(state.by, () => page);
  labelling.fares(state.outbox);
  window.addEventListener("hashchange", route);
  await route();
  setInterval(follow, EVERY_MS);
}

begin().catch((error) => fill(main, el("p", { class: "error" }, error.message)));
