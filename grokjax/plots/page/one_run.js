// The progress measures of one run with its phases, as in the paper's Figure 7.

const RUN_COLOURS = ["#56606c", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"];

class OneRun {
  constructor(root, data, curves) {
    Object.assign(this, { data, curves, section: root.querySelector(".one-run") });
    if (!this.section) return;
    this.menu = this.section.querySelector(".one-run-menu");
    options(this.menu, data.runs.map((run, i) => [String(i), short(run.name, 60)]), "0");
    this.grid = this.section.querySelector(".one-run-plots");
    this.phases = this.section.querySelector(".phases");
    this.menu.addEventListener("change", () => this.draw());
    curves.scale.addEventListener("change", () => this.draw());
    this.cells = data.panels.map((panel) => {
      const cell = document.createElement("div"), title = document.createElement("h3"), plot = document.createElement("div");
      cell.className = "cell";
      plot.className = "plot";
      title.textContent = panel.title + (panel.units ? ` (${panel.units})` : "");
      cell.append(title, plot);
      this.grid.append(cell);
      return { cell, plot };
    });
  }

  show(i) {
    if (!this.section) return;
    this.menu.value = String(i);
    this.draw();
  }

  draw() {
    if (!this.section) return;
    const index = Number(this.menu.value), log = this.curves.scale.value === "log", run = this.data.runs[index];
    this.data.panels.forEach((panel, i) => {
      const { cell, plot } = this.cells[i], traces = this.traces(panel, index, log);
      cell.hidden = !traces.length;
      if (!traces.length) return;
      const x = { type: log ? "log" : "linear", title: { text: "step", standoff: 6 }, exponentformat: "none", separatethousands: true };
      const y = { type: panel.log ? "log" : "linear", exponentformat: "power" };
      const legend = { orientation: "h", x: 0, y: -0.2, yanchor: "top", font: { size: 11 } };
      Plotly.react(plot, traces, layout({ xaxis: x, yaxis: y, showlegend: true, legend, shapes: this.shapes(run, log, traces), margin: { l: 58, r: 12, t: TOUCH ? 8 : 28, b: 76 }, uirevision: `${index} ${log}` }), CONFIG);
    });
    const named = run.ends.map((end, i) => (end === null ? "" : `${PHASE_NAMES[i]} to step ${whole(end)}`)).filter(Boolean);
    this.phases.textContent = "";
    named.forEach((text, i) => {
      const entry = document.createElement("span"), swatch = document.createElement("i");
      swatch.style.background = PHASE_SHADES[i];
      entry.append(swatch, text);
      this.phases.append(entry);
    });
    if (!named.length) this.phases.textContent = "The phases of this run are not known: it did not go through them.";
  }

  traces(panel, index, log) {
    const traces = [];
    panel.lines.forEach(({ key, label }, n) => {
      const variable = this.data.curves.variables.find((x) => x.key === key), { steps } = this.data.curves.groups[variable.group];
      const values = this.curves.values(variable), x = [], y = [];
      steps.forEach((step, t) => {
        const value = values[index * steps.length + t];
        if (Number.isNaN(value)) return;
        x.push(log ? Math.max(step, 1) : step);
        y.push(value);
      });
      const line = { color: RUN_COLOURS[n % RUN_COLOURS.length], width: 1.8, dash: DASHES[Math.floor(n / RUN_COLOURS.length) % DASHES.length] };
      if (x.length) traces.push({ type: "scatter", mode: x.length < 2 ? "markers" : "lines", x, y, name: label, line, hovertemplate: `${label}<br>step %{x:,}: %{y:.4g}<extra></extra>` });
    });
    return traces;
  }

  // A band for each phase, between its ends.
  shapes(run, log, traces) {
    const first = log ? 1 : 0, last = Math.max(...traces.flatMap((trace) => trace.x)), made = [];
    let from = first;
    run.ends.forEach((end, i) => {
      if (end === null || end <= from) return;
      made.push({ type: "rect", layer: "below", x0: from, x1: end, yref: "paper", y0: 0, y1: 1, fillcolor: PHASE_SHADES[i], line: { width: 0 } });
      from = end;
    });
    if (made.length === 3 && last > from) made.push({ type: "rect", layer: "below", x0: from, x1: last, yref: "paper", y0: 0, y1: 1, fillcolor: PHASE_SHADES[3], line: { width: 0 } });
    return made;
  }
}
