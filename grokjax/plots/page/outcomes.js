// Steps to grok: along one axis, and a diagram over two axes whose cells select their runs.

class Outcomes {
  constructor(root, data, state) {
    Object.assign(this, { root, data, state });
    const section = root.querySelector(".outcomes");
    this.axes = data.axes.filter((axis) => axis.name !== "steps");
    if (!this.axes.length || !data.known) return;
    section.hidden = false;
    const entries = this.axes.map((axis) => [axis.name, axis.label]);
    const swept = this.axes.filter((axis) => axis.name !== "seed");
    this.along = section.querySelector(".along-axis");
    options(this.along, entries, (swept[0] ?? this.axes[0]).name);
    this.along.addEventListener("change", () => this.drawAlong());
    this.diagram = section.querySelector(".diagram");
    this.diagram.hidden = swept.length < 2 || Boolean(data.diagram);
    [this.x, this.y] = [".diagram-x", ".diagram-y"].map((name) => section.querySelector(name));
    section.querySelector(".along").classList.toggle("alone", this.diagram.hidden);
    if (this.diagram.hidden) return;
    options(this.x, swept.map((a) => [a.name, a.label]), swept[0].name);
    options(this.y, swept.map((a) => [a.name, a.label]), swept[1].name);
    for (const select of [this.x, this.y]) select.addEventListener("change", () => this.drawDiagram());
  }

  draw() {
    if (!this.along) return;
    this.drawAlong();
    if (!this.diagram.hidden) this.drawDiagram();
  }

  drawAlong() {
    const axis = this.along.value, plot = this.root.querySelector(".along-plot"), all = levels(this.data, axis);
    const index = new Map(all.map((level, i) => [level.rank, i])), runs = this.state.visible();
    const kinds = [
      { outcome: "grokked", symbol: "circle", colour: "#0072b2", name: "grokked", says: "grokked at step" },
      { outcome: "never", symbol: "triangle-up-open", colour: "#d55e00", name: "not grokked", says: "had not grokked by its last step," },
      { outcome: "unfinished", symbol: "circle-open", colour: "#60656c", name: "not yet", says: "not at its last step, had not grokked by" },
      { outcome: "diverged", symbol: "x", colour: "#000", name: "diverged", says: "diverged at step" },
    ];
    const beyond = kinds.slice(1).map((kind) => kind.outcome).filter((x) => runs.some((i) => this.data.runs[i].outcome === x));
    const groups = all.map((level) => runs.filter((i) => this.data.runs[i].ranks[axis] === level.rank));
    const spread = (i) => { const group = groups[index.get(this.data.runs[i].ranks[axis])]; return group.length > 1 ? 0.36 * (group.indexOf(i) / (group.length - 1) - 0.5) : 0; };
    // Runs without steps to grok have rows above the scale.
    const traces = kinds.map(({ outcome, symbol, colour, name, says }) => {
      const mine = runs.filter((i) => this.data.runs[i].outcome === outcome && this.data.runs[i].step !== null), of = mine.map((i) => this.data.runs[i]);
      const row = beyond.indexOf(outcome), marker = { symbol, size: 8, color: colour, line: { width: 1.4, color: colour } };
      const where = row < 0 ? { y: of.map((run) => run.step) } : { y: of.map(() => row), yaxis: "y2" };
      const text = of.map((run) => `${run.name}<br>${says} ${whole(run.step)}`);
      return { type: "scatter", mode: "markers", name, x: mine.map((i) => index.get(this.data.runs[i].ranks[axis]) + spread(i)), ...where, text, customdata: mine, marker, hovertemplate: "%{text}<extra></extra>" };
    }).filter((trace) => trace.x.length);
    const medians = groups.map((group) => this.median(group));
    const known = medians.map((x, i) => [i, x]).filter(([, x]) => Number.isFinite(x));
    if (known.length && groups.some((group) => group.length > 1)) traces.push({ type: "scatter", mode: "markers", name: "median, where most grokked", x: known.map(([i]) => i), y: known.map(([, x]) => x), marker: { symbol: "line-ew-open", size: 26, color: "#000", line: { width: 2.5 } }, hovertemplate: "median %{y:,}<extra></extra>" });
    const steps = runs.map((i) => this.data.runs[i]).filter((run) => run.outcome === "grokked").map((run) => run.step);
    const wide = steps.length && Math.max(...steps) >= 10 * Math.min(...steps), top = beyond.length ? 0.95 - (TOUCH ? 0.11 : 0.07) * beyond.length : 1;
    const y = { type: wide ? "log" : "linear", title: { text: "steps to grok", standoff: 6 }, exponentformat: "none", separatethousands: true, domain: [0, top] };
    if (!steps.length) Object.assign(y, { visible: false, range: [0, 1] });
    plot.style.height = steps.length ? "" : "130px";
    const names = beyond.map((outcome) => kinds.find((kind) => kind.outcome === outcome).name);
    const yaxis2 = { domain: [steps.length ? top + 0.04 : 0, 1], range: [-0.7, beyond.length - 0.3], tickvals: names.map((_, i) => i), ticktext: names, showgrid: false, zeroline: false, automargin: true, visible: beyond.length > 0 };
    const marks = wide ? logTicks(Math.log10(Math.min(...steps)), Math.log10(Math.max(...steps))) : [];
    if (wide) Object.assign(y, { tickvals: marks.map((mark) => 10 ** mark[0]), ticktext: marks.map((mark) => mark[1]) });
    else if (steps.length) y.rangemode = "tozero";
    const stride = Math.ceil(all.length / 12), ticks = all.map((_, i) => i).filter((i) => i % stride === 0);
    const x = { title: { text: this.along.selectedOptions[0].text, standoff: 6 }, tickvals: ticks, ticktext: ticks.map((i) => all[i].text), range: [-0.6, all.length - 0.4] };
    const legend = { orientation: "h", x: 0, y: -0.2, yanchor: "top" };
    Plotly.react(plot, traces, layout({ xaxis: x, yaxis: y, yaxis2, showlegend: steps.length > 0, legend, margin: { l: 62, r: 12, t: 28, b: steps.length ? 84 : 44 } }), CONFIG);
    if (plot.listening) return;
    plot.listening = true;
    plot.on("plotly_click", (event) => { const i = event.points[0].customdata; if (i !== undefined) this.state.pick([i]); });
  }

