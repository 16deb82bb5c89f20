"use strict";
/* The viewer: three views, the phases of the cycle, overlays. Positions are in mm of the cropped volume. */

const facts = readJson("facts");
const sprites = readJson("sprites");
const packed = readJson("overlays");
const overlays = {};
const N = facts.phases.length;
const HU = huOfLevels(facts.tone);
const last = facts.phases.filter((p) => p.observed).at(-1);

const state = {
  phase: Math.max(0, facts.phases.findIndex((p) => !p.observed)),
  slice: Object.fromEntries(facts.views.map((v) => [v.name, v.start])),
  level: -450, width: 1500, overlay: "none", arrows: false, cross: true, scale: 2,
  range: 200, versus: "prediction", playing: 0, speed: 1, active: "coronal",
};

/* ---- images ---- */
const decoded = new Map();
const KEEP = 40;

async function spriteOf(view, n) {
  const key = view.name + n;
  if (!decoded.has(key)) {
    decoded.set(key, levelsOf(sprites[view.name][n]));
    if (decoded.size > KEEP) decoded.delete(decoded.keys().next().value);
  }
  return decoded.get(key);
}

function tile(sprite, view, index) {
  const [cw, ch] = view.cell, top = Math.floor(index / facts.spriteColumns) * ch;
  const left = (index % facts.spriteColumns) * cw;
  return (x, y) => sprite.grey[(top + y) * sprite.stride + left + x];
}

function paintCt(context, width, height, view, at) {
  paintGrey(context, width, height, view, at, greyTable(HU, state.level, state.width));
}

/* ---- overlays: volumes [channel][s][p][l] ---- */
function overlayPlane(name, target, view, n) {
  const { data, shape, step } = overlays[name];
  const size = shape.slice(-3), volume = size[0] * size[1] * size[2];
  const channels = name === "displacement" ? 3 : 1;
  const stride = [1, size[2], size[2] * size[1]];                     // along left, posterior, superior
  const count = [size[2], size[1], size[0]];
  const [w, h] = [count[view.across], count[view.down]];
  const place = ((view.slices[n] + 0.5) / view.count) * count[view.normal] - 0.5;
  const a = Math.max(0, Math.min(count[view.normal] - 1, Math.floor(place)));
  const b = Math.min(count[view.normal] - 1, a + 1), t = Math.max(0, Math.min(1, place - a));
  const planes = [];
  for (let c = 0; c < channels; c++) {
    const base = (target * channels + c) * volume, values = new Float32Array(w * h);
    for (let y = 0; y < h; y++) {
      const row = (view.downSign > 0 ? y : h - 1 - y) * stride[view.down];
      for (let x = 0; x < w; x++) {
        const i = base + row + x * stride[view.across];
        values[y * w + x] = step * ((1 - t) * data[i + a * stride[view.normal]] + t * data[i + b * stride[view.normal]]);
      }
    }
    planes.push(values);
  }
  return { planes, w, h };
}

const ceiling = (name) => {
  const p = facts.ranges[name] ? facts.ranges[name].p99 : 0;
  const nice = [0.5, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 60, 80, 120];
  return nice.find((v) => v >= p) || 120;
};

function paintOverlay(context, width, height, view, n, target, name) {
  const { planes, w, h } = overlayPlane(name, target, view, n);
  const body = overlayPlane("body", 0, view, n).planes[0], table = TABLES[name], top = ceiling(name);
  paint(context, width, height, w, h, (data) => {
    for (let i = 0; i < w * h; i++) {
      const value = planes.length === 3 ? Math.hypot(planes[0][i], planes[1][i], planes[2][i]) : planes[0][i];
      const share = Math.min(1, value / top), c = 3 * Math.round(255 * share);
      data[4 * i] = table[c]; data[4 * i + 1] = table[c + 1]; data[4 * i + 2] = table[c + 2];
      data[4 * i + 3] = 255 * body[i] * (0.18 + 0.47 * share);
    }
  });
}

function paintArrows(context, width, height, view, n, target, unit) {
  const { planes, w, h } = overlayPlane("displacement", target, view, n);
  const body = overlayPlane("body", 0, view, n).planes[0];
  const spacing = 15 * unit, mm = width / view.mm[0];
  context.lineCap = "round";
  for (let y = spacing / 2; y < height; y += spacing) for (let x = spacing / 2; x < width; x += spacing) {
    const i = Math.min(h - 1, Math.floor((y / height) * h)) * w + Math.min(w - 1, Math.floor((x / width) * w));
    const dx = planes[view.across][i] * mm * state.scale, dy = planes[view.down][i] * view.downSign * mm * state.scale;
    const length = Math.hypot(dx, dy);
    if (body[i] < 0.5 || length < 2 * unit) continue;
    const [tx, ty] = [x - dx, y - dy], head = Math.min(5 * unit, 0.5 * length), angle = Math.atan2(dy, dx);
    for (const [style, line] of [["rgba(0,0,0,.75)", 3 * unit], ["#ffe9a8", 1.3 * unit]]) {
      context.strokeStyle = style; context.lineWidth = line;
      context.beginPath();
      context.moveTo(tx, ty); context.lineTo(x, y);
      for (const side of [-0.5, 0.5]) {
        context.moveTo(x, y);
        context.lineTo(x - head * Math.cos(angle + side), y - head * Math.sin(angle + side));
      }
      context.stroke();
    }
  }
}

