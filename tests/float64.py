"""The analyses of the paper once more, in NumPy and float64, from their definitions.

Shares no code with the library: the forward pass is the plain one over three positions, waves are
explicit arrays over the pairs, and fits are least squares over all pairs. Written for one layer
with ReLU. Maps carry the pair last: [..., p * p].
"""

from functools import cached_property

import numpy as np
from scipy.special import logsumexp


class Float64:
    """One network; everything that is worth computing once."""

    def __init__(self, params, data, keys):
        p, cast = int(data.extra["modulus"]), lambda x: np.asarray(x, np.float64)
        block = params["blocks"]["0"]
        self.attn = {name: cast(x) for name, x in block["attn"].items()}
        self.mlp = {name: cast(x) for name, x in block["mlp"].items()}
        self.W_E, self.W_pos = cast(params["embed"]["W_E"]), cast(params["pos_embed"]["W_pos"])
        self.W_U = cast(params["unembed"]["W_U"])[:, :p]
        self.W_L = self.W_U.T @ self.mlp["W_out"].T
        self.p, self.keys = p, list(keys)
        self.a, self.b = (x.reshape(-1) for x in np.indices((p, p)))
        self.sum = self.a + int(data.extra["sign"]) * self.b
        self.labels, self.train = data.targets.reshape(-1), data.splits["train"].reshape(-1)
        self.x_equals = self.W_E[p] + self.W_pos[2]
        tokens = np.stack([self.a, self.b, np.full_like(self.a, p)], -1)
        self.x = self.W_E[tokens] + self.W_pos[:3]
        q = np.einsum("d,hdk->hk", self.x_equals, self.attn["W_Q"])
        k = np.einsum("bsd,hdk->hbsk", self.x, self.attn["W_K"])
        self.scores = np.einsum("hk,hbsk->hsb", q, k) / np.sqrt(q.shape[1])
        self.attention = np.exp(self.scores - logsumexp(self.scores, axis=1, keepdims=True))
        self.residual = self.attend(self.attention)
        self.neurons, self.logits = self.read_out(self.residual)

    def attend(self, attention, skip=1.0, heads=slice(None)):
        """The residual stream before the MLP, for any attention [h, s, pairs]."""
        v = np.einsum("bsd,hdk->hbsk", self.x, self.attn["W_V"])
        z = np.einsum("hsb,hbsk->hbk", attention, v)[heads]
        out = np.einsum("hbk,hkd->db", z, self.attn["W_O"][heads])
        return skip * self.x_equals[:, None] + out

    def read_out(self, residual):
        pre = self.mlp["W_in"].T @ residual + self.mlp["b_in"][:, None]
        neurons = np.maximum(pre, 0)
        return neurons, self.after(neurons, residual)

    def after(self, neurons, residual):
        return self.W_L @ neurons + self.W_U.T @ (residual + self.mlp["b_out"][:, None])

    def losses(self, logits):
        """Over all pairs, the training pairs and the others."""
        logits = np.broadcast_to(logits, (self.p, self.p**2))
        margins = logits - logits[self.labels, np.arange(self.p**2)]
        margins[self.labels, np.arange(self.p**2)] = -np.inf
        loss = np.logaddexp(0, logsumexp(margins, axis=0))
        return loss.mean(), loss[self.train].mean(), loss[~self.train].mean()

    def wave(self, k, x):
        cos, sin = np.cos(2 * np.pi * k * x / self.p), np.sin(2 * np.pi * k * x / self.p)
        return cos, sin * (2 * k != self.p)  # at k = p/2 the sine is 0, not 1e-15

    def sums(self, ks):
        """cos and sin of w_k (a + b) as rows."""
        return np.concatenate([self.wave(k, self.sum) for k in ks])

    def products(self, ks):
        """The four products of a wave of a and one of b."""
        pairs = [(self.wave(k, self.a), self.wave(k, self.b)) for k in ks]
        return np.array([x * y for of_a, of_b in pairs for x in of_a for y in of_b])

    def block(self, ks):
        """The 8 products of frequency k other than the constant, for all ks."""
        rows = []
        for k in ks:
            of_a, of_b = ([np.ones(self.p**2), *self.wave(k, x)] for x in (self.a, self.b))
            rows += [x * y for x in of_a for y in of_b][1:]
        return np.array(rows)

    def fit(self, maps, rows, constant=True):
        """Least squares of every map on the rows, and a constant."""
        rows = np.vstack([rows, np.ones(self.p**2)]) if constant else np.asarray(rows)
        coefficients = np.linalg.lstsq(rows @ rows.T, rows @ maps.T, rcond=1e-12)[0].T
        return coefficients @ rows, coefficients

    def fve(self, maps, rows):
        """Share of the variance of every map that the fit explains."""
        left = maps - self.fit(maps, rows)[0]
        return 1 - left.var(1) / maps.var(1)

    def readouts(self):
        """u_k . MLP and v_k . MLP by frequency, with cos(w_k), sin(w_k) of unit norm over c."""
        found = {}
        for k in self.keys:
            waves = np.array(self.wave(k, np.arange(self.p)))
            norms = np.linalg.norm(waves, axis=1, keepdims=True)
            found[k] = (waves / np.maximum(norms, 1e-9)) @ self.W_L
        return found

    def span(self):
        """The projector on the readouts of the key frequencies."""
        rows = np.concatenate(list(self.readouts().values()))
        return np.linalg.pinv(rows, rcond=1e-9) @ rows

    @cached_property
    def neuron_shares(self):
        """Share of each neuron's variance in the block of each frequency, [f, m]."""
        shares = []
        varies = self.neurons.var(1) > 1e-9
        for k in range(1, self.p // 2 + 1):
            share = np.zeros(len(self.neurons))
            share[varies] = self.fve(self.neurons[varies], self.block([k]))
            shares.append(share)
        return np.array(shares)

    def polynomials(self, threshold=0.85):
        """The neurons with those above the threshold replaced by the terms of their frequency."""
        shares = self.neuron_shares
        neurons = self.neurons.copy()
        for k in range(1, self.p // 2 + 1):
            mine = (shares.argmax(0) == k - 1) & (shares.max(0) > threshold)
            if mine.any():
                neurons[mine] = self.fit(neurons[mine], self.block([k]))[0]
        return neurons

    def means_back(self, logits):
        """Logits with each class's mean over the pairs replaced by the network's own."""
        return logits - self.mean(logits) + self.mean(self.logits)

    def mlp_products(self):
        """The neurons' part along the four products of two waves of each key frequency."""
        fitted = self.fit(self.neurons, self.products(self.keys))[0]
        return fitted - self.mean(fitted)

    def mlp_before_heads(self):
        """Logits if the MLP reads the stream before the heads and nothing else goes around it."""
        before = np.repeat(self.x_equals[:, None], self.p**2, axis=1)
        return self.after(self.read_out(before)[0], self.attend(self.attention, skip=0.0))

    def without_cluster(self, k, threshold=0.85):
        """Logits of the neurons as polynomials, means back, without those of one frequency."""
        mine = (self.neuron_shares.argmax(0) == k - 1) & (self.neuron_shares.max(0) > threshold)
        return self.means_back(self.W_L @ np.where(mine[:, None], 0, self.polynomials()))

    def shares_about_zero(self):
        """Share of each head's squared attention to a by the fit through 1/2, and its frequency."""
        found = []
        for to_a in self.attention[:, :1]:
            fits = [
                self.fit(to_a - 0.5, self.difference(k), constant=False)[0]
                for k in range(1, self.p // 2 + 1)
            ]
            shares = [1 - np.sum((to_a - 0.5 - x) ** 2) / np.sum(to_a**2) for x in fits]
            found.append((1 + int(np.argmax(shares)), max(shares)))
        return found

    def lines(self, constant=None):
        """The best line through each head's sigmoid of the score difference."""
        difference = self.scores[:, 0] - self.scores[:, 1]
        sigmoid = 1 / (1 + np.exp(-difference))
        if constant is None:
            fits = zip(difference, sigmoid, strict=True)
            return np.array([np.polyval(np.polyfit(x, y, 1), x) for x, y in fits])
        slope = np.sum(difference * (sigmoid - constant), 1) / np.sum(difference**2, 1)
        return constant + slope[:, None] * difference

    def shared(self, first, equals=None):
        """Attention with the weight of "=", and of the rest the share `first` to a."""
        equals = self.attention[:, 2] if equals is None else np.full_like(first, equals)
        return np.stack([(1 - equals) * first, (1 - equals) * (1 - first), equals], 1)

    def difference(self, k):
        """cos w_k a - cos w_k b, and the same of the sines."""
        return np.array(self.wave(k, self.a)) - np.array(self.wave(k, self.b))

    def attention_fits(self):
        """Frequency and share of variance of the best a cos + b sin difference, by head."""
        fits = []
        for head in self.attention[:, :1]:
            shares = []
            for k in range(1, self.p // 2 + 1):
                shares.append(self.fve(head, self.difference(k))[0])
            fits.append((int(np.argmax(shares)) + 1, max(shares)))
        return fits

    def cube_fit(self):
        """The logits as a sum of cos(w_k (a + b - c)), by least squares over all p^3 entries."""
        angle = self.sum - np.arange(self.p)[:, None]
        cubes = np.array([self.wave(k, angle)[0].reshape(-1) for k in self.keys])
        coefficients = np.linalg.lstsq(cubes @ cubes.T, cubes @ self.logits.reshape(-1))[0]
        return (coefficients @ cubes).reshape(self.logits.shape), coefficients

    def ablations(self):
        """Losses of every ablation, under the library's names; the definitions are the paper's."""
        fit = lambda maps, rows: self.fit(maps, rows)[0]  # noqa: E731
        bias = (self.W_U.T @ self.mlp["b_out"])[:, None]
        skip = self.W_U.T @ self.residual + bias
        mlp, span = self.W_L @ self.neurons, self.W_L @ self.span() @ self.neurons
        sums, block = self.sums(self.keys), self.block(self.keys)
        without = lambda rows: self.logits - (fit(self.logits, rows) - self.mean(self.logits))  # noqa: E731
        logits = {
            "neurons_as_polynomials": self.after(self.polynomials(), self.residual),
            "sum_directions_only": fit(self.logits, sums),
            "sum_directions_only_in_neurons": skip + self.W_L @ fit(self.neurons, sums),
            "key_blocks_only": fit(self.logits, block),
            "key_blocks_only_in_neurons": skip + self.W_L @ fit(self.neurons, block),
            "key_products_only": fit(self.logits, self.products(self.keys)),
            "excluded": without(sums),
            "excluded_products": without(self.products(self.keys)),
            "excluded_blocks": without(block),
            "excluded_cube": self.logits - self.cube_fit()[0],
            "mlp_readout_span": span + skip,
            "mlp_readout_span_without_skip": span,
            "mlp_readout_null_space": mlp - span + skip,
            "mlp_readout_null_space_without_skip": mlp - span,
            "mlp_readout_span_products": self.means_back(self.W_L @ self.mlp_products()),
            "mlp_readout_null_space_products": self.logits - self.W_L @ self.mlp_products(),
            "neurons_as_polynomials_without_skip": self.means_back(self.W_L @ self.polynomials()),
            "attention_skip_zero_mlp_before_heads": self.mlp_before_heads(),
            "mlp_skip_zero": mlp + bias,
            "mlp_skip_mean": mlp + self.mean(skip),
        }
        for name, residual in self.streams().items():
            logits[name] = self.read_out(residual)[1]
        return {name: self.losses(z) for name, z in logits.items()}

    def streams(self):
        """The residual stream before the MLP with the heads changed."""
        sigmoid = 1 / (1 + np.exp(self.scores[:, 1] - self.scores[:, 0]))
        masked = self.attention * np.array([1, 1, 0])[:, None]
        fits = [
            self.fit(to_a - 0.5, self.difference(k), constant=False)[0][0]
            for to_a, (k, _) in zip(self.attention[:, :1], self.attention_fits(), strict=True)
        ]
        attend = self.attend
        streams = {
            "attention_zero": attend(0 * self.attention),
            "attention_skip_zero": attend(self.attention, skip=0.0),
            "attention_mean": attend(0 * self.attention + self.attention.mean(2, keepdims=True)),
            "attention_linearised": attend(self.shared(self.lines())),
            "attention_linearised_through_half": attend(self.shared(self.lines(0.5))),
            "attention_linearised_without_equals": attend(self.shared(self.lines(), 0.0)),
            "attention_single_frequency": attend(self.shared(0.5 + np.array(fits))),
            "equals_attention_zero": attend(self.shared(sigmoid, 0.0)),
            "equals_attention_zero_unscaled": attend(masked),
        }
        return streams

    def without_each_head(self):
        """Losses without the output of each head."""
        heads = np.arange(len(self.attention))
        streams = (self.attend(self.attention, heads=np.delete(heads, i)) for i in heads)
        return [self.losses(self.read_out(stream)[1]) for stream in streams]

    def without_frequency(self, ks):
        """Losses without each frequency, by the library's name of what is removed."""

        def without(maps, rows):
            return maps - self.fit(maps, rows)[0] + self.mean(maps)

        found = {}
        for name, rows in (("block", self.block), ("sum_directions", self.sums)):
            after = lambda k, rows=rows: self.after(without(self.neurons, rows([k])), self.residual)  # noqa: E731
            found[f"logit_{name}"] = [self.losses(without(self.logits, rows([k]))) for k in ks]
            found[f"neuron_{name}"] = [self.losses(after(k)) for k in ks]
        found["neuron_cluster"] = [self.losses(self.without_cluster(k)) for k in ks]
        return found

    def mean(self, maps):
        return maps.mean(1, keepdims=True)
