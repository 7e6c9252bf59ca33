// One episode: films, curves, what happened, what was said, where it comes from and what rests on it.

import { curves, get, send } from "./api.js";
import { Chart } from "./charts.js";
import { el, fill, say, seconds, short } from "./dom.js";
import { Player } from "./player.js";

const FOXGLOVE = "https://app.foxglove.dev/~/view";

// What is known of the episode a person goes to next.
const ahead = new Map();

export function fetchAhead(id) {
  if (!id || ahead.has(id)) return;
  const found = get(`episode/${id}`);
  found.catch(() => ahead.delete(id));
  ahead.set(id, found);
}

export class EpisodePage {
  constructor(place, id, filter) {
    this.place = place;
    this.id = id;
    this.filter = filter;
    this.abort = new AbortController();
  }

  async show(labelling) {
    const facts = ahead.get(this.id) ? await ahead.get(this.id) : await get(`episode/${this.id}`, "", this.abort.signal);
    ahead.clear();
    this.facts = facts;
    this.player = new Player(this.id, facts, (t) => this.chart?.head(t));
    this.charts = el("div", { class: "charts" }, el("p", { class: "quiet" }, "curves …"));
    this.said = el("div", { class: "said-here" });
    this.beneath = el("details", { ontoggle: () => this.lineage() }, el("summary", {}, "lineage"));
    const f = facts.facts;
    fill(this.place, el("div", { class: "episode", data: { episode: this.id } },
      el("section", { class: "watch" },
        el("h1", {}, f.task, " ", el("b", { class: `outcome ${f.outcome}` }, f.outcome),
          el("small", {}, ` ${f.robot_id} · ${f.site} · ${f.day} · ${f.steps} steps`)),
        el("p", { class: "instruction" }, f.instruction),
        this.player.films, this.player.bar, this.charts),
      el("aside", {}, labelling?.panel(this) ?? null, this.said, this.links(), this.events(), this.checks(),
        this.peers(), this.beneath, this.table(f, facts.attributes))));
    this.retold();
    // keys work from here on: nobody waits for curves to say how it ended
    this.draw().then(() => this.law()).catch((error) => {
      if (error.name !== "AbortError") say(error.message);
    });
  }

  async draw(more = []) {
    this.lines ??= await curves(this.id, this.abort.signal);
    this.chart?.close();
    this.chart = new Chart(this.charts, this.facts, [...this.lines, ...more], (t) => { this.player.pause(); this.player.seek(t); });
    this.chart.head(this.player.t);
  }

  close() {
    this.abort.abort();
    this.player?.pause();
    this.chart?.close();
  }

  // The law of V, where the run that learned it is at hand; the page doesn't wait for it.
  async law() {
    const values = this.facts.values ?? [];
    if (!values.length) return;
    try {
      const found = await get(`episode/${this.id}/law`, new URLSearchParams({ layer: values[0] }), this.abort.signal);
      const lines = found.quantiles.map((q, i) => ({
        group: "law", name: `${Math.round(100 * q)} %`, points: found.steps.length, steps: found.steps, values: found.values[i],
      }));
      await this.draw(lines);
      this.charts.dataset.law = values[0];
    } catch (error) {
      if (error.name !== "AbortError") this.charts.title = `V's law: ${error.message}`;
    }
  }

  async retold() {
    const rows = this.facts.labels.filter((row) => row.kind !== "quality");
    fill(this.said, rows.length ? el("h2", {}, "labels") : null, el("ul", { class: "rows" }, ...rows.map((row) => el("li", {
      onclick: () => row.step !== null && this.player.toStep(row.step), class: row.step !== null ? "jump" : "",
      title: row.layer_id,
    },
    el("b", {}, row.text ?? (row.value === null ? "–" : Number(row.value).toPrecision(4))),
    el("span", {}, ` ${row.said_by ?? row.layer_id}${row.check ? ` ${row.check}` : ""}`),
    row.step !== null ? el("i", {}, `steps ${row.step}–${row.last_step ?? row.step}`) : null,
    row.detail ? el("p", {}, row.detail) : null))));
  }

  // What was said meanwhile.
  async again() {
    const facts = await get(`episode/${this.id}`, "", this.abort.signal);
    this.facts.labels = facts.labels;
    this.retold();
    this.chart?.said(facts.labels.filter((label) => label.step !== null));
  }