/* ---- what lies on top: letters, scale, phase ---- */
function write(context, text, x, y, align, baseline, unit, size = 12) {
  context.font = `600 ${size * unit}px system-ui, "DejaVu Sans", sans-serif`;
  context.textAlign = align; context.textBaseline = baseline;
  context.lineWidth = 3 * unit; context.strokeStyle = "rgba(0,0,0,.8)"; context.lineJoin = "round";
  context.strokeText(text, x, y);
  context.fillStyle = "#f2f5f7";
  context.fillText(text, x, y);
}

function annotate(context, width, height, view, unit, caption) {
  const pad = 6 * unit, [left, right, top, bottom] = view.letters;
  write(context, left, pad, height / 2, "left", "middle", unit);
  write(context, right, width - pad, height / 2, "right", "middle", unit);
  write(context, top, width / 2, pad, "center", "top", unit);
  write(context, bottom, width / 2, height - pad, "center", "bottom", unit);
  write(context, caption, pad, pad, "left", "top", unit);
  const mm = width / view.mm[0], bar = [100, 50, 20, 10, 5].find((b) => b * mm < 0.28 * width) || 2;
  const [x, y] = [width - pad - bar * mm, height - pad - 2 * unit];
  context.fillStyle = "rgba(0,0,0,.8)";
  context.fillRect(x - unit, y - unit, bar * mm + 2 * unit, 4 * unit);
  context.fillStyle = "#f2f5f7";
  context.fillRect(x, y, bar * mm, 2 * unit);
  write(context, bar + " mm", x + (bar * mm) / 2, y - 3 * unit, "center", "bottom", unit, 11);
}

const viewNormalTo = (axis) => facts.views.find((v) => v.normal === axis);
const shareOf = (view) => (view.slices[state.slice[view.name]] + 0.5) / view.count;

function crosshair(context, width, height, view, unit) {
  const x = shareOf(viewNormalTo(view.across)) * width, share = shareOf(viewNormalTo(view.down));
  const y = (view.downSign > 0 ? share : 1 - share) * height;
  context.strokeStyle = "rgba(120,190,255,.55)"; context.lineWidth = unit;
  context.setLineDash([6 * unit, 5 * unit]);
  context.beginPath();
  context.moveTo(x, 0); context.lineTo(x, height); context.moveTo(0, y); context.lineTo(width, y);
  context.stroke();
  context.setLineDash([]);
}

/* ---- panels ---- */
const widest = Math.max(...facts.views.map((v) => v.mm[0]));
const panels = [...document.querySelectorAll(".panel")].map((element) => ({
  element, canvas: element.querySelector("canvas"), column: element.dataset.column,
  view: facts.views.find((v) => v.name === element.dataset.view),
}));

function fit() {
  const unit = devicePixelRatio || 1;
  const tallest = Math.max(320, 0.62 * innerHeight);
  const room = Math.min(...panels.map((p) => p.element.clientWidth));
  const scale = Math.min(room / widest, tallest / Math.max(...facts.views.map((v) => v.mm[1])));
  for (const { canvas, view } of panels) {
    const [w, h] = view.mm.map((m) => Math.max(1, Math.floor(m * scale)));
    canvas.style.width = w + "px"; canvas.style.height = h + "px";
    canvas.width = Math.round(w * unit); canvas.height = Math.round(h * unit);
  }
  draw();
}

