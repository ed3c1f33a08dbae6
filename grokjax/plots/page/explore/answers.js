// The margin of the right answer over all pairs, with training pairs marked; a click picks a pair.

class Answers {
  constructor(pane, run, app) {
    const { p } = run.answers;
    Object.assign(this, { run, app, p });
    this.margin = run.once("margin", () => shorts(run.answers.margin));
    this.split = run.once("split", () => octets(run.answers.split));
    this.labels = run.once("labels", () => codes(run.answers.labels));
    legend(pane, [["#d55e00", "wrong"], ["#0072b2", "right"], ["#1c2024", "dot: training pair"]]);
    const side = addTo(pane, "div", "side"), left = addTo(side, "div"), right = addTo(side, "div");
    this.map = new CodeMap(addTo(left, "canvas", "square pick answers-canvas"), p, SIGNED_TABLE);
    const { canvas } = this.map;
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", "margin of the right answer for every pair; arrow keys move the chosen pair");
    addTo(left, "p", "note", "Rows are a, columns are b. Colours show the square root of the margin, from the largest of the checkpoint.");
    this.marks = this.checkbox(left);
    this.text = addTo(right, "p", "answers-text");
    if (run.weights) this.logits = new Logits(right, run, app);
    else addTo(right, "p", "reason", `No logits of single pairs: ${run.missing.weights}.`);
    addTo(right, "h3", "single", "Share of the pairs answered correctly");
    this.timeline = new Timeline(addTo(right, "canvas", "timeline"), run, this.lines(), { share: true, onScrub: app.scrubber(run) });
    canvas.addEventListener("click", (event) => app.pick(...this.map.at(event)));
    canvas.addEventListener("keydown", (event) => this.key(event));
    hover(canvas, (event) => this.textAt(...this.map.at(event)));
  }

  checkbox(parent) {
    const label = addTo(parent, "label", "note"), box = addTo(label, "input");
    box.type = "checkbox";
    box.checked = true;
    box.className = "marks";
    label.append(" mark training pairs");
    box.addEventListener("change", () => this.app.redraw());
    return box;
  }

  // Shares of the training and of the test pairs that are right, at every checkpoint.
  lines() {
    const share = (split) => this.run.steps.map((_, t) => {
      let right = 0, all = 0;
      for (let i = 0; i < this.p ** 2; i++) if (this.split[i] === split) { all++; right += this.margin[t * this.p ** 2 + i] > 0; }
      return right / all;
    });
    return [{ label: "training pairs", colour: "#56606c", dash: [5, 3], width: 2, values: share(1) }, { label: "test pairs", colour: "#0072b2", width: 2, values: share(2) }];
  }

  key(event) {
    const by = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    const { a, b } = this.app.pair;
    this.app.pick((a + by[0] + this.p) % this.p, (b + by[1] + this.p) % this.p);
  }

  value(a, b) {
    return (this.margin[this.index * this.p ** 2 + a * this.p + b] / 127) * this.run.answers.scale[this.index];
  }

  textAt(a, b) {
    const at = a * this.p + b, kind = ["no such pair", "training pair", "test pair"][this.split[at]], margin = this.value(a, b);
    return `a = ${a}, b = ${b}: answer ${this.labels[at]}, ${kind}, ${margin > 0 ? "right" : "wrong"} by ${Math.abs(margin).toFixed(2)}`;
  }

  draw(position) {
    const index = (this.index = Math.round(position)), { p } = this, from = index * p * p;
    const { a, b } = this.app.pairOf(p), width = this.map.canvas.clientWidth, key = `${index} ${width} ${a} ${b} ${this.marks.checked}`;
    this.timeline.draw(position);
    this.logits?.draw(position);
    if (this.shown === key) return;
    this.shown = key;
    // The square root shows small margins.
    const shown = (i) => { const x = this.margin[from + i]; return Math.round(127.5 + 127.5 * Math.sign(x) * Math.sqrt(Math.abs(x) / 127)); };
    const { context, w, cell } = this.map.draw(shown);
    if (this.marks.checked) this.drawMarks(context, w, cell);
    context.lineWidth = 2;
    context.strokeStyle = "#1c2024";
    context.strokeRect(b * cell - 2, a * cell - 2, cell + 4, cell + 4);
    context.strokeStyle = "#fff";
    context.lineWidth = 1;
    context.strokeRect(b * cell - 3.5, a * cell - 3.5, cell + 7, cell + 7);
    this.text.textContent = `${this.textAt(a, b)}.`;
  }

  drawMarks(context, w, cell) {
    const size = Math.max(1, Math.min(3, cell * 0.35));
    context.fillStyle = "rgba(10,12,16,0.75)";
    for (let i = 0; i < this.p ** 2; i++)
      if (this.split[i] === 1) context.fillRect(((i % this.p) + 0.5) * cell - size / 2, (Math.floor(i / this.p) + 0.5) * cell - size / 2, size, size);
  }
}
