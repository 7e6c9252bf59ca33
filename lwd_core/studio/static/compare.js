// Two episodes by one clock, and two policies in the scenes both were tried in.

import { curves, get } from "./api.js";
import { Chart } from "./charts.js";
import { el, fill, short } from "./dom.js";
import { Player } from "./player.js";

export class ComparePage {
  constructor(place, ids) {
    this.place = place;
    this.ids = ids;
    this.abort = new AbortController();
    this.sides = [];
  }

  async show() {
    fill(this.place, el("div", { class: "compare" }, ...this.ids.map(() => el("section", { class: "watch" }))));
    const places = [...this.place.querySelectorAll("section")];
    const all = await Promise.all(this.ids.map((id) => get(`episode/${id}`, "", this.abort.signal)));
    this.sides = all.map((facts, i) => {
      const f = facts.facts, id = this.ids[i];
      const side = { charts: el("div", { class: "charts" }) };
      side.player = new Player(id, facts, (t) => { side.chart?.head(t); this.together(i, t); });
      fill(places[i], el("h1", {}, el("a", { href: `#/episode/${id}` }, f.task), " ", el("b", { class: `outcome ${f.outcome}` }, f.outcome),
        el("small", {}, ` ${short(f.policy_id)} · ${f.robot_id} · ${f.day} · ${f.steps} steps`)), side.player.films, side.player.bar, side.charts);
      return side;
    });
    await Promise.all(all.map(async (facts, i) => {
      const side = this.sides[i];
      side.chart = new Chart(side.charts, facts, await curves(this.ids[i], this.abort.signal), (t) => side.player.seek(t));
    }));
  }

  // The other side follows; the one that ends first waits.
  together(from, t) {
    if (this.following || this.sides.length < 2) return;
    this.following = true;
    this.sides.forEach((side, i) => { if (i !== from) side.player.seek(t); });
    this.following = false;
  }

  get lead() {
    return this.sides.reduce((a, b) => (a.player.length >= b.player.length ? a : b)).player;
  }

  close() {
    this.abort.abort();
    for (const side of this.sides) { side.player.pause(); side.chart?.close(); }
  }
}

export async function showDuel(place, a, b) {
  const found = await get("duel", new URLSearchParams({ a, b }));
  const { table } = found;
  const outcome = (won) => el("td", { class: `outcome ${won === null ? "unknown" : won ? "success" : "failure"}` }, won === null ? "–" : won ? "success" : "failure");
  fill(place, el("div", { class: "duel" },
    el("h1", {}, `${short(found.a)} and ${short(found.b)}, ${found.total} scenes both were tried in`),
    el("p", {}, `both succeed ${table.both} · only ${short(found.a)} ${table.only_a} · only ${short(found.b)} ${table.only_b} · neither ${table.neither}`),
    el("table", {}, el("tr", {}, ...["task", "scene", short(found.a), short(found.b), ""].map((t) => el("th", {}, t))),
      ...found.scenes.map((scene) => el("tr", {}, el("td", {}, scene.task), el("td", {}, scene.seed), outcome(scene.a), outcome(scene.b),
        el("td", {}, scene.a_episode && scene.b_episode ? el("a", { href: `#/compare/${scene.a_episode}/${scene.b_episode}` }, "side by side") : "no films"))))));
}
