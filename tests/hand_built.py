"""One-layer networks whose weights are written down, not trained."""

import numpy as np


def waves_of_the_sum(p, amplitudes, d_model=128, num_heads=4, d_mlp=512):
    """Weights that compute sum_k amplitudes[k] cos(w_k (a + b - c)) exactly, for tokens a, b, "=".

    Token a carries the number a; attention averages the two operands and gives "=" no weight, so
    that the MLP reads s = a + b. Its neurons relu(s - j) are a basis of the functions of s, out of
    which W_out makes cos(w_k s) and sin(w_k s); W_U reads off cos(w_k (s - c)).
    """
    head = d_model // num_heads
    E, pos = np.zeros((p + 1, d_model)), np.zeros((3, d_model))
    E[:p, 0], E[p, 1] = np.arange(p), 1.0
    Q, K, V = (np.zeros((num_heads, d_model, head)) for _ in range(3))
    Q[:, 1, 0], K[:, 1, 0] = -1000.0, 1.0  # "=" asks for anything but "="
    V[0, 0, 0] = 1.0
    O = np.zeros((num_heads, head, d_model))  # noqa: E741
    O[0, 0, 2] = 2.0
    W_in, b_in = np.zeros((d_model, d_mlp)), np.full(d_mlp, -1e6)
    knots = np.arange(-1, 2 * p - 2)  # relu(s - j) for s = 0 .. 2p - 2
    W_in[2, : len(knots)], b_in[: len(knots)] = 1.0, -knots
    W_out, W_U = np.zeros((d_mlp, d_model)), np.zeros((d_model, p + 1))
    s, c = np.arange(2 * p - 1), np.arange(p)
    for i, (k, amplitude) in enumerate(amplitudes.items()):
        for j, wave in enumerate((np.cos, np.sin)):
            values = wave(2 * np.pi * k * s / p)
            slopes = np.diff(values, prepend=0.0)  # f(s) = sum_j (jump of slope at j) relu(s - j)
            W_out[: len(knots), 3 + 2 * i + j] = np.diff(slopes, prepend=0.0)
            W_U[3 + 2 * i + j, :p] = amplitude * wave(2 * np.pi * k * c / p)
    return _named(E, pos, Q, K, V, O, W_in, b_in, W_out, W_U)


def periodic_neurons(p, clusters, heads, mixed=3, constant=2, dead=2, strength=0.5):
    """Weights of linear neurons of one frequency each, and of heads whose circuits are known.

    Token a carries cos(w_k a) and sin(w_k a) for every frequency k of `clusters`. Head 0 looks at a
    and b alike and passes all frequencies on. Every further head (k, beta, phase, j) looks at a by
    sigmoid(C[a] - C[b]), C[x] = beta cos(w_k x - phase), and passes frequency j on. "=" gets
    nothing.

    clusters[k] neurons are 3 + cos(w_k a - phi) + cos(w_k b - phi), phi = 0, 1, 2, ..., and add
    strength cos(w_k c - phi) to the logits. Behind them come one neuron for each further head,
    3 plus twice the cosine that it passes on, then `mixed` ones of two frequencies alike,
    `constant` and `dead` ones.
    """
    ks, count = list(clusters), 2 * len(clusters)
    num_heads = 1 + len(heads)
    equals, out = count, 1 + count * (1 + num_heads)  # places in the stream
    d_model = num_heads * -(-(out + count) // num_heads)
    width = d_model // num_heads
    at = lambda h, k: 1 + count * (1 + h) + 2 * ks.index(k)  # where head h writes frequency k  # noqa: E731
    E, pos = np.zeros((p + 1, d_model)), np.zeros((3, d_model))
    for i, k in enumerate(ks):
        angle = 2 * np.pi * k * np.arange(p) / p
        E[:p, 2 * i], E[:p, 2 * i + 1] = np.cos(angle), np.sin(angle)
    E[p, equals] = 1.0
    Q, K, V = (np.zeros((num_heads, d_model, width)) for _ in range(3))
    O = np.zeros((num_heads, width, d_model))  # noqa: E741
    Q[:, equals, 0], K[:, equals, 0] = np.sqrt(width), -1000.0
    for h, (k, beta, phase, j) in enumerate([(ks[0], 0.0, 0.0, None), *heads]):
        i = 2 * ks.index(k)
        K[h, i, 0], K[h, i + 1, 0] = beta * np.cos(phase), beta * np.sin(phase)
        for passed in ks if j is None else [j]:
            for part in range(2):
                V[h, 2 * ks.index(passed) + part, 2 * ks.index(passed) + part] = 1.0
                O[h, 2 * ks.index(passed) + part, at(h, passed) + part] = 1.0
    d_mlp = sum(clusters.values()) + len(heads) + mixed + constant + dead
    W_in, b_in = np.zeros((d_model, d_mlp)), np.full(d_mlp, 3.0)
    W_out, W_U = np.zeros((d_mlp, d_model)), np.zeros((d_model, p + 1))
    m = 0
    for k, size in clusters.items():
        place, i = at(0, k), out + 2 * ks.index(k)
        for phi in range(size):
            W_in[place : place + 2, m] = 2 * np.cos(phi), 2 * np.sin(phi)
            W_out[m, i : i + 2] = strength * np.cos(phi), strength * np.sin(phi)
            m += 1
        angle = 2 * np.pi * k * np.arange(p) / p
        W_U[i, :p], W_U[i + 1, :p] = np.cos(angle), np.sin(angle)
    for h, (_, _, _, j) in enumerate(heads, start=1):
        W_in[at(h, j), m] = 2.0
        m += 1
    for _ in range(mixed):
        W_in[at(0, ks[0]), m] = W_in[at(0, ks[1]), m] = 1.0
        m += 1
    b_in[m + constant :] = -1.0
    return _named(E, pos, Q, K, V, O, W_in, b_in, W_out, W_U)


def _named(E, pos, Q, K, V, O, W_in, b_in, W_out, W_U):  # noqa: E741
    cast = lambda x: x.astype(np.float32)  # noqa: E731
    return {
        "embed": {"W_E": cast(E)},
        "pos_embed": {"W_pos": cast(pos)},
        "blocks": {
            "0": {
                "attn": {"W_Q": cast(Q), "W_K": cast(K), "W_V": cast(V), "W_O": cast(O)},
                "mlp": {
                    "W_in": cast(W_in),
                    "b_in": cast(b_in),
                    "W_out": cast(W_out),
                    "b_out": np.zeros(E.shape[1], np.float32),
                },
            }
        },
        "unembed": {"W_U": cast(W_U)},
    }
