// Curves over the time of an episode: lines, or a map where a vector has many dims. A click is a moment.

import { el } from "./dom.js";
import { before } from "./player.js";

const LEFT = 92, MANY = 12;
const COLOURS = ["#2f7ed8", "#d8662f", "#2fa36b", "#b04fc2", "#c2a11c", "#2aa6b8", "#c23b5b", "#6b7a8f", "#7b5cd6", "#88a32a"];
export const ACTORS = { policy: "#2f7ed8", human: "#e0a53a" };
const PANELS = { state: 130, action: 130, reward: 60, value: 110 };

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);

class Panel {
  constructor(title, height, chart) {
    this.title = title;
    this.height = height;
    this.chart = chart;
    this.base = el("canvas", { class: "base" });
    this.top = el("canvas", { class: "top" });
    this.element = el("div", { class: "panel", data: { panel: title } }, this.base, this.top);
    this.element.style.height = `${height}px`;
    this.top.addEventListener("pointerdown", (e) => { this.top.setPointerCapture(e.pointerId); this.seek(e); });
    this.top.addEventListener("pointermove", (e) => { if (e.buttons) this.seek(e); });
  }

  seek(event) {
    const box = this.top.getBoundingClientRect();
    this.chart.seek(((event.clientX - box.left - LEFT) / (box.width - LEFT)) * this.chart.length);
  }

  x(t) { return LEFT + (t / this.chart.length) * (this.width - LEFT); }

  begin() {
    const scale = window.devicePixelRatio || 1;
    this.width = this.element.clientWidth || 600;
    for (const canvas of [this.base, this.top]) {
      canvas.width = this.width * scale;
      canvas.height = this.height * scale;
      canvas.getContext("2d").scale(scale, scale);
    }
    const pen = this.base.getContext("2d");
    pen.font = "11px system-ui, sans-serif";
    pen.textBaseline = "middle";
    return pen;
  }

  head(t) {
    const pen = this.top.getContext("2d");
    pen.clearRect(0, 0, this.width, this.height);
    pen.fillStyle = css("--head");
    pen.fillRect(this.x(t) - 0.75, 0, 1.5, this.height);
    this.told?.(pen, t);
  }
}

class Lines extends Panel {
  constructor(group, lines, dashed, chart) {
    super(group, PANELS[group] ?? 110, chart);
    this.lines = lines;
    this.dashed = dashed;
    let low = Infinity, high = -Infinity;
    for (const line of [...lines, ...dashed]) {
      for (const v of line.values) if (Number.isFinite(v)) { low = Math.min(low, v); high = Math.max(high, v); }
    }
    if (!(low < Infinity)) [low, high] = [0, 1];
    if (high - low < 1e-9) [low, high] = [low - 0.5, high + 0.5];
    this.low = low - 0.04 * (high - low);
    this.high = high + 0.04 * (high - low);
  }

  y(v) { return this.height - 4 - ((v - this.low) / (this.high - this.low)) * (this.height - 8); }

  draw() {
    const pen = this.begin();
    this.chart.shade(pen, this);
    pen.fillStyle = css("--quiet");
    pen.fillText(this.title, 4, 10);
    pen.fillText(this.high.toPrecision(3), 4, 26);
    pen.fillText(this.low.toPrecision(3), 4, this.height - 8);
    this.dashed.forEach((line, i) => this.stroke(pen, line, COLOURS[i % COLOURS.length], [4, 3]));
    this.lines.forEach((line, i) => this.stroke(pen, line, COLOURS[i % COLOURS.length], []));
  }

  stroke(pen, line, colour, dash) {
    pen.strokeStyle = colour;
    pen.lineWidth = dash.length ? 0.9 : 1.3;
    pen.setLineDash(dash);
    pen.beginPath();
    let drawing = false;
    for (let i = 0; i < line.points; i++) {
      const v = line.values[i];
      if (!Number.isFinite(v)) { drawing = false; continue; }
      const x = this.x(this.chart.times[Math.min(line.steps[i], this.chart.times.length - 1)]);
      if (drawing) pen.lineTo(x, this.y(v));
      else pen.moveTo(x, this.y(v));
      drawing = true;
    }
    pen.stroke();
    pen.setLineDash([]);
  }

  told(pen, t) {
    const step = before(this.chart.times, t);
    pen.font = "11px system-ui, sans-serif";
    pen.textBaseline = "middle";
    let y = 40;
    this.lines.forEach((line, i) => {
      if (y > this.height - 16) return;
      const v = line.values[before(line.steps, step)];
      pen.fillStyle = COLOURS[i % COLOURS.length];
      const name = line.name.length > 9 ? `${line.name.slice(0, 8)}…` : line.name;
      pen.fillText(`${name} ${Number.isFinite(v) ? v.toFixed(2) : "–"}`, 4, y, LEFT - 8);
      y += 12;
    });
  }
}

