// The grid: as many cards as the screen holds, whatever the lake holds. Pages are asked for as they come into sight.

import { get } from "./api.js";
import { el, say, seconds, short } from "./dom.js";

const PAGE = 120, PAGES = 24, WIDTH = 210, HEIGHT = 232, TALLEST = 30_000_000;

export class Grid {
  // `opened` gets an id; `counted` the answer of a first page.
  constructor(place, { opened, counted, marked }) {
    this.view = place;
    this.sheet = el("div", { class: "sheet" });
    this.view.append(this.sheet);
    this.opened = opened;
    this.counted = counted;
    this.marked = marked;
    this.strips = new Map();
    this.marks = [];
    this.cards = new Map();
    this.selected = 0;
    this.reset(new URLSearchParams());
    this.view.addEventListener("scroll", () => this.soon(), { passive: true });
    this.resized = new ResizeObserver(() => this.draw());
    this.resized.observe(this.view);
  }

  close() {
    this.resized.disconnect();
    this.abort?.abort();
    clearInterval(this.playing);
  }

  reset(filter) {
    this.abort?.abort();
    this.abort = new AbortController();
    this.filter = filter;
    this.pages = new Map();
    this.at = 0;
    this.total = 0;
    for (const card of this.cards.values()) card.remove();
    this.cards.clear();
  }

  // The first page, then the rest by sight. `keep`: stay where the person is.
  async show(filter, { keep = false } = {}) {
    const [top, selected] = keep ? [this.view.scrollTop, this.selected] : [0, 0];
    this.reset(filter);
    this.selected = selected;
    this.view.scrollTop = top;
    await this.page(Math.floor(selected / PAGE));
    this.draw();
    this.view.dataset.shown = filter.toString();
  }

  get width() { return this.view.clientWidth - 8; }

  get columns() { return Math.max(1, Math.floor(this.width / WIDTH)); }

  get rows() { return Math.ceil(this.total / this.columns); }

  card(index) { return this.pages.get(Math.floor(index / PAGE))?.[index % PAGE]; }

  async page(number) {
    if (this.pages.has(number)) return;
    this.pages.set(number, null);
    const params = new URLSearchParams(this.filter);
    params.set("offset", number * PAGE);
    params.set("limit", PAGE);
    if (this.at) params.set("at", this.at);
    const { signal } = this.abort;
    try {
      const found = await get("episodes", params, signal);
      const first = !this.at;
      if (this.at && found.at !== this.at) { this.show(this.filter, { keep: true }); return; }
      this.at = found.at;
      this.total = found.total;
      this.pages.set(number, found.cards);
      while (this.pages.size > PAGES) {
        const far = [...this.pages.keys()].sort((a, b) => Math.abs(b - number) - Math.abs(a - number))[0];
        this.pages.delete(far);
      }
      if (first) this.counted(found);
      this.draw();
    } catch (error) {
      this.pages.delete(number);
      if (error.name !== "AbortError") { say(error.message, 15); this.counted({ total: 0, error: error.message }); }
    }
  }