  // The median of steps to grok; a run that did not grok counts as later than all others.
  median(group) {
    if (!group.length) return NaN;
    const steps = group.map((i) => { const run = this.data.runs[i]; return run.outcome === "grokked" ? run.step : Infinity; });
    return middleOf(steps.sort((a, b) => a - b));
  }

  drawDiagram() {
    const plot = this.root.querySelector(".diagram-plot"), across = levels(this.data, this.x.value), up = levels(this.data, this.y.value);
    const cells = up.map((row) => across.map((column) => this.data.runs.map((_, i) => i).filter((i) => this.data.runs[i].ranks[this.x.value] === column.rank && this.data.runs[i].ranks[this.y.value] === row.rank)));
    const grokked = (cell) => cell.filter((i) => this.data.runs[i].outcome === "grokked").length;
    const open = (cell) => cell.filter((i) => this.data.runs[i].outcome === "unfinished").length;
    const medians = cells.map((row) => row.map((cell) => this.median(cell)));
    const words = medians.map((row, r) => row.map((x, c) => { const cell = cells[r][c]; return cell.length ? `${this.x.selectedOptions[0].text} ${across[c].text}, ${this.y.selectedOptions[0].text} ${up[r].text}<br>${grokked(cell)} of ${cell.length} runs grokked${open(cell) ? `, ${open(cell)} may still grok` : ""}<br>${Number.isFinite(x) ? `median ${whole(x)} steps` : "no median: half or fewer grokked"}` : "not in the sweep"; }));
    const finite = medians.flat().filter(Number.isFinite), log = finite.length && Math.max(...finite) >= 10 * Math.min(...finite);
    const z = medians.map((row) => row.map((x) => (Number.isFinite(x) ? (log ? Math.log10(x) : x) : null)));
    const labels = [];
    cells.forEach((row, r) => row.forEach((cell, c) => { if (cell.length) labels.push([c, r, `${grokked(cell)}/${cell.length}`, z[r][c]]); }));
    const shown = z.flat().filter((x) => x !== null), low = Math.min(...shown), high = Math.max(...shown);
    const marks = shown.length && log ? logTicks(low, high) : null;
    const ends = marks ? { tickvals: marks.map((mark) => mark[0]), ticktext: marks.map((mark) => mark[1]) } : {};
    const heat = { type: "heatmap", x: across.map((_, i) => i), y: up.map((_, i) => i), z, text: words, hovertemplate: "%{text}<extra></extra>", hoverongaps: true, xgap: 2, ygap: 2, colorscale: VIRIDIS.map((colour, i) => [i / (VIRIDIS.length - 1), colour]), colorbar: { title: { text: "median steps", side: "right" }, thickness: 12, ...ends }, showscale: shown.length > 0 };
    const under = { type: "heatmap", x: heat.x, y: heat.y, z: cells.map((row) => row.map((cell) => (cell.length ? (grokked(cell) ? 1 : 0) : null))), zmin: 0, zmax: 1, colorscale: [[0, "#eceef1"], [1, "#c3c8cf"]], showscale: false, xgap: 2, ygap: 2, text: words, hovertemplate: "%{text}<extra></extra>" };
    const middle = (low + high) / 2;
    const size = Math.min(11, (plot.clientWidth - 160) / across.length / (0.62 * Math.max(...labels.map((label) => label[2].length)))); // to fit into a cell
    const annotations = size < 6 ? [] : labels.map(([x, y, text, value]) => ({ x, y, text, showarrow: false, font: { size, color: value !== null && (value < middle || low === high) ? "#fff" : "#000" } }));
    const axis = (levelsOf, word) => ({ tickvals: levelsOf.map((_, i) => i), ticktext: levelsOf.map((level) => level.text), title: { text: word, standoff: 6 }, showgrid: false });
    const extra = { xaxis: axis(across, this.x.selectedOptions[0].text), yaxis: axis(up, this.y.selectedOptions[0].text), annotations, margin: { l: 62, r: 8, t: 28, b: 84 } };
    Plotly.react(plot, [under, heat], layout(extra), CONFIG);
    if (plot.listening) return;
    plot.listening = true;
    plot.on("plotly_click", (event) => this.open(event.points[0]));
  }

  open(point) {
    const value = (axis, index) => String(levels(this.data, axis)[index].text);
    this.state.filter({ [this.x.value]: value(this.x.value, point.x), [this.y.value]: value(this.y.value, point.y) });
    this.root.querySelector(".curves").scrollIntoView({ behavior: "smooth" });
  }
}
