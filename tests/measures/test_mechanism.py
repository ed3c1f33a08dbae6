import json

import jax
import jax.numpy as jnp
import numpy as np
import programs
import pytest
from float64 import Float64
from programs import initial, program

from grokjax.measures import select, spectra
from grokjax.measures.from_params import measures_of, mechanism
from grokjax.measures.network import Network
from grokjax.networks import by_name, interop
from grokjax.tasks.modular import modular

OTHERS = "loss_without_other_frequency_logit_block"
NAME = "wd_10-1_mod_addition_loss_curve"


def analysed(params, data, keys, variants=True):
    found = mechanism(params, data, keys, variants=variants)
    return jax.tree.map(np.asarray, found)


def random_network(p, operation):
    """Weights that have learned nothing, with biases, so that no analysis is trivially 0 or 1."""
    params = initial(p, program(p=p), init_scale=2.0)
    mlp = params["blocks"]["0"]["mlp"]
    for i, name in enumerate(("b_in", "b_out")):
        mlp[name] = jax.random.normal(jax.random.key(i), mlp[name].shape)
    return params, modular(p, 0.4, seed=1, operation=operation), [1, 3, p // 2]


@pytest.fixture(scope="module", params=["published", "13 add", "12 subtract"])
def pair(request):
    """What the library finds in a network, and the same in float64 from the definitions."""
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
    found, exact = pair
    expected = exact.ablations()
    measured = {
        name.removeprefix("loss_"): value
        for name, value in found.items()
        if name.startswith("loss_") and value.shape == (3,)
    }
    measured["excluded"] = found.excluded_loss_by_split
    assert measured.keys() == expected.keys()
    for name, losses in expected.items():
        close(measured[name], losses, err_msg=name)
    close(found.restricted_loss_by_split, expected["sum_directions_only"])
    close(found.loss_attention_zero_head, exact.without_each_head())


def test_losses_of_the_network_and_of_the_logit_fit(pair):
    found, exact = pair
    close(found.full_loss, exact.losses(exact.logits))
    fit, amplitudes = exact.cube_fit()
    close(found.logit_fit_loss, exact.losses(fit))
    close(found.logit_fit_amplitudes[np.array(exact.keys) - 1], amplitudes, atol=1e-5)
    z = exact.logits
    for name, centre in {
        "logit_fve": z.mean(),
        "logit_fve_uncentred": 0.0,
        "logit_fve_class_centred": z.mean(1, keepdims=True),
        "logit_fve_input_centred": z.mean(0),
    }.items():
        left = np.sum((z - centre - fit) ** 2) / np.sum((z - centre) ** 2)
        close(found[name], 1 - left, atol=1e-6, err_msg=name)


def test_losses_without_each_frequency(pair):
    found, exact = pair
    for name, losses in exact.without_frequency(exact.keys).items():
        measured = found[f"loss_without_frequency_{name}"][:, np.array(exact.keys) - 1]
        close(measured.T, losses, err_msg=name)
    key, others = found.loss_without_frequency_logit_block, found[OTHERS]
    assert np.isfinite(np.where(np.isnan(key), others, key)[0]).all()
    assert np.array_equal(np.isnan(key), ~np.isnan(others))
    ks = 1 + np.flatnonzero(~found.key_frequency)[::8]
    expected = exact.without_frequency(ks)["logit_block"]
    close(others[:, ks - 1].T, expected, err_msg=OTHERS)


def test_logits_by_frequency(pair):
    found, exact = pair
    centred = exact.logits - exact.logits.mean(1, keepdims=True)
    for name, rows in (("block", exact.block), ("products", exact.products), ("sums", exact.sums)):
        share = [
            np.sum((exact.fit(centred, rows([k]))[0]) ** 2) / np.sum(centred**2) for k in exact.keys
        ]
        close(found[f"logit_share_{name}"][np.array(exact.keys) - 1], share, atol=1e-6)


def test_readouts(pair):
    found, exact = pair
    W_L = exact.W_L
    key_part = 0
    for k, directions in exact.readouts().items():
        maps = directions @ exact.neurons
        cos, sin = exact.wave(k, exact.sum)
        products = exact.products([k])  # cos cos, cos sin, sin cos, sin sin
        for i, (wave, pair_of) in enumerate(((cos, products[[0, 3]]), (sin, products[[2, 1]]))):
            if np.ptp(wave) < 1e-9:
                assert np.isnan(found.mlp_readout_fve[i, k - 1])  # the sine of k = p/2
                assert np.isnan(found.mlp_readout_fve_products[i, k - 1])
                assert np.isnan(found.mlp_readout_coefficients[i, :, k - 1]).all()
                continue
            close(found.mlp_readout_fve[i, k - 1], exact.fve(maps[i : i + 1], [wave])[0], atol=1e-6)
            fve = exact.fve(maps[i : i + 1], pair_of)[0]
            close(found.mlp_readout_fve_products[i, k - 1], fve, atol=1e-6)
            coefficients = exact.fit(maps[i : i + 1], pair_of)[1][0, :2]
            varies = np.ptp(pair_of, axis=1) > 1e-9
            close(
                found.mlp_readout_coefficients[i, varies, k - 1],
                coefficients[varies],
                atol=1e-4,
            )
        waves = np.array(exact.wave(k, np.arange(exact.p)))
        key_part += np.linalg.pinv(waves, rcond=1e-9) @ waves @ W_L
    close(found.neuron_logit_map_residual, np.linalg.norm(W_L - key_part) / np.linalg.norm(W_L))
    squared = np.sum((W_L - key_part) ** 2) / np.sum(W_L**2)
    close(found.neuron_logit_map_residual_squared, squared)
    centred = W_L - W_L.mean(0)
    share = np.linalg.norm(centred - key_part) / np.linalg.norm(centred)
    close(found.neuron_logit_map_residual_centred, share)


def test_neurons_and_their_clusters(pair):
    found, exact = pair
    shares = exact.neuron_shares
    close(found.neuron_share, shares.max(0), atol=1e-5)
    alive = exact.neurons.var(1) > 1e-9
    np.testing.assert_array_equal(found.neuron_frequency, np.where(alive, shares.argmax(0) + 1, 0))
    clusters = (shares > 0.85) & (shares == shares.max(0))
    np.testing.assert_array_equal(found.neuron_clusters, clusters.sum(1))
    rows = np.vstack(
        [np.ones(exact.p), *(exact.wave(k, np.arange(exact.p)) for k in range(1, exact.p // 2 + 1))]
    )
    rows = rows[np.linalg.norm(rows, axis=1) > 1e-6]
    components = (rows / np.linalg.norm(rows, axis=1, keepdims=True)) @ exact.W_L
    norms = [np.linalg.norm(components[:, members], axis=1) for members in clusters]
    close(found.cluster_logit_norms, norms, atol=1e-5)


def test_attention(pair):
    found, exact = pair
    frequencies, fve = zip(*exact.attention_fits(), strict=True)
    np.testing.assert_array_equal(found.attention_fit_frequency, frequencies)
    close(found.attention_fit_fve, fve, atol=1e-6)
    for h, k in enumerate(frequencies):
        to_first = exact.attention[h : h + 1, 0]
        rows = exact.difference(k)
        left, coefficients = exact.fit(to_first - 0.5, rows, constant=False)
        share = 1 - np.mean((to_first - 0.5 - left) ** 2) / to_first.var()
        close(found.attention_fit_fve_half[h], share, atol=1e-5)
        measured = found.attention_fit_alpha[h], found.attention_fit_beta[h]
        expected = np.where([True, 2 * k != exact.p], coefficients[0], np.nan)
        close(measured, expected, atol=1e-6)
    close(found.equals_attention, exact.attention[:, 2].mean(1))
    correlation = np.corrcoef(exact.attention[:, 0])
    close(found.pattern_correlation, correlation, atol=1e-5)


def test_the_fit_of_the_score_difference(pair):
    found, exact = pair
    for h, difference in enumerate(exact.scores[:, :1] - exact.scores[:, 1:2]):
        ks = range(1, exact.p // 2 + 1)
        shares = [exact.fve(difference, exact.difference(k))[0] for k in ks]
        k = 1 + int(np.argmax(shares))
        assert found.attention_score_fit_frequency[h] == k
        close(found.attention_score_fit_fve[h], max(shares), atol=1e-6)
        left, coefficients = exact.fit(difference, exact.difference(k), constant=False)
        share = 1 - np.mean((difference - left) ** 2) / difference.var()
        close(found.attention_score_fit_fve_zero[h], share, atol=1e-5)
        measured = found.attention_score_fit_alpha[h], found.attention_score_fit_beta[h]
        expected = np.where([True, 2 * k != exact.p], coefficients[0], np.nan)
        close(measured, expected, atol=1e-5)


def test_circuits(pair):
    found, exact = pair
    p, W_E = exact.p, exact.W_E[: exact.p]
    rows = [np.ones(p)] + [w for k in range(1, p // 2 + 1) for w in exact.wave(k, np.arange(p))]
    rows = np.array([w / np.linalg.norm(w) for w in rows if np.linalg.norm(w) > 1e-6])
    for h, W_Q in enumerate(exact.attn["W_Q"]):
        query = exact.x_equals @ W_Q
        scores = rows @ (W_E @ exact.attn["W_K"][h] @ query)
        close(found.score_coefficients[h], scores, atol=1e-4)
        W_neur = W_E @ exact.attn["W_V"][h] @ exact.attn["W_O"][h] @ exact.mlp["W_in"]
        close(found.ov_norms[h], np.linalg.norm(rows @ W_neur, axis=1), rtol=1e-3)


@pytest.mark.parametrize("pair", ["published"], indirect=True)
def test_the_published_network_has_its_published_mechanism(pair):
    found, _ = pair
    clusters = {k + 1: n for k, n in enumerate(found.neuron_clusters) if n}
    assert clusters == {6: 47, 23: 31, 37: 65, 39: 11, 41: 31}
    close(found.logit_fve, 0.97477, rtol=1e-5)
    close(found.logit_fit_loss[0], 1.590e-9, rtol=1e-3)
    close(found.restricted_loss_by_split, [2.2011258699e-09, 2.0924253110e-09, 2.2476996635e-09])
    close(found.excluded_loss_by_split, [9.03829522523, 8.38537041701, 9.31804710077])


def test_a_padded_network_has_the_mechanism_of_its_own_size():
    params, data, keys = random_network(12, "add")
    own = analysed(params, data, keys, variants=False)
    large = program(p=17)
    grown, key = programs.padded(data, 17), np.isin(np.arange(1, 9), keys)

    @jax.jit
    def measure(params, data):
        network = Network(params, data, large, given={"key_frequency": key})
        found = select.select(["mechanism"], large)
        return {part.name: part.function(network) for part in found}

    padded = measure(by_name.pad(params, large), grown)
    assert padded.keys() == own.keys()
    for name, small in own.items():
        cut = padded[name][tuple(slice(size) for size in small.shape)]
        close(cut, small, rtol=1e-3, atol=1e-4, err_msg=name)


def test_networks_of_two_layers_lack_only_what_is_said_of_one():
    params, data = initial(0, program(num_layers=2)), modular(7, 0.5, seed=0)
    found = analysed(params, data, [1, 2], variants=False)
    one = analysed(initial(0, program()), data, [1, 2], variants=False)
    lacking = one.keys() - found.keys()
    assert "equals_attention" in lacking and "loss_mlp_skip_zero" in found
    assert not [name for name in found if "attention" in name]
    circuits = {"pattern_correlation", "score_coefficients", "ov_norms"}
    assert all("attention" in name for name in lacking - circuits)
    assert np.isfinite(found.full_loss).all()


def test_without_a_key_the_networks_own_is_used():
    params, data, _ = random_network(12, "add")
    found = measures_of(params, data, "key_frequency").key_frequency
    norms = spectra.component_norms(spectra.neuron_logit_map(params), 12)
    own = spectra.key_frequencies(spectra.frequency_norms(norms))
    np.testing.assert_array_equal(found, own)


def test_a_stack_of_networks_is_asked_in_one_call():
    several = [initial(i, program(p=13), init_scale=2.0) for i in range(3)]
    data = modular(13, 0.4)
    stack = jax.tree.map(lambda *x: jnp.stack(x).reshape(3, 1, *x[0].shape), *several)
    together = mechanism(stack, data, [2, 5])
    assert together.full_loss.shape == (3, 1, 3)
    assert together.mlp_readout_fve.shape[:2] == (3, 1)
    for i, network in enumerate(several):
        alone = analysed(network, data, [2, 5], variants=False)
        assert alone.keys() == together.keys()
        for name, expected in alone.items():
            np.testing.assert_allclose(together[name][i, 0], expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="14 tokens"):
        mechanism(stack, modular(11, 0.4))
