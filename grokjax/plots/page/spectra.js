// Spectra of one run, with a slider over its checkpoints; fixed axes make growth visible.

class Spectra {
  constructor(root, data) {
    Object.assign(this, { root, data: data.spectra, runs: data.runs, decoded: new Map(), all: data });
    const section = root.querySelector(".spectra");
    if (!section) return;
    this.run = section.querySelector(".spectrum-run");
    this.slider = section.querySelector(".spectrum-step");
    this.output = section.querySelector("output");
    options(this.run, this.runs.map((run, i) => [String(i), short(run.name, 60)]), "0");
    this.slider.max = this.data.steps.length - 1;
    this.slider.value = this.slider.max;
    this.plots = this.data.variables.map((variable) => {
      const cell = document.createElement("div"), title = document.createElement("h3"), plot = document.createElement("div");
      cell.className = "cell"; plot.className = "plot";
      title.textContent = variable.label + (variable.units ? ` (${variable.units})` : "");
      cell.append(title, definition(variable.definition), plot);
      section.querySelector(".spectrum-plots").append(cell);
      return plot;
    });
    this.run.addEventListener("change", () => this.draw());
    this.slider.addEventListener("input", () => this.soon());
  }

  show(i) {
    if (!this.run) return;
    this.run.value = String(i);
    this.draw();
  }

  soon() { // at most one drawing per frame while the slider moves
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => { this.waiting = null; this.draw(); });
  }

  // [frequency] of one run at one checkpoint, NaN for missing values.
  values(variable, run, step) {
    if (!this.decoded.has(variable.key)) this.decoded.set(variable.key, codes(variable.values));
    const all = this.decoded.get(variable.key), count = this.data.frequencies.length;
    const first = (run * this.data.steps.length + step) * count, low = variable.low[run], high = variable.high[run];
    const width = (high > low ? high - low : 1) / (NO_NUMBER - 1);
    return Array.from(all.subarray(first, first + count), (code) => (code === NO_NUMBER ? NaN : low + code * width));
  }

  draw() {
    if (!this.run) return;
    const run = Number(this.run.value), keys = new Set(this.data.keys[run] ?? []);
    let step = Number(this.slider.value);
    const empty = (s) => this.data.variables.every((v) => this.values(v, run, s).every(Number.isNaN));
    const chosen = step;
    while (step > 0 && empty(step)) step--;
    this.output.textContent = whole(this.data.steps[step]) + (step < chosen ? " (its last)" : "");
    this.data.variables.forEach((variable, i) => {
      const y = this.values(variable, run, step), x = this.data.frequencies, empty = y.every(Number.isNaN);
      this.plots[i].parentElement.classList.toggle("empty", empty);
      if (empty) return;
      const kind = x.map((k) => (keys.has(k) ? (keys.size > 8 ? "above the threshold" : "key frequency") : ""));
      const bar = { type: "bar", x, y, text: kind, textposition: "none", marker: { color: x.map((k) => (keys.has(k) ? (keys.size > 8 ? "#e7a77c" : "#d55e00") : "#9db8cc")) } };
      bar.hovertemplate = `${this.runs[run].name}<br>frequency %{x}: %{y:.4g} %{text}<extra></extra>`;
      const low = Math.min(0, variable.low[run]), high = Math.max(variable.high[run], 0), margin = 0.06 * (high - low) || 1;
      const labels = x.filter((k) => keys.has(k) && keys.size <= 8 && !Number.isNaN(y[x.indexOf(k)])).map((k) => ({ x: k, y: Math.max(y[x.indexOf(k)], 0), text: String(k), showarrow: false, yshift: 9, font: { size: 11, color: "#b04a00" } }));
      const seen = { range: [low < 0 ? low - margin : 0, high + 1.6 * margin] };
      const across = { title: { text: "frequency", standoff: 6 } };
      Plotly.react(this.plots[i], [bar], layout({ xaxis: across, yaxis: seen, annotations: labels, bargap: 0.25, uirevision: String(run) }), CONFIG);
    });
  }
}
