// Shared by all charts: decoding, colours, texts of numbers, plotly's settings.

const FONT = { family: 'system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif', size: 12 };
const TOUCH = matchMedia("(pointer: coarse)").matches || innerWidth < 760; // where a drag scrolls the page
// Next to plotly's own button for PNG.
const SVG = { name: "Download plot as an SVG", icon: Plotly.Icons.disk, click: (plot) => Plotly.downloadImage(plot, { format: "svg", filename: "grokjax" }) };
const CONFIG = { responsive: true, displaylogo: false, displayModeBar: TOUCH ? false : "hover", modeBarButtonsToRemove: ["lasso2d", "select2d"], modeBarButtonsToAdd: [SVG] };
// Viridis, whose lightness is monotone, without its yellow end, which is invisible on white.
const VIRIDIS = ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#addc30"];
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];
const NO_NUMBER = 65535;
const PHASE_SHADES = ["#eef3fa", "#fdf1dc", "#e6f4ee", "#f3f3f5"];
const PHASE_NAMES = ["memorization", "circuit formation", "cleanup", "after cleanup"];

function bytes(text) {
  const raw = atob(text), array = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) array[i] = raw.charCodeAt(i);
  return array.buffer;
}

const floats = (text) => new Float32Array(bytes(text));
const codes = (text) => new Uint16Array(bytes(text));

function shade(value) { // 0 to 1, interpolated in the map
  const x = 0.92 * value * (VIRIDIS.length - 1), i = Math.min(Math.floor(x), VIRIDIS.length - 2);
  const part = (hex, k) => parseInt(hex.slice(1 + 2 * k, 3 + 2 * k), 16);
  const mix = (k) => Math.round(part(VIRIDIS[i], k) + (x - i) * (part(VIRIDIS[i + 1], k) - part(VIRIDIS[i], k)));
  return `rgb(${mix(0)},${mix(1)},${mix(2)})`;
}

const whole = (x) => Math.round(x).toLocaleString("en-US");
const clear = (colour, alpha) => colour.replace("rgb", "rgba").replace(")", `,${alpha})`);
const short = (text, limit) => (text.length > limit ? `${text.slice(0, limit - 1)}…` : text);

function layout(extra) {
  const axis = { gridcolor: "#e8eaee", zeroline: false, linecolor: "#9aa0a8", automargin: true };
  const base = { font: FONT, margin: { l: 58, r: 12, t: TOUCH ? 8 : 28, b: 42 }, hovermode: "closest", showlegend: false };
  base.hoverlabel = { align: "left", font: { ...FONT, size: 12 }, namelength: -1 };
  base.modebar = { bgcolor: "rgba(255,255,255,0.85)", color: "#8b929b", activecolor: "#0072b2" };
  if (TOUCH) base.dragmode = false;
  base.paper_bgcolor = base.plot_bgcolor = "rgba(0,0,0,0)";
  return { ...base, ...extra, xaxis: { ...axis, ...extra.xaxis }, yaxis: { ...axis, ...extra.yaxis } };
}

// A definition in small print; a long one opens on a click.
function definition(text) {
  const limit = 110, box = document.createElement(text.length > limit ? "details" : "p");
  box.className = "about";
  if (text.length > limit) {
    const head = document.createElement("summary"), whole = document.createElement("span");
    head.textContent = text;
    whole.textContent = text;
    box.append(head, whole);
  } else box.textContent = text;
  return box;
}

function options(select, entries, chosen) {
  for (const [value, label] of entries) select.add(new Option(label, value, false, value === chosen));
}

// Groups of runs that differ in seed and steps alone.
function cellsOf(data, runs) {
  const axes = data.axes.filter((axis) => axis.name !== "seed" && axis.name !== "steps");
  const cells = new Map();
  for (const i of runs) {
    const run = data.runs[i];
    const name = axes.map((axis) => `${axis.label} ${run.values[axis.name]}`).join(", ") || "all seeds";
    if (!cells.has(name)) cells.set(name, []);
    cells.get(name).push(i);
  }
  return cells;
}

// The largest k whose k-th lowest and highest of `count` values cover the median with 95 %, or 1.
function intervalRank(count) {
  let below = 0, choose = 1, best = 1;
  for (let k = 1; k <= count / 2; k++) {
    below += choose / 2 ** count;
    choose = (choose * (count - k + 1)) / k;
    if (1 - 2 * below >= 0.95) best = k;
  }
  return best;
}

function middleOf(sorted) {
  const n = sorted.length;
  return (sorted[(n - 1) >> 1] + sorted[n >> 1]) / 2;
}

// Ticks [logarithm, text] of a logarithmic axis: a few whole numbers between two logarithms.
function logTicks(low, high) {
  const values = [];
  const digits = high - low > 2.5 ? [1] : [1, 2, 5];
  for (let decade = Math.floor(low); decade <= Math.ceil(high); decade++)
    for (const digit of digits) {
      const log = decade + Math.log10(digit);
      if (log >= low - 1e-9 && log <= high + 1e-9) values.push([log, whole(digit * 10 ** decade)]);
    }
  return values.length > 1 ? values : [[low, whole(10 ** low)], [high, whole(10 ** high)]];
}
