import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hand_built import waves_of_the_sum

from grokjax import model, tasks
from grokjax.evaluate import progress_measures
from grokjax.forward import plain_trace
from grokjax.measures import progress, spectra
from grokjax.types import Architecture

SMALL = Architecture(d_model=16, num_heads=2, d_mlp=24)


def float64_measures(logits, task, keys):
    """The losses and coefficients from explicit unit directions over the pairs, in float64.

    `logits` are [c, a, b] without "=".
    """
    logits = np.asarray(logits, np.float64)
    p = int(task.modulus)
    a = np.arange(p)
    s = (a[:, None] + int(task.sign) * a[None, :]) % p

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
        correct = z[np.arange(len(z)), task.labels[mask]]
        margins = z - correct[:, None]
        margins[np.arange(len(z)), task.labels[mask]] = -np.inf
        top = margins.max(1)
        lse = top + np.log(np.exp(margins - top[:, None]).sum(1))
        return np.logaddexp(0, lse).mean()

    accuracy = lambda z, mask: (z.argmax(0) == task.labels)[mask].mean()  # noqa: E731
    everything = np.ones((p, p), bool)
    key_part = projection(keys)
    restricted = logits.mean((1, 2), keepdims=True) + key_part
    cube = s[None] - a[:, None, None]
    coefficients = []
    for k in range(1, p // 2 + 1):
        wave = np.cos(2 * np.pi * k * cube / p)
        coefficients.append((logits * wave).sum() / np.linalg.norm(wave))
    return {
        "train_loss": mean_loss(logits, task.train),
        "test_loss": mean_loss(logits, ~task.train),
        "restricted_loss": mean_loss(restricted, everything),
        "restricted_accuracy": accuracy(restricted, everything),
        "excluded_loss": mean_loss(logits - key_part, task.train),
        "excluded_accuracy": accuracy(logits - key_part, task.train),
        "excluded_loss_by_frequency": [
            mean_loss(logits - projection([k]), task.train) for k in range(1, p // 2 + 1)
        ],
        "cos_coefficient": coefficients,
    }


def numpy_gini(x):
    """Half the mean absolute difference over the mean: the definition, not the sorted formula."""
    x = np.asarray(x, np.float64)
    return np.abs(x[:, None] - x[None, :]).mean() / (2 * x.mean())


@pytest.mark.parametrize("operation", ["add", "subtract", "x2_xy_y2"])
@pytest.mark.parametrize("p", [13, 12])
def test_losses_and_coefficients_are_those_of_an_explicit_float64_projection(p, operation):
    params = model.init(jax.random.key(p), SMALL, p + 1, init_scale=2.0)
    task = tasks.modular(p, 0.4, seed=1, operation=operation)
    keys = [1, 3, p // 2]
    measured = progress_measures(params, task, keys)
    expected = float64_measures(plain_trace(params, p, SMALL).logits[:p], task, keys)
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(measured, name), value, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("amplitude", [28.0, 45.0])
def test_a_single_frequency_may_hold_any_share_of_the_logits(amplitude):
    """Below and above the spread up to which exponentials are multiplied; in nats, 56 and 90."""
    p, keys = 31, {3: amplitude, 7: 4.0, 11: 2.0}
    params, task = waves_of_the_sum(p, keys), tasks.modular(p, 0.4)
    assert (2 * amplitude < progress.WIDEST) == (amplitude < 30)
    measured = progress_measures(params, task, list(keys))
    logits = plain_trace(params, p, Architecture()).logits[:p]
    expected = float64_measures(logits, task, list(keys))["excluded_loss_by_frequency"]
    np.testing.assert_allclose(measured.excluded_loss_by_frequency, expected, rtol=2e-4)


def test_a_wide_frequency_does_not_change_a_network_beside_it():
    p, arch = 13, Architecture()
    networks = [waves_of_the_sum(p, {3: amplitude, 5: 4.0}) for amplitude in (2.0, 45.0, 8.0)]
    task, key = tasks.modular(p, 0.4), jnp.isin(jnp.arange(1, 7), jnp.array([3, 5]))
    measure = lambda params: progress.progress(params, task, arch, key)  # noqa: E731
    together = jax.vmap(measure)(jax.tree.map(lambda *x: jnp.stack(x), *networks))
    for i, network in enumerate(networks):
        alone = measure(network).excluded_loss_by_frequency
        np.testing.assert_allclose(together.excluded_loss_by_frequency[i], alone, rtol=2e-5)


def test_a_padded_network_has_the_measures_of_its_own_size():
    p, size = 12, 17
    params = model.init(jax.random.key(0), SMALL, p + 1, init_scale=2.0)
    task = tasks.modular(p, 0.4, seed=1)
    own = progress_measures(params, task, [2, 6])
    key = jnp.isin(jnp.arange(1, size // 2 + 1), jnp.array([2, 6]))
    padded = jax.jit(progress.progress, static_argnums=2)(
        model.pad(params, size + 1), tasks.padded(task, size), SMALL, key
    )
    for name in progress.Progress._fields:
        if name == "key_frequency":
            continue
        small, large = getattr(own, name), getattr(padded, name)
        large = large[..., : small.shape[-1]] if small.ndim else large
        np.testing.assert_allclose(large, small, rtol=2e-5, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("p", [59, 48])
def test_the_frequencies_of_hand_built_weights_are_recovered(p):
    amplitudes = {10: 9.0, 13: 8.0, 17: 7.0, 20: 6.0}
    task = tasks.modular(p, 0.3, seed=0)
    measured = progress_measures(waves_of_the_sum(p, amplitudes), task)
    assert list(1 + np.nonzero(measured.key_frequency)[0]) == list(amplitudes)
    assert measured.test_accuracy == 1.0
    np.testing.assert_allclose(measured.restricted_loss, measured.test_loss, rtol=0.02)
    np.testing.assert_allclose(measured.excluded_loss, np.log(p), rtol=1e-3)
    expected = np.zeros(p // 2)
    expected[np.array(list(amplitudes)) - 1] = list(amplitudes.values())
    np.testing.assert_allclose(measured.cos_coefficient / np.sqrt(p**3 / 2), expected, atol=1e-3)


def test_the_published_network_has_its_published_measures(reference):
    name = "wd_10-1_mod_addition_loss_curve"
    expected = json.loads((reference / f"{name}.json").read_text())
    params = _published(np.load(reference / f"{name}.npz"))
    task = tasks.modular(expected["p"], expected["train_fraction"], expected["seed"])
    measured = progress_measures(params, task)
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
    """The authors' layout turned into ours, leaf by leaf."""
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


def test_leading_axes_are_kept_and_give_each_network_its_own_measures():
    task = tasks.modular(7, 0.5, seed=3)
    networks = [model.init(jax.random.key(i), SMALL, 8) for i in range(6)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x).reshape(2, 3, *x[0].shape), *networks)
    together = progress_measures(stacked, task)
    assert together.cos_coefficient.shape == (2, 3, 3)
    for i, network in enumerate(networks):
        alone = progress_measures(network, task)
        for name in progress.Progress._fields:
            np.testing.assert_allclose(
                getattr(together, name)[i // 3, i % 3], getattr(alone, name), rtol=1e-5, atol=1e-6
            )


def test_a_wrong_vocabulary_or_frequency_is_refused():
    params = model.init(jax.random.key(0), SMALL, 8)
    with pytest.raises(ValueError, match="8 tokens.*needs 10"):
        progress_measures(params, tasks.modular(9, 0.5))
    for wrong in ([0], [4], np.ones(4, bool)):
        with pytest.raises(ValueError, match="key frequencies mod 7"):
            progress_measures(params, tasks.modular(7, 0.5), wrong)


@pytest.mark.parametrize("padding", [0, 5])
def test_gini_is_the_mean_difference(padding):
    x = np.abs(np.random.default_rng(0).normal(size=31)).astype(np.float32)
    x[:3] = 0
    padded = jnp.concatenate([x, jnp.zeros(padding, jnp.float32)])
    np.testing.assert_allclose(spectra.gini(padded, 31), numpy_gini(x), rtol=1e-5)
    assert spectra.gini(jnp.eye(31, dtype=jnp.float32)[4], 31) == pytest.approx(1 - 1 / 31)


def test_component_norms_are_those_of_an_fft():
    p = 13
    weights = np.random.default_rng(0).normal(size=(p + 1, 5)).astype(np.float32)
    norms = np.asarray(spectra.component_norms(weights, p))
    rows = np.fft.rfft(weights[:p].astype(np.float64), axis=0) * np.sqrt(2 / p)
    np.testing.assert_allclose(norms[1::2], np.linalg.norm(rows[1:].real, axis=1), rtol=1e-5)
    np.testing.assert_allclose(norms[2::2], np.linalg.norm(rows[1:].imag, axis=1), rtol=1e-5)
    by_frequency = np.sqrt((np.abs(rows[1:]) ** 2).sum(1))
    np.testing.assert_allclose(spectra.frequency_norms(jnp.asarray(norms)), by_frequency, rtol=1e-5)


def test_sums_of_squares_carry_the_names_of_the_leaves():
    params = model.init(jax.random.key(0), SMALL, 8)
    named = dict(
        zip(spectra.matrix_names(params), spectra.sum_squared_weights(params), strict=True)
    )
    assert named["blocks.0.mlp.W_in"] == pytest.approx(
        float(np.sum(np.square(params["blocks"]["0"]["mlp"]["W_in"]))), rel=1e-5
    )
    assert named["blocks.0.mlp.b_in"] == 0 and len(named) == 11
