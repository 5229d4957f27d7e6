// The page: the list of runs, which of them are looked at, and keeping all of it new.
"use strict";

const $ = id => document.getElementById(id);
const state = {
  runs: [], selected: [], title: "", data: new Map(), // by id: {version, lines, full, samples, confusion}
  smooth: .6, axis: "step", sampleStep: null, view: "", colors: new Map(),
};
const lens = new Lens();
lens.smoothed = true;
lens.onrange = () => { $("reset") && ($("reset").hidden = !lens.range); fetchCurves(); };
const charts = new Map();
const order = ["accuracy", "r2", "rmse", "mae", "perplexity"];
const shareLike = /^(accuracy|top\d*|precision|recall|f1|auc|iou|dice|average_precision)/;
const metricText = (name, v) => /^accuracy|^top\d/.test(name) ? fmt.percent(v) : fmt.number(v);
const better = name => /^(accuracy|r2|top|precision|recall|f1|auc|iou|dice|average_precision)/.test(name);

async function get(path, parameters) {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(parameters || {})) if (v !== null && v !== undefined) q.set(k, v);
  const answer = await fetch("api/" + path + "?" + q);
  const body = await answer.json();
  if (!answer.ok) throw new Error(body && body.error || answer.statusText);
  return body;
}

// ---- which runs

function restore() {
  const hash = new URLSearchParams(location.hash.slice(1));
  state.selected = hash.getAll("run");
  try {
    const kept = JSON.parse(localStorage.getItem("sinter.watch") || "{}");
    if (kept.smooth >= 0 && kept.smooth < 1) state.smooth = kept.smooth;
    if (axes[kept.axis]) state.axis = lens.axis = kept.axis;
  } catch (e) { /* private windows have no storage */ }
}
function keep() {
  const hash = new URLSearchParams();
  for (const id of state.selected) hash.append("run", id);
  history.replaceState(null, "", "#" + hash);
  try { localStorage.setItem("sinter.watch", JSON.stringify({ smooth: state.smooth, axis: state.axis })); } catch (e) { /* as above */ }
}
function select(ids) {
  state.selected = ids;
  state.sampleStep = null;
  lens.range = null; lens.full = null; lens.at = null;
  keep();
  renderList();
  renderMain();
  update();
}
const chosen = () => state.selected.map(id => state.runs.find(r => r.id === id)).filter(Boolean);

// A run keeps its colour and letter while it is selected.
function colorOf(id) {
  if (!state.selected.includes(id)) return null;
  for (const known of [...state.colors.keys()]) if (!state.selected.includes(known)) state.colors.delete(known);
  if (!state.colors.has(id)) {
    const taken = new Set(state.colors.values());
    let i = 0;
    while (taken.has(i)) i++;
    state.colors.set(id, i);
  }
  return state.colors.get(id);
}
const letter = i => i < 26 ? String.fromCharCode(65 + i) : String(i + 1);

// ---- the list

function scoreText(r) {
  if (r.status === "damaged" || r.value === null) return "";
  return /loss/.test(r.score) ? r.score.replace("test ", "") + " " + fmt.number(r.value) : (r.score === "accuracy" ? "" : r.score + " ") + metricText(r.score, r.value);
}
function renderList() {
  const needle = $("filter").value.trim().toLowerCase();
  $("filter").hidden = state.runs.length < 8;
  const many = state.selected.length > 1;
  const list = $("runs");
  const focused = document.activeElement && list.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
  list.replaceChildren(...state.runs.filter(r => !needle || (r.id + " " + r.name + " " + r.data + " " + r.status).toLowerCase().includes(needle)).map(r => {
    const on = state.selected.includes(r.id), c = on && many ? colorOf(r.id) : null;
    const box = el("input", { type: "checkbox", "aria-label": "Compare " + r.id, "data-focus": "box " + r.id, onchange: e => select(e.target.checked ? [...state.selected, r.id] : state.selected.filter(id => id !== r.id)) });
    box.checked = on;
    return el("li", { class: (on ? "on " : "") + (c === null ? "" : "c" + c % 8) },
      el("label", {}, box),
      el("button", { type: "button", title: r.id, "data-focus": "name " + r.id, "aria-current": on && !many ? "true" : null, onclick: () => { select([r.id]); if (innerWidth <= 820) $("drawer").open = false; } },
        el("span", { class: "name" }, c === null ? null : [el("span", { class: "letter" }, letter(c)), " "], r.id),
        el("span", { class: "about" }, el("span", { class: "status " + r.status }, statusOf(r)), el("span", { class: "value" }, scoreText(r)))));
  }));
  if (focused) for (const e of list.querySelectorAll("[data-focus]")) if (e.dataset.focus === focused) e.focus({ preventScroll: true });
  $("chosen").textContent = state.selected.length > 1 ? "Runs: " + state.selected.length + " of " + state.runs.length : state.runs.length === 1 ? "1 run" : state.runs.length + " runs";
}

