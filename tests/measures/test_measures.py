import json

import jax
import jax.numpy as jnp
import numpy as np
import programs
import pytest
from hand_built import waves_of_the_sum
from programs import initial, network_of, program

from grokjax.core import parts
from grokjax.measures import select
from grokjax.measures.from_params import measures_of, progress_measures
from grokjax.measures.paper import progress as paper
from grokjax.networks import by_name
from grokjax.tasks.modular import modular


def float64_measures(logits, data, keys):
    """Losses and coefficients from explicit unit directions over the pairs, in float64.

    `logits` are [c, a, b] without "=".
    """
    logits = np.asarray(logits, np.float64)
    p, labels = int(data.extra["modulus"]), data.targets[..., 0]
    train, a = data.splits["train"][..., 0], np.arange(p)
    s = (a[:, None] + int(data.extra["sign"]) * a[None, :]) % p

    def projection(frequencies):
        total = np.zeros_like(logits)
        for k in frequencies:
            for wave in (np.cos, np.sin):
                direction = wave(2 * np.pi * k * s / p)
                norm = np.linalg.norm(direction)
                if norm > 1e-6:
                    direction /= norm
                    total += np.einsum("cab,ab->c", logits, direction)[:, None, None] * direction
        return total

    def mean_loss(z, mask):
        z = np.moveaxis(z, 0, -1)[mask]
        correct = z[np.arange(len(z)), labels[mask]]
        margins = z - correct[:, None]
        margins[np.arange(len(z)), labels[mask]] = -np.inf
        top = margins.max(1)
        lse = top + np.log(np.exp(margins - top[:, None]).sum(1))
        return np.logaddexp(0, lse).mean()

    accuracy = lambda z, mask: (z.argmax(0) == labels)[mask].mean()  # noqa: E731
    everything = np.ones((p, p), bool)
    key_part = projection(keys)
    restricted = logits.mean((1, 2), keepdims=True) + key_part
    waves = (np.cos(2 * np.pi * k * (s[None] - a[:, None, None]) / p) for k in range(1, p // 2 + 1))
    coefficients = [(logits * wave).sum() / np.linalg.norm(wave) for wave in waves]
    by_frequency = [mean_loss(logits - projection([k]), train) for k in range(1, p // 2 + 1)]
    centred = logits - logits.mean((1, 2), keepdims=True)
    return {
        "key_share_of_logits": np.sum(key_part**2) / np.sum(centred**2),
        "max_excluded_loss": max(by_frequency),
        "train_loss": mean_loss(logits, train),
        "test_loss": mean_loss(logits, ~train),
        "restricted_loss": mean_loss(restricted, everything),
        "restricted_accuracy": accuracy(restricted, everything),
        "excluded_loss": mean_loss(logits - key_part, train),
        "excluded_accuracy": accuracy(logits - key_part, train),
        "excluded_loss_by_frequency": by_frequency,
        "cos_coefficient": coefficients,
    }


@pytest.mark.slow
def test_tied_logits_count_as_wrong():
    data = modular(13, 0.4)
    params = jax.tree.map(np.zeros_like, initial(0, program(p=13)))
    values = measures_of(params, data, "paper", key_frequencies=[2])
    for name, value in values.items():
        if name.endswith("accuracy"):
            assert value == 0, name
    tied = waves_of_the_sum(13, {2: 5.0, 5: 4.0})
    unembed = tied["unembed"]["W_U"]
    unembed[:, 7] = unembed[:, 6]  # two classes with equal logits: neither is ever right
    values = measures_of(tied, data, "paper", key_frequencies=[2, 5])
    for name in ("restricted_accuracy", "test_accuracy"):
        assert 0.8 < values[name] <= 11 / 13 + 0.02, name
    assert values.restricted_accuracy == pytest.approx(11 / 13)


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["add", "subtract", "x2_xy_y2"])
@pytest.mark.parametrize("p", [13, 12])
def test_losses_and_coefficients_agree_with_a_float64_projection(p, operation, monkeypatch):
    monkeypatch.setattr(paper, "TOGETHER", 2)  # several rounds of training pairs
    params = initial(p, program(p=p), init_scale=2.0)
    data = modular(p, 0.4, seed=1, operation=operation)
    keys = [1, 3, p // 2]
    measured = progress_measures(params, data, keys)
    logits = by_name.trace(params, data, program(p=p)).logits[:p]
    expected = float64_measures(logits, data, keys)
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(measured, name), value, rtol=2e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("amplitude", [28.0, 45.0])
def test_excluded_loss_is_accurate_for_any_amplitude_of_a_frequency(amplitude):
    """Below and above the spread up to which exponentials are multiplied; in nats, 56 and 90."""
    p, keys = 31, {3: amplitude, 7: 4.0, 11: 2.0}
    params, data = waves_of_the_sum(p, keys), modular(p, 0.4)
    assert (2 * amplitude < paper.WIDEST) == (amplitude < 30)
    measured = progress_measures(params, data, list(keys))
    logits = by_name.trace(params, data, program(**programs.PAPER, p=p)).logits[:p]
    expected = float64_measures(logits, data, list(keys))["excluded_loss_by_frequency"]
    np.testing.assert_allclose(measured.excluded_loss_by_frequency, expected, rtol=2e-4)


@pytest.mark.slow
def test_a_wide_frequency_does_not_change_other_networks_of_a_batch():
    p = 13
    several = [waves_of_the_sum(p, {3: amplitude, 5: 4.0}) for amplitude in (2.0, 45.0, 8.0)]
    data = modular(p, 0.4)
    measure = jax.jit(lambda params: paper.excluded_loss_by_frequency(network_of(params, data)))
    together = jax.jit(jax.vmap(measure))(jax.tree.map(lambda *x: jnp.stack(x), *several))
    for i, network in enumerate(several):
        np.testing.assert_allclose(together[i], measure(network), rtol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("p", [59, 48])
def test_the_frequencies_of_hand_built_weights_are_recovered(p):
    amplitudes = {10: 9.0, 13: 8.0, 17: 7.0, 20: 6.0}
    data = modular(p, 0.3, seed=0)
    measured = progress_measures(waves_of_the_sum(p, amplitudes), data)
    assert list(1 + np.nonzero(measured.key_frequency)[0]) == list(amplitudes)
    assert measured.test_accuracy == 1.0
    np.testing.assert_allclose(measured.restricted_loss, measured.test_loss, rtol=0.02)
    np.testing.assert_allclose(measured.excluded_loss, np.log(p), rtol=1e-3)
    expected = np.zeros(p // 2)
    expected[np.array(list(amplitudes)) - 1] = list(amplitudes.values())
    np.testing.assert_allclose(measured.cos_coefficient / np.sqrt(p**3 / 2), expected, atol=1e-3)


@pytest.mark.slow
def test_the_published_network_has_its_published_measures(reference):
    name = "wd_10-1_mod_addition_loss_curve"
    expected = json.loads((reference / f"{name}.json").read_text())
    params = _published(np.load(reference / f"{name}.npz"))
    data = modular(expected["p"], expected["train_fraction"], expected["seed"])
    measured = progress_measures(params, data)
    keys = 1 + np.nonzero(measured.key_frequency)[0]
    assert list(keys) == expected["keys"]
    pairs = {
        "train_loss": expected["loss"]["train"],
        "test_loss": expected["loss"]["test"],
        "test_accuracy": expected["accuracy_test"],
        "restricted_loss": expected["restricted"]["all"],
        "excluded_loss": expected["excluded"]["train"],
        "gini_embedding": expected["gini_W_E"],
        "gini_neuron_logit_map": expected["gini_W_L"],
    }
    for field, value in pairs.items():
        np.testing.assert_allclose(getattr(measured, field), value, rtol=1e-5, err_msg=field)
    for field, by_frequency in {
        "excluded_loss_by_frequency": expected["excluded_by_frequency_train"],
        "cos_coefficient": expected["cos_coefficient_keys"],
    }.items():
        np.testing.assert_allclose(
            getattr(measured, field)[keys - 1], list(by_frequency.values()), rtol=1e-5
        )
    total = measured.sum_squared_weights.sum()
    np.testing.assert_allclose(total, expected["sum_squared_weights"], rtol=1e-5)


def _published(arrays):
    """Convert the authors' layout to ours."""
    turned = lambda name: np.swapaxes(arrays[name], -1, -2)  # noqa: E731
    attn = {f"W_{x}": turned(f"blocks.0.attn.W_{x}") for x in "QKV"}
    heads, _, width = attn["W_Q"].shape
    attn["W_O"] = turned("blocks.0.attn.W_O").reshape(heads, width, -1)
    mlp = {f"W_{x}": turned(f"blocks.0.mlp.W_{x}") for x in ("in", "out")}
    mlp |= {f"b_{x}": arrays[f"blocks.0.mlp.b_{x}"] for x in ("in", "out")}
    params = {
        "embed": {"W_E": turned("embed.W_E")},
        "pos_embed": {"W_pos": arrays["pos_embed.W_pos"]},
        "blocks": {"0": {"attn": attn, "mlp": mlp}},
        "unembed": {"W_U": arrays["unembed.W_U"]},
    }
    return jax.tree.map(lambda x: np.asarray(x, np.float32), params)


@pytest.mark.slow
def test_leading_axes_are_kept_and_give_each_network_its_own_measures():
    data = modular(7, 0.5, seed=3)
    several = [initial(i, program()) for i in range(6)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x).reshape(2, 3, *x[0].shape), *several)
    together = progress_measures(stacked, data)
    assert together.cos_coefficient.shape == (2, 3, 3)
    for i, network in enumerate(several):
        alone = progress_measures(network, data)
        assert alone.keys() == together.keys()
        for name, value in alone.items():
            values = together[name][i // 3, i % 3]
            np.testing.assert_allclose(values, value, rtol=1e-5, atol=1e-6)


def test_a_wrong_vocabulary_or_frequency_raises_value_error():
    params = initial(0, program())
    with pytest.raises(ValueError, match="8 tokens.*needs 10"):
        progress_measures(params, modular(9, 0.5))
    for wrong in ([0], [4], np.ones(4, bool)):
        with pytest.raises(ValueError, match="key frequencies mod 7"):
            progress_measures(params, modular(7, 0.5), wrong)


def test_sums_of_squares_carry_the_names_of_the_leaves():
    params, data = initial(0, program()), modular(7)
    values = measures_of(params, data, "sum_squared_weights", "total_sum_squared_weights")
    named = dict(zip(select.matrix_names(params), values.sum_squared_weights, strict=True))
    assert named["blocks.0.mlp.W_in"] == pytest.approx(
        float(np.sum(np.square(params["blocks"]["0"]["mlp"]["W_in"]))), rel=1e-5
    )
    assert named["blocks.0.mlp.b_in"] == 0 and len(named) == 11
    np.testing.assert_allclose(values.total_sum_squared_weights, sum(named.values()), rtol=1e-6)


def test_measures_are_selected_by_name_family_and_function():
    def largest_weight(network):
        return jnp.max(jnp.abs(network.params["embed"]["W_E"]))

    params, data = initial(0, program()), modular(7)
    values = measures_of(params, data, "gini_embedding", largest_weight, "general")
    general = {part.name for part in select.select(("general",), program())}
    assert {"test_loss", "sum_squared_weights"} < general
    assert values.keys() == {"gini_embedding", "largest_weight"} | general
    assert values.largest_weight == np.max(np.abs(params["embed"]["W_E"]))
    whole = progress_measures(params, data)
    assert measures_of(params, data).keys() == whole.keys()  # the task's own family
    for name in general:
        np.testing.assert_array_equal(values[name], whole[name])
    with pytest.raises(AttributeError, match="no_such"):
        values.no_such  # noqa: B018


def test_general_losses_agree_with_those_of_the_task():
    data, network = modular(7, 0.5), program()
    made = network_of(initial(0, network), data)
    paper_family = progress_measures(made.params, data)
    for name in ("train_loss", "test_loss", "train_accuracy", "test_accuracy"):
        value = parts.get("measure", name).function(made)
        np.testing.assert_allclose(value, paper_family[name], rtol=1e-5)
        assert parts.get("measure", name, "modular") is not parts.get("measure", name)


def test_logits_by_label_ignore_padded_classes():
    logits = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32) - 40
    padded = np.pad(logits, ((0, 3), (0, 0)))  # zeros, far above the logits
    for own, large in zip(paper._by_label(logits, 7), paper._by_label(padded, 7), strict=True):
        np.testing.assert_allclose(large[:7], own, rtol=1e-6)


@pytest.mark.slow
def test_the_sine_of_half_the_modulus_does_not_exist():
    for p, missing in ((12, 1), (13, 0)):
        values = progress_measures(initial(0, program(p=p)), modular(p, 0.4))
        for name in ("embedding_norm", "neuron_logit_map_norm"):
            np.testing.assert_array_equal(np.isnan(values[name]).sum(0), [0, missing])
            assert np.isnan(values[name][-1, 1]) == missing
