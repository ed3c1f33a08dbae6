"""Transformers that are not the paper's, against one written out in NumPy and float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from configs import message_of

from grokjax.config.sweep import RunConfig
from grokjax.measures import select, spectra
from grokjax.networks import by_name, fast_one_layer, variants
from grokjax.networks.forward import form
from grokjax.tasks.data import data_of
from grokjax.training import blocks, optimizers
from grokjax.training.blocks import block_of, hyper_of, program_of

SMALL = RunConfig(modulus=7, train_fraction=0.6, steps=5, d_model=8, num_heads=2, d_mlp=12)
CHANGES = {
    "layer_norm": dict(layer_norm=True),
    "tied": dict(tied_embeddings=True),
    "pizza": dict(attention_rate=0.0),
    "half uniform": dict(attention_rate=0.25, constant_attention="uniform"),
    "scaled": dict(output_scale=3.0),
    "quadratic": dict(activation="quadratic"),
    "deep": dict(num_layers=4),
    "all": dict(
        layer_norm=True,
        tied_embeddings=True,
        attention_rate=0.5,
        output_scale=0.5,
        activation="gelu",
        num_layers=2,
    ),
}


def weights(run):
    rng = np.random.default_rng(0)
    params = by_name.shapes(program_of(run))
    return jax.tree.map(lambda x: rng.normal(scale=0.4, size=x.shape).astype(np.float32), params)


def norm(x, own):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * own["w"] + own["b"]


def forward(params, tokens, run):
    """Logits at the last position, one head and one query at a time."""
    params = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    x = params["embed"]["W_E"][tokens] + params["pos_embed"]["W_pos"]
    for layer in params["blocks"].values():
        y = norm(x, layer["ln1"]) if run.layer_norm else x
        attn, out = layer["attn"], np.zeros_like(x)
        for Q, K, V, out_of in zip(*(attn[f"W_{x}"] for x in "QKVO"), strict=True):
            for i in range(3):
                seen = y[:, : i + 1]
                scores = np.einsum("bk,bsk->bs", y[:, i] @ Q, seen @ K) / np.sqrt(Q.shape[1])
                A = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
                rest = 1 if run.constant_attention == "ones" else 1 / (i + 1)
                A = run.attention_rate * A + (1 - run.attention_rate) * rest
                out[:, i] += np.einsum("bs,bsk->bk", A, seen @ V) @ out_of
        x = x + out
        mlp, y = layer["mlp"], norm(x + 0, layer["ln2"]) if run.layer_norm else x
        before = y @ mlp["W_in"] + mlp["b_in"]
        kinds = {"relu": lambda z: np.maximum(z, 0), "quadratic": lambda z: z * z, "gelu": gelu}
        x = x + kinds[run.activation](before) @ mlp["W_out"] + mlp["b_out"]
    if run.layer_norm:
        x = norm(x, params["ln_final"])
    W_U = params["embed"]["W_E"].T if run.tied_embeddings else params["unembed"]["W_U"]
    return run.output_scale * x[:, -1] @ W_U


def gelu(z):
    from scipy.special import erf

    return 0.5 * z * (1 + erf(z / np.sqrt(2)))


@pytest.mark.slow
@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_logits_are_those_written_out_in_float64(changes):
    run = SMALL.replace(**changes)
    program, params, data = program_of(run), weights(run), data_of(run)
    expected = forward(params, data.tokens.reshape(-1, 3), run).T
    trace = form(program).trace(params, data)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(trace.logits.reshape(8, -1), expected, atol=1e-5 * scale)
    tokens = jnp.asarray(data.tokens.reshape(-1, 3))
    trained_on = form(program).logits(params, form(program).prepare(tokens), 1)
    np.testing.assert_allclose(trained_on, expected, atol=1e-5 * scale)


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_what_is_not_the_papers_function_is_not_evaluated_or_measured_as_if_it_were(changes):
    program = program_of(SMALL.replace(**changes))
    only_inside = set(changes) <= {"activation", "num_layers"}
    assert variants.is_plain(program) == only_inside == spectra.is_transformer(program)
    assert fast_one_layer.serves(program) == (set(changes) == {"activation"})
    for name in select.select(("paper",), program):
        assert name.name  # none asks for what the parameters lack


def test_defaults_are_those_of_the_paper():
    assert fast_one_layer.serves(program_of(SMALL)) and variants.is_plain(program_of(SMALL))
    assert variants.rate_factor(program_of(SMALL)) == 1


def test_initial_weights_of_what_is_left_are_the_same():
    """A norm begins as the identity but for its scaling, and its weights take no draw."""
    draw = lambda run: jax.device_get(by_name.init(jax.random.key(0), program_of(run)))  # noqa: E731
    plain, norms = draw(SMALL), draw(SMALL.replace(layer_norm=True))
    assert (norms["ln_final"]["w"] == 1).all() and not norms["blocks"]["0"]["ln1"]["b"].any()
    np.testing.assert_array_equal(norms["unembed"]["W_U"], plain["unembed"]["W_U"])
    tied = draw(SMALL.replace(tied_embeddings=True))
    assert "unembed" not in tied and tied["embed"]["W_E"].shape == plain["embed"]["W_E"].shape


def test_the_map_of_neurons_to_logits_goes_through_tied_embeddings():
    run = SMALL.replace(tied_embeddings=True)
    program, params = program_of(run), weights(run)
    assert spectra.has_neuron_logit_map(program)
    W_L = spectra.neuron_logit_map(params)
    expected = params["embed"]["W_E"] @ params["blocks"]["0"]["mlp"]["W_out"].T
    np.testing.assert_allclose(W_L, expected, rtol=1e-5, atol=1e-6)
    told = message_of(program_too_small)
    assert "tied_embeddings" in told and "10 classes" in told


def program_too_small():
    from programs import program

    return by_name.shapes(program(vocabulary=5, num_classes=10, tied_embeddings=True))


@pytest.mark.parametrize("power, factor", [(2.0, 1 / 16), (1.0, 1 / 4), (0.0, 1.0)])
def test_the_learning_rate_is_divided_by_the_output_scale_to_a_power(power, factor):
    run = SMALL.replace(optimizer="sgd", momentum=0.0, weight_decay=0.0, warmup_steps=0)
    scaled = run.replace(output_scale=4.0, output_scale_power=power)
    gradient, moved = {"W": jnp.ones(3)}, []
    for one in (run, scaled):
        optimizer = optimizers.make(hyper_of(one), program_of(one))
        moved.append(optimizer.update(gradient, optimizer.init(gradient), gradient)[0]["W"])
    np.testing.assert_allclose(moved[1], factor * moved[0], rtol=1e-6)


def test_in_gradient_descent_the_function_moves_as_fast_whatever_its_scale():
    """The point of the power 2 (Kumar et al. 2023): from the same small logits, which is a scale
    times weights whose read-out is smaller by it, one step changes the logits by about as much."""
    run = RunConfig(network="mlp", modulus=7, train_fraction=0.6, d_mlp=64, steps=5)
    run = run.replace(optimizer="sgd", momentum=0.0, weight_decay=0.0, warmup_steps=0)
    changes = []
    for scale in (30.0, 300.0):
        program = program_of(run.replace(output_scale=scale, learning_rate=0.01))
        params = by_name.init(jax.random.key(0), program)
        logits = lambda p, program=program: form(program).trace(p, data_of(run)).logits  # noqa: E731
        # Logits of the start taken off, as if the run began at zero function (Chizat et al.).
        start = logits(params)
        loss = lambda p, f=logits, s=start: jnp.mean((f(p) - s - 1) ** 2)  # noqa: E731
        hyper = hyper_of(run.replace(output_scale=scale, learning_rate=0.01))
        optimizer = optimizers.make(hyper, program)
        updates, _ = optimizer.update(jax.grad(loss)(params), optimizer.init(params), params)
        after = jax.tree.map(jnp.add, params, updates)
        changes.append(logits(after) - start)
    size = float(jnp.linalg.norm(changes[1]))
    assert jnp.linalg.norm(changes[0] - changes[1]) < 0.05 * size and size > 0.01


def test_padded_they_give_the_same_logits():
    run = SMALL.replace(**CHANGES["all"])
    own, larger = program_of(run), program_of(run.replace(modulus=11))
    params, data = weights(run), data_of(run)
    logits = form(own).over_rows(params, data, lambda x: x)
    of_padded = form(larger).over_rows(by_name.pad(params, larger), data, lambda x: x)
    np.testing.assert_allclose(of_padded[:8], logits, atol=1e-5)


@pytest.mark.slow
def test_they_train_beside_each_other_and_apart_from_others():
    run = SMALL.replace(**CHANGES["all"], steps=60, learning_rate=0.01)
    runs = [run, run.replace(seed=1), SMALL]
    assert [block.indices for block in blocks.plan(runs)] == [(0, 1), (2,)]
    block = block_of(runs[:2], [0, 1])
    trainer, data = blocks.trainer(block), blocks.block_data(block)
    state = blocks.initial_states(block)
    before = np.asarray(trainer.scores(state.params, data)["train_loss"])
    after = np.asarray(trainer.scores(trainer.train(state, data, 60).params, data)["train_loss"])
    assert (after < 0.9 * before).all()
