import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grokjax.core import parts
from grokjax.training import losses

NUM_CLASSES, PADDED, COUNT = 114, 121, 40
LOSS_SIZES = [10.0, 1.0, 1e-2, 1e-4, 1e-6, 1e-8, 1e-10, 1e-30]


def logits_of_loss(size, seed=0):
    """float32 logits [PADDED, COUNT] whose losses are about `size`, with garbage as padding."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(NUM_CLASSES, size=COUNT).astype(np.int32)
    logits = rng.normal(scale=2.0, size=(PADDED, COUNT))
    logits[NUM_CLASSES:] = 1e4 * rng.normal(size=(PADDED - NUM_CLASSES, COUNT))
    real = np.exp(logits[:NUM_CLASSES])
    others = real.sum(0) - real[labels, np.arange(COUNT)]
    logits[labels, np.arange(COUNT)] = np.log(others) - np.log(np.expm1(size))
    return logits.astype(np.float32), labels


def closed_form(logits, labels):
    """Loss and gradient in float64 as sums of positive terms, exact however small they are."""
    columns = np.arange(logits.shape[1])
    z = logits.astype(np.float64)
    odds = np.exp(z[:NUM_CLASSES] - z[labels, columns])
    odds[labels, columns] = 0
    total = odds.sum(0)
    gradient = np.zeros(z.shape)
    gradient[:NUM_CLASSES] = odds / (1 + total)
    gradient[labels, columns] = -total / (1 + total)
    return np.log1p(total), gradient


cross_entropy = jax.jit(losses.cross_entropy)
low_precision_cross_entropy = jax.jit(losses.low_precision_cross_entropy)
accuracy = jax.jit(losses.accuracy)


@pytest.mark.parametrize("size", LOSS_SIZES)
def test_the_loss_and_its_gradient_are_exact_at_any_size(size):
    logits, labels = logits_of_loss(size)
    expected_loss, expected_gradient = closed_form(logits, labels)
    np.testing.assert_allclose(expected_loss, size, rtol=1e-3)
    loss, pull_back = jax.vjp(lambda z: cross_entropy(z, labels, NUM_CLASSES), logits)
    (gradient,) = pull_back(jnp.ones_like(loss))
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5)


@pytest.mark.parametrize("size", [1e-3, 1e-9])
def test_the_gradient_of_a_mean_loss_is_exact_too(size):
    logits, labels = logits_of_loss(size)
    mean_loss = lambda z: cross_entropy(z, labels, NUM_CLASSES).mean()  # noqa: E731
    gradient = jax.jit(jax.grad(mean_loss))(logits)
    np.testing.assert_allclose(gradient, closed_form(logits, labels)[1] / COUNT, rtol=1e-5)


def test_a_hopelessly_wrong_example_has_a_finite_loss_and_gradient():
    logits = jnp.array([[0.0], [1e30], [-1e30]])
    loss, gradient = jax.value_and_grad(lambda z: cross_entropy(z, jnp.array([0]), 3).sum())(logits)
    assert loss == 1e30
    np.testing.assert_array_equal(gradient[:, 0], [-1, 1, 0])


def test_adding_a_constant_to_all_logits_changes_nothing():
    logits, labels = logits_of_loss(1e-7)
    logits = np.round(logits * 64) / 64  # so that the shift is exact in float32
    loss = cross_entropy(logits, labels, NUM_CLASSES)
    np.testing.assert_array_equal(cross_entropy(logits + 32, labels, NUM_CLASSES), loss)


@pytest.mark.parametrize("name", ["exact", "low_precision"])
def test_labels_may_have_any_shape_and_the_number_of_classes_may_be_traced(name):
    loss = jax.jit(parts.get("loss", name).function)
    logits, labels = logits_of_loss(0.1)
    flat = loss(logits, labels, NUM_CLASSES)
    on_grid = loss(logits.reshape(PADDED, 5, -1), labels.reshape(5, -1), jnp.int32(NUM_CLASSES))
    np.testing.assert_allclose(np.ravel(on_grid), flat, rtol=1e-5)
    np.testing.assert_allclose(flat, closed_form(logits, labels)[0], rtol=1e-5)


def test_the_low_precision_loss_knows_only_multiples_of_float32_epsilon():
    logits, labels = logits_of_loss(1e-8)
    assert not np.any(low_precision_cross_entropy(logits, labels, NUM_CLASSES))
    logits, labels = logits_of_loss(3e-7)
    loss = np.asarray(low_precision_cross_entropy(logits, labels, NUM_CLASSES))
    units = loss / np.finfo(np.float32).eps
    np.testing.assert_allclose(units, np.round(units), atol=1e-3)
    assert len(np.unique(np.round(units))) <= 3
    assert np.max(np.abs(loss / closed_form(logits, labels)[0] - 1)) > 0.05


def test_accuracy_ignores_padding_and_agrees_with_argmax():
    logits, labels = logits_of_loss(2.0)
    expected = np.argmax(logits[:NUM_CLASSES], 0) == labels
    assert 0 < expected.sum() < COUNT
    np.testing.assert_array_equal(accuracy(logits, labels, NUM_CLASSES), expected)


def test_a_tie_counts_as_wrong():
    logits = jnp.array([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(accuracy(logits, jnp.array([0, 0, 2]), 3), [0, 1, 0])
