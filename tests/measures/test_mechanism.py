import json

import jax
import numpy as np
import pytest
from float64 import Float64
from programs import initial, program

from grokjax.measures import select, spectra
from grokjax.measures.from_params import measures_of, mechanism
from grokjax.networks import interop
from grokjax.tasks.modular import modular

pytestmark = pytest.mark.slow

OTHERS = "loss_without_other_frequency_logit_block"
NAME = "wd_10-1_mod_addition_loss_curve"


def analysed(params, data, keys, variants=True):
    return jax.tree.map(np.asarray, mechanism(params, data, keys, variants=variants))


def random_network(p, operation):
    """Random weights with biases, so that no analysis is trivially 0 or 1."""
    params = initial(p, program(p=p), init_scale=2.0)
    mlp = params["blocks"]["0"]["mlp"]
    for i, name in enumerate(("b_in", "b_out")):
        mlp[name] = jax.random.normal(jax.random.key(i), mlp[name].shape)
    return params, modular(p, 0.4, seed=1, operation=operation), [1, 3, p // 2]


@pytest.fixture(scope="module", params=["published", "13 add", "12 subtract"])
def pair(request):
    """Measures of a network by the library, and by definition in float64."""
    if request.param == "published":
        reference = request.getfixturevalue("reference")
        expected = json.loads((reference / f"{NAME}.json").read_text())
        params = interop.load_network(reference / f"{NAME}.npz")
        data = modular(expected["p"], expected["train_fraction"], expected["seed"])
        keys = expected["keys"]
    else:
        p, operation = request.param.split()
        params, data, keys = random_network(int(p), operation)
    return analysed(params, data, keys), Float64(params, data, keys)


def close(actual, expected, rtol=1e-4, **options):
    np.testing.assert_allclose(actual, expected, rtol=rtol, **options)


def test_every_ablation_costs_what_it_costs_in_float64(pair):
    result, exact = pair
    expected = exact.ablations()
    measured = {
        name.removeprefix("loss_"): value
        for name, value in result.items()
        if name.startswith("loss_") and value.shape == (3,)
    }
    measured["excluded"] = result.excluded_loss_by_split
    assert measured.keys() == expected.keys()
    for name, losses in expected.items():
        close(measured[name], losses, err_msg=name)
    close(result.restricted_loss_by_split, expected["sum_directions_only"])
    close(result.loss_attention_zero_head, exact.without_each_head())


def test_losses_of_the_network_and_of_the_logit_fit(pair):
    result, exact = pair
    close(result.full_loss, exact.losses(exact.logits))
    fit, amplitudes = exact.cube_fit()
    close(result.logit_fit_loss, exact.losses(fit))
    close(result.logit_fit_amplitudes[np.array(exact.keys) - 1], amplitudes, atol=1e-5)
    z = exact.logits
    for name, centre in {
        "logit_fve": z.mean(),
        "logit_fve_uncentred": 0.0,
        "logit_fve_class_centred": z.mean(1, keepdims=True),
        "logit_fve_input_centred": z.mean(0),
    }.items():
        left = np.sum((z - centre - fit) ** 2) / np.sum((z - centre) ** 2)
        close(result[name], 1 - left, atol=1e-6, err_msg=name)


def test_losses_without_each_frequency(pair):
    result, exact = pair
    for name, losses in exact.without_frequency(exact.keys).items():
        measured = result[f"loss_without_frequency_{name}"][:, np.array(exact.keys) - 1]
        close(measured.T, losses, err_msg=name)
    key, others = result.loss_without_frequency_logit_block, result[OTHERS]
    assert np.isfinite(np.where(np.isnan(key), others, key)[0]).all()
    assert np.array_equal(np.isnan(key), ~np.isnan(others))
    ks = 1 + np.flatnonzero(~result.key_frequency)[::8]
    expected = exact.without_frequency(ks)["logit_block"]
    close(others[:, ks - 1].T, expected, err_msg=OTHERS)


def test_logits_by_frequency(pair):
    result, exact = pair
    centred = exact.logits - exact.logits.mean(1, keepdims=True)
    for name, rows in (("block", exact.block), ("products", exact.products), ("sums", exact.sums)):
        share = [
            np.sum((exact.fit(centred, rows([k]))[0]) ** 2) / np.sum(centred**2) for k in exact.keys
        ]
        close(result[f"logit_share_{name}"][np.array(exact.keys) - 1], share, atol=1e-6)


def test_readouts(pair):
    result, exact = pair
    W_L = exact.W_L
    key_part = 0
    for k, directions in exact.readouts().items():
        maps = directions @ exact.neurons
        cos, sin = exact.wave(k, exact.sum)
        products = exact.products([k])  # cos cos, cos sin, sin cos, sin sin
        for i, (wave, pair_of) in enumerate(((cos, products[[0, 3]]), (sin, products[[2, 1]]))):
            fve, fve_products = result.mlp_readout_fve, result.mlp_readout_fve_products
            fitted = result.mlp_readout_coefficients[i, :, k - 1]
            if np.ptp(wave) < 1e-9:  # the sine of k = p/2
                assert np.isnan([fve[i, k - 1], fve_products[i, k - 1], *fitted]).all()
                continue
            readout = maps[i : i + 1]
            close(fve[i, k - 1], exact.fve(readout, [wave])[0], atol=1e-6)
            close(fve_products[i, k - 1], exact.fve(readout, pair_of)[0], atol=1e-6)
            coefficients = exact.fit(readout, pair_of)[1][0, :2]
            varies = np.ptp(pair_of, axis=1) > 1e-9
            close(fitted[varies], coefficients[varies], atol=1e-4)
        waves = np.array(exact.wave(k, np.arange(exact.p)))
        key_part += np.linalg.pinv(waves, rcond=1e-9) @ waves @ W_L
    close(result.neuron_logit_map_residual, np.linalg.norm(W_L - key_part) / np.linalg.norm(W_L))
    squared = np.sum((W_L - key_part) ** 2) / np.sum(W_L**2)
    close(result.neuron_logit_map_residual_squared, squared)
    centred = W_L - W_L.mean(0)
    share = np.linalg.norm(centred - key_part) / np.linalg.norm(centred)
    close(result.neuron_logit_map_residual_centred, share)


def fourier_rows(exact):
    """Constant, cosines and sines over Z_p, of unit norm."""
    k, x = np.arange(1, exact.p // 2 + 1), np.arange(exact.p)
    rows = [np.ones(exact.p), *(wave for one in k for wave in exact.wave(one, x))]
    return np.array([row / np.linalg.norm(row) for row in rows if np.linalg.norm(row) > 1e-6])


def test_neurons_and_their_clusters(pair):
    result, exact = pair
    shares = exact.neuron_shares
    close(result.neuron_share, shares.max(0), atol=1e-5)
    alive = exact.neurons.var(1) > 1e-9
    np.testing.assert_array_equal(result.neuron_frequency, np.where(alive, shares.argmax(0) + 1, 0))
    clusters = (shares > 0.85) & (shares == shares.max(0))
    np.testing.assert_array_equal(result.neuron_clusters, clusters.sum(1))
    components = fourier_rows(exact) @ exact.W_L
    norms = [np.linalg.norm(components[:, members], axis=1) for members in clusters]
    close(result.cluster_logit_norms, norms, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "at", "constant"), [("fit", "fve_half", 0.5), ("score_fit", "fve_zero", 0.0)]
)
def test_fits_of_the_attention_and_of_the_score_difference(pair, name, at, constant):
    result, exact = pair
    values = {x: result[f"attention_{name}_{x}"] for x in ("frequency", "fve", at, "alpha", "beta")}
    scores = exact.scores[:, :1] - exact.scores[:, 1:2]
    for h, map_ in enumerate(exact.attention[:, :1] if name == "fit" else scores):
        ks = range(1, exact.p // 2 + 1)
        shares = [exact.fve(map_, exact.difference(k))[0] for k in ks]
        k = 1 + int(np.argmax(shares))
        assert values["frequency"][h] == k
        close(values["fve"][h], max(shares), atol=1e-6)
        fitted, coefficients = exact.fit(map_ - constant, exact.difference(k), constant=False)
        share = 1 - np.mean((map_ - constant - fitted) ** 2) / map_.var()
        close(values[at][h], share, atol=1e-5)
        expected = np.where([True, 2 * k != exact.p], coefficients[0], np.nan)
        close((values["alpha"][h], values["beta"][h]), expected, atol=1e-6 if constant else 1e-5)


def test_attention_of_the_heads(pair):
    result, exact = pair
    about_zero = [share for _, share in exact.shares_about_zero()]
    close(result.attention_fit_fve_half_about_zero, about_zero, atol=1e-6)
    close(result.equals_attention, exact.attention[:, 2].mean(1))
    close(result.pattern_correlation, np.corrcoef(exact.attention[:, 0]), atol=1e-5)


def test_circuits(pair):
    result, exact = pair
    W_E = exact.W_E[: exact.p]
    rows = fourier_rows(exact)
    for h, W_Q in enumerate(exact.attn["W_Q"]):
        query = exact.x_equals @ W_Q
        scores = rows @ (W_E @ exact.attn["W_K"][h] @ query)
        close(result.score_coefficients[h], scores, atol=1e-4)
        W_neur = W_E @ exact.attn["W_V"][h] @ exact.attn["W_O"][h] @ exact.mlp["W_in"]
        close(result.ov_norms[h], np.linalg.norm(rows @ W_neur, axis=1), rtol=1e-3)


@pytest.mark.parametrize("pair", ["published"], indirect=True)
def test_the_published_network_has_its_published_mechanism(pair):
    result, _ = pair
    clusters = {k + 1: n for k, n in enumerate(result.neuron_clusters) if n}
    assert clusters == {6: 47, 23: 31, 37: 65, 39: 11, 41: 31}
    close(result.logit_fve, 0.97477, rtol=1e-5)
    close(result.logit_fit_loss[0], 1.590e-9, rtol=1e-3)
    close(result.restricted_loss_by_split, [2.2011258699e-09, 2.0924253110e-09, 2.2476996635e-09])
    close(result.excluded_loss_by_split, [9.03829522523, 8.38537041701, 9.31804710077])


def test_networks_of_two_layers_lack_only_the_measures_of_one_layer():
    one, two = (
        {part.name for part in select.select(["mechanism"], program(num_layers=n))} for n in (1, 2)
    )
    circuits = {"pattern_correlation", "score_coefficients", "ov_norms"}
    assert one - two == circuits | {name for name in one if "attention" in name}
    assert "loss_mlp_skip_zero" in two and not two - one


def test_without_a_key_the_networks_own_is_used():
    params, data, _ = random_network(12, "add")
    result = measures_of(params, data, "key_frequency").key_frequency
    norms = spectra.component_norms(spectra.neuron_logit_map(params), 12)
    own = spectra.key_frequencies(spectra.frequency_norms(norms))
    np.testing.assert_array_equal(result, own)
