// Attention from "=" to a over all pairs, a map for each head.

class AttentionMaps {
  constructor(pane, run) {
    const { heads, scores, maps } = run.attention;
    Object.assign(this, { run, count: heads, p: run.answers.p });
    if (scores) this.scores = run.once("scores", () => floats(scores));
    else this.kept = run.once("attention maps", () => octets(maps));
    const box = addTo(pane, "div", "heads");
    this.heads = Array.from({ length: heads }, (_, h) => {
      const figure = addTo(box, "div");
      addTo(figure, "h3", "", `Head ${h}`);
      const map = new CodeMap(addTo(figure, "canvas", "square"), this.p, VIRIDIS_TABLE);
      map.canvas.setAttribute("role", "img");
      map.canvas.setAttribute("aria-label", `attention of head ${h} to a over all pairs`);
      const note = addTo(figure, "p", "note");
      hover(map.canvas, (event) => {
        const [a, b] = map.at(event).map((i) => run.display[i]);
        return `a = ${a}, b = ${b}: ${(this.codeOf(h, this.index)(a * this.p + b) / 255).toFixed(2)} to a`;
      });
      return { map, note };
    });
    this.note = addTo(pane, "p", "note", `${run.orderNote} From 0, dark, to 1, bright.`);
  }

  // Powers of the scores of one head: of a, of b, and of "=" for every token.
  powers(h, index) {
    const size = 3 * this.p, scores = this.scores.subarray((index * this.count + h) * size, (index * this.count + h + 1) * size);
    let top = -Infinity;
    for (const x of scores) top = Math.max(top, x);
    // Rarely the scores differ by so much that all three powers of a pair would vanish.
    return Float64Array.from(scores, (x) => Math.max(Math.exp(x - top), 1e-300));
  }

  toEquals(h, index) {
    const { p } = this, powers = this.powers(h, index), equals = powers[2 * p];
    let sum = 0;
    for (let i = 0; i < p * p; i++) sum += equals / (powers[Math.floor(i / p)] + powers[p + (i % p)] + equals);
    return sum / (p * p);
  }

  // Attention to a as codes 0 to 255.
  codeOf(h, index) {
    const { p } = this;
    if (!this.scores) {
      const kept = this.run.attention.kept, best = this.nearestKept(index), from = (best * this.count + h) * p * p;
      this.note.textContent = `${this.run.orderNote} From 0, dark, to 1, bright. From step ${whole(this.run.steps[kept[best]])}, the nearest of ${kept.length} checkpoints.`;
      return (i) => this.kept[from + i];
    }
    const powers = this.powers(h, index), equals = powers[2 * p];
    return (i) => {
      const a = powers[Math.floor(i / p)], b = powers[p + (i % p)];
      return Math.round((255 * a) / (a + b + equals));
    };
  }

  nearestKept(index) {
    const { kept } = this.run.attention;
    return kept.reduce((best, x, i) => (Math.abs(x - index) < Math.abs(kept[best] - index) ? i : best), 0);
  }

  draw(position) {
    const index = Math.round(position), width = this.heads[0].map.canvas.clientWidth;
    if (this.index === index && this.width === width) return;
    Object.assign(this, { index, width });
    this.heads.forEach(({ map, note }, h) => {
      map.draw(this.run.inOrder(this.codeOf(h, index)));
      if (this.scores) note.textContent = `mean attention to = itself: ${this.toEquals(h, index).toFixed(2)}`;
    });
  }
}
