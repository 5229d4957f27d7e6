// Curves, drawn as SVG. A Chart shows lines over one axis; all charts of a page share a
// Lens, which is the range in view and the place of the crosshair, so that they zoom and
// point together.
"use strict";

// el makes an element. Text goes in as text: nothing here reads HTML.
function el(name, attributes, ...children) {
  const svg = el.svg.has(name);
  const e = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) e.addEventListener(key.slice(2), value);
    else if (key.startsWith("--")) e.style.setProperty(key, value);
    else e.setAttribute(key, value === true ? "" : value);
  }
  for (const child of children.flat()) if (child !== null && child !== undefined) e.append(child);
  return e;
}
el.svg = new Set(["svg", "g", "path", "line", "rect", "circle", "text", "clipPath", "defs"]);

// Numbers as people read them; the command's package ui has the same rules.
const fmt = {
  count: v => Math.round(v).toLocaleString("en-US"),
  number(v) {
    if (v === null || v === undefined || !isFinite(v)) return "–";
    const a = Math.abs(v);
    if (a >= 1e7) return v.toExponential(2);
    if (a >= 1000) return fmt.count(v);
    if (a !== 0 && a < 1e-3) return v.toExponential(2);
    return v.toFixed(a >= 100 ? 1 : a >= 10 ? 2 : a >= 1 ? 3 : 4);
  },
  percent: v => v === null || v === undefined || !isFinite(v) ? "–" : (100 * v).toFixed(2) + " %",
  bytes(v) {
    if (!(v >= 0)) return "–";
    if (v < 1024) return v + " B";
    let unit = -1;
    do { v /= 1024; unit++; } while (v >= 999.5 && unit < 5);
    return v.toFixed(v >= 99.95 ? 0 : 1) + " " + "KMGTPE"[unit] + "iB";
  },
  // measure has three digits that count and a prefix before the unit: 12.3 mJ.
  measure(v, unit) {
    if (v === null || v === undefined || !isFinite(v)) return "–";
    if (v === 0) return "0 " + unit;
    const [digits, exponent] = v.toExponential(2).split("e");
    const step = Math.min(Math.max(Math.floor(+exponent / 3), -3), 5), e = +exponent - 3 * step;
    return (+digits * 10 ** e).toFixed(Math.max(0, 2 - e)) + " " + ["n", "µ", "m", "", "k", "M", "G", "T", "P"][step + 3] + unit;
  },
  watts: v => fmt.measure(v, "W"),
  energy: v => Math.abs(v) >= 36000 ? +(v / 3.6e6).toPrecision(3) + " kWh" : fmt.measure(v, "J"),
  money: m => (Math.abs(m.amount) >= 1 || !m.amount ? m.amount.toFixed(2) : m.amount.toPrecision(2)) + " " + m.currency,
  si(v) {
    if (!(v >= 0)) return "–";
    for (const [size, unit] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
      if (v >= size) return (v / (size === 1e4 ? 1e3 : size)).toPrecision(3) + " " + unit;
    }
    return fmt.count(v);
  },
  duration(s) {
    if (s === null || s === undefined || !isFinite(s)) return "–";
    if (s < 1) return Math.round(s * 1000) + " ms";
    if (s < 59.95) return s.toFixed(1) + " s";
    if (s < 3599.5) return Math.floor(Math.round(s) / 60) + " min " + String(Math.round(s) % 60).padStart(2, "0") + " s";
    const minutes = Math.round(s / 60);
    return Math.floor(minutes / 60) + " h " + String(minutes % 60).padStart(2, "0") + " min";
  },
};

// The axes' ways of writing their places: exact under the crosshair, short at ticks.
const axes = {
  step: { name: "step", at: v => "step " + fmt.count(v), tick: (v, gap) => v >= 1e5 && gap >= 1000 ? (v / 1000).toLocaleString("en-US") + "k" : fmt.count(v) },
  time: { name: "time", at: v => fmt.duration(v), tick: (v, gap) => v === 0 ? "0" : gap < 1 ? v.toFixed(gap < .1 ? 2 : 1) + " s" : v < 120 && gap < 60 ? Math.round(v) + " s" : gap < 3600 ? clock(v) : Math.round(v / 360) / 10 + " h" },
  epoch: { name: "epoch", at: v => "epoch " + (Math.round(v * 100) / 100), tick: v => String(Math.round(v * 1000) / 1000) },
};
function clock(s) {
  s = Math.round(s);
  const h = Math.floor(s / 3600), m = Math.floor(s / 60) % 60, r = s % 60, two = n => String(n).padStart(2, "0");
  return h ? h + ":" + two(m) + (r ? ":" + two(r) : " h") : r ? m + ":" + two(r) : m + " min";
}

