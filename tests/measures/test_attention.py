import jax
import numpy as np
import pytest
from hand_built import periodic_neurons
from programs import initial, network_of, program

from grokjax.measures.mechanism import attention
from grokjax.measures.mechanism.attention_ablations import logits_after
from grokjax.tasks.modular import modular

KS = {3: 4, 5: 7, 11: 6}
# (frequency of the scores, their amplitude, their phase, frequency that the head passes on)
HEADS = [(5, 0.1, 0.4, 11), (11, 0.1, -1.0, 3), (11, 0.1, -1.0 + np.pi, 5)]


@pytest.fixture(scope="module", params=[31, 24])
def network(request):
    p = request.param
    params = periodic_neurons(p, KS, HEADS)
    made = network_of(params, modular(p))
    return p, made, made.trace


def test_the_sigmoid_of_every_head_is_recovered(network):
    p, _, traced = network
    fit = attention.fit(traced.attention[:, 0], p)
    np.testing.assert_array_equal(fit.frequency[1:], [5, 11, 11])
    np.testing.assert_allclose(fit.fve[1:], 1.0, atol=1e-4)
    np.testing.assert_allclose(fit.fve_at[1:], 1.0, atol=1e-4)
    for h, (_, beta, phase, _) in enumerate(HEADS, start=1):
        # sigmoid(x) is 1/2 + x/4 up to x^3.
        np.testing.assert_allclose(fit.alpha[h], beta / 4 * np.cos(phase), rtol=5e-3)
        np.testing.assert_allclose(fit.beta[h], beta / 4 * np.sin(phase), rtol=5e-3)
    assert fit.fve[0] == 0  # head 0 looks at both alike
    line = attention.fitted(fit, p, p)
    np.testing.assert_allclose(line, traced.attention[:, 0], atol=3e-4)


def test_scores_have_the_components_that_were_built(network):
    p, made, _ = network
    width = made.params["blocks"]["0"]["attn"]["W_K"].shape[-1]
    found = np.asarray(attention.score_coefficients(made))
    expected = np.zeros_like(found)
    for h, (k, beta, phase, _) in enumerate(HEADS, start=1):
        # Unlike the scores of the softmax, W_attn has no 1/sqrt(d_head).
        norm = beta * np.sqrt(width) * np.sqrt(p / 2)
        expected[h, 2 * k - 1 : 2 * k + 1] = norm * np.cos(phase), norm * np.sin(phase)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_ov_circuits_pass_the_frequencies_that_they_were_given(network):
    p, made, _ = network
    found = np.asarray(attention.ov_norms(made))
    for h, (_, _, _, j) in enumerate(HEADS, start=1):
        expected = np.zeros(p)
        expected[2 * j - 1] = 2 * np.sqrt(p / 2)  # one neuron reads twice the cosine
        np.testing.assert_allclose(found[h], expected, atol=1e-5)
    passed = {(n + 1) // 2 for n in np.nonzero(found[0] > 1e-4)[0]}
    assert passed == set(KS)  # head 0 passes all on
    phi = np.arange(KS[11])
    own = 2 * np.sqrt(p / 2) * np.array([np.linalg.norm(np.cos(phi)), np.linalg.norm(np.sin(phi))])
    np.testing.assert_allclose(found[0, 21:23], own, rtol=1e-5)


def test_opposite_heads_are_seen_to_be_opposite(network):
    _, made, traced = network
    correlation = attention.pattern_correlation(made)
    assert correlation[2, 3] == pytest.approx(-1, abs=1e-3)
    assert abs(correlation[1, 2]) < 1e-3 and not correlation[0].any()
    np.testing.assert_allclose(traced.attention[2, 0] + traced.attention[3, 0], 1.0, atol=1e-5)


def test_the_line_through_a_sigmoid():
    x = np.random.default_rng(0).normal(size=(2, 9, 9)).astype(np.float32) * 3
    found = attention.linear_sigmoid(x, 9)
    through_half = attention.linear_sigmoid(x, 9, constant=0.5)
    for head, line, half in zip(x, found, through_half, strict=True):
        y = 1 / (1 + np.exp(-head.astype(np.float64)))
        expected = np.polyval(np.polyfit(head.ravel(), y.ravel(), 1), head)
        np.testing.assert_allclose(line, expected, atol=1e-5)
        slope = np.sum(head * (y - 0.5)) / np.sum(head.astype(np.float64) ** 2)
        np.testing.assert_allclose(half, 0.5 + slope * head, atol=1e-5)


def test_the_stream_and_the_logits_are_those_of_the_network():
    network = network_of(initial(0, program(p=11), init_scale=2.0), modular(11))
    traced, heads = network.trace, attention.heads(network.params, 11)
    stream = attention.residual(heads, traced.attention)
    np.testing.assert_allclose(stream, traced.residual, atol=1e-5)
    logits = logits_after(network, stream)
    np.testing.assert_allclose(logits, traced.logits, atol=1e-4)
    alone = jax.nn.sigmoid(attention.score_difference(heads))
    shared = attention.between_operands(alone, traced.attention[:, 2])
    np.testing.assert_allclose(shared, traced.attention, atol=1e-6)
