// Transformers of any depth and their variants, run on one pair (a, b, =) at a time.

class DeepTransformer {
  constructor(arrays, { activation, scale, layers, rate, constant, doubled }) {
    const E = arrays["embed.W_E"], [v, d] = E.shape;
    Object.assign(this, { arrays, d, p: v - 1, scale, layers, rate, constant, doubled, activation: ACTIVATIONS[activation] });
    const U = arrays["unembed.W_U"];
    this.classes = U ? U.shape[1] : this.p;
    this.W_U = U ? U.data : transposed(E.data, this.p, d);
  }

  // x [positions x d] with the LayerNorm of this name, if there is one.
  normed(x, name) {
    const w = this.arrays[`${name}.w`]?.data, b = this.arrays[`${name}.b`]?.data, { d } = this;
    if (!w) return x;
    const made = new Float64Array(x.length);
    for (let at = 0; at < x.length; at += d) {
      let mean = 0, power = 0;
      for (let i = 0; i < d; i++) mean += x[at + i] / d;
      for (let i = 0; i < d; i++) power += (x[at + i] - mean) ** 2 / d;
      for (let i = 0; i < d; i++) made[at + i] = ((x[at + i] - mean) / Math.sqrt(power + 1e-5)) * w[i] + b[i];
    }
    return made;
  }

  // Causal attention of one head at position q: from each position up to q.
  pattern(query, keys, q, width) {
    const scores = [];
    for (let s = 0; s <= q; s++) {
      let sum = 0;
      for (let i = 0; i < width; i++) sum += query[q * width + i] * keys[s * width + i];
      scores.push(sum / Math.sqrt(width));
    }
    const top = Math.max(...scores), powers = scores.map((x) => Math.exp(x - top)), total = powers.reduce((a, b) => a + b, 0);
    const rest = this.constant === "uniform" ? 1 / (q + 1) : 1;
    return powers.map((x) => (this.rate * x) / total + (1 - this.rate) * rest);
  }

  attended(x, layer) {
    const { d } = this, [Q, K, V, O] = ["W_Q", "W_K", "W_V", "W_O"].map((name) => this.arrays[`blocks.${layer}.attn.${name}`]), [count, , width] = Q.shape;
    const made = new Float64Array(x.length);
    for (let h = 0; h < count; h++) {
      const from = h * d * width, [query, keys, values] = [Q, K, V].map((w) => product(x, 3, d, w.data, width, 0, from)), mixed = new Float64Array(3 * width);
      for (let q = 0; q < 3; q++)
        this.pattern(query, keys, q, width).forEach((weight, s) => { for (let i = 0; i < width; i++) mixed[q * width + i] += weight * values[s * width + i]; });
      product(mixed, 3, width, O.data, d, 0, from).forEach((y, i) => { made[i] += y; });
    }
    return made;
  }

  // The last position of the stream, and the neurons of the last layer there.
  run(a, b) {
    const { d, p, arrays } = this, E = arrays["embed.W_E"].data, P = arrays["pos_embed.W_pos"].data, tokens = [a, b, p];
    let x = Float64Array.from({ length: 3 * d }, (_, i) => E[tokens[Math.floor(i / d)] * d + (i % d)] + P[i]), neurons = null;
    for (let layer = 0; layer < this.layers; layer++) {
      const block = `blocks.${layer}`, seen = this.attended(this.normed(x, `${block}.ln1`), layer), twice = this.doubled ? 2 : 1;
      x = x.map((y, i) => twice * y + seen[i]);
      const inward = arrays[`${block}.mlp.W_in`];
      if (!inward) continue;
      const m = inward.shape[1], bias = arrays[`${block}.mlp.b_in`].data, out = arrays[`${block}.mlp.b_out`].data;
      neurons = product(this.normed(x, `${block}.ln2`), 3, d, inward.data, m).map((y, i) => this.activation(y + bias[i % m]));
      const written = product(neurons, 3, m, arrays[`${block}.mlp.W_out`].data, d);
      x = x.map((y, i) => y + written[i] + out[i % d]);
      neurons = neurons.subarray(2 * m);
    }
    return { stream: this.normed(x, "ln_final").subarray(2 * d), neurons };
  }

  neurons(a, b) { return this.run(a, b).neurons; }

  logits(a, b) {
    return product(this.run(a, b).stream, 1, this.d, this.W_U, this.classes).subarray(0, this.p).map((x) => x * this.scale);
  }
}
