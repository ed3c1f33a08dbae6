"""Transformers that are not the paper's: which measures they have, scales, training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grokjax.config.sweep import RunConfig
from grokjax.measures import select, spectra
from grokjax.networks import by_name, fast_one_layer, variants
from grokjax.networks.forward import form
from grokjax.tasks.data import data_of
from grokjax.training import blocks, optimizers
from grokjax.training.blocks import block_of, hyper_of, program_of
from grokjax.training.packing import pack
from tests.configs import message_of
from tests.networks.test_network_contract import MORE, NETWORKS, weights

SMALL = NETWORKS["transformer"]
CHANGED = {name: NETWORKS[name] for name in ("two layers", "all")}
CHANGED |= {name: run for name, run in MORE.items() if run.network == "transformer"}


@pytest.mark.parametrize("name", CHANGED)
def test_what_is_not_the_papers_function_is_not_evaluated_or_measured_as_if_it_were(name):
    program = program_of(CHANGED[name])
    only_inside = name in ("two layers", "gelu", "quadratic")
    assert variants.is_plain(program) == only_inside == spectra.is_transformer(program)
    assert fast_one_layer.serves(program) == (name in ("gelu", "quadratic"))
    for part in select.select(("paper",), program):
        assert part.name  # none asks for what the parameters lack
    plain = program_of(SMALL)
    assert fast_one_layer.serves(plain) and variants.is_plain(plain)
    assert variants.rate_factor(plain) == 1


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
    from tests.programs import program

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


@pytest.mark.slow
def test_they_train_beside_each_other_and_apart_from_others():
    run = NETWORKS["all"].replace(steps=60, learning_rate=0.01)
    runs = [run, run.replace(seed=1), SMALL]
    assert [block.indices for block in pack(runs)] == [(0, 1), (2,)]
    block = block_of(runs[:2], [0, 1])
    trainer, data = blocks.trainer(block), blocks.block_data(block)
    state = blocks.initial_states(block)
    before = np.asarray(trainer.scores(state.params, data)["train_loss"])
    after = np.asarray(trainer.scores(trainer.train(state, data, 60).params, data)["train_loss"])
    assert (after < 0.9 * before).all()
