import jax
import numpy as np
import programs
import pytest
from hand_built import waves_of_the_sum
from programs import network_of

from grokjax.measures.field import coverage
from grokjax.tasks.modular import modular


def by_hand(labels, train, p, wrapped):
    """Smallest distance over all training pairs of the class, one by one."""
    distance = np.full((p, p), np.inf)
    for a, b in np.ndindex(p, p):
        for x, y in zip(*np.nonzero(train & (labels == labels[a, b])), strict=True):
            steps = [abs(a - x), abs(b - y)]
            if wrapped:
                steps = [min(n, p - n) for n in steps]
            distance[a, b] = min(distance[a, b], sum(steps))
    return distance


def nearest(data, size=None, wrapped=True):
    p = int(data.extra["modulus"])
    data = data if size is None else programs.padded(data, size)
    labels, train = data.targets[..., 0], data.splits["train"][..., 0]
    return np.asarray(jax.jit(coverage.nearest, static_argnums=3)(labels, train, p, wrapped))


@pytest.mark.parametrize("operation", ["add", "x2_xy_y2"])
@pytest.mark.parametrize("wrapped", [True, False])
def test_it_is_the_least_distance_over_all_training_pairs(operation, wrapped):
    data = modular(11, 0.1, seed=3, operation=operation)
    labels, train = data.targets[..., 0], data.splits["train"][..., 0]
    expected = by_hand(labels, train, 11, wrapped)
    np.testing.assert_array_equal(nearest(data, wrapped=wrapped), expected)
    np.testing.assert_array_equal(nearest(data, 13, wrapped)[:11, :11], expected)
    assert (expected[train] == 0).all() and (expected[~train] > 0).all()


@pytest.mark.slow
def test_measures_of_it_are_over_the_test_pairs():
    p = 13
    data = modular(p, 0.3, held_out="square", held_out_size=7)
    network = network_of(waves_of_the_sum(p, {1: 9.0, 3: 9.0}), data)
    labels, train = data.targets[..., 0], data.splits["train"][..., 0]
    expected = np.where(train, np.nan, by_hand(labels, train, p, True))
    np.testing.assert_array_equal(coverage.coverage(network), expected)
    np.testing.assert_allclose(coverage.mean_coverage(network), np.nanmean(expected), rtol=1e-6)
    assert coverage.worst_coverage(network) == np.nanmax(expected)
    plain = np.where(train, np.nan, by_hand(labels, train, p, False))
    np.testing.assert_array_equal(coverage.coverage_unwrapped(network), plain)
    np.testing.assert_array_equal(coverage.accuracy_by_coverage(network), [1.0, 1.0])


def test_accuracy_is_split_at_the_median_distance():
    p = 11
    data = modular(p, 0.2, seed=1)
    network = network_of(programs.initial(0, programs.program(p=p), 3.0), data)
    train = data.splits["train"][..., 0]
    distance = by_hand(data.targets[..., 0], train, p, True)
    correct = np.asarray(network.logits)[:p].argmax(0) == data.targets[..., 0]
    near = distance <= np.median(distance[~train])
    expected = [correct[~train & half].mean() for half in (near, ~near)]
    np.testing.assert_allclose(coverage.accuracy_by_coverage(network), expected, rtol=1e-6)
    assert 0 < min(expected) < max(expected)