// ---- the main part

// renderMain builds what depends on which runs are selected; refresh fills it.
function renderMain() {
  const runs = chosen();
  charts.clear();
  lens.charts.clear();
  const main = $("main");
  if (!runs.length) {
    main.replaceChildren(state.runs.length ? el("p", { class: "empty" }, "Choose a run.") :
      el("p", { class: "empty" }, "There are no runs here yet. ", el("code", {}, "sinter train"), " makes one, and this page will show it."));
    return;
  }
  const slots = ["head", "tools", "charts", "comparison", "energy", "samples", "confusion", "layers", "events", "record"];
  main.replaceChildren(...slots.map(s => el("div", { "data-slot": s })));
  slot("tools").replaceWith(tools());
  slot("charts").className = "charts";
  refresh();
}
const slot = name => document.querySelector(`[data-slot="${name}"]`);

// fill puts content into a slot, if it is not what is there.
function fill(name, key, make) {
  const place = slot(name);
  if (!place || place.dataset.key === key) return;
  place.dataset.key = key;
  const content = make();
  place.replaceChildren(...(content ? [content] : []));
}

function tools() {
  const segments = el("span", { class: "segments", role: "group", "aria-label": "Horizontal axis" }, ["step", "time", "epoch"].map(a =>
    el("button", { type: "button", "aria-pressed": String(state.axis === a), "data-axis": a, onclick: e => {
      state.axis = lens.axis = a;
      lens.range = null; lens.full = null; lens.at = null;
      for (const b of e.target.parentNode.children) b.setAttribute("aria-pressed", String(b === e.target));
      keep();
      lens.onrange();
    } }, a[0].toUpperCase() + a.slice(1))));
  const said = el("output", {}, state.smooth.toFixed(2));
  const range = el("input", { type: "range", id: "smooth", min: 0, max: .99, step: .01, "aria-label": "Smoothing of the loss" });
  range.value = state.smooth;
  range.addEventListener("input", () => { state.smooth = +range.value; said.textContent = state.smooth.toFixed(2); keep(); fetchCurves(); });
  return el("div", { class: "tools" }, el("span", { class: "group" }, segments),
    el("label", { class: "group" }, "Smoothing", range, said),
    el("button", { class: "plain", type: "button", id: "reset", hidden: !lens.range, onclick: () => lens.zoom(null) }, "Show all"));
}

function refresh() {
  const runs = chosen();
  if (!runs.length) return;
  if (runs.length === 1) refreshOne(runs[0]); else refreshMany(runs);
  refreshCharts(runs);
}

function refreshOne(r) {
  const d = state.data.get(r.id) || {};
  fill("head", JSON.stringify(r), () => head(r));
  const samples = d.samples && d.samples.at;
  fill("energy", JSON.stringify([r.id, r.energy, r.watts, r.status]), () => energyPart(r));
  fill("samples", JSON.stringify([r.id, samples && samples.step, d.samples && d.samples.steps.length]), () => samplesPart(d.samples, step => { state.sampleStep = step; fetchSamples(r.id); }));
  fill("confusion", JSON.stringify([r.id, d.confusion && d.confusion.step]), () => confusionPart(d.confusion));
  if (d.full) {
    fill("layers", JSON.stringify(d.full.layers), () => layersPart(d.full.layers));
    fill("events", JSON.stringify([d.full.events, d.full.checkpoints, d.full.skipped]), () => eventsPart(d.full));
    fill("record", JSON.stringify([r.finished, d.full.settings, d.full.resumed]), () => recordParts(r, d.full));
  }
}

