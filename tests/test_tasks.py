import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grokjax import tasks

FORMULAS = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "x2_xy_y2": lambda a, b: a**2 + a * b + b**2,
}


@pytest.mark.parametrize(
    ("seed", "digest"),
    [
        (0, "0e18047a9115ed76"),
        (1, "ded321c0223f1ccf"),
        (2, "7deea90f19b75c2c"),
        (3, "b96c85419f74d973"),
        (4, "545ce78fc2e8dd59"),
    ],
)
def test_the_split_is_the_authors_for_every_seed(seed, digest):
    train = tasks.shuffled_split(113, 0.3, seed)
    ids = ",".join(str(i) for i in np.flatnonzero(train))
    assert hashlib.sha256(ids.encode()).hexdigest()[:16] == digest
    assert np.sum(train) == 3830 and np.sum(~train) == 8939


def test_the_first_pairs_of_the_authors_lists_are_where_they_say():
    train = tasks.shuffled_split(113, 0.3, 0)
    assert all(train[pair] for pair in [(18, 34), (10, 83), (55, 28), (25, 51), (63, 65)])
    assert not any(train[pair] for pair in [(50, 67), (92, 107), (29, 14)])


def test_a_smaller_training_set_is_part_of_a_larger_one():
    small, large = tasks.shuffled_split(23, 0.2, 3), tasks.shuffled_split(23, 0.6, 3)
    assert not np.any(small & ~large)


@settings(deadline=None)
@given(st.integers(3, 60), st.integers(1, 99))
def test_the_training_set_has_the_size_that_the_fraction_says(p, percent):
    fraction = percent / 100
    train = tasks.shuffled_split(p, fraction, seed=0)
    assert np.sum(train) == int(fraction * (p * p))


@pytest.mark.parametrize("operation", FORMULAS)
@pytest.mark.parametrize("p", [5, 12])
def test_labels_follow_the_operation(p, operation):
    table = tasks.labels(p, operation)
    for a in range(p):
        for b in range(p):
            assert table[a, b] == FORMULAS[operation](a, b) % p


def test_random_labels_are_one_fixed_table_of_all_classes():
    table = tasks.labels(23, "random", seed=1)
    np.testing.assert_array_equal(table, tasks.labels(23, "random", seed=1))
    assert np.any(table != tasks.labels(23, "random", seed=2))
    assert set(np.unique(table)) == set(range(23))


def test_an_unknown_operation_is_told_with_the_known_ones():
    with pytest.raises(ValueError, match="'multiply'.*add, subtract"):
        tasks.labels(5, "multiply")


@pytest.mark.parametrize("operation", tasks.OPERATIONS)
def test_the_sign_says_which_waves_the_labels_are_functions_of(operation):
    assert tasks.modular(7, operation=operation).sign == (-1 if operation == "subtract" else 1)


def test_padding_keeps_the_task_in_a_corner_of_zeros():
    task = tasks.modular(7, 0.4, seed=2)
    padded = tasks.padded(task, 10)
    assert padded.modulus == task.modulus and padded.sign == task.sign
    for grown, own in ((padded.labels, task.labels), (padded.train, task.train)):
        assert grown.shape == (10, 10) and grown.dtype == own.dtype
        np.testing.assert_array_equal(grown[:7, :7], own)
        assert not grown[7:].any() and not grown[:, 7:].any()


@pytest.mark.parametrize("extra", [0, 5])
def test_examples_are_the_training_pairs_with_weights_that_sum_to_one(extra):
    task = tasks.modular(7, 0.4, seed=2, operation="subtract")
    n = int(task.train.sum())
    examples = tasks.examples(task, n + extra)
    a, b, equals = examples.inputs[:n].T
    assert sorted(zip(a, b, strict=True)) == sorted(zip(*np.nonzero(task.train), strict=True))
    np.testing.assert_array_equal(examples.labels[:n], (a - b) % 7)
    assert np.all(equals == 7) and np.all(examples.inputs[n:, 2] == 7)
    np.testing.assert_allclose(examples.weights[:n], 1 / n, rtol=1e-7)
    assert np.sum(examples.weights, dtype=np.float64) == pytest.approx(1, abs=1e-6)
    assert len(examples.weights) == n + extra and not examples.weights[n:].any()


def test_padded_examples_of_a_padded_task_are_the_same_examples():
    task = tasks.modular(7, 0.4)
    for own, padded in zip(
        tasks.examples(task, 30), tasks.examples(tasks.padded(task, 11), 30), strict=True
    ):
        np.testing.assert_array_equal(own, padded)


def test_too_many_examples_for_their_room_are_refused():
    task = tasks.modular(7, 0.4)
    with pytest.raises(ValueError, match="19 training examples do not fit into 18"):
        tasks.examples(task, 18)
