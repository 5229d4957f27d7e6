// What stands below the curves: predictions, generated text, the confusion matrix,
// layers, recipe and events. Each function gives an element for what the server said.
"use strict";

const percent = p => p >= .9995 ? "100 %" : p < .0995 ? (100 * p).toFixed(1) + " %" : Math.round(100 * p) + " %";

function section(title, about, ...rest) {
  return el("section", {}, el("div", { class: "top" }, el("h2", {}, title), about ? el("p", {}, about) : null), ...rest);
}

function slider(steps, chosen, choose) {
  if (steps.length < 2) return null;
  let i = steps.indexOf(chosen);
  if (i < 0) i = steps.length - 1;
  const label = el("span", {}, "step " + fmt.count(steps[i]));
  const input = el("input", { type: "range", min: 0, max: steps.length - 1, step: 1, "aria-label": "Evaluation to show" });
  input.value = i;
  input.setAttribute("aria-valuetext", label.textContent);
  input.addEventListener("input", () => {
    label.textContent = "step " + fmt.count(steps[input.value]);
    input.setAttribute("aria-valuetext", label.textContent);
    choose(+input.value === steps.length - 1 ? null : steps[input.value]);
  });
  return el("label", { class: "slider" }, label, input);
}

// samplesPart shows the samples of one evaluation; choose is called with another's step.
function samplesPart(data, choose) {
  if (!data || !data.at) return null;
  const at = data.at;
  const after = at.step ? "after step " + fmt.count(at.step) : "";
  let s;
  if (at.event === "text") {
    s = section("Generated text", after, el("div", { class: "panel" }, el("pre", { class: "text" }, el("span", { class: "prompt" }, (at.prompt || "").replace(/^\s+/, "")), at.text || "")));
  } else if (at.event === "values") {
    s = section("Predictions", after, el("div", { class: "panel" }, scatter(at.values || [])));
  } else if (at.event === "predictions") {
    const shown = new Map(((data.shown && data.shown.examples) || []).map(e => [e.index, e]));
    let right = 0, all = 0;
    const figures = (at.predictions || []).map(p => {
      const e = shown.get(p.index) || {}, g = (p.guesses || [])[0] || { class: "?", probability: 0 };
      const known = e.class !== undefined, ok = known && g.class === e.class;
      if (known) { all++; right += ok; }
      const tip = (p.guesses || []).map(g => g.class + " " + percent(g.probability)).join("\n");
      return el("figure", { class: ok || !known ? "ok" : "bad", title: tip },
        typeof e.png === "string" && /^[A-Za-z0-9+/=]+$/.test(e.png) ? el("img", { src: "data:image/png;base64," + e.png, alt: "test example " + p.index, width: 64, height: 64 }) : null,
        el("figcaption", {}, el("span", { class: "guess" }, (known ? ok ? "✓ " : "✗ " : "") + g.class), " ", el("span", { class: "sure" }, percent(g.probability)),
          known && !ok ? el("span", { class: "was" }, "is " + e.class) : null));
    });
    s = section("Predictions", (all ? right + " of " + all + " test examples right " : "") + after, el("div", { class: "panel" }, el("div", { class: "samples" }, figures)));
  } else return null;
  const pick = slider(data.steps || [], at.step, choose);
  if (pick) s.firstChild.append(pick);
  return s;
}