let ticket = 0;
async function draw() {
  const mine = ++ticket, unit = devicePixelRatio || 1, phase = facts.phases[state.phase];
  const loaded = Object.fromEntries(await Promise.all(
    facts.views.map(async (v) => [v.name, await spriteOf(v, state.slice[v.name])])));
  if (mine !== ticket) return;
  for (const { canvas, view, column } of panels) {
    const context = canvas.getContext("2d"), [width, height] = [canvas.width, canvas.height];
    const n = state.slice[view.name], sprite = loaded[view.name];
    const predicted = !phase.observed;
    context.fillStyle = "#000"; context.fillRect(0, 0, width, height);
    let caption = phase.label;
    if (column === "difference") {
      const first = state.versus === "prediction" ? phase.prediction : last.truth;
      if (predicted && phase.truth !== null) {
        paintDifference(context, width, height, view, tile(sprite, view, first), tile(sprite, view, phase.truth), HU, state.range);
      } else caption += predicted ? " · truth not known" : " · observed: nothing to compare";
    } else {
      const index = column === "prediction" && predicted ? phase.prediction : phase.truth;
      if (index === null) caption += " · truth not known";
      else paintCt(context, width, height, view, tile(sprite, view, index));
      if (!predicted) caption += " · observed (input)";
      if (column === "prediction" && predicted) {
        caption += " · predicted";
        if (overlays[state.overlay]) paintOverlay(context, width, height, view, n, phase.target, state.overlay);
        if (state.arrows && overlays.displacement) paintArrows(context, width, height, view, n, phase.target, unit);
      } else if (column === "truth" && predicted) caption += " · true";
    }
    if (state.cross) crosshair(context, width, height, view, unit);
    annotate(context, width, height, view, unit, caption);
    canvas.setAttribute("aria-label", `${view.name} slice ${n + 1}, ${caption}`);
  }
  document.documentElement.dataset.drawn = String(mine);
}

/* ---- controls ---- */
const byId = (id) => document.getElementById(id);
const slider = byId("phase");

function setPhase(n) {
  state.phase = (n + N) % N;
  slider.value = state.phase;
  const phase = facts.phases[state.phase];
  slider.setAttribute("aria-valuetext", `${phase.label}, ${phase.observed ? "observed" : "predicted"}`);
  document.querySelectorAll(".chip").forEach((c, i) => c.setAttribute("aria-current", String(i === state.phase)));
  draw();
}

function setSlice(view, n) {
  state.slice[view.name] = Math.max(0, Math.min(view.slices.length - 1, n));
  const row = document.querySelector(`.view[data-view="${view.name}"]`), at = state.slice[view.name];
  row.querySelector("input").value = at;
  const axis = ["x (left)", "y (posterior)", "z (superior)"][view.normal];
  row.querySelector("output").textContent = `${axis} ${view.position[at].toFixed(1)} mm` +
    (view.slices.length > 1 ? ` · ${at + 1}/${view.slices.length}` : "");
  draw();
}

function activate(name) {
  state.active = name;
  document.querySelectorAll(".view").forEach((v) => v.classList.toggle("active", v.dataset.view === name));
}

function play(on) {
  clearInterval(state.playing);
  state.playing = on ? setInterval(() => setPhase(state.phase + 1), 4000 / N / state.speed) : 0;
  byId("play").setAttribute("aria-pressed", String(on));
  byId("play").setAttribute("aria-label", on ? "Pause" : "Play");
  byId("play-shape").setAttribute("d", on ? "M3 1h4v14H3zM9 1h4v14H9z" : "M3 1l11 7-11 7z");
}

const PRESETS = { lung: [-450, 1500], soft: [40, 400], bone: [400, 1600] };

function setWindow(level, width) {
  state.level = level; state.width = Math.max(10, width);
  byId("level").value = level; byId("width").value = state.width;
  press("preset", Object.keys(PRESETS).find((k) => PRESETS[k][0] === level && PRESETS[k][1] === width) || "");
  draw();
}

function press(group, value) {
  document.querySelectorAll(`[data-group="${group}"] button`).forEach(
    (b) => b.setAttribute("aria-pressed", String(b.dataset.value === value)));
}

function setOverlay(name) {
  state.overlay = name;
  press("overlay", name);
  legends();
  draw();
}

function legends() {
  const shown = { displacement: state.overlay === "displacement", uncertainty: state.overlay === "uncertainty" };
  for (const [name, on] of Object.entries(shown)) {
    const legend = byId("legend-" + name);
    if (legend) legend.hidden = !on;
  }
  document.querySelectorAll(".colourbar").forEach((legend) => {
    const name = legend.dataset.scale, canvas = legend.querySelector("canvas"), context = canvas.getContext("2d");
    canvas.width = 256; canvas.height = 1;
    const image = context.createImageData(256, 1);
    for (let i = 0; i < 256; i++) image.data.set([...TABLES[name].slice(3 * i, 3 * i + 3), 255], 4 * i);
    context.putImageData(image, 0, 0);
    const [low, high] = legend.querySelectorAll("span.end");
    if (name === "difference") { low.textContent = `−${state.range}`; high.textContent = `+${state.range} HU`; }
    else { low.textContent = "0"; high.textContent = `${ceiling(name)} mm`; }
  });
}