// Many dims: a row each, scaled to its own range, so that frozen and jumping ones stand out.
class DimMap extends Panel {
  constructor(group, lines, chart) {
    super(group, Math.max(80, 7 * lines.length + 14), chart);
    this.lines = lines;
  }

  draw() {
    const pen = this.begin();
    const rows = this.lines.length, columns = this.lines[0].points;
    const picture = new ImageData(columns, rows);
    this.lines.forEach((line, row) => {
      let low = Infinity, high = -Infinity;
      for (const v of line.values) if (Number.isFinite(v)) { low = Math.min(low, v); high = Math.max(high, v); }
      for (let i = 0; i < columns; i++) {
        const share = high > low ? (line.values[i] - low) / (high - low) : 0;
        const at = 4 * (row * columns + i);
        picture.data[at] = 40 + 200 * share;
        picture.data[at + 1] = 60 + 150 * Math.sqrt(share);
        picture.data[at + 2] = 120 - 80 * share;
        picture.data[at + 3] = Number.isFinite(share) ? 255 : 0;
      }
    });
    const small = new OffscreenCanvas(columns, rows);
    small.getContext("2d").putImageData(picture, 0, 0);
    pen.imageSmoothingEnabled = false;
    const from = this.x(0), to = this.x(this.chart.times[this.lines[0].steps[columns - 1]] ?? this.chart.length);
    pen.drawImage(small, from, 12, Math.max(1, to - from), this.height - 14);
    pen.fillStyle = css("--quiet");
    pen.fillText(`${this.title}, ${rows} dims`, 4, 6);
    const each = (this.height - 14) / rows, every = Math.ceil(11 / each);
    this.lines.forEach((line, row) => { if (row % every === 0) pen.fillText(line.name, 4, 12 + each * (row + 0.5), LEFT - 8); });
  }
}

// Who acted when, what was said of a range, what happened.
class Ribbon extends Panel {
  constructor(chart) { super("actor", 50, chart); }

  draw() {
    const pen = this.begin();
    pen.fillStyle = css("--quiet");
    pen.fillText("actor", 4, 8);
    pen.fillText("said", 4, 25);
    pen.fillText("events", 4, 41);
    for (const s of this.chart.segments) {
      pen.fillStyle = ACTORS[s.actor] ?? "#888";
      pen.fillRect(this.x(s.from), 2, Math.max(1.5, this.x(s.to) - this.x(s.from)), 13);
    }
    for (const r of this.chart.ranges) {
      const from = this.x(this.chart.time(r.step)), to = this.x(this.chart.time(r.last_step ?? r.step));
      pen.fillStyle = "#b04fc2";
      pen.globalAlpha = 0.75;
      pen.fillRect(from, 19, Math.max(2, to - from), 13);
      pen.globalAlpha = 1;
      pen.fillStyle = css("--ink");
      pen.fillText(r.text ?? "", from + 3, 26, Math.max(30, to - from));
    }
    pen.fillStyle = css("--ink");
    for (const e of this.chart.events) pen.fillRect(this.x(e.t) - 1, 36, 2, 11);
  }
}

export class Chart {
  constructor(place, facts, lines, seek) {
    this.times = facts.t;
    this.length = Math.max(facts.t.at(-1) ?? 0, 1e-3);
    this.segments = facts.segments;
    this.events = facts.events;
    this.ranges = facts.labels.filter((label) => label.step !== null);
    this.seek = seek;
    const group = (name) => lines.filter((line) => line.group === name);
    const lawOf = group("law");
    this.panels = [new Ribbon(this)];
    for (const name of ["value", "reward", "action", "state"]) {
      const own = group(name);
      if (!own.length) continue;
      if (own.length > MANY) this.panels.push(new DimMap(name, own, this));
      else this.panels.push(new Lines(name, own, name === "action" ? group("proposed") : name === "value" ? lawOf : [], this));
    }
    place.replaceChildren(...this.panels.map((panel) => panel.element));
    this.resized = new ResizeObserver(() => this.draw());
    this.resized.observe(place);
    this.draw();
  }

  time(step) { return this.times[Math.min(step, this.times.length - 1)]; }

  shade(pen, panel) {
    pen.fillStyle = ACTORS.human;
    pen.globalAlpha = 0.15;
    for (const s of this.segments) if (s.actor === "human") pen.fillRect(panel.x(s.from), 0, panel.x(s.to) - panel.x(s.from), panel.height);
    pen.globalAlpha = 1;
  }

  said(ranges) {
    this.ranges = ranges;
    this.draw();
  }

  draw() {
    for (const panel of this.panels) panel.draw();
    this.head(this.t ?? 0);
  }

  head(t) {
    this.t = t;
    for (const panel of this.panels) panel.head(t);
  }

  close() { this.resized.disconnect(); }
}
