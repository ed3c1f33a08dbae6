// A custom view: plotly figures that a registered part made, one for each checkpoint.

class CustomView {
  constructor(pane, run, app, name) {
    this.figures = run[name];
    this.plot = addTo(addTo(pane, "div", "chart"), "div", "plot");
  }

  draw(position) {
    const index = Math.round(position);
    if (this.shown === index) return;
    this.shown = index;
    const { data = [], layout: own = {} } = this.figures[index];
    const standard = { showlegend: data.length > 1, margin: { l: 58, r: 12, t: own.title ? 48 : 28, b: 46 } };
    Plotly.react(this.plot, data, layout({ ...standard, ...own }), CONFIG);
  }
}