  soon() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.draw(); });
  }

  // A browser has no element of any height: of millions of rows the sheet is shorter than their sum.
  get stretch() {
    const whole = this.rows * HEIGHT, view = this.view.clientHeight;
    return whole <= TALLEST ? 1 : (whole - view) / (TALLEST - view);
  }

  draw() {
    const { columns, stretch } = this;
    const height = this.view.clientHeight;
    this.sheet.style.height = `${Math.min(this.rows * HEIGHT, TALLEST)}px`;
    const top = this.view.scrollTop * stretch;
    const shift = this.view.scrollTop - top;
    const first = Math.max(0, Math.floor(top / HEIGHT) - 1) * columns;
    const last = Math.min(this.total, (Math.ceil((top + height) / HEIGHT) + 1) * columns);
    for (const [index, card] of this.cards) {
      if (index < first || index >= last) { card.remove(); this.cards.delete(index); }
    }
    const width = this.width / columns;
    const missing = [];
    for (let index = first; index < last; index++) {
      const facts = this.card(index);
      if (facts === undefined) { this.page(Math.floor(index / PAGE)); continue; }
      if (!facts) continue;
      let card = this.cards.get(index);
      if (card && card.dataset.episode !== facts.episode_id) { card.remove(); card = null; }
      if (!card) {
        card = this.made(index, facts);
        this.cards.set(index, card);
        this.sheet.append(card);
      }
      card.style.transform = `translate(${(index % columns) * width}px, ${Math.floor(index / columns) * HEIGHT + shift}px)`;
      card.style.width = `${width - 10}px`;
      card.classList.toggle("selected", index === this.selected);
      card.classList.toggle("marked", this.marks.includes(facts.episode_id));
      const strip = this.strips.get(facts.episode_id);
      if (strip === undefined) missing.push(facts.episode_id);
      else this.picture(card, facts.episode_id, strip);
    }
    if (missing.length) this.fetchStrips(missing);
  }

  async fetchStrips(ids) {
    const wanted = ids.filter((id) => !this.strips.has(id));
    for (const id of wanted) this.strips.set(id, null);
    try {
      const found = await get("strips", new URLSearchParams({ ids: wanted.join(",") }), this.abort.signal);
      for (const id of wanted) this.strips.set(id, found[id] ?? 0);
    } catch (error) {
      for (const id of wanted) this.strips.delete(id);
      if (error.name !== "AbortError") say(error.message);
      return;
    }
    while (this.strips.size > 20_000) this.strips.delete(this.strips.keys().next().value);
    this.soon();
  }

  picture(card, id, strip) {
    const place = card.querySelector("img");
    if (!strip || place.dataset.of === id) { if (strip === 0) card.classList.add("blind"); return; }
    place.dataset.of = id;
    place.src = `/api/strip/${id}/${Math.floor(strip / 2)}`;
    place.hidden = false;
  }

  made(index, f) {
    const flags = [
      f.quality === "fail" ? el("b", { class: "bad", title: `${f.checks_failed} checks fail` }, "checks fail") : null,
      f.interventions ? el("b", { class: "human", title: `a person acted for ${f.human_steps} of ${f.steps} steps` }, `helped ${f.interventions}×`) : null,
      f.value_drop !== null && f.value_drop >= 0.1 ? el("b", { title: "largest fall of V" }, `V −${f.value_drop.toFixed(2)}`) : null,
      f.disagree ? el("b", { class: "bad", title: "layers disagree on the outcome" }, "≠") : null,
      f.said ? el("b", { class: "said", title: `said by ${f.said_by}` }, `${f.said} · ${f.said_by}`) : null,
    ];
    return el("article", {
      class: `card ${f.outcome}`, data: { episode: f.episode_id, index },
      onclick: () => { this.select(index); },
      ondblclick: () => this.opened(f.episode_id, index),
      onmouseenter: (e) => this.film(e.currentTarget, f.episode_id),
      onmouseleave: (e) => this.still(e.currentTarget, f.episode_id),
    },
    el("div", { class: "frame" }, el("img", { hidden: true, alt: "", draggable: false }), el("span", { class: "none" }, "no camera")),
    el("a", { class: "title", href: this.address(f.episode_id), title: f.task }, f.task),
    el("div", { class: "line" }, el("b", { class: `outcome ${f.outcome}` }, f.outcome), ` ${f.source}`, el("span", {}, f.policy_id ? short(f.policy_id) : "")),
    el("div", { class: "line" }, `${f.robot_id} · ${f.site}`, el("span", {}, f.day)),
    el("div", { class: "line" }, `${f.steps} steps · ${seconds(f.seconds)}`, el("span", { class: "flags" }, ...flags.filter(Boolean))));
  }

  address(id) {
    const query = this.filter.toString();
    return `#/episode/${id}${query ? `?${query}` : ""}`;
  }

  film(card, id) {
    const strip = this.strips.get(id);
    if (!strip || strip < 2) return;
    let at = 0;
    clearInterval(this.playing);
    this.playing = setInterval(() => {
      card.querySelector("img").src = `/api/strip/${id}/${at % strip}`;
      at += 1;
    }, 250);
  }

  still(card, id) {
    clearInterval(this.playing);
    const strip = this.strips.get(id);
    if (strip) card.querySelector("img").src = `/api/strip/${id}/${Math.floor(strip / 2)}`;
  }

  move(by) { this.select(this.selected + by, true); }

  select(index, seen = false) {
    if (!this.total) return;
    this.selected = Math.min(Math.max(index, 0), this.total - 1);
    if (seen) {
      const row = Math.floor(this.selected / this.columns) * HEIGHT, { stretch } = this;
      const top = this.view.scrollTop * stretch, height = this.view.clientHeight;
      if (row < top) this.view.scrollTop = row / stretch;
      else if (row + HEIGHT > top + height) this.view.scrollTop = (row + HEIGHT - height) / stretch;
    }
    this.draw();
  }

  open() {
    const facts = this.card(this.selected);
    if (facts) this.opened(facts.episode_id, this.selected);
  }

  mark() {
    const id = this.card(this.selected)?.episode_id;
    if (!id) return;
    this.marks = this.marks.includes(id) ? this.marks.filter((one) => one !== id) : [...this.marks.slice(-1), id];
    this.marked(this.marks);
    this.draw();
  }
}