  links() {
    const { log } = this.facts;
    const messages = `messages ${log.first_message}–${log.last_message}`;
    return el("div", {}, el("h2", {}, "raw log"), el("p", { class: "path", title: log.uri ?? "" }, log.uri ?? "gone", " ", el("i", {}, messages)),
      el("p", {},
        log.address ? el("button", { onclick: () => this.foxglove() }, "Foxglove here ", el("kbd", {}, "o")) : null, " ",
        el("button", { onclick: () => this.rerun() }, "Rerun here ", el("kbd", {}, "i"))));
  }

  foxglove() {
    const { log } = this.facts;
    if (!log.address) { say("the raw log is no file on this machine"); return; }
    const at = BigInt(this.facts.start_ns) + BigInt(Math.round(this.player.t * 1e9));
    const moment = `${new Date(Number(at / 1000000000n) * 1000).toISOString().slice(0, 19)}.${(at % 1000000000n).toString().padStart(9, "0")}Z`;
    const asked = new URLSearchParams({ ds: "remote-file", "ds.url": location.origin + log.address, time: moment });
    window.open(`${FOXGLOVE}?${asked}`, "_blank", "noopener");
  }

  async rerun() {
    const opened = window.open("about:blank", "_blank");
    try {
      const { url } = await send("POST", `episode/${this.id}/rerun`, { step: this.player.step });
      if (opened) opened.location = url;
      else say(url, 30);
    } catch (error) {
      opened?.close();
      say(error.message);
    }
  }

  events() {
    const rows = this.facts.events;
    return el("details", { open: true }, el("summary", {}, `events, ${rows.length}`), el("ul", { class: "rows" }, ...rows.map((event) => el("li", {
      class: "jump", onclick: () => { this.player.pause(); this.player.toStep(event.step); },
    }, el("i", {}, seconds(event.t)), ` ${event.what}`))));
  }

  checks() {
    const rows = this.facts.labels.filter((row) => row.kind === "quality");
    if (!rows.length) return null;
    const bad = rows.filter((row) => row.text === "fail");
    return el("details", { open: bad.length > 0 }, el("summary", {}, `checks, ${bad.length} of ${rows.length} fail`),
      el("ul", { class: "rows" }, ...rows.map((row) => el("li", { title: row.layer_id },
        el("b", { class: row.text === "fail" ? "bad" : "" }, row.text), ` ${row.check ?? row.layer_id}`, row.detail ? el("p", {}, row.detail) : null))));
  }

  peers() {
    const { peers } = this.facts;
    if (!peers.length) return null;
    return el("details", { open: true }, el("summary", {}, `same scene, ${peers.length}`), el("ul", { class: "rows" }, ...peers.map((peer) => el("li", {},
      el("b", { class: `outcome ${peer.outcome}` }, peer.outcome), ` ${short(peer.policy_id)} · ${peer.robot_id} `,
      el("a", { href: `#/compare/${this.id}/${peer.episode_id}` }, "side by side"),
      peer.policy_id && this.facts.facts.policy_id && peer.policy_id !== this.facts.facts.policy_id
        ? el("a", { href: `#/policies/${this.facts.facts.policy_id}/${peer.policy_id}` }, " both policies") : null))));
  }

  async lineage() {
    if (this.traced) return;
    this.traced = true;
    let found;
    try {
      found = await get(`episode/${this.id}/lineage`, "", this.abort.signal);
    } catch (error) {
      if (error.name !== "AbortError") this.beneath.append(el("p", { class: "bad" }, error.message));
      return;
    }
    const none = found.snapshots.length ? null : el("li", { class: "quiet" }, "in no snapshot");
    this.beneath.append(el("ul", { class: "rows" }, none,
      ...found.snapshots.map((s) => el("li", {}, "snapshot ", el("b", {}, s.name), ` ${short(s.digest)} · ${s.episodes} episodes · ${s.state}`)),
      ...found.policies.map((p) => el("li", {}, "policy ", el("a", { href: `#/episodes?policy=${p.policy_id}` }, short(p.policy_id)), ` ${p.stage}`)),
      ...found.releases.map((r) => el("li", {}, `${r.channel}: ${short(r.policy_id)} ${r.state}`))));
  }

  table(facts, attributes) {
    const rows = [...Object.entries(facts), ...Object.entries(attributes)];
    return el("details", {}, el("summary", {}, "facts"), el("table", {}, ...rows.map(([name, value]) => el("tr", {}, el("th", {}, name),
      el("td", {}, name === "policy_id" && value ? el("a", { href: `#/episodes?policy=${value}` }, value) : String(value ?? ""))))));
  }
}
