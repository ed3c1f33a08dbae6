import numpy as np
import pytest
from hand_built import periodic_neurons, waves_of_the_sum
from scipy.special import logsumexp

import grokjax.builtin  # noqa: F401
from grokjax.measures.from_params import mechanism
from grokjax.tasks.modular import modular

AMPLITUDES = {3: 5.0, 7: 4.0, 12: 3.0}
P = 31


def analysed(params, keys):
    return mechanism(params, modular(P, 0.5), list(keys), variants=True)


@pytest.fixture(scope="module")
def algorithm():
    return analysed(waves_of_the_sum(P, AMPLITUDES), AMPLITUDES)


def logits(amplitudes):
    """The logit of every class at distance 0, 1, 2, ... from the answer."""
    x = np.arange(P)
    return sum(a * np.cos(2 * np.pi * k * x / P) for k, a in amplitudes.items())


def loss(amplitudes):
    g = logits(amplitudes)
    return np.logaddexp(0, logsumexp(g[1:] - g[0]))


UNCHANGED = [
    "sum_directions_only",
    "sum_directions_only_in_neurons",
    "key_blocks_only",
    "key_blocks_only_in_neurons",
    "key_products_only",
    "neurons_as_polynomials",  # no neuron is explained by one frequency
    "mlp_readout_span",
    "mlp_readout_span_without_skip",
    "mlp_skip_zero",
    "mlp_skip_mean",
    "attention_linearised",  # attention is 1/2 everywhere
    "attention_linearised_through_half",
    "attention_linearised_without_equals",
    "attention_single_frequency",
    "attention_mean",
    "equals_attention_zero",  # it is 0
    "equals_attention_zero_unscaled",
]


@pytest.mark.parametrize("name", UNCHANGED)
def test_what_the_algorithm_does_not_use_costs_nothing(algorithm, name):
    np.testing.assert_allclose(algorithm[f"loss_{name}"], loss(AMPLITUDES), rtol=5e-3)


def test_only_the_first_head_is_used(algorithm):
    others = algorithm.loss_attention_zero_head[1:]
    np.testing.assert_allclose(others, loss(AMPLITUDES), rtol=5e-3)


UNIFORM = [
    "excluded_products",
    "excluded_blocks",
    "excluded_cube",
    "mlp_readout_null_space",
    "mlp_readout_null_space_without_skip",
]


@pytest.mark.parametrize("name", UNIFORM)
def test_without_the_key_frequencies_every_class_is_alike(algorithm, name):
    np.testing.assert_allclose(algorithm[f"loss_{name}"], np.log(P), rtol=1e-3)
    np.testing.assert_allclose(algorithm.excluded_loss_by_split, np.log(P), rtol=1e-3)


def test_without_attention_the_answer_is_that_of_0_and_0(algorithm):
    g = logits(AMPLITUDES)
    expected = np.mean(logsumexp(g) - g)  # all labels are equally frequent
    np.testing.assert_allclose(algorithm.loss_attention_zero[0], expected, rtol=1e-3)
    np.testing.assert_allclose(algorithm.loss_attention_zero_head[0, 0], expected, rtol=1e-3)


@pytest.mark.parametrize(
    "name", ["logit_block", "logit_sum_directions", "neuron_block", "neuron_sum_directions"]
)
def test_one_frequency_less(algorithm, name):
    for k in AMPLITUDES:
        rest = {key: a for key, a in AMPLITUDES.items() if key != k}
        found = algorithm[f"loss_without_frequency_{name}"][0, k - 1]
        np.testing.assert_allclose(found, loss(rest), rtol=5e-3)
    others = np.array([0, 4])
    assert np.isnan(algorithm[f"loss_without_frequency_{name}"][0, others]).all()
    found = algorithm.loss_without_other_frequency_logit_block[0, others]
    np.testing.assert_allclose(found, loss(AMPLITUDES), rtol=5e-3)


def test_linear_neurons_are_their_own_polynomials():
    heads = [(5, 0.1, 0.4, 11), (11, 0.1, -1.0, 3)]
    found = analysed(periodic_neurons(P, {3: 4, 5: 7, 11: 6}, heads, strength=0.3), [3, 5, 11])
    for name in ("neurons_as_polynomials", "key_blocks_only", "attention_linearised"):
        np.testing.assert_allclose(found[f"loss_{name}"], found.full_loss, rtol=1e-4)
    assert found.full_loss[0] > np.log(P)
    # Their logits hold nothing of the sum, so only each class's mean is left of them.
    means = found.loss_sum_directions_only[0]
    np.testing.assert_allclose(found.loss_key_products_only[0], means, rtol=1e-4)
    c, mean = np.arange(P), 0.0
    for k, count in {3: 4, 5: 7, 11: 6}.items():
        waves = np.cos(2 * np.pi * k * c / P - np.arange(count)[:, None])
        mean = mean + 3 * 0.3 * waves.sum(0)
    np.testing.assert_allclose(means, np.mean(logsumexp(mean) - mean), rtol=1e-4)
