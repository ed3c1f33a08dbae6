// Curves over steps: a chart for each chosen measure, thinned to the resolution of a screen.

const DRAWN = 40000; // points per chart; a zoom redraws the steps within it

class Curves {
  constructor(root, data, state) {
    Object.assign(this, { root, data, state, decoded: new Map(), range: null });
    this.grid = root.querySelector(".grid");
    this.mode = root.querySelector(".mode");
    this.hue = root.querySelector(".hue");
    this.scale = root.querySelector(".scale");
    const axes = data.axes.filter((axis) => axis.name !== "steps");
    options(this.hue, [...axes.map((axis) => [axis.name, axis.label]), ["", "run"]], axes[0]?.name ?? "");
    if (data.runs.length < 2) this.mode.parentElement.hidden = this.hue.parentElement.hidden = true;
    this.chosen = new Set(data.curves.shown);
    this.fillMenu();
    for (const select of [this.mode, this.hue]) select.addEventListener("change", () => this.draw());
    this.scale.addEventListener("change", () => { this.range = null; this.draw(); });
  }

  fillMenu() {
    const menu = this.root.querySelector(".menu");
    for (const variable of this.data.curves.variables) {
      const label = document.createElement("label"), box = document.createElement("input");
      box.type = "checkbox";
      box.value = variable.key;
      box.checked = this.chosen.has(variable.key);
      box.addEventListener("change", () => {
        this.chosen[box.checked ? "add" : "delete"](variable.key);
        this.remember?.();
        this.draw();
      });
      label.append(box, ` ${variable.label}`);
      menu.append(label);
    }
  }

  // Show these measures and no others.
  choose(keys) {
    this.chosen = new Set(keys);
    for (const box of this.root.querySelectorAll(".curves .menu input")) box.checked = this.chosen.has(box.value);
  }

  values(variable) {
    if (!this.decoded.has(variable.key)) this.decoded.set(variable.key, floats(variable.values));
    return this.decoded.get(variable.key);
  }

  draw() {
    const shown = this.data.curves.variables.filter((x) => this.chosen.has(x.key));
    for (const cell of [...this.grid.children]) {
      if (shown.some((x) => x.key === cell.dataset.key)) continue;
      Plotly.purge(cell.querySelector(".plot"));
      cell.remove();
    }
    this.legend();
    for (const variable of shown) {
      let cell = [...this.grid.children].find((x) => x.dataset.key === variable.key);
      if (!cell) cell = this.newCell(variable);
      this.grid.append(cell);
      this.drawOne(cell.querySelector(".plot"), variable);
    }
  }

  newCell(variable) {
    const cell = document.createElement("div");
    cell.className = "cell";
    cell.dataset.key = variable.key;
    const title = document.createElement("h3"), plot = document.createElement("div");
    title.textContent = variable.label + (variable.units ? ` (${variable.units})` : "");
    plot.className = "plot";
    cell.append(title, definition(variable.definition), plot);
    return cell;
  }

  legend() {
    drawLegend(this.root.querySelector(".curves .legend"), this.data, this.hue.value, this.hue.selectedOptions[0]?.text ?? "run");
    const hint = this.root.querySelector(".curves .band");
    hint.hidden = this.mode.value === "runs";
    hint.textContent = "Bands are confidence intervals of the median over all possible seeds. With five seeds or fewer they reach from the lowest to the highest run (94 % confidence with five, 75 % with three). Runs that diverged or ended are left out from then on.";
  }

  // The indices of the steps to draw: every k-th visible one.
  drawnSteps(steps, lines) {
    let first = 0, last = steps.length;
    if (this.range) {
      const [low, high] = this.range;
      while (first < last - 1 && steps[first + 1] < low) first++;
      while (last > first + 1 && steps[last - 2] > high) last--;
    }
    const stride = Math.max(1, Math.ceil(((last - first) * lines) / DRAWN)), drawn = [];
    for (let i = first; i < last; i += stride) drawn.push(i);
    if (drawn[drawn.length - 1] !== last - 1) drawn.push(last - 1);
    return drawn;
  }

