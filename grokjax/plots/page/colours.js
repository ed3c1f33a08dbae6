// Colours of the levels of an axis, and their legend: at most six entries, or a scale of colours.

const ENTRIES = 6;

// The levels of an axis (without one, the runs) in order, with their colours and dashes.
function levels(data, axis) {
  const texts = new Map();
  for (const run of data.runs) {
    if (axis) texts.set(run.ranks[axis], run.values[axis]);
    else texts.set(run.run, run.name);
  }
  const ranks = [...texts.keys()].sort((a, b) => a - b), many = ranks.length > ENTRIES;
  const places = placesOf(ranks.map((rank) => Number(texts.get(rank))), many && isNumeric(data, axis));
  return ranks.map((rank, i) => ({
    rank,
    text: texts.get(rank),
    colour: shade(ranks.length > 1 ? places[i] : 0.35),
    dash: many ? "solid" : DASHES[i % DASHES.length],
  }));
}

const levelOf = (run, axis) => (axis ? run.ranks[axis] : run.run);

function isNumeric(data, axis) {
  return axis !== "seed" && (data.axes.find((x) => x.name === axis)?.numeric ?? false);
}

// Positive numbers that span a decade have a logarithmic scale.
const isLogarithmic = (numbers) => Math.min(...numbers) > 0 && Math.max(...numbers) >= 10 * Math.min(...numbers);

// From 0 to 1: numbers by their size, other values by their rank.
function placesOf(numbers, bySize) {
  if (!bySize) return numbers.map((_, i) => i / Math.max(numbers.length - 1, 1));
  const sizes = isLogarithmic(numbers) ? numbers.map(Math.log) : numbers, low = Math.min(...sizes), high = Math.max(...sizes);
  return sizes.map((x) => (x - low) / (high - low || 1));
}

function drawLegend(box, data, axis, word) {
  box.textContent = "";
  const all = levels(data, axis);
  if (data.runs.length < 2) return;
  if (all.length > ENTRIES && (isNumeric(data, axis) || axis === "seed" || !axis)) {
    box.append(colourScale(all, word, isNumeric(data, axis)));
    return;
  }
  const some = all.length > ENTRIES ? Array.from({ length: ENTRIES - 1 }, (_, i) => all[Math.round((i * (all.length - 1)) / (ENTRIES - 2))]) : all;
  for (const level of some) {
    const entry = document.createElement("span");
    const stroke = { solid: "", dash: "6 4", dot: "2 3", dashdot: "7 3 2 3", longdash: "11 4" }[level.dash];
    entry.innerHTML = `<svg width="34" height="8"><line x1="1" x2="33" y1="4" y2="4" stroke="${level.colour}" stroke-width="2.5" stroke-dasharray="${stroke}"/></svg>`;
    entry.append(axis ? `${word} ${level.text}` : level.text);
    box.append(entry);
  }
  if (some.length < all.length) {
    const rest = document.createElement("span");
    rest.textContent = `and ${all.length - some.length} more between them`;
    box.append(rest);
  }
}

function colourScale(all, word, bySize) {
  const scale = document.createElement("span"), numbers = all.map((level) => Number(level.text));
  scale.className = "scale-bar";
  const stops = Array.from({ length: 9 }, (_, i) => shade(i / 8)).join(",");
  const bar = document.createElement("i");
  bar.style.background = `linear-gradient(to right, ${stops})`;
  const [first, last] = [all[0], all[all.length - 1]].map((level) => level.text.split(":")[0]);
  const how = bySize && isLogarithmic(numbers) ? ", logarithmic" : "";
  scale.append(`${word} ${first.replace(/^run /, "")}`, bar, `${last.replace(/^run /, "")} (${all.length} values${how})`);
  return scale;
}
