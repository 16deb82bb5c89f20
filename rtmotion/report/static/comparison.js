"use strict";
/* One choice of k and methods for all tables, plots and pictures of a comparison. */

const about = readJson("comparison");
const metrics = readJson("metrics");
const main = new Set(about.methods.filter((m) => m.main).map((m) => m.name));
const choice = { k: about.first, plotK: about.first, without: new Set(), text: "", hidden: new Set() };
let redrawPlots = () => {};

const byId = (id) => document.getElementById(id);
const press = (group, value) => document.querySelectorAll(`[data-group="${group}"] button`).forEach(
  (b) => b.setAttribute("aria-pressed", String(b.dataset.value === String(value))));
const passes = (method, kind) => !choice.without.has(kind) && method.toLowerCase().includes(choice.text);

/* ---- tables ---- */
function filterTables() {
  const wantedCase = byId("case") ? byId("case").value : "";
  document.querySelectorAll("tr[data-method]").forEach((row) => {
    const { k, kind, method } = row.dataset;
    const otherK = k !== undefined && choice.k !== "all" && Number(k) !== choice.k;
    const otherCase = row.dataset.case !== undefined && wantedCase !== "" && row.dataset.case !== wantedCase;
    row.hidden = otherK || otherCase || !passes(method, kind);
  });
  document.querySelectorAll("tbody.bounds").forEach((body) => {
    body.hidden = [...body.rows].every((row) => row.hidden || row.classList.contains("apart"));
  });
}

/* Three to four significant digits, as in the other tables. */
function short(value) {
  const size = Math.abs(value);
  return value.toFixed(size >= 1000 || value === 0 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : size >= 0.001 ? 3 : 5);
}

function showMetrics() {
  const place = byId("metrics-shown");
  if (!place) return;
  const region = byId("metrics-region").value, columns = metrics.regions[region];
  const table = element("table", "sortable"), head = table.createTHead().insertRow(), body = table.createTBody();
  for (const [name, unit, classes] of [["method", "", "left"], ["kind", "", "left"], ["k", "", ""],
    ...columns.map((c) => [c.name, c.unit, ""])]) {
    const cell = element("th", classes, name);
    if (unit) cell.append(" ", element("small", "", unit));
    head.append(cell);
  }
  for (const row of metrics.rows) {
    if (row.values[region].every((v) => v === null)) continue;
    const line = body.insertRow(), aside = row.kind === "trivial" || row.kind === "bound";
    if (aside) line.className = "aside";
    Object.assign(line.dataset, { method: row.method, kind: row.kind, k: row.k });
    line.append(element("td", "", row.method));
    const kind = element("td", "left");
    kind.append(element("span", "tag " + row.kind, row.kind));
    line.append(kind, element("td", "", String(row.k)));
    for (const value of row.values[region]) {
      line.append(element("td", "", value === null ? "–" : short(value), { "data-value": value ?? "" }));
    }
  }
  const scroll = element("div", "scroll long");
  scroll.append(table);
  place.replaceChildren(scroll);
  sortable(table);
  filterTables();
}

/* ---- plots ---- */
function visible({ meta = {} }) {
  if (meta.k !== undefined && meta.k !== choice.plotK) return false;
  if (meta.method === undefined) return true;
  if (!passes(meta.method, meta.kind)) return false;
  return choice.hidden.has(meta.method) ? (printing() ? false : "legendonly") : true;
}

/* A trace with one row a method, without those that are not to be seen. */
function someRows(trace) {
  if (!trace.meta || !trace.meta.rows) return trace;
  const keep = trace.meta.rows.map((row) => passes(row.method, row.kind));
  const cut = (list) => (Array.isArray(list) && list.length === keep.length ? list.filter((_, i) => keep[i]) : list);
  const shorter = { ...trace };
  for (const name of ["y", "z", "text", "customdata", ...(trace.type === "heatmap" ? [] : ["x"])]) {
    if (trace[name]) shorter[name] = cut(trace[name]);
  }
  if (trace.error_x) {
    shorter.error_x = { ...trace.error_x, array: cut(trace.error_x.array), arrayminus: cut(trace.error_x.arrayminus) };
  }
  if (trace.marker && Array.isArray(trace.marker.color)) shorter.marker = { ...trace.marker, color: cut(trace.marker.color) };
  return shorter;
}

function adapt(figure, place) {
  const data = figure.data.map((trace) => ({ ...someRows(trace), visible: visible(trace) }));
  const layout = { ...figure.layout, uirevision: "same" };
  if (place.classList.contains("rows")) {
    const rows = new Set(data.filter((t) => t.visible === true).flatMap((t) => t.y));
    layout.height = 110 + 24 * Math.max(3, rows.size);
    place.style.height = layout.height + "px";
  }
  return { data, layout };
}

function showK() {
  document.querySelectorAll(".plot:not(.every)").forEach((place) => {
    const title = place.closest("section").querySelector("h2");
    const label = title.querySelector(".of-k") || title.appendChild(element("span", "of-k"));
    label.textContent = `k = ${choice.plotK}`;
  });
}

/* ---- all of it ---- */
function show() {
  filterTables();
  showK();
  redrawPlots();
  drawGallery(choice.plotK, passes);
}

function lines(which) {
  choice.hidden = new Set(which === "all" ? [] : about.methods.map((m) => m.name).filter((name) => !main.has(name)));
  press("lines", which);
}

function connect() {
  document.querySelectorAll('[data-group="k"] button').forEach((b) => b.addEventListener("click", () => {
    choice.k = b.dataset.value === "all" ? "all" : Number(b.dataset.value);
    if (choice.k !== "all") choice.plotK = choice.k;
    press("k", choice.k);
    show();
  }));
  document.querySelectorAll(".chooser [data-kind]").forEach((box) => box.addEventListener("change", () => {
    choice.without[box.checked ? "delete" : "add"](box.dataset.kind);
    show();
  }));
  byId("filter").addEventListener("input", (e) => { choice.text = e.target.value.trim().toLowerCase(); show(); });
  document.querySelectorAll('[data-group="lines"] button').forEach((b) => b.addEventListener("click", () => {
    lines(b.dataset.value);
    redrawPlots();
  }));
  if (byId("case")) byId("case").addEventListener("change", filterTables);
  if (byId("metrics-region")) byId("metrics-region").addEventListener("change", showMetrics);
  document.querySelectorAll("#gallery-case, #gallery-show, #gallery-range").forEach(
    (s) => s.addEventListener("change", () => drawGallery(choice.plotK, passes)));
}

/* A click in a legend hides or shows the method in all plots. */
function linkLegends() {
  document.querySelectorAll(".plot.js-plotly-plot").forEach((place) => place.on("plotly_legendclick", (event) => {
    const { meta = {} } = event.data[event.curveNumber];
    if (meta.method === undefined) return true;
    choice.hidden[choice.hidden.has(meta.method) ? "delete" : "add"](meta.method);
    press("lines", "");
    redrawPlots();
    return false;
  }));
}

async function start() {
  connect();
  press("k", choice.k);
  lines("main");
  showMetrics();
  show();
  let chosenMeanwhile = false;
  redrawPlots = () => { chosenMeanwhile = true; };
  redrawPlots = await drawPlots(adapt);
  if (chosenMeanwhile) redrawPlots();
  linkLegends();
}

start();
