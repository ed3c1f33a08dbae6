// Canvases, colours and small pieces of DOM shared by all views.

// Okabe and Ito's colours and two dark ones, which the colour-blind can tell apart, for frequencies.
const HUES = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#5b2c6f", "#4d2600"];
const GREY = "#b4b9c0";
// A cyclic map whose lightness and hue both change: blue, dark, orange, light.
const WHEEL = [[0, 114, 178], [30, 27, 60], [213, 94, 0], [240, 200, 110]];

const mixed = (a, b, t) => a.map((x, i) => Math.round(x + t * (b[i] - x)));

function wheel(turn) {
  const x = (((turn % 1) + 1) % 1) * WHEEL.length, i = Math.floor(x);
  return mixed(WHEEL[i], WHEEL[(i + 1) % WHEEL.length], x - i);
}

const rgb = (colour) => `rgb(${colour.join(",")})`;

// 256 colours as one number each, in the byte order of ImageData.
function table(colourOf) {
  const made = new Uint32Array(256);
  for (let i = 0; i < 256; i++) {
    const [r, g, b] = colourOf(i / 255);
    made[i] = (255 << 24) | (b << 16) | (g << 8) | r;
  }
  return made;
}

const fromHex = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
const along = (stops) => (x) => {
  const at = Math.min(x, 0.9999) * (stops.length - 1), i = Math.floor(at);
  return mixed(stops[i], stops[i + 1], at - i);
};
const VIRIDIS_TABLE = table(along(VIRIDIS.map(fromHex)));
// Orange below the middle, blue above it; light enough for dark marks.
const SIGNED_TABLE = table(along([[213, 94, 0], [244, 160, 90], [252, 222, 190], [248, 248, 248], [205, 228, 244], [110, 178, 222], [0, 114, 178]]));

function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

function addTo(parent, tag, className = "", text = "") {
  const made = element(tag, className, text);
  parent.append(made);
  return made;
}

// The context of a canvas at the resolution of the screen; units are CSS pixels.
function fitted(canvas) {
  const ratio = Math.min(window.devicePixelRatio || 1, 2), { clientWidth: w, clientHeight: h } = canvas;
  if (canvas.width !== Math.round(w * ratio) || canvas.height !== Math.round(h * ratio)) {
    canvas.width = Math.round(w * ratio);
    canvas.height = Math.round(h * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, w, h);
  return { context, w, h };
}

// A square map of n x n codes 0 to 255, row a from the top, column b from the left.
class CodeMap {
  constructor(canvas, n, colours) {
    Object.assign(this, { canvas, n, colours });
    this.buffer = document.createElement("canvas");
    this.buffer.width = this.buffer.height = n;
    this.image = this.buffer.getContext("2d").createImageData(n, n);
    this.pixels = new Uint32Array(this.image.data.buffer);
  }

  draw(codeOf) {
    const { pixels, colours, n } = this;
    for (let i = 0; i < n * n; i++) pixels[i] = colours[codeOf(i)];
    this.buffer.getContext("2d").putImageData(this.image, 0, 0);
    const { context, w, h } = fitted(this.canvas);
    context.imageSmoothingEnabled = false;
    context.drawImage(this.buffer, 0, 0, w, h);
    return { context, w, h, cell: w / n };
  }

  // Row and column under an event.
  at(event) {
    const box = this.canvas.getBoundingClientRect(), clip = (x) => Math.max(0, Math.min(this.n - 1, Math.floor(x * this.n)));
    return [clip((event.clientY - box.top) / box.height), clip((event.clientX - box.left) / box.width)];
  }
}

// Values from lowest to highest as codes; a constant map is in the middle.
function coder(values) {
  let low = Infinity, high = -Infinity;
  for (const x of values) { if (x < low) low = x; if (x > high) high = x; }
  const scale = high > low ? 255 / (high - low) : 0;
  return { low, high, code: (i) => (scale ? Math.round((values[i] - low) * scale) : 128) };
}

const tip = {
  show(event, text) {
    const box = document.querySelector(".tip");
    box.textContent = text;
    box.hidden = !text;
    box.style.left = `${Math.min(event.clientX + 14, innerWidth - box.offsetWidth - 6)}px`;
    box.style.top = `${event.clientY + 14}px`;
  },
  hide() { document.querySelector(".tip").hidden = true; },
};

function hover(canvas, textOf) {
  canvas.addEventListener("pointermove", (event) => tip.show(event, textOf(event) ?? ""));
  canvas.addEventListener("pointerleave", () => tip.hide());
}

function legend(parent, entries) {
  const list = addTo(parent, "p", "legend");
  for (const [colour, text] of entries) {
    const entry = addTo(list, "span");
    addTo(entry, "i").style.background = colour;
    entry.append(text);
  }
  return list;
}

const degrees = (code) => `${Math.round((code / 256) * 360)}°`;
const shortNumber = (x) => (Math.abs(x) >= 1e-3 && Math.abs(x) < 1e4 ? Number(x.toPrecision(3)).toString() : x === 0 ? "0" : x.toExponential(1));