// ticks are round places between low and high, at most so many.
function ticks(low, high, most, time) {
  const span = high - low;
  if (!(span > 0)) return [low];
  let gap = Math.pow(10, Math.floor(Math.log10(span / most)));
  const gaps = time && span / most >= 1
    ? [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 432000, 864000, 8640000]
    : [gap, 2 * gap, 5 * gap, 10 * gap];
  gap = gaps.find(g => span / g <= most) || gaps[gaps.length - 1];
  const out = [];
  for (let i = Math.ceil(low / gap - 1e-9); i * gap <= high + gap * 1e-9; i++) out.push(+(i * gap).toPrecision(12));
  out.gap = gap;
  return out.length < 2 && most < 8 ? ticks(low, high, most + 1, time) : out; // one place is no scale
}
function logTicks(low, high, most) {
  const out = [];
  const decades = Math.log10(high / low);
  const digits = decades < 0.8 ? [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9] : decades < 1.6 ? [1, 2, 3, 5] : decades < 3 ? [1, 3] : [1];
  const stride = digits.length === 1 ? Math.max(1, Math.ceil(decades / most)) : 1;
  for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++) {
    if (e % stride) continue;
    for (const d of digits) {
      const v = d * Math.pow(10, e);
      if (v >= low * .999 && v <= high * 1.001) out.push(+v.toPrecision(3));
    }
  }
  return out.length >= 2 ? out : ticks(low, high, most).filter(v => v > 0);
}
// binaryTicks are round in KiB, MiB, GiB.
function binaryTicks(low, high, most) {
  let unit = 1;
  while (high / unit >= 1024) unit *= 1024;
  const out = ticks(low / unit, high / unit, most).map(v => v * unit);
  out.gap = 0;
  return out;
}
// short writes a tick's value without digits that say nothing.
function short(v, gap) {
  const a = Math.abs(v);
  if (v === 0) return "0";
  if (a >= 1e6) return (v / 1e6).toPrecision(3).replace(/\.?0+$/, "") + "M";
  if (a >= 1e4) return (v / 1e3).toPrecision(3).replace(/\.0+$/, "") + "k";
  if (a < 1e-3) return v.toExponential(gap && gap < a ? 1 : 0).replace(".0e", "e");
  return String(+v.toPrecision(gap ? Math.max(1, Math.ceil(Math.log10(a / gap)) + 1) : 3));
}

// Lens is what the charts of a page have in common.
class Lens {
  constructor() { this.charts = new Set(); this.axis = "step"; this.range = null; this.at = null; this.onrange = () => {}; }
  zoom(range) { this.range = range; this.point(null); this.onrange(); this.draw(); }
  draw() { for (const c of this.charts) c.draw(); }
  point(at) { this.at = at; for (const c of this.charts) c.cross(); }
  // whole is the range that holds all that there is.
  whole() {
    if (this.range && this.full) return this.full;
    let low = Infinity, high = -Infinity;
    for (const c of this.charts) for (const l of c.lines) if (l.x.length) { low = Math.min(low, l.x[0]); high = Math.max(high, l.x[l.x.length - 1]); }
    if (low > high) return [0, 1];
    const all = low === high ? [low - .5, high + .5] : [low, high];
    if (!this.range) this.full = all;
    return all;
  }
}

