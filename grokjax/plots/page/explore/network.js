// Networks of pairs (a, b) from their weights: tables over the tokens, then neurons and logits.
//
// For one layer the score and the output of each head depend on (token, position) alone. A pair
// needs a softmax over three scores a head, and a sum of rows of tables.

// Half-precision numbers in base64 as floats.
function halves(text) {
  const raw = codes(text), made = new Float32Array(raw.length);
  for (let i = 0; i < raw.length; i++) {
    const exponent = (raw[i] >> 10) & 31, fraction = raw[i] & 1023;
    let size = exponent ? 2 ** (exponent - 25) * (1024 + fraction) : 2 ** -24 * fraction;
    if (exponent === 31) size = fraction ? NaN : Infinity; // of a run that diverged
    made[i] = raw[i] & 32768 ? -size : size;
  }
  return made;
}

// The error function to 1e-12: its series, or Lentz's continued fraction of its complement.
function erf(x) {
  const z = Math.abs(x), sign = Math.sign(x);
  if (z > 6) return sign;
  if (z < 2.5) {
    let term = z, sum = z;
    for (let n = 1; Math.abs(term) > 1e-17 * sum; n++) { term *= (-z * z) / n; sum += term / (2 * n + 1); }
    return (sign * 2 * sum) / Math.sqrt(Math.PI);
  }
  let fraction = z;
  for (let n = 60; n > 0; n--) fraction = z + n / 2 / fraction;
  return sign * (1 - Math.exp(-z * z) / (Math.sqrt(Math.PI) * fraction));
}

const ACTIVATIONS = {
  relu: (x) => (x > 0 ? x : 0),
  quadratic: (x) => x * x,
  gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
};

// rows [n x d] times matrix [d x m], from offsets into both.
function product(rows, n, d, matrix, m, rowsAt = 0, matrixAt = 0) {
  const made = new Float64Array(n * m);
  for (let i = 0; i < n; i++)
    for (let j = 0; j < d; j++) {
      const x = rows[rowsAt + i * d + j];
      if (x === 0) continue;
      for (let k = 0, at = matrixAt + j * m; k < m; k++) made[i * m + k] += x * matrix[at + k];
    }
  return made;
}

function transposed(x, n, m, at = 0) {
  const made = new Float64Array(n * m);
  for (let i = 0; i < n; i++) for (let j = 0; j < m; j++) made[j * n + i] = x[at + i * m + j];
  return made;
}

// Where each head looks and what it writes: scores [position][token], outputs [position][token x d].
function heads(arrays, p) {
  const { W_E, W_pos } = { W_E: arrays["embed.W_E"], W_pos: arrays["pos_embed.W_pos"] };
  const [q, k, v, o] = ["W_Q", "W_K", "W_V", "W_O"].map((x) => arrays[`blocks.0.attn.${x}`]), [count, d, width] = q.shape;
  const at = (position, first, tokens) => Float64Array.from({ length: tokens * d }, (_, i) => W_E.data[first * d + i] + W_pos.data[position * d + (i % d)]);
  const streams = [at(0, 0, p), at(1, 0, p), at(2, p, 1)], made = [];
  for (let h = 0; h < count; h++) {
    const from = h * d * width, query = product(streams[2], 1, d, q.data, width, 0, from);
    const direction = product(k.data, d, width, query, 1, from).map((x) => x / Math.sqrt(width));
    const sizes = [p, p, 1];
    made.push({
      scores: streams.map((x, i) => product(x, sizes[i], d, direction, 1)),
      outputs: streams.map((x, i) => product(product(x, sizes[i], d, v.data, width, 0, from), sizes[i], width, o.data, d, 0, from)),
    });
  }
  return { made, equals: streams[2], d };
}

// exp of scores without overflow. Rarely they differ by so much that all powers of a pair would vanish.
function powersOf(scores) {
  let top = -Infinity;
  for (const part of scores) for (const x of part) top = Math.max(top, x);
  return scores.map((part) => part.map((x) => Math.max(Math.exp(x - top), 1e-300)));
}

class TransformerOfPairs {
  constructor(arrays, { activation, scale }) {
    this.p = arrays["embed.W_E"].shape[0] - 1;
    const { made, equals, d } = heads(arrays, this.p), block = (name) => arrays[`blocks.0.mlp.${name}`].data;
    const m = arrays["blocks.0.mlp.b_in"].shape[0];
    Object.assign(this, { heads: made, equals, d, m, scale, activation: ACTIVATIONS[activation], b_in: block("b_in"), b_out: block("b_out"), W_out: block("W_out") });
    this.W_U = arrays["unembed.W_U"].data;
    this.classes = arrays["unembed.W_U"].shape[1];
    const inward = (x) => product(x, x.length / d, d, block("W_in"), m);
    for (const head of made) {
      head.inward = head.outputs.map(inward);
      head.powers = powersOf(head.scores);
    }
    this.equalsIn = inward(equals);
  }

  // Attention of a head from = to a, b and =.
  attention(h, a, b) {
    const { scores } = this.heads[h], three = [scores[0][a], scores[1][b], scores[2][0]], top = Math.max(...three);
    const powers = three.map((x) => Math.exp(x - top)), total = powers[0] + powers[1] + powers[2];
    return powers.map((x) => x / total);
  }

