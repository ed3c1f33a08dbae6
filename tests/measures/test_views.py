"""The family "views" against float64 NumPy, closed forms and weights that are written down."""

import numpy as np
import pytest
from hand_built import periodic_neurons, waves_of_the_sum
from programs import network_of
from sequence_runs import COPIES, KEYS
from test_mechanism_hand_built import AMPLITUDES, CLUSTERS, HEADS

from grokjax.config.runs import RunConfig
from grokjax.measures import views
from grokjax.tasks.modular import modular
from tests import measured

P = 31


def close(actual, expected, atol=0.0, rtol=0.0):
    np.testing.assert_allclose(actual, expected, atol=atol, rtol=rtol)


def reference_circles(vectors):
    """Circles of vectors [n d] over Z_n in float64, from their definition."""
    n = len(vectors)
    E = np.asarray(vectors, np.float64) - np.mean(vectors, 0, dtype=np.float64)
    points, circularity, share = [], [], []
    for k in range(1, n // 2 + 1):
        angle = 2 * np.pi * k * np.arange(n) / n
        u, v = np.cos(angle) @ E, np.sin(angle) @ E
        first = u / np.linalg.norm(u)
        rest = v - (v @ first) * first
        second = rest / np.linalg.norm(rest) if 2 * k != n else 0 * rest
        z = E @ first + 1j * (E @ second)
        points.append([z.real, z.imag])
        with_wave = np.abs(np.sum(z * np.exp(-1j * angle))) ** 2
        circularity.append(with_wave / (n * np.sum(np.abs(z) ** 2)))
        norm = 1 / n if 2 * k == n else 2 / n
        share.append(norm * (u @ u + (v @ v if 2 * k != n else 0)) / np.sum(E**2))
    return np.array(points), np.array(circularity), np.array(share)


# --- Circles --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [P, 24])
def test_circles_of_random_vectors_are_those_of_their_definition(n):
    vectors = np.random.default_rng(0).normal(size=(n, 9)).astype(np.float32)
    points, circularity, share = reference_circles(vectors)
    actual = views.circles(vectors, n)
    close(actual.points, points, atol=2e-5)
    close(actual.circularity, circularity, atol=2e-6)
    close(actual.share, share, atol=1e-6)
    assert np.sum(actual.share) == pytest.approx(1, abs=1e-5)


def test_padding_is_not_seen():
    vectors = np.random.default_rng(1).normal(size=(P, 5)).astype(np.float32)
    wide = np.concatenate([vectors, np.full((4, 5), 7, np.float32)])
    alone, padded = views.circles(vectors, P), views.circles(wide, P)
    close(padded.points[: P // 2, :, :P], alone.points, atol=1e-5)
    close(padded.share, [*alone.share, 0, 0], atol=1e-6)
    assert not np.any(padded.circularity[P // 2 :])


@pytest.mark.parametrize("stretch", [1.0, 3.0])
def test_circularity_of_an_ellipse_is_that_of_its_axes(stretch):
    x = 2 * np.pi * 4 * np.arange(P) / P
    ellipse = np.stack([np.cos(x), stretch * np.sin(x)], 1).astype(np.float32)
    made = views.circles(ellipse, P)
    # (1 + s)^2 / 4 of the power (1 + s^2) / 2 turns with the wave.
    expected = (1 + stretch) ** 2 / (2 * (1 + stretch**2))
    assert made.circularity[3] == pytest.approx(expected, abs=1e-6)
    close(made.points[3], ellipse.T, atol=1e-5)
    close(made.share, np.eye(P // 2)[3], atol=1e-6)


@pytest.fixture(scope="module", params=[P, 24])
def periodic(request):
    """Modulus and network of linear neurons and of heads with known circuits."""
    p = request.param
    return p, network_of(periodic_neurons(p, CLUSTERS, HEADS), modular(p))


@pytest.mark.slow
def test_tokens_that_carry_waves_lie_on_circles(periodic):
    p, network = periodic
    chosen = np.array(list(CLUSTERS)) - 1
    close(np.asarray(views.embedding_circularity(network))[chosen], 1.0, atol=1e-5)
    for k, count in CLUSTERS.items():
        # Logit c weighs the neurons by cos(w_k c - phi): an ellipse with these half axes.
        phi = np.arange(count)
        axes = np.linalg.svd(np.stack([np.cos(phi), np.sin(phi)]), compute_uv=False)
        expected = np.sum(axes) ** 2 / (2 * np.sum(axes**2))
        close(views.logit_circularity(network)[k - 1], expected, atol=1e-5)
    close(np.asarray(views.embedding_share(network))[chosen], 1 / 3, atol=1e-5)
    angle = 2 * np.pi * 3 * np.arange(p) / p
    close(views.embedding_circles(network)[2], [np.cos(angle), np.sin(angle)], atol=1e-5)
    np.testing.assert_array_equal(views.group_order(network), np.arange(p))


@pytest.mark.slow
def test_products_have_circles_in_the_order_of_the_discrete_logarithm():
    """Token g^i carries the wave of i mod p - 1; token 0 is in no circle."""
    p, k = 13, 2
    order = [pow(2, i, p) for i in range(p - 1)]  # 2 is the smallest generator mod 13
    params = periodic_neurons(p, {3: 1, 5: 1}, [])
    angle = 2 * np.pi * k * np.arange(p - 1) / (p - 1)
    W_E = np.zeros_like(params["embed"]["W_E"])
    W_E[order, 0], W_E[order, 1], W_E[0] = np.cos(angle), np.sin(angle), 9.0
    network = network_of({**params, "embed": {"W_E": W_E}}, modular(p, operation="multiply"))
    np.testing.assert_array_equal(views.group_order(network), [*order, np.nan])
    assert views.embedding_circularity(network)[k - 1] == pytest.approx(1, abs=1e-5)
    assert views.embedding_share(network)[k - 1] == pytest.approx(1, abs=1e-5)
    close(views.embedding_circles(network)[k - 1, :, : p - 1], [np.cos(angle), np.sin(angle)], 1e-5)
    assert not np.any(np.asarray(views.embedding_circles(network))[..., p - 1 :] > 1e-5)


# --- Neurons --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_neurons_have_the_frequency_and_the_phases_they_were_built_with(periodic):
    p, network = periodic
    built = sum(CLUSTERS.values())
    frequency, share = views.wave_frequency(network), views.wave_share(network)
    expected = [k for k, count in CLUSTERS.items() for _ in range(count)]
    np.testing.assert_array_equal(frequency[:built], expected)
    close(share[:built], 1.0, atol=1e-5)
    phi = np.concatenate([np.arange(count) for count in CLUSTERS.values()])
    phases = np.asarray(views.wave_phase(network))[:built]
    for operand in range(2):  # as points on the circle: -pi is pi
        close(np.exp(1j * phases[:, operand]), np.exp(1j * phi), atol=1e-4)
    close(np.exp(1j * np.asarray(views.wave_logit_phase(network))[:built]), np.exp(1j * phi), 1e-4)
    constant = slice(-4, None)
    assert not np.any(frequency[constant]) and np.isnan(views.wave_phase(network)[constant]).all()


# --- Attention and answers ------------------------------------------------------------------------


def test_scores_of_tokens_give_the_attention_to_every_pair(periodic):
    p, network = periodic
    scores = np.asarray(views.attention_scores(network), np.float64)
    a, b = np.exp(scores[:, 0])[:, :, None], np.exp(scores[:, 1])[:, None, :]
    expected = a / (a + b + np.exp(scores[:, 2, 0])[:, None, None])
    close(views.attention_map(network), expected, atol=1e-6)


@pytest.mark.parametrize("p", [P, 24])
def test_margins_are_those_of_the_sum_of_waves(p):
    network = network_of(waves_of_the_sum(p, AMPLITUDES), modular(p, 0.5))
    x = 2 * np.pi * np.arange(p) / p
    wave = sum(amplitude * np.cos(k * x) for k, amplitude in AMPLITUDES.items())
    expected = wave[0] - np.sort(wave)[-2]
    close(views.answer_margin(network), expected, atol=0.03)


def test_margins_of_any_network_count_its_right_answers():
    network = measured.network(RunConfig(modulus=7, steps=10, d_model=8, num_heads=2, d_mlp=12))
    margin = np.asarray(views.answer_margin(network))
    logits = np.asarray(network.logits, np.float64)[:7]
    right = np.take_along_axis(logits, np.asarray(network.labels)[None], 0)[0]
    others = np.where(np.arange(7)[:, None, None] == np.asarray(network.labels), -np.inf, logits)
    close(margin, right - others.max(0), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("run", [KEYS, COPIES], ids=["keys", "copies"])
def test_sequences_have_losses_and_attention_by_position(run):
    network = measured.network(run)
    weights = views.attention_by_position(network)
    assert weights.shape == (run.num_heads, network.program.positions)
    close(np.sum(weights, -1), 1.0, atol=1e-5)
    test = np.asarray(network.data.splits["test"]).reshape(-1, network.data.targets.shape[-1])
    loss = np.asarray(network.answered.loss).reshape(test.shape)
    means = (loss[among, q].mean() if any(among) else np.nan for q, among in enumerate(test.T))
    expected = list(means)
    assert np.isfinite(expected).any()
    close(views.loss_by_position(network), expected, rtol=1e-5)
