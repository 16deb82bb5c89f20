"use strict";
/* What both pages use: embedded data, plots in the colours of the page, sortable tables. */

const readJson = (id) => JSON.parse(document.getElementById(id).textContent);

const bytesOf = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));

async function gunzip(base64) {
  const stream = new Blob([bytesOf(base64)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

/* Figures name colours as "var:NAME": the page's own, light or dark. */
function inColours(value) {
  if (typeof value === "string" && value.startsWith("var:")) return colour(value.slice(4));
  if (Array.isArray(value)) return value.map(inColours);
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, inColours(v)]));
  }
  return value;
}

/* On paper nothing follows the size of the page by itself: A4, landscape. */
let paper = false;
const printing = () => paper || matchMedia("print").matches;
const PAPER = { whole: 960, half: 460 };

/* Draws the plots; `adapt` changes a figure before it is drawn. Returns what draws them again. */
async function drawPlots(adapt = (figure) => figure) {
  const figures = readJson("figures");
  const places = [...document.querySelectorAll("[data-figure]")].filter((p) => figures[p.dataset.figure]);
  if (!places.length) return () => {};
  const drawOne = (place) => {
    const figure = inColours(adapt(figures[place.dataset.figure], place));
    const width = printing() ? { width: place.closest(".plots, .two") ? PAPER.half : PAPER.whole } : {};
    Plotly.react(place, figure.data, { ...figure.layout, ...width }, {
      displaylogo: false, displayModeBar: "hover", responsive: true, showSendToCloud: false, showEditInChartStudio: false,
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    });
  };
  const draw = () => places.forEach(drawOne);
  try {
    const script = document.createElement("script");
    script.textContent = new TextDecoder().decode(await gunzip(document.getElementById("plotly").textContent));
    document.head.append(script);
  } catch (error) {
    places.forEach((p) => { p.textContent = "This browser cannot unpack the plots; any browser since 2023 can."; });
    return () => {};
  }
  for (const place of places) {
    drawOne(place);
    await new Promise((done) => setTimeout(done));  // the page answers between two plots
  }
  for (const event of ["beforeprint", "afterprint"]) {
    addEventListener(event, () => { paper = event === "beforeprint"; draw(); });
  }
  for (const media of ["(prefers-color-scheme: dark)", "print"]) matchMedia(media).addEventListener("change", draw);
  document.documentElement.dataset.plots = "ready";
  return draw;
}

/* Tables are sorted by a click on a heading, each of their bodies by itself; missing values come last. */
const MISSING = new Set(["", "–"]);

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.tabIndex = 0;
    const sort = () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((h) => h.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const compare = (a, b) => {
        const [x, y] = [key(a), key(b)];
        if (MISSING.has(x) || MISSING.has(y)) return MISSING.has(x) - MISSING.has(y);
        return (up ? 1 : -1) * (!isNaN(x) && !isNaN(y) ? x - y : x.localeCompare(y, undefined, { numeric: true }));
      };
      for (const body of table.tBodies) {
        body.append(...[...body.rows].filter((row) => !row.classList.contains("apart")).sort(compare));
      }
    };
    head.setAttribute("aria-sort", "none");
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (e) => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); sort(); } });
  });
}

document.querySelectorAll("table.sortable").forEach(sortable);