// scatter draws predictions over targets.
function scatter(values) {
  const points = values.filter(v => v.target !== null && v.prediction !== null);
  if (!points.length) return el("p", { class: "soft" }, "no numbers");
  const all = points.flatMap(v => [v.target, v.prediction]);
  let low = Math.min(...all), high = Math.max(...all);
  if (low === high) { low -= 1; high += 1; }
  const size = 420, left = 58, bottom = 40, top = 8, right = 10;
  const X = v => left + (v - low) / (high - low) * (size - left - right), Y = v => size - bottom - (v - low) / (high - low) * (size - bottom - top);
  const marks = ticks(low, high, 5);
  return el("figure", { class: "scatter" }, el("svg", { viewBox: `0 0 ${size} ${size}`, role: "img", "aria-label": "Predictions over targets" },
    marks.map(v => [el("text", { x: left - 7, y: Y(v) + 4, "text-anchor": "end" }, short(v, marks.gap)), el("text", { x: X(v), y: size - bottom + 16, "text-anchor": "middle" }, short(v, marks.gap))]),
    el("line", { class: "base", x1: left, x2: size - right, y1: size - bottom, y2: size - bottom }), el("line", { class: "base", x1: left, x2: left, y1: top, y2: size - bottom }),
    el("line", { class: "same", x1: X(low), y1: Y(low), x2: X(high), y2: Y(high) }),
    points.map(v => el("circle", { class: "dot", cx: X(v.target).toFixed(1), cy: Y(v.prediction).toFixed(1), r: 3 })),
    el("text", { x: (size + left) / 2, y: size - 6, "text-anchor": "middle" }, "target"),
    el("text", { x: 12, y: (size - bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${(size - bottom) / 2})` }, "prediction")));
}

// confusionPart is the matrix as a heat map: the share of each true class.
let shares = false;
function confusionPart(m) {
  if (!m || !m.classes || !m.classes.length) return null;
  const n = m.classes.length, totals = m.counts.map(row => row.reduce((a, b) => a + b, 0));
  const cell = n <= 12 ? 40 : n <= 24 ? 30 : n <= 64 ? 21 : 14;
  const said = el("p", { class: "said", "aria-live": "polite" }, "Rows are what examples are, columns what they were taken for.");
  const cells = [];
  const share = (i, j) => totals[i] ? m.counts[i][j] / totals[i] : 0;
  const text = (i, j) => shares ? (share(i, j) * 100).toFixed(n <= 12 ? 1 : 0) : String(m.counts[i][j]);
  const rows = m.counts.map((row, i) => el("tr", {}, el("th", { scope: "row", title: m.classes[i] }, m.classes[i]), row.map((count, j) => {
    const k = share(i, j);
    const td = el("td", { class: (i === j ? "diagonal" : "") + (count ? "" : " none") + (k > .55 ? " strong" : ""), "--k": count ? Math.round(10 + 84 * Math.sqrt(k)) + "%" : "0%", "data-at": i + "," + j }, text(i, j));
    (cells[i] = cells[i] || [])[j] = td;
    return td;
  })));
  const table = el("table", { class: "matrix" + (n > 24 ? " dense" : "") + (m.classes.some(c => c.length > 5) ? " long" : ""), "--cell": cell + "px", tabindex: 0, "aria-label": "Confusion matrix; arrow keys read its cells" },
    el("thead", {}, el("tr", {}, el("td", { class: "none", "aria-hidden": "true" }), m.classes.map(c => el("th", { scope: "col", class: "up", title: c }, el("span", {}, c))))), el("tbody", {}, rows));
  let here = null;
  const show = (i, j) => {
    if (here) here.classList.remove("here");
    here = cells[i][j];
    here.classList.add("here");
    said.textContent = (i === j ? m.classes[i] + " recognised: " : m.classes[i] + " taken for " + m.classes[j] + ": ") + fmt.count(m.counts[i][j]) + " of " + fmt.count(totals[i]) + " (" + fmt.percent(share(i, j)) + ")";
  };
  const of = e => { const t = e.target.closest("td[data-at]"); return t ? t.dataset.at.split(",").map(Number) : null; };
  for (const kind of ["pointerover", "click"]) table.addEventListener(kind, e => { const p = of(e); if (p) show(...p); });
  let at = [0, 0];
  table.addEventListener("keydown", e => {
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[e.key];
    if (!step) return;
    e.preventDefault();
    at = [Math.min(Math.max(at[0] + step[0], 0), n - 1), Math.min(Math.max(at[1] + step[1], 0), n - 1)];
    show(...at);
    cells[at[0]][at[1]].scrollIntoView({ block: "nearest", inline: "nearest" });
  });
  const wrong = [];
  m.counts.forEach((row, i) => row.forEach((c, j) => { if (i !== j && c) wrong.push([c, i, j]); }));
  wrong.sort((a, b) => b[0] - a[0]);
  const total = totals.reduce((a, b) => a + b, 0), right = m.counts.reduce((a, row, i) => a + row[i], 0);
  const worst = el("div", { class: "worst" }, el("h3", {}, wrong.length ? "Most often confused" : "Nothing is confused"), el("ul", {}, wrong.slice(0, n > 24 ? 12 : 10).map(([c, i, j]) =>
    el("li", {}, el("span", {}, m.classes[i] + " taken for " + m.classes[j]), el("span", {}, fmt.count(c) + " of " + fmt.count(totals[i]) + ", " + percent(c / totals[i]))))));
  const toggle = el("span", { class: "segments" }, ["Counts", "Shares"].map((name, i) => el("button", { type: "button", "aria-pressed": String(shares === (i === 1)), onclick: e => {
    shares = i === 1;
    for (const b of e.target.parentNode.children) b.setAttribute("aria-pressed", String(b === e.target));
    cells.forEach((row, i) => row.forEach((td, j) => { td.textContent = text(i, j); }));
  } }, name)));
  const s = section("Confusion matrix", fmt.count(right) + " of " + fmt.count(total) + " right after step " + fmt.count(m.step),
    el("div", { class: "panel confusion" + (n > 24 ? " full" : "") }, el("div", {}, el("div", { class: "wide" }, table), said), worst));
  s.firstChild.append(toggle);
  return s;
}

function layersPart(layers) {
  if (!layers || !layers.layers || !layers.layers.length) return null;
  const most = Math.max(1, ...layers.layers.slice(1).map(l => l.parameters));
  const rows = layers.layers.map((l, i) => {
    const depth = l.name === "" ? 0 : l.name.split(".").length;
    const name = l.name === "" ? layers.model : l.name.split(".").slice(-1)[0];
    return el("tr", {}, el("td", { class: "name", "--depth": depth, title: l.name }, name), el("td", { class: "soft" }, l.name === "" ? "" : l.type),
      el("td", {}, l.output ? l.output.join(" × ") : "–"),
      el("td", { class: "n" }, l.parameters ? fmt.count(l.parameters) : "", i > 0 && l.parameters ? el("span", { class: "share" }, el("i", { "--w": 1, "data-share": l.parameters / most })) : null),
      el("td", { class: "n" }, l.flops ? fmt.si(l.flops) : ""));
  });
  const table = el("table", { class: "list layers" }, el("thead", {}, el("tr", {}, el("th", {}, "Layer"), el("th", {}, "Type"), el("th", {}, "Output"), el("th", { class: "n" }, "Parameters"), el("th", { class: "n" }, "FLOPs"))), el("tbody", {}, rows));
  for (const bar of table.querySelectorAll("[data-share]")) bar.style.width = Math.max(2, 100 * bar.dataset.share) + "%";
  return section("Layers", fmt.count(layers.parameters) + " parameters, " + fmt.si(layers.flops) + " FLOPs forward", el("div", { class: "panel wide" }, table));
}

function pairs(rows) {
  return el("table", { class: "list pairs" }, el("tbody", {}, rows.filter(r => r[1] !== "" && r[1] !== undefined && r[1] !== null).map(([k, v]) => el("tr", {}, el("td", {}, k), el("td", {}, v)))));
}

function moment(text) {
  const t = new Date(text);
  if (!text || isNaN(t)) return "";
  const two = n => String(n).padStart(2, "0");
  return t.getFullYear() + "-" + two(t.getMonth() + 1) + "-" + two(t.getDate()) + " " + two(t.getHours()) + ":" + two(t.getMinutes()) + ":" + two(t.getSeconds());
}

function recordParts(run, full) {
  const v = full.versions || {};
  const machine = [
    ["started", moment(run.started)], ["finished", moment(run.finished)],
    ...(full.resumed || []).map(r => ["resumed", moment(r.time) + " from step " + fmt.count(r.step)]),
    ["device", run.device], ["processor", v.cpu && v.cpu + (v.cpus ? ", " + v.cpus + " CPUs" : "")],
    ["system", [v.os, v.arch].filter(Boolean).join("/")], ["sinter", v.sinter], ["go", v.go], ["folder", full.dir],
    ...(full.sources || []).map(d => [d.role + " data", d.path + ", " + fmt.count(d.examples) + " examples" + (d.sha256 ? ", sha256 " + d.sha256.slice(0, 12) + "…" : "")]),
  ];
  return el("div", { class: "columns" },
    section("Recipe", "", el("div", { class: "panel" }, pairs(full.settings.filter(s => s.key !== "about").map(s => [s.key, s.value])))),
    section("Origin", "", el("div", { class: "panel" }, pairs(machine))));
}

function eventsPart(full) {
  const events = (full.events || []).slice().reverse();
  const parts = [];
  if (full.checkpoints && full.checkpoints.length) {
    parts.push(section("Checkpoints", "", el("div", { class: "panel wide" }, el("table", { class: "list" }, el("tbody", {}, full.checkpoints.slice().reverse().map(c =>
      el("tr", {}, el("td", {}, c.name), el("td", { class: "n" }, fmt.bytes(c.bytes)), el("td", { class: "n soft" }, moment(c.time)))))))));
  }
  if (events.length || full.skipped) {
    parts.push(section("Events", full.skipped ? full.skipped + " lines of the log could not be read" : "", el("div", { class: "panel" }, el("table", { class: "list" }, el("tbody", {}, events.slice(0, 100).map(e =>
      el("tr", {}, el("td", { class: "n soft" }, "step " + fmt.count(e.step)), el("td", { class: "kind" }, e.kind), el("td", {}, e.text))))))));
  }
  return parts.length ? el("div", { class: parts.length > 1 ? "columns" : "" }, parts) : null;
}

// about marks a figure that a model has made.
const about = e => (e.parts || []).some(p => p.estimated) ? "≈ " : "";

// energyPart is what a run has used, with where each figure comes from.
function energyPart(r) {
  const e = r.energy;
  if (!e) return null;
  const rows = [], add = (name, value, note) => rows.push(el("tr", {}, el("td", { class: "soft" }, name), el("td", {}, value), el("td", { class: "soft" }, note || "")));
  const source = kind => { const s = (e.sources || []).find(s => s.startsWith(kind)); return s ? s.slice(kind.length) : ""; };
  const mark = about(e), said = estimated => estimated ? "estimated" : "";
  const join = (...texts) => texts.filter(Boolean).join(", ");
  if (e.parts) {
    add("Energy", mark + fmt.energy(e.joules), join(said(mark), r.status === "running" && r.watts !== null ? "now " + fmt.watts(r.watts) : ""));
    for (const p of e.parts) add("of it " + p.component, fmt.energy(p.joules), join(said(p.estimated), p.source, p.note));
    if (e.idle_joules) add("of it by an idle machine", fmt.energy(e.idle_joules), join("estimated", e.idle_watts ? fmt.watts(e.idle_watts) : "", e.idle_source));
    for (const [key, name] of [["joules_per_step", "a step"], ["joules_per_sample", "a sample"], ["joules_per_epoch", "an epoch, with its evaluations"]]) if (e[key]) add("for " + name, mark + fmt.energy(e[key]), said(mark));
    add("CO₂e", (e.estimated ? "≈ " : "") + fmt.measure(e.grams, "g"), join(said(e.estimated), source("carbon: ")));
    if (e.litres) add("Water", mark + fmt.measure(e.litres, "l"), said(mark));
  }
  if (e.cost && e.cost.currency) {
    add("Cost", fmt.money(e.cost), source("tariff: "));
    if (e.energy_cost.currency && e.device_cost.currency) { add("of it energy", fmt.money(e.energy_cost), said(mark)); add("of it the device", fmt.money(e.device_cost), source("device: ")); }
  }
  if (e.budget) add("Budget", e.budget, e.budget_used_up ? "used up: it ended the run" : "");
  const phases = e.phases || {};
  for (const [key, name] of [["train", "Steps"], ["evaluate", "Evaluations"], ["pause", "Waiting for the guard"], ["lost", "Lost in steps that were made again"]]) {
    const p = phases[key];
    if (p && p.seconds > 0.05) add(name, e.parts ? mark + fmt.energy(p.joules) : fmt.duration(p.seconds), e.parts ? "in " + fmt.duration(p.seconds) : "");
  }
  for (const note of e.notes || []) rows.push(el("tr", {}, el("td", { class: "soft", colspan: 3 }, note)));
  return section("Energy", "", el("div", { class: "panel wide" }, el("table", { class: "list energy" }, el("tbody", {}, rows))));
}

// comparisonPart is the table of what differs between runs, and of their results.
function comparisonPart(runs, fulls, letters, metricText, better) {
  const keys = [], values = new Map();
  runs.forEach((r, i) => {
    for (const s of (fulls.get(r.id) || { settings: [] }).settings) {
      if (s.key === "about") continue;
      if (!values.has(s.key)) { values.set(s.key, new Array(runs.length).fill("")); keys.push(s.key); }
      values.get(s.key)[i] = s.value;
    }
  });
  const differ = keys.filter(k => values.get(k).some(v => v !== values.get(k)[0]));
  const row = (name, list, best) => el("tr", {}, el("td", { class: "soft" }, name), list.map((v, i) => el("td", { class: best === i ? "best" : "" }, v)));
  const measured = (name, get, text, more) => {
    const all = runs.map(get).map(v => v === null || v === undefined || !isFinite(v) ? NaN : v);
    if (all.every(isNaN)) return null;
    let best = -1;
    if (more !== 0) all.forEach((v, i) => { if (!isNaN(v) && (best < 0 || more * v > more * all[best])) best = i; });
    const numbers = all.filter(v => !isNaN(v));
    if (numbers.length < 2 || numbers.every(v => v === numbers[0])) best = -1;
    return row(name, all.map(v => isNaN(v) ? "–" : text(v)), best);
  };
  const metrics = [...new Set(runs.flatMap(r => Object.keys(r.metrics || {})))];
  return section("Comparison", "", el("div", { class: "panel wide" }, el("table", { class: "list compare" },
    el("thead", {}, el("tr", {}, el("th", {}), runs.map(r => el("th", { class: "run", title: r.id }, letters(r), " ", r.id)))),
    el("tbody", {},
      row("status", runs.map(r => el("span", { class: "status " + r.status }, statusOf(r)))),
      metrics.map(m => measured("test " + m, r => r.metrics[m], v => metricText(m, v), better(m) ? 1 : -1)),
      measured("test loss", r => r.testLoss, fmt.number, -1), measured("training loss", r => r.trainLoss, fmt.number, -1),
      measured("samples/s", r => r.speed, fmt.number, 1), measured("memory", r => r.memory || null, fmt.bytes, -1),
      measured("energy", r => r.energy && r.energy.parts ? r.energy.joules : null, fmt.energy, -1),
      measured("energy a sample", r => r.energy && r.energy.parts ? r.energy.joules_per_sample : null, v => fmt.measure(v, "J"), -1),
      measured("time", r => r.seconds, fmt.duration, 0), measured("steps", r => r.step, fmt.count, 0),
      el("tr", { class: "group" }, el("td", { colspan: runs.length + 1 }, differ.length ? "Settings that differ" : "The recipes are the same")),
      differ.map(k => row(k, values.get(k).map(v => v === "" ? "–" : v), -1))))));
}

function statusOf(r) {
  const words = { killed: "killed", damaged: "damaged" };
  return words[r.status] || r.status;
}
