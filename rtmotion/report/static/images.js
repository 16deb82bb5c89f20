"use strict";
/* Stored images: 8-bit levels back to HU, and how they are painted. */

const VIRIDIS = ["440154", "482878", "3e4a89", "31688e", "26828e", "1f9e89", "35b779", "6ece58", "b5de2b", "fde725"];
const EMBER = ["1b0c41", "4a0c6b", "781c6d", "a52c60", "cf4446", "ed6925", "fb9b06", "f7d13d", "fcffa4"];
const DIVERGING = ["7fd3ff", "2a8cf0", "1550a8", "0b2450", "0a0a0c", "521508", "a83214", "f0652a", "ffd37f"];

function colourTable(stops) {
  const rgb = stops.map((s) => [0, 2, 4].map((i) => parseInt(s.slice(i, i + 2), 16)));
  const table = new Uint8Array(256 * 3);
  for (let i = 0; i < 256; i++) {
    const at = (i / 255) * (rgb.length - 1), a = Math.floor(at), b = Math.min(a + 1, rgb.length - 1);
    for (let c = 0; c < 3; c++) table[3 * i + c] = rgb[a][c] + (at - a) * (rgb[b][c] - rgb[a][c]);
  }
  return table;
}
const TABLES = { displacement: colourTable(VIRIDIS), uncertainty: colourTable(EMBER), difference: colourTable(DIVERGING) };

/* 8-bit levels back to HU, along the tone curve */
function huOfLevels({ hu, level }) {
  return Float32Array.from({ length: 256 }, (_, i) => {
    let n = 1;
    while (n < level.length - 1 && i > level[n]) n++;
    return hu[n - 1] + ((i - level[n - 1]) / (level[n] - level[n - 1])) * (hu[n] - hu[n - 1]);
  });
}

/* The levels of a JPEG in base64. */
async function levelsOf(base64) {
  const image = new Image();
  image.src = "data:image/jpeg;base64," + base64;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.width; canvas.height = image.height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const rgba = context.getImageData(0, 0, image.width, image.height).data;
  const grey = new Uint8Array(rgba.length / 4);
  for (let i = 0; i < grey.length; i++) grey[i] = rgba[4 * i];
  return { grey, stride: image.width };
}

const scratch = document.createElement("canvas");

function paint(context, width, height, w, h, fill) {
  scratch.width = w; scratch.height = h;
  const c = scratch.getContext("2d"), image = c.createImageData(w, h);
  fill(image.data);
  c.putImageData(image, 0, 0);
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.drawImage(scratch, 0, 0, width, height);
}

/* What each level looks like in a window. */
function greyTable(hu, level, width) {
  const low = level - width / 2;
  return Uint8ClampedArray.from(hu, (v) => (255 * (v - low)) / width);
}

/* An image of view.width x view.height pixels, whose levels at(x, y) gives. */
function paintGrey(context, width, height, view, at, table) {
  paint(context, width, height, view.width, view.height, (data) => {
    for (let y = 0, i = 0; y < view.height; y++) for (let x = 0; x < view.width; x++, i += 4) {
      data[i] = data[i + 1] = data[i + 2] = table[at(x, y)];
      data[i + 3] = 255;
    }
  });
}

/* The difference of two such images, HU, from -range to range. */
function paintDifference(context, width, height, view, first, second, hu, range) {
  const table = TABLES.difference;
  paint(context, width, height, view.width, view.height, (data) => {
    for (let y = 0, i = 0; y < view.height; y++) for (let x = 0; x < view.width; x++, i += 4) {
      const d = hu[first(x, y)] - hu[second(x, y)];
      const n = 3 * Math.max(0, Math.min(255, Math.round(127.5 + (127.5 * d) / range)));
      data[i] = table[n]; data[i + 1] = table[n + 1]; data[i + 2] = table[n + 2]; data[i + 3] = 255;
    }
  });
}