function head(r) {
  if (r.status === "damaged") return el("div", {}, el("div", { class: "title" }, el("h1", {}, r.id), el("span", { class: "status damaged" }, "damaged")), el("p", { class: "notice" }, r.error));
  const facts = [r.name, r.data && "on " + r.data.split(/[\\/]/).pop(), r.parameters ? fmt.count(r.parameters) + " parameters" : "", [r.precision, r.device].filter(Boolean).join(" on "), r.started && "started " + moment(r.started)].filter(Boolean);
  const out = [el("div", { class: "title" }, el("h1", {}, r.id), el("span", { class: "status " + r.status }, statusOf(r))), el("p", { class: "facts" }, facts.join(" · "))];
  if (r.error) out.push(el("p", { class: "notice" }, r.error));
  if (r.paused) out.push(el("p", { class: "notice" }, "It waits: " + r.paused));
  if (r.status === "killed") out.push(el("p", { class: "notice" }, "Its process stopped without a word at step " + fmt.count(r.step) + "; it can be resumed from its last checkpoint."));
  if (r.steps && r.status !== "complete") {
    const share = Math.min(1, r.step / r.steps);
    const bar = el("div", { class: "fill" });
    bar.style.width = 100 * share + "%";
    out.push(el("div", { class: "progress" }, el("div", { class: "track", role: "progressbar", "aria-label": "Steps made", "aria-valuemin": 0, "aria-valuemax": r.steps, "aria-valuenow": r.step }, bar),
      el("p", {}, el("span", {}, el("b", {}, (100 * share).toFixed(share > .995 && share < 1 ? 1 : 0) + " %")), el("span", {}, "step ", el("b", {}, fmt.count(r.step)), " of " + fmt.count(r.steps)),
        r.epochs ? el("span", {}, "epoch ", el("b", {}, String(r.epoch)), " of " + r.epochs) : null,
        el("span", {}, fmt.duration(r.seconds) + " so far"), r.status === "running" && r.left !== null ? el("span", {}, el("b", {}, fmt.duration(r.left)), " left") : null)));
  }
  const tile = (name, value, note) => el("div", {}, el("dt", {}, name), el("dd", {}, value, note ? el("span", { class: "note" }, note) : null));
  const names = Object.keys(r.metrics || {}).sort((a, b) => rank(a) - rank(b));
  const tiles = [];
  for (const m of names.slice(0, 2)) {
    const best = bestOf(r.id, "test/" + m, better(m));
    tiles.push(tile("Test " + m, metricText(m, r.metrics[m]), best && best.value !== r.metrics[m] && Math.abs(best.value - r.metrics[m]) > 1e-7 * Math.abs(best.value) ? "best " + metricText(m, best.value) + " at " + fmt.count(best.step) : null));
  }
  if (r.testLoss !== null) {
    const best = bestOf(r.id, "test/loss", false);
    tiles.push(tile("Test loss", fmt.number(r.testLoss), best && Math.abs(best.value - r.testLoss) > 1e-6 * Math.abs(best.value) ? "best " + fmt.number(best.value) + " at " + fmt.count(best.step) : null));
  }
  tiles.push(tile("Training loss", fmt.number(r.trainLoss)));
  if (r.speed !== null) tiles.push(tile("Samples/s", fmt.number(r.speed)));
  if (r.memory) tiles.push(tile("Memory", fmt.bytes(r.memory)));
  if (r.energy && r.energy.parts) tiles.push(tile("Energy", about(r.energy) + fmt.energy(r.energy.joules), r.status === "running" && r.watts !== null ? "now " + about(r.energy) + fmt.watts(r.watts) : r.energy.joules_per_sample ? fmt.measure(r.energy.joules_per_sample, "J") + " a sample" : null));
  if (r.status === "complete" || r.status === "failed" || r.status === "interrupted") tiles.push(tile("Time", fmt.duration(r.seconds), fmt.count(r.step) + " steps"));
  out.push(el("dl", { class: "tiles" }, tiles));
  return el("div", {}, out);
}
const rank = m => { const i = order.indexOf(m); return i < 0 ? order.length : i; };

// bestOf is the best value of a curve with its step; only known where x is steps.
function bestOf(id, name, more) {
  const d = state.data.get(id), l = d && d.best && d.best[name];
  if (!l) return null;
  let best = -1;
  l.y.forEach((v, i) => { if (v !== null && (best < 0 || (more ? v > l.y[best] : v < l.y[best]))) best = i; });
  return best < 0 ? null : { value: l.y[best], step: l.x[best] };
}

function refreshMany(runs) {
  fill("head", "compare" + state.selected.join("\n"), () => el("div", {}, el("div", { class: "title" }, el("h1", {}, "Comparing " + runs.length + " runs"))));
  const fulls = new Map(runs.map(r => [r.id, (state.data.get(r.id) || {}).full]).filter(e => e[1]));
  fill("comparison", JSON.stringify([runs, [...fulls.keys()]]), () => comparisonPart(runs, fulls, r => el("span", { class: "letter c" + colorOf(r.id) % 8 }, letter(colorOf(r.id))), metricText, better));
}

