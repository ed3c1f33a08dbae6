// Neurons by frequency, phase and share; the map of a chosen neuron and its fit; clusters over time.

const EXPLAINED = 0.85; // a neuron belongs to a cluster from this share of its variance

class Neurons {
  constructor(pane, run, app) {
    Object.assign(this, { run, app });
    const { count } = run.neurons;
    this.frequency = run.once("frequency", () => codes(run.neurons.frequency));
    this.share = run.once("share", () => octets(run.neurons.share));
    this.phases = run.once("phases", () => octets(run.neurons.phases));
    this.count = count;
    legend(pane, [...[...run.hues.keys()].map((k) => [run.hue(k), `k = ${k}`]), [GREY, "other frequencies"]]);
    const side = addTo(pane, "div", "side"), left = addTo(side, "div"), right = addTo(side, "div");
    this.canvas = addTo(left, "canvas", "square pick neurons-canvas");
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", "neurons by phase and share explained; arrow keys choose one");
    this.detail(right);
    this.clusters(right);
    this.canvas.addEventListener("click", (event) => this.pick(this.nearest(event)));
    this.canvas.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (!by) return;
      event.preventDefault();
      event.stopPropagation();
      this.pick((this.app.neuron + by + count) % count);
    });
    hover(this.canvas, (event) => { const n = this.nearest(event); return n < 0 ? "" : this.text(n, this.index); });
  }

  clusters(parent) {
    const { run, count } = this, ks = [...run.hues.keys()];
    addTo(parent, "h3", "", `Neurons of each cluster (more than ${EXPLAINED} explained)`).className = "single";
    const canvas = addTo(parent, "canvas", "timeline"), size = (t, k) => {
      let n = 0;
      for (let i = 0; i < count; i++) n += this.frequency[t * count + i] === k && this.share[t * count + i] > EXPLAINED * 255;
      return n;
    };
    const lines = ks.map((k) => ({ label: `k = ${k}`, colour: run.hue(k), width: 2, values: run.steps.map((_, t) => size(t, k)) }));
    const all = run.steps.map((_, t) => { let n = 0; for (let i = 0; i < count; i++) n += this.share[t * count + i] > EXPLAINED * 255; return n; });
    lines.push({ label: "others", colour: GREY, width: 2, dash: [4, 3], values: all.map((x, t) => x - lines.reduce((sum, line) => sum + line.values[t], 0)) });
    this.timeline = new Timeline(canvas, run, lines, { share: true, onScrub: this.app.scrubber(run) });
  }

  detail(parent) {
    this.title = addTo(parent, "h3");
    this.about = addTo(parent, "p", "note");
    if (this.run.missing.maps) {
      addTo(parent, "p", "reason", `No maps of single neurons: ${this.run.missing.maps}.`);
      return;
    }
    const maps = addTo(parent, "div", "maps"), { p } = this.run.answers;
    const one = (label) => {
      const figure = addTo(maps, "div"), canvas = addTo(figure, "canvas", "square");
      addTo(figure, "p", "note", label);
      return new CodeMap(canvas, p, VIRIDIS_TABLE);
    };
    this.map = one(`activation over all pairs; dark is low. ${this.run.orderNote}`);
    this.map.canvas.classList.add("neuron-map");
    this.fit = one("what its one frequency explains of it");
    this.source = addTo(parent, "p", "note");
  }

  pick(n) { if (n >= 0) { this.app.neuron = n; this.app.redraw(); } }

  spot(n, index, w) {
    const at = index * this.count + n, turn = (this.phases[3 * at] / 256) * 2 * Math.PI, radius = (this.share[at] / 255) * (w / 2 - 10);
    return [w / 2 + radius * Math.cos(turn), w / 2 - radius * Math.sin(turn)];
  }

  nearest(event) {
    const box = this.canvas.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    let best = -1, least = 150;
    for (let n = 0; n < this.count; n++) {
      const [u, v] = this.spot(n, this.index, box.width), distance = (u - x) ** 2 + (v - y) ** 2;
      if (distance < least) [best, least] = [n, distance];
    }
    return best;
  }

  text(n, index) {
    const at = index * this.count + n, k = this.frequency[at];
    if (!k) return `neuron ${n}: constant`;
    const [a, b, c] = [0, 1, 2].map((i) => degrees(this.phases[3 * at + i]));
    return `neuron ${n}: k = ${k}, share ${(this.share[at] / 255).toFixed(2)}, phases ${a} of a, ${b} of b, ${c} of its logits`;
  }

  draw(position) {
    const index = (this.index = Math.round(position)), { context, w } = fitted(this.canvas), { run } = this, chosen = this.app.neuron % this.count;
    context.strokeStyle = "#d9dce1";
    for (const share of [EXPLAINED, 1]) {
      context.beginPath();
      context.arc(w / 2, w / 2, share * (w / 2 - 10), 0, 7);
      context.stroke();
    }
    context.fillStyle = "#60656c";
    context.font = "11px system-ui, sans-serif";
    context.fillText("share 0.85", w / 2 + 4, w / 2 - 0.85 * (w / 2 - 10) + 14);
    for (let n = 0; n < this.count; n++) {
      const [x, y] = this.spot(n, index, w);
      context.fillStyle = run.hue(this.frequency[index * this.count + n]);
      context.globalAlpha = 0.8;
      context.beginPath();
      context.arc(x, y, 3.4, 0, 7);
      context.fill();
    }
    context.globalAlpha = 1;
    const [x, y] = this.spot(chosen, index, w);
    context.strokeStyle = "#1c2024";
    context.lineWidth = 2;
    context.beginPath();
    context.arc(x, y, 7, 0, 7);
    context.stroke();
    context.lineWidth = 1;
    this.timeline.draw(position);
    this.drawDetail(chosen, index);
  }

  drawDetail(n, index) {
    const snapshot = this.map ? this.run.snapshot(index) : 0, key = `${n} ${index} ${this.canvas.width}`;
    if (this.shown === key) return;
    this.shown = key;
    this.title.textContent = `Neuron ${n}`;
    this.about.textContent = this.text(n, index).replace(/^neuron \d+: /, "");
    if (!this.map) return;
    const mapKey = `${n} ${snapshot} ${this.map.canvas.clientWidth}`;
    if (this.shownMap !== mapKey) {
      this.shownMap = mapKey;
      const at = this.run.snapshots[snapshot], k = this.frequency[at * this.count + n] || 1, { p } = this.run.answers;
      const values = this.run.network(snapshot).neuronMap(n), { fit, share } = fitOf(values, p, this.run.place, this.run.circles?.order.length ?? p, k);
      const scale = coder(values), clip = (i) => Math.max(0, Math.min(255, Math.round(((fit[i] - scale.low) / (scale.high - scale.low || 1)) * 255)));
      this.map.draw(this.run.inOrder(scale.code));
      this.fit.draw(this.run.inOrder(clip));
      this.fitText = `k = ${k} explains ${(100 * share).toFixed(0)} % of its variance there.`;
    }
    this.source.textContent = `${this.run.snapshotNote(index)} ${this.fitText}`;
  }
}
