"""A one-layer network whose weights are written down, not trained."""

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
                    "b_out": np.zeros(d_model, np.float32),
                },
            }
        },
        "unembed": {"W_U": cast(W_U)},
    }
