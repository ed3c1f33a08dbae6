// One run of the page: its checkpoints, and its packed arrays, decoded when first needed.

const shorts = (text) => new Int8Array(bytes(text));
const octets = (text) => new Uint8Array(bytes(text));

class Run {
  constructor(data) {
    Object.assign(this, data);
    this.decoded = new Map();
    this.count = this.steps.length;
    const keys = this.circles?.keys.length ? this.circles.keys : this.answers?.waves ?? [];
    this.hues = new Map(keys.map((k, i) => [k, HUES[i % HUES.length]]));
    if (this.answers) this.place = this.places();
  }

  once(name, make) {
    if (!this.decoded.has(name)) this.decoded.set(name, make());
    return this.decoded.get(name);
  }

  hue(k) { return this.hues.get(k) ?? GREY; }

  isKey(k) { return this.circles?.keys.includes(k) ?? false; }

  // Where each token stands in the order of the task's group; -1 for a token outside of it.
  places() {
    const made = new Int32Array(this.answers.p).fill(-1);
    (this.circles?.order ?? [...made.keys()]).forEach((token, i) => { made[token] = i; });
    return made;
  }

  // Tokens in the order of maps: that of the group, then tokens outside of it.
  get display() {
    return this.once("display", () => {
      const order = this.circles?.order ?? [], rest = [...this.place.keys()].filter((token) => this.place[token] < 0);
      return Int32Array.from(order.length ? [...order, ...rest] : this.place.keys());
    });
  }

  get orderNote() {
    const natural = this.display.every((token, i) => token === i);
    return natural ? "Rows are a, columns are b." : `Rows are a, columns are b, in the order ${[...this.display.slice(0, 4)].join(", ")}, ... of the powers of ${this.display[1]} mod ${this.answers.p}.`;
  }

  // A function of (a, b) as one of the place in a map.
  inOrder(ofPair) {
    const { p } = this.answers, { display } = this;
    return (i) => ofPair(display[Math.floor(i / p)] * p + display[i % p]);
  }

  // 0 to 3: the phase of training of a checkpoint; null if the phases are not known.
  phase(index) {
    if (this.ends[0] === null) return null;
    const step = this.steps[index], ended = this.ends.filter((end) => end !== null && step > end).length;
    return this.ends.every((end) => end !== null) ? ended : Math.min(ended, 2);
  }

  phaseName(index) {
    const phase = this.phase(index);
    return phase === null ? "" : PHASE_NAMES[phase];
  }

  nearest(step) {
    let best = 0;
    this.steps.forEach((x, i) => { if (Math.abs(x - step) < Math.abs(this.steps[best] - step)) best = i; });
    return best;
  }

  // The number of the checkpoint with weights that is nearest to a checkpoint.
  snapshot(index) {
    let best = 0;
    const { snapshots } = this;
    snapshots.forEach((x, i) => { if (Math.abs(x - index) < Math.abs(snapshots[best] - index)) best = i; });
    return best;
  }

  // Says from which checkpoint weights are taken, if it is not the chosen one.
  snapshotNote(index) {
    const at = this.snapshots[this.snapshot(index)];
    if (at === index) return `From the weights of step ${whole(this.steps[at])}.`;
    return `From the weights of step ${whole(this.steps[at])}, the nearest of the ${this.snapshots.length} checkpoints whose weights are in this page.`;
  }

  // The network of a checkpoint with weights, by its number among them.
  network(number) {
    return this.once(`network ${number}`, () => makeNetwork(this.arrays(number), this.weights));
  }

  // The weights of such a checkpoint, by name.
  arrays(number) {
    const { names, shapes, values } = this.weights, all = halves(values[number]), arrays = {};
    let start = 0;
    names.forEach((name, i) => {
      const size = shapes[i].reduce((a, b) => a * b, 1);
      arrays[name] = { data: all.subarray(start, start + size), shape: shapes[i] };
      start += size;
    });
    return arrays;
  }

  // A curve's values at the page's checkpoints: the nearest recorded step.
  curve(name) {
    return this.once(`curve ${name}`, () => {
      for (const panel of this.progress) {
        const line = panel.lines.find((x) => x.name === name);
        if (!line) continue;
        const values = floats(line.values);
        return this.steps.map((step) => {
          let best = 0;
          panel.steps.forEach((x, i) => { if (Math.abs(x - step) < Math.abs(panel.steps[best] - step)) best = i; });
          return values[best];
        });
      }
      return null;
    });
  }
}
