// The side of the grid: words to choose, numbers, SQL, saved views. What is chosen stands in the address.

import { get, send } from "./api.js";
import { el, fill, say, short } from "./dom.js";

const WORDS = [
  ["outcome", "outcome", "outcome"], ["task", "task", "task"], ["policy", "policy", "policy_id"],
  ["source", "source", "source"], ["robot", "robot", "robot_id"], ["site", "site", "site"],
  ["quality", "checks", "quality"], ["said_by", "labelled by", "said_by"],
];
const ORDERS = ["newest", "oldest", "longest", "shortest", "drop", "helped"];
const SAID = { drop: "largest drop of V", helped: "most help" };
const MOST = 12;

export class Filters {
  // `changed` gets the new filter, URLSearchParams.
  constructor(place, changed, by) {
    this.place = place;
    this.changed = changed;
    this.by = by;
    this.counts = {};
    this.views = {};
    this.open = new Set(["outcome", "task", "policy"]);
    this.all = new Set();
    get("views").then((views) => { this.views = views; this.draw(); }).catch((e) => say(e.message));
  }

  show(filter) {
    this.filter = filter;
    this.draw();
  }

  counted(counts) {
    this.counts = counts;
    this.draw();
  }

  set(name, value) {
    const next = new URLSearchParams(this.filter);
    if (value === "" || value === null) next.delete(name);
    else next.set(name, value);
    this.changed(next);
  }

  toggle(name, word) {
    const next = new URLSearchParams(this.filter);
    const had = next.getAll(name);
    next.delete(name);
    for (const one of had) if (one !== word) next.append(name, one);
    if (!had.includes(word)) next.append(name, word);
    this.changed(next);
  }

  focus(name) {
    this.place.querySelector(`[name=${name}]`)?.focus();
  }

  draw() {
    if (!this.filter) return;
    const active = document.activeElement;
    const kept = this.place.contains(active) && active.name ? [active.name, active.value, active.selectionStart] : null;
    fill(this.place,
      this.field("text", "search", "task, instruction, id", "/"),
      el("label", {}, "order ", el("select", { name: "order", onchange: (e) => this.set("order", e.target.value) },
        ...ORDERS.map((o) => el("option", { value: o, selected: o === this.filter.get("order") }, SAID[o] ?? o)),
        el("option", { value: "random:1", selected: (this.filter.get("order") ?? "").startsWith("random") }, "random"))),
      ...WORDS.map((one) => this.words(...one)),
      el("div", { class: "pair" }, this.field("since", "from day", "2026-01-01"), this.field("until", "to day", "")),
      this.field("drop", "V drops by at least", "0.3"),
      this.choice("helped", "a person helped"),
      this.choice("labelled", "labelled by a person"),
      this.choice("disagree", "layers disagree on the outcome"),
      el("label", {}, "SQL condition ", el("kbd", {}, "w"), el("textarea", {
        name: "where", rows: 3, value: this.filter.get("where") ?? "", placeholder: "steps > 200 AND site = 'north'",
        onkeydown: (e) => { if (e.key === "Enter" && !e.shiftKey) { e.preventDefault(); this.set("where", e.target.value.trim()); } },
        onchange: (e) => this.set("where", e.target.value.trim()),
      })),
      this.saved(),
      el("button", { onclick: () => this.changed(new URLSearchParams()) }, "clear all"),
    );
    if (kept) {
      const again = this.place.querySelector(`[name=${kept[0]}]`);
      if (again) {
        if ("value" in again) again.value = kept[1];
        again.focus();
        if (again.setSelectionRange && kept[2] !== null && kept[2] !== undefined) again.setSelectionRange(kept[2], kept[2]);
      }
    }
  }

  field(name, title, placeholder, shortcut) {
    return el("label", {}, `${title} `, shortcut ? el("kbd", {}, shortcut) : null,
      el("input", { name, value: this.filter.get(name) ?? "", placeholder, onchange: (e) => this.set(name, e.target.value.trim()) }));
  }

  choice(name, title) {
    const now = this.filter.get(name) ?? "";
    return el("label", { class: "choice" }, title, el("select", { name, onchange: (e) => this.set(name, e.target.value) },
      ...["", "yes", "no"].map((v) => el("option", { value: v, selected: v === now }, v || "either"))));
  }

  words(name, title, column) {
    const chosen = this.filter.getAll(name);
    const counted = this.counts[column] ?? [];
    const there = new Set(counted.map(([word]) => word ?? ""));
    const rows = [...counted.map(([word, n]) => [word ?? "", n]), ...chosen.filter((w) => !there.has(w)).map((w) => [w, 0])];
    if (!rows.length || (rows.length === 1 && rows[0][0] === "" && !chosen.length)) return null;
    const shown = this.all.has(name) ? rows : rows.slice(0, MOST);
    return el("details", {
      open: this.open.has(name) || chosen.length > 0,
      ontoggle: (e) => (e.target.open ? this.open.add(name) : this.open.delete(name)),
    },
    el("summary", {}, title),
    ...shown.map(([word, n]) => el("label", { class: "word", title: word },
      el("input", { type: "checkbox", checked: chosen.includes(word), onchange: () => this.toggle(name, word) }),
      el("span", {}, word === "" ? "none" : name === "policy" ? short(word) : word), el("i", {}, n.toLocaleString("en")))),
    rows.length > shown.length ? el("button", { onclick: () => { this.all.add(name); this.draw(); } }, `${rows.length - shown.length} more`) : null);
  }

  saved() {
    const names = Object.keys(this.views);
    if (!names.length && !this.by) return null;
    return el("details", { open: true }, el("summary", {}, "saved views"),
      ...names.map((name) => el("div", { class: "view" },
        el("a", { href: `#/episodes?${this.views[name].query}`, title: `by ${this.views[name].by}` }, name),
        this.by ? el("button", { title: "forget it", onclick: () => this.keep("DELETE", `views/${encodeURIComponent(name)}`) }, "×") : null)),
      this.by ? el("input", {
        name: "view", placeholder: "save this one as …",
        onkeydown: (e) => { if (e.key === "Enter" && e.target.value.trim()) this.keep("POST", "views", { name: e.target.value, query: this.filter.toString() }, e.target); },
      }) : null);
  }

  async keep(method, path, value, field) {
    try {
      this.views = await send(method, path, value);
      if (field) { field.value = ""; field.blur(); }
      this.draw();
    } catch (error) {
      say(error.message);
    }
  }
}
