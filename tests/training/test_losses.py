"""Every loss against float64, at any size of the loss and with garbage as padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grokjax.core import parts
from grokjax.training.losses import accuracy, cross_entropy, growth, stablemax

NUM_CLASSES, PADDED, COUNT = 114, 121, 40
COLUMNS = np.arange(COUNT)
LOSSES = {part.name: jax.jit(part.function) for part in parts.all_of("loss")}
SIZES = {  # of losses that float32 gets right, and how well
    "exact": ([10.0, 1.0, 1e-2, 1e-4, 1e-6, 1e-8, 1e-10, 1e-30], 1e-5),
    "low_precision": ([10.0, 1.0, 0.1], 1e-5),
    "stablemax": ([10.0, 1.0, 0.1, 1e-8, 1e-30], 3e-6),
}
EACH = [(name, size) for name, (sizes, _) in SIZES.items() for size in sizes]


def logits_of_loss(size, seed=0):
    """float32 logits [PADDED, COUNT] of cross-entropies of about `size`; garbage is padding."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(NUM_CLASSES, size=COUNT).astype(np.int32)
    logits = rng.normal(scale=2.0, size=(PADDED, COUNT))
    logits[NUM_CLASSES:] = 1e4 * rng.normal(size=(PADDED - NUM_CLASSES, COUNT))
    real = np.exp(logits[:NUM_CLASSES])
    others = real.sum(0) - real[labels, COLUMNS]
    logits[labels, COLUMNS] = np.log(others) - np.log(np.expm1(size))
    return logits.astype(np.float32), labels


def closed_form(logits, labels, name="exact"):
    """Loss and gradient in float64 as sums of positive terms, exact however small they are."""
    z = logits.astype(np.float64)[:NUM_CLASSES]
    if name == "stablemax":
        s, slopes = (
            np.where(z >= 0, z + 1, 1 / (1 + abs(z))),
            np.where(z >= 0, 1, (1 + abs(z)) ** -2),
        )
    else:
        s = np.exp(z - z[labels, COLUMNS])
        slopes = s.copy()
    correct = s[labels, COLUMNS].copy()
    s[labels, COLUMNS] = 0
    others = s.sum(0)
    gradient = np.zeros(logits.shape)
    gradient[:NUM_CLASSES] = slopes / (correct + others)
    gradient[labels, COLUMNS] = -others / correct * gradient[labels, COLUMNS]
    return np.log1p(others / correct), gradient


def test_every_loss_is_tested():
    assert SIZES.keys() == LOSSES.keys()


@pytest.mark.parametrize(("name", "size"), EACH)
def test_losses_and_gradients_are_those_of_float64(name, size):
    logits, labels = logits_of_loss(size)
    expected_loss, expected = closed_form(logits, labels, name)
    if name != "stablemax":
        np.testing.assert_allclose(expected_loss, size, rtol=1e-3)
    loss, pull_back = jax.vjp(lambda z: LOSSES[name](z, labels, NUM_CLASSES), logits)
    rtol = SIZES[name][1]
    np.testing.assert_allclose(loss, expected_loss, rtol=rtol)
    close = dict(rtol=1e-5, atol=1e-6 * np.abs(expected).max() * (name == "low_precision"))
    np.testing.assert_allclose(pull_back(jnp.ones_like(loss))[0], expected, **close)
    of_mean = jax.grad(lambda z: LOSSES[name](z, labels, NUM_CLASSES).mean())(logits)
    np.testing.assert_allclose(COUNT * of_mean, expected, **close)
    # Labels may have any shape, and the number of classes may be traced.
    grid = logits.reshape(PADDED, 5, -1), labels.reshape(5, -1), jnp.int32(NUM_CLASSES)
    np.testing.assert_allclose(np.ravel(LOSSES[name](*grid)), expected_loss, rtol=rtol)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("logits", [[0.0, 1e30, -1e30], [1e4, -1e4, -1e4], [-1.0, 0.0, 1.0]])
def test_extreme_logits_have_finite_losses_and_gradients(name, logits):
    loss, gradient = jax.value_and_grad(
        lambda z: LOSSES[name](z[:, None], jnp.array([0]), 3).sum()
    )(jnp.array(logits))
    assert np.isfinite(loss) and np.isfinite(gradient).all()
    if name == "exact" and logits[1] == 1e30:
        assert loss == 1e30
        np.testing.assert_array_equal(gradient, [-1, 1, 0])
    if name == "stablemax" and logits[0] == 1e4:  # where a softmax has no loss
        np.testing.assert_allclose(loss, 2 / (1e4 + 1) ** 2, rtol=1e-6)
        assert (np.abs(gradient) > 0).all()


def test_adding_a_constant_to_all_logits_changes_nothing():
    logits, labels = logits_of_loss(1e-7)
    logits = np.round(logits * 64) / 64  # so that the shift is exact in float32
    loss = cross_entropy(logits, labels, NUM_CLASSES)
    np.testing.assert_array_equal(cross_entropy(logits + 32, labels, NUM_CLASSES), loss)


def test_the_low_precision_loss_knows_only_multiples_of_float32_epsilon():
    logits, labels = logits_of_loss(1e-8)
    assert not np.any(LOSSES["low_precision"](logits, labels, NUM_CLASSES))
    logits, labels = logits_of_loss(3e-7)
    loss = np.asarray(LOSSES["low_precision"](logits, labels, NUM_CLASSES))
    units = loss / np.finfo(np.float32).eps
    np.testing.assert_allclose(units, np.round(units), atol=1e-3)
    assert len(np.unique(np.round(units))) <= 3
    assert np.max(np.abs(loss / closed_form(logits, labels)[0] - 1)) > 0.05


def test_the_growth_of_stablemax_at_one_and_at_zero():
    z = jnp.array([-1.0, 0.0, 1.0])
    np.testing.assert_allclose(growth(z), [0.5, 1.0, 2.0])
    np.testing.assert_allclose(jax.grad(lambda z: growth(z).sum())(z)[jnp.array([0, 2])], [0.25, 1])
    assert stablemax(z[:, None], jnp.array([2]), 3) == pytest.approx(np.log(3.5 / 2))


def test_accuracy_ignores_padding_and_a_tie_counts_as_wrong():
    logits, labels = logits_of_loss(2.0)
    expected = np.argmax(logits[:NUM_CLASSES], 0) == labels
    assert 0 < expected.sum() < COUNT
    np.testing.assert_array_equal(accuracy(logits, labels, NUM_CLASSES), expected)
    logits = jnp.array([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(accuracy(logits, jnp.array([0, 0, 2]), 3), [0, 1, 0])