class Chart {
  // options: title, format (of values), log (whether the scale may be logarithmic and is at first)
  constructor(lens, options) {
    Object.assign(this, { lens, options, lines: [], log: options.log || false, drag: null });
    this.legend = el("div", { class: "legend" });
    this.logButton = el("button", { class: "log", type: "button", "aria-pressed": String(this.log), title: "Logarithmic scale", onclick: () => {
      this.log = !this.log; this.touched = true;
      this.logButton.setAttribute("aria-pressed", String(this.log));
      this.draw();
    } }, "log");
    this.svg = el("svg", { tabindex: 0, role: "img", "aria-label": options.title + ": curves. Arrow keys move along them, plus and minus zoom, Escape shows all." });
    this.voice = el("div", { class: "quiet", "aria-live": "polite" });
    this.root = el("div", { class: "panel chart", "data-chart": options.key },
      el("div", { class: "head" }, el("h3", {}, options.title), this.legend, options.nolog ? null : this.logButton), this.svg, this.voice);
    lens.charts.add(this);
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.svg);
  }

  // set gives the lines: {x, y, smooth?, color, name, letter?, test?}. They are drawn in order.
  set(lines) {
    this.lines = lines;
    if (!this.touched && this.options.autolog) {
      let low = Infinity, high = -Infinity, start = 0;
      for (const l of lines) for (const v of l.smooth || l.y) if (v !== null) { low = Math.min(low, v); high = Math.max(high, v); }
      this.log = low > 0 && high > 20 * low;
      this.logButton.setAttribute("aria-pressed", String(this.log));
    }
    this.draw();
  }

  draw() {
    const width = this.svg.clientWidth, height = this.svg.clientHeight;
    if (!width || !height) return;
    const [x0, x1] = this.lens.range || this.lens.whole();
    let [y0, y1] = this.extent(x0, x1);
    const format = v => this.options.tick ? this.options.tick(v) : short(v, this.gap);
    const log = this.log && y0 > 0;
    const rows = Math.max(2, Math.floor((height - 40) / 44));
    if (log) {
      y0 /= Math.pow(y1 / y0, .04); y1 *= Math.pow(y1 / y0, .04);
    } else {
      const room = (y1 - y0 || Math.abs(y1) || 1) * .06;
      const floor = y0 >= 0 && y0 - room < 0 ? 0 : y0 - room;
      const ceiling = this.options.share && y1 <= 1 ? Math.min(1, y1 + room) : y1 + room;
      y0 = floor; y1 = ceiling;
    }
    const marks = log ? logTicks(y0, y1, rows) : this.options.binary ? binaryTicks(y0, y1, rows) : ticks(y0, y1, rows);
    this.gap = log ? 0 : marks.gap;
    const labels = marks.map(format);
    const left = Math.max(34, 10 + 6.8 * Math.max(...labels.map(s => s.length))), right = 12, top = 8, bottom = 24;
    const X = v => left + (v - x0) / (x1 - x0) * (width - left - right);
    const Y = log ? v => height - bottom - Math.log(v / y0) / Math.log(y1 / y0) * (height - top - bottom)
      : v => height - bottom - (v - y0) / (y1 - y0) * (height - top - bottom);
    this.frame = { X, Y, x0, x1, left, right, top, bottom, width, height, log };

    const out = [];
    const clip = "clip-" + this.options.key.replace(/[^a-z0-9]/gi, "-");
    out.push(el("defs", {}, el("clipPath", { id: clip }, el("rect", { x: left, y: top - 4, width: Math.max(0, width - left - right + 4), height: height - top - bottom + 8 }))));
    marks.forEach((v, i) => {
      const y = Math.round(Y(v)) + .5;
      if (y < top - 2 || y > height - bottom + 2) return;
      out.push(el("line", { class: "grid", x1: left, x2: width - right, y1: y, y2: y }), el("text", { x: left - 7, y: y + 4, "text-anchor": "end" }, labels[i]));
    });
    const axis = axes[this.lens.axis];
    const places = ticks(x0, x1, Math.max(2, Math.floor((width - left) / 92)), this.lens.axis === "time");
    for (const v of places) {
      const x = X(v), text = axis.tick(v, places.gap);
      if (x < left - 1 || x > width - right + 1) continue;
      const anchor = x + 3.6 * text.length > width - 2 ? "end" : "middle";
      out.push(el("text", { x: anchor === "end" ? width - 2 : x, y: height - 6, "text-anchor": anchor }, text));
    }
    out.push(el("line", { class: "base", x1: left, x2: width - right, y1: height - bottom + .5, y2: height - bottom + .5 }));
    const group = el("g", { "clip-path": `url(#${clip})` });
    for (const l of this.lines) {
      if (l.smooth) group.append(el("path", { class: "raw " + l.color, d: this.path(l.x, l.y) }));
    }
    for (const l of this.lines) {
      const values = l.smooth || l.y;
      group.append(el("path", { class: "curve " + l.color + (l.light ? " light" : ""), "data-line": l.name, d: this.path(l.x, values) }));
      if (l.test && l.x.length <= 60 || l.x.length === 1) {
        l.x.forEach((x, i) => { if (values[i] !== null && !(log && values[i] <= 0)) group.append(el("circle", { class: "mark " + l.color, cx: X(x).toFixed(1), cy: Y(values[i]).toFixed(1), r: 2.6 })); });
      }
    }
    out.push(group);
    this.over = el("g", {});
    out.push(this.over);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.replaceChildren(...out);
    this.cross();
  }

  // extent is the range of values in view. Of noise beneath a smoothed curve the outermost
  // hundredths do not count: one wild step would press all else flat.
  extent(x0, x1) {
    let low = Infinity, high = -Infinity;
    for (const l of this.lines) {
      const seen = [];
      for (let i = 0; i < l.x.length; i++) {
        if ((l.x[i + 1] ?? l.x[i]) < x0 || (l.x[i - 1] ?? l.x[i]) > x1) continue;
        for (const [v, counts] of [[l.y[i], !l.smooth], [l.smooth ? l.smooth[i] : null, true]]) {
          if (v === null || this.log && v <= 0) continue;
          if (counts) { low = Math.min(low, v); high = Math.max(high, v); } else seen.push(v);
        }
      }
      if (seen.length) {
        seen.sort((a, b) => a - b);
        low = Math.min(low, seen[Math.floor(seen.length * .01)]);
        high = Math.max(high, seen[Math.ceil(seen.length * .99) - 1]);
      }
    }
    if (low > high) return [0, 1];
    return low === high ? [low - Math.abs(low) * .05 - 1e-9, high + Math.abs(high) * .05 + 1e-9] : [low, high];
  }

  path(xs, ys) {
    const { X, Y, log } = this.frame;
    let d = "", pen = false;
    for (let i = 0; i < xs.length; i++) {
      if (ys[i] === null || log && ys[i] <= 0) { pen = false; continue; }
      d += (pen ? "L" : "M") + X(xs[i]).toFixed(1) + "," + Y(ys[i]).toFixed(1);
      pen = true;
    }
    return d;
  }

  // nearest is the index of a line's point that is nearest to x and has a value.
  nearest(l, x) {
    let low = 0, high = l.x.length - 1;
    while (low < high) { const m = (low + high) >> 1; if (l.x[m] < x) low = m + 1; else high = m; }
    if (low > 0 && Math.abs(l.x[low - 1] - x) < Math.abs(l.x[low] - x)) low--;
    for (let d = 0; d < 50; d++) for (const i of [low - d, low + d]) if (l.y[i] !== null && l.y[i] !== undefined) return i;
    return -1;
  }

  // cross draws the crosshair and writes the values: there, or the newest.
  cross() {
    const at = this.lens.at, f = this.frame;
    if (!f || !this.over) return;
    const marks = [], items = [];
    const format = this.options.format || fmt.number;
    let place = at;
    if (at !== null) { // the place of the nearest point of the densest line, where there is something
      let best = null;
      for (const l of this.lines) if (l.x.length && (!best || l.x.length > best.x.length)) best = l;
      const i = best ? this.nearest(best, at) : -1;
      if (i >= 0) place = best.x[i];
    }
    for (const l of this.lines) {
      if (!l.x.length) continue;
      const i = at === null ? this.nearest(l, l.x[l.x.length - 1]) : this.nearest(l, place);
      if (i < 0) continue;
      const value = l.smooth && this.lens.smoothed ? l.smooth[i] : l.y[i];
      const beyond = at !== null && (place > l.x[l.x.length - 1] || place < l.x[0]) && Math.abs(l.x[i] - place) > (f.x1 - f.x0) * .02;
      items.push(el("span", { class: l.color, "data-line": l.name, title: l.title || null }, el("i", { class: "key" + (l.test ? " test" : "") }), l.label, el("b", {}, beyond ? "–" : format(value))));
      if (at !== null && !beyond && value !== null && l.x[i] >= f.x0 && l.x[i] <= f.x1 && !(f.log && value <= 0)) {
        marks.push(el("circle", { class: "dot " + l.color, cx: f.X(l.x[i]), cy: f.Y(value), r: 4 }));
      }
    }
    if (at !== null && place >= f.x0 && place <= f.x1) {
      const x = f.X(place), text = axes[this.lens.axis].at(place), half = 3.5 * text.length + 6;
      const middle = Math.min(Math.max(x, f.left + half - 20), f.width - half);
      marks.unshift(el("line", { class: "cross", x1: Math.round(x) + .5, x2: Math.round(x) + .5, y1: f.top, y2: f.height - f.bottom }));
      marks.push(el("rect", { class: "atbox", x: middle - half, y: f.height - 19, width: 2 * half, height: 18 }), el("text", { class: "at", x: middle, y: f.height - 6, "text-anchor": "middle" }, text));
      if (this.drag && this.drag.to !== undefined) {
        const a = Math.max(f.left, Math.min(this.drag.from, this.drag.to)), b = Math.min(f.width - f.right, Math.max(this.drag.from, this.drag.to));
        marks.unshift(el("rect", { class: "select", x: a, y: f.top, width: Math.max(0, b - a), height: f.height - f.top - f.bottom }));
      }
    }
    this.over.replaceChildren(...marks);
    this.legend.replaceChildren(...items);
  }

  listen() {
    const place = e => e.clientX - this.svg.getBoundingClientRect().left;
    const value = x => { const f = this.frame; return f.x0 + (x - f.left) / (f.width - f.left - f.right) * (f.x1 - f.x0); };
    const point = e => { if (this.frame) this.lens.point(Math.min(Math.max(value(place(e)), this.frame.x0), this.frame.x1)); };
    this.svg.addEventListener("pointerdown", e => {
      if (e.pointerType === "mouse" && e.button === 0) { this.drag = { from: place(e) }; this.svg.setPointerCapture(e.pointerId); }
      point(e);
    });
    this.svg.addEventListener("pointermove", e => {
      if (this.drag && Math.abs(place(e) - this.drag.from) > 5) this.drag.to = place(e);
      point(e);
    });
    this.svg.addEventListener("pointerup", e => {
      const d = this.drag;
      this.drag = null;
      if (d && d.to !== undefined && this.frame) {
        const whole = this.lens.range || this.lens.whole();
        const a = Math.max(whole[0], value(Math.min(d.from, d.to))), b = Math.min(whole[1], value(Math.max(d.from, d.to)));
        if (b > a) this.lens.zoom([a, b]);
      }
    });
    this.svg.addEventListener("pointerleave", e => { if (e.pointerType === "mouse" && !this.drag) this.lens.point(null); });
    this.svg.addEventListener("dblclick", () => this.lens.zoom(null));
    this.svg.addEventListener("blur", () => this.lens.point(null));
    this.svg.addEventListener("keydown", e => {
      const f = this.frame;
      if (!f || e.ctrlKey || e.metaKey || e.altKey) return;
      const middle = this.lens.at ?? (f.x0 + f.x1) / 2, span = f.x1 - f.x0;
      const move = to => { this.lens.point(Math.min(Math.max(to, f.x0), f.x1)); this.voice.textContent = axes[this.lens.axis].at(this.lens.at) + ": " + this.legend.textContent; };
      const dense = this.lines.reduce((a, l) => l.x.length > (a ? a.x.length : 0) ? l : a, null);
      const next = by => { if (!dense) return middle; const i = this.lens.at === null ? (by > 0 ? -1 : dense.x.length) : this.nearest(dense, middle); return dense.x[Math.min(Math.max(i + by, 0), dense.x.length - 1)]; };
      const keys = {
        ArrowRight: () => move(next(e.shiftKey ? 10 : 1)), ArrowLeft: () => move(next(e.shiftKey ? -10 : -1)),
        Home: () => move(f.x0), End: () => move(f.x1),
        "+": () => this.lens.zoom([Math.max(f.x0, middle - span / 4), Math.min(f.x1, middle + span / 4)]),
        "-": () => { const [a, b] = this.lens.whole(); const r = [Math.max(a, middle - span), Math.min(b, middle + span)]; this.lens.zoom(r[0] <= a && r[1] >= b ? null : r); },
        Escape: () => this.lens.zoom(null),
      };
      keys["="] = keys["+"];
      if (keys[e.key]) { e.preventDefault(); keys[e.key](); }
    });
  }
}
