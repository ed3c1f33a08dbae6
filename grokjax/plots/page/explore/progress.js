// Progress measures over steps, drawn by plotly once, with a cursor that follows the slider.

class Progress {
  constructor(pane, run, app) {
    Object.assign(this, { run, app });
    const grid = addTo(pane, "div", "charts");
    this.charts = run.progress.map((panel) => {
      const box = addTo(grid, "div", "chart");
      addTo(box, "h3", "", panel.title + (panel.units ? ` (${panel.units})` : ""));
      const holder = addTo(box, "div", "chart"), plot = addTo(holder, "div", "plot"), cursor = addTo(holder, "div", "cursor");
      return { plot, cursor, panel };
    });
    // Once all are there: a chart gets the width that its place has then.
    for (const { plot, panel } of this.charts) this.plot(plot, panel);
  }

  plot(plot, panel) {
    const colours = ["#56606c", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"], x = panel.steps.map((step) => Math.max(step, 1));
    const traces = panel.lines.map((line, i) => ({
      type: "scatter", mode: "lines", x, y: Array.from(floats(line.values)), name: line.label,
      line: { color: colours[i % colours.length], width: 1.8, dash: DASHES[Math.floor(i / colours.length) % DASHES.length] },
      hovertemplate: `${line.label}<br>step %{x:,}: %{y:.4g}<extra></extra>`,
    }));
    const axis = { type: "log", title: { text: "step", standoff: 4 }, exponentformat: "none", separatethousands: true, dtick: 1 };
    const y = { type: panel.log ? "log" : "linear", exponentformat: "power" };
    const legendAt = { orientation: "h", y: -0.28, x: 0, font: { size: 11 } };
    Plotly.newPlot(plot, traces, layout({ xaxis: axis, yaxis: y, showlegend: true, legend: legendAt, margin: { l: 54, r: 10, t: 8, b: 40 }, shapes: this.phases() }), { ...CONFIG, displayModeBar: false });
    plot.addEventListener("click", (event) => this.click(plot, event));
    plot.on("plotly_relayout", () => this.draw(this.position ?? 0));
  }

  phases() {
    const ends = this.run.ends.filter((end) => end !== null);
    return ends.map((end) => ({ type: "line", x0: end, x1: end, yref: "paper", y0: 0, y1: 1, line: { color: "#9aa0a8", dash: "dot", width: 1 } }));
  }

  click(plot, event) {
    const { xaxis } = plot._fullLayout, at = event.clientX - plot.getBoundingClientRect().left - xaxis._offset;
    if (at >= 0 && at <= xaxis._length) this.app.scrubber(this.run)(this.run.nearest(10 ** xaxis.p2l(at)));
  }

  draw(position) {
    this.position = position;
    const i = Math.floor(position), t = position - i, { steps } = this.run, step = (1 - t) * steps[i] + t * steps[Math.min(i + 1, steps.length - 1)];
    for (const { plot, cursor } of this.charts) {
      const { xaxis, yaxis } = plot._fullLayout ?? {};
      if (!xaxis) continue;
      const at = xaxis._offset + xaxis.l2p(Math.log10(Math.max(step, 1)));
      cursor.hidden = at < xaxis._offset - 1 || at > xaxis._offset + xaxis._length + 1;
      cursor.style.transform = `translate(${at - 1}px, ${yaxis._offset}px)`;
      cursor.style.height = `${yaxis._length}px`;
    }
  }
}
