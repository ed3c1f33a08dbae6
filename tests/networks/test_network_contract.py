"""What holds for every built-in network and its options: by hand in float64, padded, shapes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from grokjax.config.sweep import RunConfig
from grokjax.core import parts
from grokjax.networks import by_name
from grokjax.networks.forward import form
from grokjax.tasks.data import data_of
from grokjax.training.blocks import program_of

SIZES = dict(modulus=7, train_fraction=0.6, steps=5, d_model=8, num_heads=2)
RUN = RunConfig(d_mlp=12, **SIZES)
ALONE = RunConfig(network="attention_only", num_layers=2, **SIZES)
MLP = RunConfig(network="mlp", modulus=7, train_fraction=0.6, d_mlp=12, steps=5)
INDUCTION = ALONE.replace(network="induction_transformer")
NETWORKS = {
    "transformer": RUN,
    "two layers": RUN.replace(num_layers=2, d_head=5),
    "attention only": ALONE,
    "doubled": INDUCTION.replace(**{"induction_transformer.doubled_residual": True}),
    "mlp": MLP,
    "all": RUN.replace(
        layer_norm=True,
        tied_embeddings=True,
        attention_rate=0.5,
        output_scale=0.5,
        activation="gelu",
        num_layers=2,
    ),
}
MORE = {
    "gelu": RUN.replace(num_heads=4, activation="gelu"),
    "layer norm": RUN.replace(layer_norm=True),
    "tied": RUN.replace(tied_embeddings=True),
    "pizza": RUN.replace(attention_rate=0.0),
    "half uniform": RUN.replace(attention_rate=0.25, constant_attention="uniform"),
    "scaled": RUN.replace(output_scale=3.0),
    "quadratic": RUN.replace(activation="quadratic"),
    "induction": INDUCTION,
    "scaled mlp": MLP.replace(output_scale=3.0, activation="gelu"),
}
SLOW = ("all", "doubled")  # to compile
each = pytest.mark.parametrize(
    "run",
    [
        pytest.param(run, id=name, marks=[pytest.mark.slow] * (name in SLOW))
        for name, run in NETWORKS.items()
    ],
)
each_of_all = pytest.mark.parametrize(
    "run",
    [
        *(pytest.param(run, id=name) for name, run in NETWORKS.items()),
        *(pytest.param(run, id=name, marks=pytest.mark.slow) for name, run in MORE.items()),
    ],
)
ACTIVATIONS = {
    "relu": lambda z: np.maximum(z, 0),
    "quadratic": lambda z: z * z,
    "gelu": lambda z: 0.5 * z * (1 + erf(z / np.sqrt(2))),
}


def test_every_network_is_tested():
    names = {run.network for run in [*NETWORKS.values(), *MORE.values()]}
    assert names == {part.name for part in parts.all_of("network")}


def weights(run):
    rng = np.random.default_rng(0)
    params = by_name.shapes(program_of(run))
    return jax.tree.map(lambda x: rng.normal(scale=0.4, size=x.shape).astype(np.float32), params)


# --- By hand --------------------------------------------------------------------------------------


def norm(x, own):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * own["w"] + own["b"]


def attention(x, attn, run):
    """What the heads add at every position, and where they look: one head and query at a time."""
    added, patterns = np.zeros_like(x), np.zeros((len(x), len(attn["W_Q"]), *2 * x.shape[1:2]))
    for h, (Q, K, V, W_O) in enumerate(zip(*(attn[f"W_{x}"] for x in "QKVO"), strict=True)):
        for i in range(x.shape[1]):
            seen = x[:, : i + 1]
            scores = np.einsum("bk,bsk->bs", x[:, i] @ Q, seen @ K) / np.sqrt(Q.shape[1])
            A = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
            rest = 1 if run.constant_attention == "ones" else 1 / (i + 1)
            A = run.attention_rate * A + (1 - run.attention_rate) * rest
            patterns[:, h, i, : i + 1] = A
            added[:, i] += np.einsum("bs,bsk->bk", A, seen @ V) @ W_O
    return added, patterns


def by_hand(params, tokens, run):
    """Every field of the forward pass, in float64."""
    params = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    if run.network == "mlp":
        one_hot = np.eye(8)[tokens]
        neurons = np.einsum("bsv,svm->bm", one_hot, params["W_in"]) + params["b_in"]
        neurons = ACTIVATIONS[run.activation](neurons)
        return {"logits": run.output_scale * neurons @ params["W_out"], "neurons": neurons}
    x, patterns, found = params["embed"]["W_E"][tokens] + params["pos_embed"]["W_pos"], [], {}
    doubled = run.network.startswith("ind") and run["induction_transformer.doubled_residual"]
    for layer in params["blocks"].values():
        added, pattern = attention(
            norm(x, layer["ln1"]) if run.layer_norm else x, layer["attn"], run
        )
        patterns.append(pattern)
        x = (2 * x if doubled else x) + added
        if "mlp" in layer:
            mlp, y = layer["mlp"], norm(x, layer["ln2"]) if run.layer_norm else x
            found["residual"] = x
            found["neurons"] = ACTIVATIONS[run.activation](y @ mlp["W_in"] + mlp["b_in"])
            x = x + found["neurons"] @ mlp["W_out"] + mlp["b_out"]
    x = norm(x, params["ln_final"]) if run.layer_norm else x
    W_U = params["embed"]["W_E"].T if run.tied_embeddings else params["unembed"]["W_U"]
    seen = {"attention": patterns[-1], "patterns": np.stack(patterns)}
    return {"logits": run.output_scale * x @ W_U, **seen, **found}


@each_of_all
def test_every_field_is_that_by_hand_and_the_form_gives_the_logits(run):
    program, params, data = program_of(run), weights(run), data_of(run)
    tokens = data.tokens.reshape(-1, 3)

    @jax.jit
    def computed(params):
        every = by_name.functions(program)[1](params, tokens)
        evaluate = form(program)
        trace, scored = evaluate.trace(params, data), evaluate.over_rows(params, data, lambda x: x)
        return every, trace, scored, evaluate.logits(params, evaluate.prepare(tokens), 1)

    (every, trace, scored, trained_on), expected = computed(params), by_hand(params, tokens, run)
    assert every.keys() == expected.keys()
    for name, value in expected.items():
        scale = np.max(np.abs(value))
        found = np.reshape(every[name], value.shape)
        np.testing.assert_allclose(found, value, rtol=0, atol=1e-5 * scale, err_msg=name)
    logits = expected["logits"].reshape(len(tokens), -1, 8)[:, -1].T
    for found in (trace.logits, scored, trained_on):
        scale = np.abs(logits).max()
        np.testing.assert_allclose(np.reshape(found, logits.shape), logits, atol=1e-5 * scale)
    for name in {"neurons", "residual", "attention"} & expected.keys():
        last = expected[name][:, :, -1] if name == "attention" else expected[name]
        last = last[:, -1] if name != "attention" and run.network != "mlp" else last
        last = np.moveaxis(last, 0, -1)
        found = np.reshape(getattr(trace, name), last.shape)
        np.testing.assert_allclose(found, last, rtol=0, atol=1e-5 * np.abs(last).max())


# --- Padding and shapes ---------------------------------------------------------------------------


@each
def test_padding_keeps_logits_and_gradients_and_has_zeros_behind(run, assert_trees_close):
    own, large = program_of(run), program_of(run.replace(modulus=10))
    tokens = data_of(run).tokens.reshape(-1, 3)
    along = np.random.default_rng(1).normal(size=(8, 49)).astype(np.float32)

    @partial(jax.jit, static_argnames="program")
    def logits_and_gradients(params, along, program):
        evaluate = lambda params: form(program).logits(params, form(program).prepare(tokens), 1)  # noqa: E731
        logits, back = jax.vjp(evaluate, params)
        return logits, back(along)[0]

    params = weights(run)
    padded = by_name.pad(params, large)
    assert jax.tree.map(np.shape, padded) == jax.tree.map(np.shape, by_name.shapes(large))
    expected, gradients = logits_and_gradients(params, along, own)
    found = logits_and_gradients(padded, np.pad(along, ((0, 3), (0, 0))), large)
    np.testing.assert_allclose(found[0][:8], expected, rtol=1e-5, atol=1e-5)
    assert not np.any(found[0][8:])
    assert_trees_close(found[1], by_name.pad(gradients, large), 1e-5)
    grown = jax.tree.map(lambda x: jnp.stack([x, 2 * x])[None], padded)
    back = by_name.unpad(grown, own)  # also under leading axes
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x, [[y, 2 * y]]), back, params)


@each
def test_initial_weights_follow_the_key_the_scale_and_the_vocabulary(run):
    program = program_of(run)
    draw = jax.jit(partial(by_name.init, program=program))
    one, again, other = (draw(jax.random.key(seed), init_scale=1.0) for seed in (1, 1, 2))
    thrice = draw(jax.random.key(1), init_scale=3.0)
    jax.tree.map(np.testing.assert_array_equal, one, again)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(3 * x, y, rtol=1e-6), one, thrice)
    shapes = jax.tree.map(lambda x: (x.shape, x.dtype), by_name.shapes(program))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), one) == shapes
    for path, x in jax.tree.leaves_with_path(one):
        constant = path[-1].key.startswith("b") and run.network != "mlp" or path[-1].key == "w"
        assert np.isfinite(x).all() and (constant or np.std(x) > 0.05)
        y = other
        for key in path:
            y = y[key.key]
        assert constant or np.all(x != y)
    large = jax.tree.leaves(by_name.shapes(program_of(run.replace(modulus=10))))
    changed = [x.shape != y.shape for x, y in zip(jax.tree.leaves(one), large, strict=True)]
    assert sum(changed) == 2 - run.tied_embeddings if "tied_embeddings" in run else 2
