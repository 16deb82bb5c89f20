"use strict";
/* The same slice of the true phase and of every method's forecast, side by side. */

const sets = readJson("gallery");
const LUNG = { level: -450, width: 1500 };
let galleryTicket = 0;

/* Draws the pictures of the chosen case; `k` and `passes` (of a method) are those of the whole page. */
async function drawGallery(k, passes) {
  const place = document.getElementById("gallery-shown");
  if (!place) return;
  const mine = ++galleryTicket, value = (id) => document.getElementById("gallery-" + id).value;
  const set = sets.find((s) => s.case === value("case") && s.k === k);
  const what = document.getElementById("gallery-what");
  if (!set) {
    what.textContent = `The pictures of this case at k = ${k} are not in this page.`;
    place.replaceChildren();
    return;
  }
  what.textContent = `k = ${k}, phase ${set.phase}, slice ${set.where}`;
  const shown = set.shown.filter((s) => passes(s.method, s.kind));
  const [truth, ...images] = await Promise.all([set.truth, ...shown.map((s) => s.image)].map(levelsOf));
  if (mine !== galleryTicket) return;
  const hu = huOfLevels(set.tone), grey = greyTable(hu, LUNG.level, LUNG.width), range = Number(value("range"));
  const at = ({ grey: levels, stride }) => (x, y) => levels[y * stride + x];
  const boxes = [pictureBox(set, "Truth", null, [(c, w, h) => paintGrey(c, w, h, set, at(truth), grey)])];
  shown.forEach((s, i) => {
    const painters = {
      prediction: (c, w, h) => paintGrey(c, w, h, set, at(images[i]), grey),
      difference: (c, w, h) => paintDifference(c, w, h, set, at(images[i]), at(truth), hu, range),
    };
    const chosen = value("show") === "both" ? Object.values(painters) : [painters[value("show")]];
    boxes.push(pictureBox(set, s.method, s, chosen));
  });
  place.replaceChildren(...boxes);
  document.documentElement.dataset.gallery = `${set.case} ${k}`;
}

function element(name, classes, text, attributes = {}) {
  const made = document.createElement(name);
  if (classes) made.className = classes;
  if (text !== undefined) made.textContent = text;
  Object.entries(attributes).forEach(([key, v]) => made.setAttribute(key, v));
  return made;
}

function pictureBox(set, title, about, painters) {
  const box = element("figure", "picture" + (about ? " " + about.kind : " truth"));
  const name = element(about && about.link ? "a" : "span", "name", title, about && about.link ? { href: about.link } : {});
  const caption = element("figcaption");
  caption.append(name);
  if (about) {
    caption.append(element("span", "tag " + about.kind, about.kind));
    const skill = about.skill === null ? "" : `, skill ${about.skill.toFixed(2)}`;
    if (about.error !== null) caption.append(element("small", "", `MAE ${about.error.toFixed(1)} HU${skill}`));
  } else caption.append(element("small", "", `phase ${set.phase}`));
  const images = element(about && about.link ? "a" : "div", "images", undefined, about && about.link ? { href: about.link } : {});
  painters.forEach((paintInto, n) => {
    const canvas = element("canvas", "", undefined, { role: "img", "aria-label": `${title}, image ${n + 1}` });
    canvas.width = 2 * set.width;
    canvas.height = Math.round((canvas.width * set.mm[1]) / set.mm[0]);
    paintInto(canvas.getContext("2d"), canvas.width, canvas.height);
    images.append(canvas);
  });
  box.append(caption, images);
  return box;
}