// What is drawn: the loss, each metric, then what else the lines have.
const titles = { lr: "Learning rate", grad_norm: "Gradient norm", samples_per_second: "Samples per second", memory: "Memory", power: "Power", "energy/joules": "Energy", joules_per_sample: "Energy per sample" };
const written = { memory: fmt.bytes, power: fmt.watts, "energy/joules": fmt.energy, joules_per_sample: v => fmt.measure(v, "J") };
const shortened = { memory: v => v === 0 ? "0" : fmt.bytes(v).replace(/\.0 /, " "), power: fmt.watts, "energy/joules": fmt.energy, joules_per_sample: v => fmt.measure(v, "J") };
const tidy = text => text.replace(/(\.\d*?)0+(?= )/, "$1").replace(/\.(?= )/, ""); // 5.00 W is 5 W at a tick
function panels(runs) {
  const names = new Set();
  for (const r of runs) for (const n of Object.keys((state.data.get(r.id) || {}).lines || {})) names.add(n);
  const metrics = [...new Set([...names].filter(n => /^(test|train)\//.test(n)).map(n => n.replace(/^(test|train)\//, "")))].filter(m => m !== "loss").sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
  const rest = [...names].filter(n => n.startsWith("step/") && n !== "step/loss").map(n => n.slice(5));
  const known = Object.keys(titles).filter(n => rest.includes(n));
  const other = rest.filter(n => !titles[n] && !n.startsWith("energy/")).sort(); // the sums stand in their panel
  const list = [{ key: "loss", title: "Loss", autolog: true, train: "step/loss", epoch: "train/loss", test: "test/loss" }];
  for (const m of metrics) list.push({ key: "metric-" + m, title: m[0].toUpperCase() + m.slice(1), train: "train/" + m, test: "test/" + m, share: shareLike.test(m), format: v => metricText(m, v), tick: /^accuracy|^top\d/.test(m) ? v => +(100 * v).toFixed(2) + " %" : undefined });
  for (const n of [...known, ...other]) {
    list.push({ key: n, title: titles[n] || n, train: "step/" + n, autolog: n === "grad_norm",
      format: written[n], tick: shortened[n] && (v => tidy(shortened[n](v))), binary: n === "memory", nolog: n === "memory" });
  }
  return list;
}

function refreshCharts(runs) {
  const place = slot("charts");
  if (!place) return;
  const list = panels(runs);
  const big = Math.min(2, list.filter(p => p.key === "loss" || p.key.startsWith("metric-")).length);
  const many = runs.length > 1;
  place.classList.toggle("many", many);
  list.forEach((p, i) => {
    let c = charts.get(p.key);
    if (!c) {
      c = new Chart(lens, { ...p, key: p.key });
      charts.set(p.key, c);
    }
    const small = list.length - big;
    c.root.className = "panel chart" + (i < big ? big === 1 ? " alone" : " big" : small === 1 ? " alone" : small === 2 || small === 4 ? " half" : "");
    if (place.children[i] !== c.root) place.insertBefore(c.root, place.children[i] || null);
    const lines = [];
    for (const r of runs) {
      const d = (state.data.get(r.id) || {}).lines;
      if (!d) continue;
      const k = many ? colorOf(r.id) : 0, own = "c" + k % 8, tag = many ? letter(k) + " " : "";
      const add = (from, test) => {
        const l = from && d[from];
        if (!l || !l.x.length || l.y.every(v => v === null)) return;
        const both = p.test && d[p.test] && !d[p.test].y.every(v => v === null);
        const word = !p.test ? "" : test ? "test" : "train";
        lines.push({ x: l.x, y: l.y, smooth: l.smooth && state.smooth > 0 ? l.smooth : null, test, light: many && both && !test,
          color: many ? own : test ? "c1" : "c0", name: (many ? r.id + " " : "") + (test ? "test" : "train"), label: (tag + word).trim(), title: r.id });
      };
      add(p.train || p.epoch, false);
      if (p.train === "step/loss" && !(d["step/loss"] && d["step/loss"].x.length)) add(p.epoch, false);
      add(p.test, true);
    }
    c.set(lines);
  });
  for (const [key, c] of charts) if (!list.some(p => p.key === key)) { c.root.remove(); lens.charts.delete(c); charts.delete(key); }
}

// ---- keeping it new

let asking = 0;
async function fetchCurves() {
  const turn = ++asking;
  const points = Math.min(1400, Math.max(200, Math.round(($("main").clientWidth || 600) * .9)));
  const runs = chosen().filter(r => r.status !== "damaged");
  const answers = await Promise.all(runs.map(r => get("curves", { id: r.id, axis: state.axis, smooth: state.smooth, points,
    from: lens.range && lens.range[0], to: lens.range && lens.range[1] }).catch(() => null)));
  if (turn !== asking) return; // something else was asked for meanwhile
  runs.forEach((r, i) => {
    if (!answers[i]) return;
    const d = state.data.get(r.id) || {};
    d.lines = answers[i].lines;
    if (state.axis === "step" && !lens.range) d.best = answers[i].lines;
    state.data.set(r.id, d);
  });
  refresh();
}

async function fetchSamples(id) {
  try {
    const samples = await get("samples", { id, step: state.sampleStep });
    const d = state.data.get(id) || {};
    d.samples = samples;
    state.data.set(id, d);
    // Somebody who drags the slider keeps it in hand: only what is beside it changes.
    const place = slot("samples"), old = place && place.querySelector(".slider input");
    if (old && document.activeElement === old && state.selected.length === 1) {
      const fresh = samplesPart(samples, () => {}), section = place.firstChild;
      if (fresh) { section.querySelector(".panel").replaceWith(fresh.querySelector(".panel")); section.querySelector(".top p").replaceWith(fresh.querySelector(".top p")); place.dataset.key = JSON.stringify([id, samples.at && samples.at.step, samples.steps.length]); return; }
    }
    refresh();
  } catch (e) { /* the next round tries again */ }
}

// update asks for what has changed of the selected runs.
async function update() {
  const runs = chosen().filter(r => r.status !== "damaged");
  const stale = runs.filter(r => (state.data.get(r.id) || {}).version !== r.version);
  if (!stale.length) { refresh(); return; }
  await Promise.all(stale.map(async r => {
    const d = state.data.get(r.id) || {};
    state.data.set(r.id, d);
    d.version = r.version;
    try {
      d.full = await get("run", { id: r.id });
      if (runs.length === 1) {
        const measured = JSON.stringify([r.status, r.testLoss, r.metrics]);
        if (d.measured !== measured) { // samples come with evaluations
          d.measured = measured;
          [d.confusion, d.samples] = await Promise.all([get("confusion", { id: r.id }).catch(() => null), get("samples", { id: r.id, step: state.sampleStep }).catch(() => null)]);
        }
      }
    } catch (e) { d.version = 0; }
  }));
  await fetchCurves();
}

let last = 0, failing = 0;
async function poll() {
  if (document.hidden) { setTimeout(poll, 1000); return; }
  try {
    const answer = await get("runs");
    const first = !state.title, before = state.runs.map(r => r.id).join("\n");
    failing = 0;
    last = Date.now();
    state.title = answer.title;
    state.runs = answer.runs;
    $("place").textContent = answer.title;
    if (first || !chosen().length) {
      const known = state.selected.filter(id => state.runs.some(r => r.id === id));
      const one = state.runs.find(r => r.status === "running") || state.runs.find(r => r.status !== "damaged") || state.runs[0];
      if (known.length) state.selected = known; else if (one) state.selected = [one.id];
      if (first && innerWidth <= 820 && chosen().length) $("drawer").open = false;
      renderMain();
    }
    const listed = JSON.stringify(state.runs.map(r => [r.id, r.status, r.value]));
    if (first || listed !== state.listed) { state.listed = listed; renderList(); }
    $("live").textContent = state.runs.some(r => r.status === "running") ? "live" : "";
    $("live").className = "";
    document.title = chosen().length === 1 ? chosen()[0].id + " – Sinter" : "Sinter";
    await update();
    document.body.dataset.ready = "yes";
  } catch (e) {
    failing++;
    $("live").textContent = "no answer from sinter watch";
    $("live").className = "lost";
  }
  setTimeout(poll, failing ? Math.min(8000, 1000 * failing) : state.runs.some(r => r.status === "running") ? 1000 : 2000);
}

$("filter").addEventListener("input", renderList);
addEventListener("hashchange", () => { const ids = new URLSearchParams(location.hash.slice(1)).getAll("run"); if (ids.join("\n") !== state.selected.join("\n")) select(ids); });
restore();
poll();
