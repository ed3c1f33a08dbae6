// The logits of the chosen pair as one wave for each key frequency, and the rest.

class Logits {
  constructor(pane, run, app) {
    Object.assign(this, { run, app });
    this.text = addTo(pane, "p", "logits-text");
    this.canvas = addTo(pane, "canvas", "logits-canvas");
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", "logits over the classes, their waves and the rest");
    hover(this.canvas, (event) => this.textAt(event));
    this.note = addTo(pane, "p", "note");
  }

  textAt(event) {
    if (!this.rows) return "";
    const box = this.canvas.getBoundingClientRect(), w = box.width - 130, c = Math.floor(((event.clientX - box.left - 126) / w) * this.run.answers.p);
    const row = this.rows[Math.floor((event.clientY - box.top) / ROW)];
    if (!row || c < 0 || c >= this.run.answers.p) return "";
    const shown = this.run.display[c];
    return `class ${shown}: ${row.values[shown].toFixed(2)} (${row.label})`;
  }

  draw(position) {
    const { run, app } = this, index = Math.round(position), snapshot = run.snapshot(index), { p } = run.answers, { a, b } = app.pairOf(p);
    const key = `${snapshot} ${index} ${a} ${b} ${this.canvas.clientWidth}`;
    if (this.shown === key) return;
    this.shown = key;
    const answer = run.once("labels", () => codes(run.answers.labels))[a * p + b];
    const raw = run.network(snapshot).logits(a, b), mean = raw.reduce((sum, x) => sum + x, 0) / p, logits = raw.map((x) => x - mean);
    const { parts, rest } = wavesOf(logits, run, answer, run.answers.waves), sum = logits.map((x, c) => x - rest[c]);
    this.rows = [
      { label: "logits", values: logits, colour: "#1c2024" },
      ...parts.map((part) => ({ label: `k = ${part.k}`, values: part.values, colour: run.hue(part.k), small: `height ${part.amplitude.toFixed(1)}` })),
      { label: "sum of waves", values: sum, colour: "#0072b2" },
      { label: "the rest", values: rest, colour: "#60656c" },
    ];
    this.paint(answer);
    const best = logits.indexOf(Math.max(...logits)), power = (x) => x.reduce((total, v) => total + v * v, 0);
    const share = power(logits) > 0 ? 1 - power(rest) / power(logits) : 0;
    this.text.textContent = `a = ${a}, b = ${b}: the network answers ${best}, ${best === answer ? "which is right" : `right is ${answer}`}. The waves explain ${(100 * share).toFixed(0)} % of the logits' variance.`;
    this.note.textContent = `${run.snapshotNote(index)} ${run.answers.standing ? "" : "No frequency stands out: these are the strongest. "}The mean over the classes is left out; the line marks the right answer${run.orderNote.includes("powers") ? "; classes are in the order of the maps above" : ""}.`;
  }

  paint(answer) {
    const { p } = this.run.answers, most = Math.max(...this.rows.flatMap((row) => [...row.values].map(Math.abs)), 1e-9);
    this.canvas.style.height = `${ROW * this.rows.length}px`;
    const { display } = this.run, { context, w } = fitted(this.canvas), left = 126, width = w - left - 4;
    context.font = "13px system-ui, sans-serif";
    this.rows.forEach((row, i) => {
      const middle = ROW * i + ROW / 2, step = width / p, tall = ROW / 2 - 4;
      context.fillStyle = "#f3f5f8";
      context.fillRect(left, ROW * i + 2, width, ROW - 4);
      context.fillStyle = row.colour;
      for (let c = 0; c < p; c++) {
        const size = (row.values[display[c]] / most) * tall;
        context.fillRect(left + c * step, size >= 0 ? middle - size : middle, Math.max(1, step - (step > 4 ? 1 : 0)), Math.max(Math.abs(size), 0.5));
      }
      context.fillStyle = "#1c2024";
      context.fillText(row.label, 0, middle + (row.small ? -2 : 4));
      if (row.small) { context.fillStyle = "#60656c"; context.font = "11px system-ui, sans-serif"; context.fillText(row.small, 0, middle + 13); context.font = "13px system-ui, sans-serif"; }
    });
    context.fillStyle = "rgba(213,94,0,0.9)";
    context.fillRect(left + (display.indexOf(answer) + 0.5) * (width / p) - 0.75, 0, 1.5, ROW * this.rows.length);
  }
}

const ROW = 58; // height of a row in pixels
