// The phase diagram of a refined sweep: the estimate, the boundary with its interval, the points.

class Refined {
  constructor(root, data, state) {
    Object.assign(this, { root, data: data.diagram, state });
    if (!this.data) return;
    const section = root.querySelector(".refined");
    this.slice = section.querySelector(".refined-slice");
    options(this.slice, this.data.slices.map((slice, i) => [String(i), slice.name]), "0");
    this.slice.closest(".controls").style.display = this.data.slices.length < 2 ? "none" : "";
    this.slice.addEventListener("change", () => this.draw());
  }

  draw() {
    if (!this.data) return;
    const plot = this.root.querySelector(".refined-plot"), { x, y } = this.data, number = Number(this.slice.value);
    const slice = this.data.slices[number], points = this.data.points.filter((point) => point.slice === number);
    const axis = (one) => ({ title: { text: one.label, standoff: 6 }, type: one.log ? "log" : "linear", range: (one.log ? (v) => v.map(Math.log10) : (v) => v)([one.values[0], one.values.at(-1)]), showgrid: false });
    const traces = y ? this.surface(slice) : this.line(slice);
    const legend = { orientation: "h", x: 0, y: -0.16, yanchor: "top" };
    const extra = { xaxis: axis(x), yaxis: y ? axis(y) : this.upwards(slice), showlegend: true, legend, margin: { l: 62, r: 12, t: 28, b: 96 } };
    Plotly.react(plot, [...traces, ...this.dots(points, slice)], layout(extra), CONFIG);
    if (plot.listening) return;
    plot.listening = true;
    plot.on("plotly_click", (event) => {
      const runs = event.points.map((point) => point.customdata).find(Array.isArray);
      if (!runs) return;
      this.state.pick(runs);
      this.root.querySelector(".curves").scrollIntoView({ behavior: "smooth" });
    });
  }

  // Over two axes: colour where the median seed groks, and contours of its margin.
  surface(slice) {
    const { x, y, steps } = this.data, base = { x: x.values, y: y.values }, seen = slice.estimate.flat().filter((v) => v !== null);
    const z = steps ? slice.estimate.map((row) => row.map((v) => (v === null ? null : Math.log10(v)))) : slice.estimate;
    const marks = steps && seen.length ? logTicks(Math.log10(Math.min(...seen)), Math.log10(Math.max(...seen))) : null;
    const ends = marks ? { tickvals: marks.map((mark) => mark[0]), ticktext: marks.map((mark) => mark[1]) } : {};
    const colour = { colorscale: VIRIDIS.map((c, i) => [i / (VIRIDIS.length - 1), c]), colorbar: { title: { text: this.data.what, side: "right" }, thickness: 12, ...ends } };
    const text = slice.probability.map((row, r) => row.map((p, c) => { const v = slice.estimate[r][c]; return `${v === null ? "" : `${this.data.what} about ${Number(v.toPrecision(3)).toLocaleString("en-US")} (${this.ends(slice, r, c)})<br>`}${Math.round(100 * p)} % of runs grok`; }));
    const hover = { text, hovertemplate: `${x.label} %{x:.4g}, ${y.label} %{y:.4g}<br>%{text}<extra></extra>` };
    const heat = { type: "heatmap", ...base, z: seen.length ? z : slice.probability, ...hover, ...colour, hoverongaps: true };
    if (!seen.length) heat.colorbar = { title: { text: "share of runs that grok", side: "right" }, thickness: 12 };
    const contour = (value, dash, name, showlegend) => ({ type: "contour", ...base, z: slice.margin, autocontour: false, contours: { type: "constraint", operation: "=", value, coloring: "none" }, line: { color: "#c2185b", width: dash === "solid" ? 3 : 1.6, dash }, name, showlegend, hoverinfo: "skip", showscale: false });
    return [heat, contour(0, "solid", "boundary", true), contour(1.96, "dash", "its 95 % interval", true), contour(-1.96, "dash", "", false)];
  }

  ends(slice, r, c) {
    const word = (v) => (v === null ? "never" : Number(v.toPrecision(3)).toLocaleString("en-US"));
    return `${word(slice.low[r][c])} to ${word(slice.high[r][c])}`;
  }

  // Over one axis: the estimate with its interval, or the probability.
  line(slice) {
    const { x } = this.data, known = slice.estimate[0].some((v) => v !== null), line = { color: "#c2185b", width: 2.5 };
    const [middle, name] = known ? [slice.estimate[0], `${this.data.what}, median seed`] : [slice.probability[0], "probability that a run groks"];
    const trace = (y, more) => ({ type: "scatter", mode: "lines", x: x.values, y, line, hoverinfo: "skip", ...more });
    const edge = { width: 0 };
    const band = known ? [trace(slice.low[0], { line: edge, showlegend: false }), trace(slice.high[0].map((v, i) => (v === null && slice.low[0][i] !== null ? this.data.level : v)), { line: edge, fill: "tonexty", fillcolor: "rgba(194,24,91,0.18)", name: "95 % interval" })] : [];
    return [...band, trace(middle, { name, hoverinfo: "x+y" })];
  }

  upwards(slice) {
    const known = slice.estimate[0].some((v) => v !== null);
    return { title: { text: known ? this.data.what : "share of runs that grok", standoff: 6 }, type: known && this.data.steps ? "log" : "linear", exponentformat: "none", separatethousands: true };
  }

  dots(points, slice) {
    const known = slice.estimate[0].some((v) => v !== null), height = (point) => (this.data.y || known ? point.y : point.share);
    const kinds = [["all", "all seeds grok", "circle", "#fff"], ["some", "some grok", "diamond", "#9aa0a8"], ["none", "none groks", "triangle-up", "#000"], ["diverged", "diverged", "x", "#000"]];
    return kinds.map(([kind, name, symbol, color]) => {
      const mine = points.filter((point) => point.kind === kind);
      const marker = { symbol, color, size: mine.map((point) => 6 + 2 * Math.sqrt(point.count)), opacity: 1, line: { color: "#000", width: 1 } };
      return { type: "scatter", mode: "markers", name, x: mine.map((point) => point.x), y: mine.map(height), text: mine.map((point) => point.text), customdata: mine.map((point) => point.runs), marker, cliponaxis: false, hovertemplate: "%{text}<br>click for its runs<extra></extra>" };
    }).filter((trace) => trace.x.length);
  }
}