  drawOne(plot, variable) {
    const median = this.mode.value === "median", traces = median ? this.medians(variable) : this.lines(variable);
    plot.parentElement.classList.toggle("empty", !traces.length);
    const log = this.scale.value === "log";
    const view = this.range && (log ? this.range.map((x) => Math.log10(Math.max(x, 1))) : this.range);
    const y = { type: variable.log ? "log" : "linear", exponentformat: "power", dtick: variable.log ? undefined : null };
    if (variable.log) Object.assign(y, { dtick: null, minexponent: 2 });
    if (variable.share) y.range = [-0.03, 1.03];
    const x = { type: log ? "log" : "linear", title: { text: "step", standoff: 6 }, exponentformat: "none", separatethousands: true };
    if (view) x.range = view;
    else if (log) x.autorange = true;
    Plotly.react(plot, traces, layout({ xaxis: x, yaxis: y, uirevision: `${this.scale.value}` }), CONFIG);
    if (!plot.listening) {
      plot.listening = true;
      plot.on("plotly_relayout", (event) => this.zoomed(event));
      plot.on("plotly_click", (event) => {
        const [point] = event.points;
        if (point.customdata !== undefined) this.onClick?.([point.customdata].flat(), point.x);
      });
    }
  }

  // All charts show the same steps.
  zoomed(event) {
    const log = this.scale.value === "log", ends = event["xaxis.range"] ?? [event["xaxis.range[0]"], event["xaxis.range[1]"]];
    if (event["xaxis.autorange"]) this.range = null;
    else if (ends[0] !== undefined) this.range = log ? ends.map((x) => 10 ** x) : ends;
    else return;
    this.remember?.();
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.draw(), 60);
  }

  // One trace per colour, its runs separated by gaps: fewer traces draw faster.
  lines(variable) {
    const steps = this.data.curves.groups[variable.group].steps, values = this.values(variable);
    const runs = this.state.visible(), at = this.drawnSteps(steps, runs.length), traces = [];
    const log = this.scale.value === "log";
    for (const level of levels(this.data, this.hue.value)) {
      const x = [], y = [], text = [], customdata = [];
      for (const i of runs) {
        const run = this.data.runs[i];
        if (levelOf(run, this.hue.value) !== level.rank) continue;
        for (const t of at) {
          const value = values[i * steps.length + t];
          if (Number.isNaN(value)) continue;
          x.push(log ? Math.max(steps[t], 1) : steps[t]);
          y.push(value);
          text.push(run.name);
          customdata.push(i);
        }
        x.push(null); y.push(null); text.push(""); customdata.push(null);
      }
      if (x.every((step) => step === null)) continue;
      const line = { color: level.colour, dash: level.dash, width: runs.length > 60 ? 0.9 : 1.6 };
      const alone = x.length < 4 ? "lines+markers" : "lines";
      traces.push({ type: "scatter", mode: alone, x, y, text, customdata, line, name: level.text, hovertemplate: "%{text}<br>step %{x:,}: %{y:.4g}<extra></extra>" });
    }
    return traces;
  }

  medians(variable) {
    const steps = this.data.curves.groups[variable.group].steps, values = this.values(variable);
    const cells = cellsOf(this.data, this.state.visible()), at = this.drawnSteps(steps, 3 * cells.size), traces = [];
    const all = levels(this.data, this.hue.value), log = this.scale.value === "log";
    let index = 0;
    for (const [name, runs] of cells) {
      const rank = this.hue.value && this.hue.value !== "seed" ? levelOf(this.data.runs[runs[0]], this.hue.value) : null;
      const level = all.find((x) => x.rank === rank) ?? { colour: shade(cells.size > 1 ? index / (cells.size - 1) : 0.35), dash: DASHES[index % 5] };
      index++;
      const x = [], low = [], middle = [], high = [], text = [], of = [];
      for (const t of at) {
        const here = runs.map((i) => values[i * steps.length + t]).filter((v) => !Number.isNaN(v)).sort((a, b) => a - b);
        if (!here.length) continue;
        const k = intervalRank(here.length);
        x.push(log ? Math.max(steps[t], 1) : steps[t]);
        low.push(here[k - 1]); middle.push(middleOf(here)); high.push(here[here.length - k]);
        of.push(runs);
        text.push(`${name}<br>${here.length} runs, ${here[k - 1].toPrecision(3)} to ${here[here.length - k].toPrecision(3)}`);
      }
      if (!x.length) continue;
      const edge = { type: "scatter", mode: "lines", x, hoverinfo: "skip", line: { width: 0 } };
      traces.push({ ...edge, y: low }, { ...edge, y: high, fill: "tonexty", fillcolor: clear(level.colour, 0.16) });
      traces.push({ type: "scatter", mode: "lines", x, y: middle, text, customdata: of, line: { color: level.colour, dash: level.dash, width: 2 }, hovertemplate: "%{text}<br>step %{x:,}: median %{y:.4g}<extra></extra>" });
    }
    return traces;
  }
}