  // base plus the attended rows of every head's tables, as numbers [width].
  mix(base, name, width, a, b) {
    const made = Float64Array.from(base);
    this.heads.forEach((head, h) => {
      const weights = this.attention(h, a, b), rows = [a, b, 0];
      for (let s = 0; s < 3; s++) {
        const data = head[name][s], from = rows[s] * width;
        for (let i = 0; i < width; i++) made[i] += weights[s] * data[from + i];
      }
    });
    return made;
  }

  neurons(a, b) {
    return this.mix(this.equalsIn, "inward", this.m, a, b).map((x, i) => this.activation(x + this.b_in[i]));
  }

  // One neuron over all pairs.
  neuronMap(n) {
    const { p, m, heads } = this, made = new Float64Array(p * p);
    for (let a = 0; a < p; a++)
      for (let b = 0; b < p; b++) {
        let x = this.equalsIn[n] + this.b_in[n];
        for (let h = 0; h < heads.length; h++) {
          const { powers, inward } = heads[h], u = powers[0][a], v = powers[1][b], w = powers[2][0];
          x += (u * inward[0][a * m + n] + v * inward[1][b * m + n] + w * inward[2][n]) / (u + v + w);
        }
        made[a * p + b] = this.activation(x);
      }
    return made;
  }

  // Logits of the p answers.
  logits(a, b) {
    const stream = this.mix(this.equals, "outputs", this.d, a, b), out = product(this.neurons(a, b), 1, this.m, this.W_out, this.d);
    for (let i = 0; i < this.d; i++) stream[i] += out[i] + this.b_out[i];
    return product(stream, 1, this.d, this.W_U, this.classes).subarray(0, this.p).map((x) => x * this.scale);
  }
}

// An MLP on one-hots: each position adds a row of W_in.
class MlpOfPairs {
  constructor(arrays, { activation, scale }) {
    const { W_in, W_out, b_in } = arrays, [, v, m] = W_in.shape;
    Object.assign(this, { p: v - 1, v, m, scale, activation: ACTIVATIONS[activation], W_in: W_in.data, W_out: W_out.data, classes: W_out.shape[1] });
    this.base = Float64Array.from(b_in.data, (x, i) => x + W_in.data[(2 * v + v - 1) * m + i]);
  }

  before(n, a, b) { return this.base[n] + this.W_in[a * this.m + n] + this.W_in[(this.v + b) * this.m + n]; }

  neurons(a, b) { return Float64Array.from({ length: this.m }, (_, n) => this.activation(this.before(n, a, b))); }

  neuronMap(n) {
    const { p } = this;
    return Float64Array.from({ length: p * p }, (_, i) => this.activation(this.before(n, Math.floor(i / p), i % p)));
  }

  logits(a, b) {
    return product(this.neurons(a, b), 1, this.m, this.W_out, this.classes).subarray(0, this.p).map((x) => x * this.scale);
  }
}

function makeNetwork(arrays, settings) {
  return new { mlp: MlpOfPairs, transformer: TransformerOfPairs, deep: DeepTransformer }[settings.network](arrays, settings);
}

// The projection of a map [n x n] on its mean and the products of {1, cos, sin} of w_k a and w_k b,
// and the share of its variance that these explain.
function fitOf(map, p, place, n, k) {
  const rows = [0, 1, 2].map((part) => Float64Array.from(place, (x) => (x < 0 ? 0 : part === 0 ? 1 : part === 1 ? Math.cos((2 * Math.PI * k * x) / n) : Math.sin((2 * Math.PI * k * x) / n))));
  const norms = rows.map((row) => row.reduce((sum, x) => sum + x * x, 0)), made = new Float64Array(p * p);
  let total = 0, mean = 0;
  for (let a = 0; a < p; a++) for (let b = 0; b < p; b++) mean += (rows[0][a] * rows[0][b] * map[a * p + b]) / (n * n);
  for (let i = 0; i < 3; i++)
    for (let j = 0; j < 3; j++) {
      if (norms[i] < 1e-9 || norms[j] < 1e-9) continue;
      let c = 0;
      for (let a = 0; a < p; a++) for (let b = 0; b < p; b++) c += rows[i][a] * rows[j][b] * map[a * p + b];
      c /= norms[i] * norms[j];
      for (let a = 0; a < p; a++) for (let b = 0; b < p; b++) made[a * p + b] += c * rows[i][a] * rows[j][b];
    }
  let explained = 0;
  for (let a = 0; a < p; a++)
    for (let b = 0; b < p; b++) {
      if (place[a] < 0 || place[b] < 0) continue;
      total += (map[a * p + b] - mean) ** 2;
      explained += (made[a * p + b] - mean) ** 2;
    }
  return { fit: made, share: total > 0 ? explained / total : 0 };
}

// Logits over the classes as a sum of waves around the right answer, and the rest.
function wavesOf(logits, run, answer, waves) {
  const n = run.circles?.order.length ?? run.answers.p, { place } = run, parts = [], rest = Float64Array.from(logits);
  if (place[answer] < 0) return { parts, rest };
  for (const k of waves) {
    const cos = Float64Array.from(place, (x) => (x < 0 ? 0 : Math.cos((2 * Math.PI * k * (place[answer] - x)) / n)));
    let amplitude = 0, norm = 0;
    cos.forEach((x, c) => { amplitude += x * logits[c]; norm += x * x; });
    amplitude /= norm;
    const values = cos.map((x) => amplitude * x);
    values.forEach((x, c) => { rest[c] -= x; });
    parts.push({ k, amplitude, values });
  }
  return { parts, rest };
}
