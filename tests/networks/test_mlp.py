import jax
import numpy as np
import pytest

from grokjax.config.sweep import RunConfig
from grokjax.networks import by_name
from grokjax.networks.forward import form
from grokjax.tasks.data import data_of
from grokjax.training import blocks
from grokjax.training.blocks import block_of, program_of

RUN = RunConfig(network="mlp", modulus=7, train_fraction=0.5, d_mlp=24, steps=60)


def params_of(run):
    return jax.device_get(by_name.init(jax.random.key(run.init_seed), program_of(run)))


def test_it_is_two_matrices_on_one_hots():
    params, data, evaluate = params_of(RUN), data_of(RUN), form(program_of(RUN))
    assert {name: x.shape for name, x in params.items()} == {
        "W_in": (3, 8, 24),
        "b_in": (24,),
        "W_out": (24, 8),
    }
    one_hot = np.eye(8)[data.tokens].reshape(7, 7, 3 * 8)
    W_in = params["W_in"].astype(np.float64).reshape(3 * 8, 24)
    neurons = np.maximum(one_hot @ W_in + params["b_in"], 0)
    logits = neurons @ params["W_out"].astype(np.float64)
    close = {"rtol": 1e-5, "atol": 1e-6}
    trace = evaluate.trace(params, data)
    np.testing.assert_allclose(trace.logits, np.moveaxis(logits, -1, 0), **close)
    np.testing.assert_allclose(trace.neurons, np.moveaxis(neurons, -1, 0), **close)
    assert trace.attention is None and trace.residual is None
    scored = evaluate.over_rows(params, data, lambda x: x)
    np.testing.assert_allclose(scored, np.moveaxis(logits, -1, 0), **close)


def test_initial_weights_are_uniform_up_to_one_over_the_root_of_the_inputs():
    run = RUN.replace(modulus=97, d_mlp=400)
    params = params_of(run)
    for name, inputs in (("W_in", 3 * 98), ("b_in", 3 * 98), ("W_out", 400)):
        scaled = params[name] * inputs**0.5
        assert -1 <= scaled.min() < -0.98 and 0.98 < scaled.max() <= 1
        assert abs(scaled.mean()) < 0.1 and abs(scaled.std() - 3**-0.5) < 0.05


def test_padded_it_gives_the_same_logits_and_zeros_behind():
    own, larger = program_of(RUN), program_of(RUN.replace(modulus=11))
    params, data = params_of(RUN), data_of(RUN)
    padded = by_name.pad(params, larger)
    logits = form(own).over_rows(params, data, lambda x: x)
    of_padded = form(larger).over_rows(padded, data, lambda x: x)
    np.testing.assert_allclose(of_padded[:8], logits, rtol=1e-6, atol=1e-7)
    assert not np.any(of_padded[8:])
    jax.tree.map(np.testing.assert_array_equal, by_name.unpad(padded, own), params)


@pytest.mark.slow
def test_it_trains_padded_as_it_does_at_its_own_size():
    larger = RUN.replace(modulus=11, train_fraction=0.3)

    def trained(block):
        state = blocks.initial_states(block)
        state = blocks.trainer(block).train(state, blocks.block_data(block), 40)
        return jax.device_get(jax.tree.map(lambda x: x[-1], state.params))

    with jax.enable_x64(True):
        alone, padded = (trained(block_of(x, range(len(x)))) for x in ([RUN], [larger, RUN]))
    start = params_of(RUN)
    assert np.abs(alone["W_out"] - start["W_out"]).max() > 1e-2
    for name, x in by_name.unpad(padded, program_of(RUN)).items():
        np.testing.assert_allclose(x, alone[name], rtol=1e-7, atol=1e-10)
    assert not padded["W_in"][:, 8:].any() and not padded["W_out"][:, 8:].any()


def test_runs_of_two_moduli_share_a_block_and_other_networks_do_not():
    runs = [RUN, RUN.replace(modulus=8), RUN.replace(network="transformer", d_mlp=24)]
    assert [block.indices for block in blocks.plan(runs)] == [(0, 1), (2,)]
