// What a person says by a key. It waits in this browser until the server has it on disk, so no kill loses it.

import { key, send } from "./api.js";
import { el, fill, say, seconds } from "./dom.js";

const WAITING = "lwd-waiting", AGAIN_MS = 2000;

export class Labelling {
  constructor(by, page) {
    this.by = by;
    this.page = page;
    this.onward = true;
    this.done = [];
    this.committed = 0;
    this.status = document.getElementById("outbox");
    if (!by) return;
    if (!key()) say("reading only: to label, open the link that lwd studio printed", 30);
    this.flush();
    setInterval(() => this.flush(), AGAIN_MS);
  }

  get waiting() { return JSON.parse(localStorage.getItem(WAITING) ?? "[]").filter((label) => label.by === this.by); }

  set waiting(labels) {
    const others = JSON.parse(localStorage.getItem(WAITING) ?? "[]").filter((label) => label.by !== this.by);
    localStorage.setItem(WAITING, JSON.stringify([...others, ...labels]));
  }

  say(episode, kind, text, more = {}) {
    // what is said later is later, even within a millisecond
    this.at = Math.max(Date.now(), (this.at ?? 0) + 1);
    const label = { episode_id: episode, by: this.by, kind, text, at_ms: this.at, ...more };
    this.waiting = [...this.waiting, label];
    this.done.push(label);
    this.told();
    return this.flush();
  }

  async flush() {
    if (this.sending) return;
    const labels = this.waiting.slice(0, 500);
    if (labels.length && key()) {
      this.sending = true;
      try {
        const { refused } = await send("POST", "labels", { labels: labels.map(({ by: _, ...label }) => label) });
        const sent = new Set(labels.map((label) => label.at_ms));
        this.waiting = this.waiting.filter((label) => !sent.has(label.at_ms));
        for (const why of refused) say(why, 30);
        this.failed = "";
      } catch (error) {
        this.failed = error.message;
      }
      this.sending = false;
      this.told();
      if (!this.failed && this.waiting.length) this.flush();
    }
  }

  // What was said goes into the lake now: the person looks at the grid or at a queue next.
  commit() {
    if (!this.by || !key() || this.done.length === this.committed) return;
    this.committed = this.done.length;
    this.flush().then(() => send("POST", "labels", { labels: [], commit: true })).catch((error) => say(error.message));
  }

  // How what was said fares at the server: what it can't commit, and what the lake refused.
  fares(outbox) {
    this.outbox = outbox ?? {};
    this.told();
  }

  told() {
    const n = this.waiting.length, { waiting, trouble, refused, last_refused } = this.outbox ?? {};
    const told = [
      n ? `${n} not sent${this.failed ? `: ${this.failed}` : ""}` : "",
      trouble ? `${waiting} kept, not in the lake yet: ${trouble}` : "",
      refused ? `${refused} refused by the lake, kept in refused.jsonl: ${last_refused}` : "",
    ].filter(Boolean);
    this.status.textContent = told.join(" · ") || (this.done.length ? `${this.done.length} said` : "");
    this.status.className = (this.failed && n) || trouble || refused ? "bad" : "";
  }

  panel(open) {
    const now = el("p", { class: "now" });
    this.now = now;
    this.input = el("input", { name: "words", hidden: true, maxLength: 2000 });
    this.tell(open);
    return el("div", { class: "labelling" }, el("h2", {}, `${this.by} says`), now, this.input,
      el("p", { class: "quiet" }, el("kbd", {}, "s"), " success ", el("kbd", {}, "f"), " failure ", el("kbd", {}, "u"), " unknown ",
        el("kbd", {}, "1–9"), " stage ", el("kbd", {}, "["), el("kbd", {}, "]"), " range ", el("kbd", {}, "n"), " note ", el("kbd", {}, "z"), " take back"));
  }

  tell(open) {
    const own = this.done.filter((label) => label.episode_id === open.id);
    const before = (open.facts?.labels ?? []).filter((row) => row.said_by === this.by);
    const latest = new Map(before.map((row) => [`${row.kind}${row.step ?? ""}`, row.text]));
    for (const label of own) latest.set(`${label.kind}${label.from_s ?? ""}`, label.text);
    const words = [...latest.values()].filter((text) => text !== null);
    fill(this.now, words.length ? words.join(" · ") : "nothing yet", this.from !== undefined && this.of === open.id ? ` · from ${seconds(this.from)} …` : "");
  }

  ask(title, then) {
    const field = this.input;
    field.hidden = false;
    field.placeholder = title;
    field.value = "";
    field.focus();
    field.onkeydown = (event) => {
      if (event.key === "Enter" && field.value.trim()) {
        event.preventDefault();
        then(field.value.trim());
      } else if (event.key !== "Escape") return;
      field.hidden = true;
      field.blur();
    };
  }

  keys(open, go) {
    const verdict = (word) => async () => {
      this.say(open.id, "outcome", word);
      this.tell(open);
      if (this.onward) await go(1);
    };
    const said = (kind, text, more) => { this.say(open.id, kind, text, more); this.tell(open); };
    return [
      ["s", "success", verdict("success")],
      ["f", "failure", verdict("failure")],
      ["u", "nobody can tell", verdict("unknown")],
      ["1 2 3 4 5 6 7 8 9", "stage it reached", (event) => said("stage", event.key)],
      ["t", "stage it reached, in words", () => this.ask("furthest stage it reached", (text) => said("stage", text))],
      ["[", "a range begins here", () => { this.from = open.player.t; this.of = open.id; this.tell(open); }],
      ["]", "a range ends here", () => {
        const from_s = this.of === open.id ? this.from ?? 0 : 0, to_s = open.player.t;
        if (to_s < from_s) { say("a range ends after it began"); return; }
        this.ask(`what happens from ${seconds(from_s)} to ${seconds(to_s)}`, (text) => { this.from = undefined; said("note", text, { from_s, to_s }); });
      }],
      ["n", "a note", () => this.ask("a note on the whole episode", (text) => said("note", text))],
      ["z", "take back what was said last", () => this.back(open)],
      ["a", "go on after a verdict, or stay", () => { this.onward = !this.onward; say(this.onward ? "a verdict goes on to the next" : "a verdict stays here"); }],
    ];
  }

  // The last thing said here is taken back: said again as nothing.
  back(open) {
    const label = this.done.pop();
    if (!label) { say("nothing was said since this page was opened"); return; }
    const { episode_id, kind, from_s, to_s } = label;
    this.say(episode_id, kind, null, from_s === undefined ? {} : { from_s, to_s });
    this.done.pop();
    this.tell(open);
    if (episode_id !== open.id) { say(`taken back: ${label.text} of the episode before`); location.hash = `#/episode/${episode_id}`; }
  }
}