function connect() {
  slider.addEventListener("input", () => setPhase(Number(slider.value)));
  document.querySelectorAll(".chip").forEach((chip, i) => chip.addEventListener("click", () => setPhase(i)));
  byId("play").addEventListener("click", () => play(!state.playing));
  byId("speed").addEventListener("change", (e) => { state.speed = Number(e.target.value); if (state.playing) play(true); });
  document.querySelectorAll('[data-group="preset"] button').forEach(
    (b) => b.addEventListener("click", () => setWindow(...PRESETS[b.dataset.value])));
  document.querySelectorAll('[data-group="overlay"] button').forEach(
    (b) => b.addEventListener("click", () => setOverlay(b.dataset.value)));
  for (const id of ["level", "width"]) byId(id).addEventListener("change", () =>
    setWindow(Number(byId("level").value), Number(byId("width").value)));
  const bind = (id, event, apply) => byId(id) && byId(id).addEventListener(event, (e) => { apply(e.target); legends(); draw(); });
  bind("arrows", "change", (t) => { state.arrows = t.checked; });
  bind("cross", "change", (t) => { state.cross = t.checked; });
  bind("scale", "change", (t) => { state.scale = Number(t.value); });
  bind("range", "change", (t) => { state.range = Number(t.value); });
  bind("versus", "change", (t) => {
    state.versus = t.value;
    byId("difference-title").textContent =
      t.value === "prediction" ? "Prediction − truth" : `Last observed (${last.label}) − truth`;
  });
  document.querySelectorAll(".view").forEach((row) => {
    const view = facts.views.find((v) => v.name === row.dataset.view);
    row.querySelector("input").addEventListener("input", (e) => { activate(view.name); setSlice(view, Number(e.target.value)); });
  });
  for (const { canvas, view } of panels) {
    const point = (event) => {
      const box = canvas.getBoundingClientRect();
      const shares = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
      if (view.downSign < 0) shares[1] = 1 - shares[1];
      [view.across, view.down].forEach((axis, i) => {
        const other = viewNormalTo(axis), wanted = shares[i] * other.count - 0.5;
        const distance = other.slices.map((s) => Math.abs(s - wanted));
        setSlice(other, distance.indexOf(Math.min(...distance)));
      });
    };
    canvas.addEventListener("pointerdown", (e) => { activate(view.name); canvas.setPointerCapture(e.pointerId); point(e); });
    canvas.addEventListener("pointermove", (e) => { if (e.buttons & 1) point(e); });
    canvas.addEventListener("wheel", (e) => {
      if (!canvas.closest(".view").classList.contains("active")) return;
      e.preventDefault();
      setSlice(view, state.slice[view.name] - Math.sign(e.deltaY));
    }, { passive: false });
  }
  document.addEventListener("pointerdown", (e) => { if (!e.target.closest(".view")) activate(""); });
  document.addEventListener("keydown", (e) => {
    if (e.target.matches("input[type=number], select") || e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.target.matches("input[type=range]") && e.key.startsWith("Arrow")) return;
    const view = facts.views.find((v) => v.name === state.active);
    const keys = {
      ArrowRight: () => setPhase(state.phase + 1), ArrowLeft: () => setPhase(state.phase - 1),
      ArrowUp: view && (() => setSlice(view, state.slice[view.name] + 1)),
      ArrowDown: view && (() => setSlice(view, state.slice[view.name] - 1)),
      " ": !e.target.matches("button, summary, th") && (() => play(!state.playing)),
      1: () => setWindow(...PRESETS.lung), 2: () => setWindow(...PRESETS.soft), 3: () => setWindow(...PRESETS.bone),
      d: overlays.displacement && (() => setOverlay(state.overlay === "displacement" ? "none" : "displacement")),
      u: overlays.uncertainty && (() => setOverlay(state.overlay === "uncertainty" ? "none" : "uncertainty")),
      a: overlays.displacement && (() => byId("arrows").click()),
    };
    if (keys[e.key]) { e.preventDefault(); keys[e.key](); }
  });
  new ResizeObserver(fit).observe(byId("views"));
}

async function start() {
  connect();
  setWindow(...PRESETS.lung);
  facts.views.forEach((v) => setSlice(v, v.start));
  setPhase(state.phase);
  fit();
  legends();
  try {
    for (const [name, { shape, step, data }] of Object.entries(packed)) {
      const bytes = await gunzip(data);
      overlays[name] = { shape, step, data: name === "displacement" ? new Int8Array(bytes.buffer) : bytes };
    }
  } catch (error) {
    byId("overlay-note").textContent = "This browser cannot unpack the overlays; any browser since 2023 can.";
  }
  document.querySelectorAll("[data-needs]").forEach((e) => { e.disabled = !overlays[e.dataset.needs]; });
  document.documentElement.dataset.viewer = "ready";
  draw();
  await new Promise((done) => setTimeout(done, 30));
  await drawPlots();
}

start();
