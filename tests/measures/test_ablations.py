"""Ablations of networks whose weights are written down, against closed forms."""

import numpy as np
import pytest
from hand_built import periodic_neurons, waves_of_the_sum
from scipy.special import logsumexp

import grokjax.builtin  # noqa: F401
from grokjax.measures.from_params import mechanism
from grokjax.tasks.modular import modular

AMPLITUDES = {3: 5.0, 7: 4.0, 12: 3.0}
CLUSTERS = {3: 4, 5: 7, 11: 6}
HEADS = [(5, 0.1, 0.4, 11), (11, 0.1, -1.0, 3)]
P = 31


def close(actual, expected, rtol, name=""):
    np.testing.assert_allclose(actual, expected, rtol=rtol, err_msg=name)


def analysed(params, keys):
    return mechanism(params, modular(P, 0.5), list(keys), variants=True)


@pytest.fixture(scope="module")
def algorithm():
    return analysed(waves_of_the_sum(P, AMPLITUDES), AMPLITUDES)


def logits(amplitudes):
    """The logit of every class at distance 0, 1, 2, ... from the answer."""
    return sum(a * np.cos(2 * np.pi * k * np.arange(P) / P) for k, a in amplitudes.items())


def loss(amplitudes):
    g = logits(amplitudes)
    return np.logaddexp(0, logsumexp(g[1:] - g[0]))


UNCHANGED = (
    "sum_directions_only sum_directions_only_in_neurons key_blocks_only key_blocks_only_in_neurons "
    "key_products_only mlp_readout_span mlp_readout_span_without_skip mlp_skip_zero mlp_skip_mean "
    "neurons_as_polynomials "  # no neuron is explained by one frequency
    "attention_linearised attention_linearised_through_half "  # attention is 1/2 everywhere
    "attention_linearised_without_equals attention_single_frequency attention_mean "
    "equals_attention_zero equals_attention_zero_unscaled"  # it is 0
).split()
UNIFORM = (
    "excluded_products excluded_blocks excluded_cube mlp_readout_null_space "
    "mlp_readout_null_space_without_skip"
).split()


@pytest.mark.slow
def test_ablating_what_the_algorithm_does_not_use_costs_nothing(algorithm):
    for name in UNCHANGED:
        close(algorithm[f"loss_{name}"], loss(AMPLITUDES), 5e-3, name)
    close(algorithm.loss_attention_zero_head[1:], loss(AMPLITUDES), 5e-3)


@pytest.mark.slow
def test_without_the_key_frequencies_every_class_is_alike(algorithm):
    for name in UNIFORM:
        close(algorithm[f"loss_{name}"], np.log(P), 1e-3, name)
    close(algorithm.excluded_loss_by_split, np.log(P), 1e-3)


@pytest.mark.slow
def test_without_attention_the_answer_is_that_of_0_and_0(algorithm):
    g = logits(AMPLITUDES)
    expected = np.mean(logsumexp(g) - g)  # all labels are equally frequent
    close(algorithm.loss_attention_zero[0], expected, 1e-3)
    close(algorithm.loss_attention_zero_head[0, 0], expected, 1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["logit_block", "logit_sum_directions", "neuron_block", "neuron_sum_directions"]
)
def test_removing_one_frequency_leaves_the_others(algorithm, name):
    losses = algorithm[f"loss_without_frequency_{name}"][0]
    for k in AMPLITUDES:
        rest = {key: a for key, a in AMPLITUDES.items() if key != k}
        close(losses[k - 1], loss(rest), 5e-3)
    others = np.array([0, 4])
    assert np.isnan(losses[others]).all()
    without_other = algorithm.loss_without_other_frequency_logit_block[0, others]
    close(without_other, loss(AMPLITUDES), 5e-3)


@pytest.mark.slow
def test_linear_neurons_are_their_own_polynomials():
    values = analysed(periodic_neurons(P, CLUSTERS, HEADS, strength=0.3), CLUSTERS)
    for name in ("neurons_as_polynomials", "key_blocks_only", "attention_linearised"):
        close(values[f"loss_{name}"], values.full_loss, 1e-4)
    assert values.full_loss[0] > np.log(P)
    # Their logits hold nothing of the sum, so only each class's mean is left of them.
    means = values.loss_sum_directions_only[0]
    close(values.loss_key_products_only[0], means, 1e-4)
    c, mean = np.arange(P), 0.0
    for k, count in CLUSTERS.items():
        columns = np.cos(2 * np.pi * k * c / P - np.arange(count)[:, None])
        mean = mean + 3 * 0.3 * columns.sum(0)
    close(means, np.mean(logsumexp(mean) - mean), 1e-4)
