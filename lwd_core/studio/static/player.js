// One clock for all cameras and curves of an episode. Time is seconds from its first step.

import { el, seconds } from "./dom.js";

const AHEAD = 12, KEPT = 96, SPEEDS = [0.1, 0.25, 0.5, 1, 2, 4, 8, 16];

// The last place whose time is not after `t`; 0 before the first.
export function before(times, t) {
  let low = 0, high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= t + 1e-6) low = middle + 1;
    else high = middle;
  }
  return Math.max(0, low - 1);
}

class Camera {
  constructor(id, index, facts) {
    this.id = id;
    this.index = index;
    this.times = facts.t;
    this.images = new Map();
    this.canvas = el("canvas", { width: 320, height: 240 });
    this.label = el("figcaption", {}, facts.name);
    this.element = el("figure", { data: { camera: facts.name } }, this.canvas, this.label);
  }

  image(place) {
    let image = this.images.get(place);
    if (!image) {
      image = new Image();
      image.onload = () => { if (place === this.wanted) this.paint(image); };
      image.src = `/api/frame/${this.id}/${this.index}/${place}`;
      this.images.set(place, image);
      if (this.images.size > KEPT) this.images.delete(this.images.keys().next().value);
    }
    return image;
  }

  // `moving`: more of it will be looked at.
  show(t, moving) {
    const place = before(this.times, t);
    if (place === this.wanted) return;
    this.wanted = place;
    const image = this.image(place);
    if (image.complete && image.naturalWidth) this.paint(image);
    const many = moving ? AHEAD : 1;
    for (let i = 1; i <= many && place + i < this.times.length; i++) this.image(place + i);
  }

  paint(image) {
    if (this.canvas.width !== image.naturalWidth || this.canvas.height !== image.naturalHeight) {
      this.canvas.width = image.naturalWidth;
      this.canvas.height = image.naturalHeight;
    }
    this.canvas.getContext("2d").drawImage(image, 0, 0);
    this.canvas.dataset.frame = this.wanted;
  }
}

export class Player {
  // `moved` is called with the time whenever it changes.
  constructor(id, facts, moved = () => {}) {
    this.steps = facts.t;
    this.length = Math.max(facts.t.at(-1) ?? 0, 1e-3);
    this.moved = moved;
    this.t = 0;
    this.speed = 1;
    this.cameras = facts.cameras.map((camera, index) => new Camera(id, index, camera));
    this.films = el("div", { class: "films" }, ...this.cameras.map((camera) => camera.element),
      this.cameras.length ? null : el("p", { class: "quiet" }, "no camera in this episode"));
    this.slider = el("input", { type: "range", class: "scrub", min: 0, max: 1000, value: 0, "aria-label": "time",
      oninput: (e) => this.seek((e.target.value / 1000) * this.length) });
    this.clock = el("output", { class: "clock" });
    this.button = el("button", { title: "play (Space)", onclick: () => this.toggle() }, "▶");
    this.rate = el("button", { title: "speed (, and .)", onclick: () => this.faster(1) }, "1×");
    this.bar = el("div", { class: "bar" }, this.button, this.rate, this.slider, this.clock);
    this.seek(0);
  }

  get step() { return before(this.steps, this.t); }

  seek(t) {
    this.t = Math.min(Math.max(t, 0), this.length);
    for (const camera of this.cameras) camera.show(this.t, this.t > 0);
    this.slider.value = (this.t / this.length) * 1000;
    this.clock.textContent = `${seconds(this.t)} / ${seconds(this.length)} · step ${this.step}`;
    this.moved(this.t);
  }

  toStep(step) { this.seek(this.steps[Math.min(Math.max(step, 0), this.steps.length - 1)]); }

  move(by) { this.pause(); this.toStep(this.step + by); }

  faster(by) {
    this.speed = SPEEDS[(SPEEDS.indexOf(this.speed) + by + SPEEDS.length) % SPEEDS.length];
    this.rate.textContent = `${this.speed}×`;
  }

  toggle() { return this.running ? this.pause() : this.play(); }

  play() {
    if (this.t >= this.length) this.seek(0);
    this.button.textContent = "❚❚";
    let last = performance.now();
    const tick = (now) => {
      this.seek(this.t + ((now - last) / 1000) * this.speed);
      last = now;
      if (this.t >= this.length) this.pause();
      else this.running = requestAnimationFrame(tick);
    };
    this.running = requestAnimationFrame(tick);
  }

  pause() {
    cancelAnimationFrame(this.running);
    this.running = 0;
    this.button.textContent = "▶";
  }
}
