import hashlib
import random

import numpy as np
import pytest
from configs import message_of
from hypothesis import given, settings
from hypothesis import strategies as st

from grokjax.config.axes import resolve
from grokjax.config.sweep import RunConfig, default
from grokjax.core import parts
from grokjax.core.errors import ConfigError
from grokjax.tasks.data import data_of, examples, padded
from grokjax.tasks.modular import labels, modular, shuffled_split
from grokjax.training.blocks import plan

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
    train = shuffled_split(113, 0.3, seed)
    ids = ",".join(str(i) for i in np.flatnonzero(train))
    assert hashlib.sha256(ids.encode()).hexdigest()[:16] == digest
    assert np.sum(train) == 3830 and np.sum(~train) == 8939


def test_the_first_pairs_of_the_authors_lists_are_where_they_say():
    train = shuffled_split(113, 0.3, 0)
    assert all(train[pair] for pair in [(18, 34), (10, 83), (55, 28), (25, 51), (63, 65)])
    assert not any(train[pair] for pair in [(50, 67), (92, 107), (29, 14)])


def test_a_smaller_training_set_is_part_of_a_larger_one():
    small, large = shuffled_split(23, 0.2, 3), shuffled_split(23, 0.6, 3)
    assert not np.any(small & ~large)


@settings(deadline=None)
@given(st.integers(3, 60), st.integers(1, 99))
def test_the_training_set_has_the_size_that_the_fraction_says(p, percent):
    fraction = percent / 100
    train = shuffled_split(p, fraction, seed=0)
    assert np.sum(train) == int(fraction * (p * p))


@pytest.mark.parametrize("operation", FORMULAS)
@pytest.mark.parametrize("p", [5, 12])
def test_labels_follow_the_operation(p, operation):
    table = labels(p, operation)
    for a in range(p):
        for b in range(p):
            assert table[a, b] == FORMULAS[operation](a, b) % p


def test_random_labels_are_one_fixed_table_of_all_classes():
    table = labels(23, "random", seed=1)
    np.testing.assert_array_equal(table, labels(23, "random", seed=1))
    assert np.any(table != labels(23, "random", seed=2))
    assert set(np.unique(table)) == set(range(23))


def test_an_unknown_operation_is_told_with_those_like_it():
    with pytest.raises(ConfigError, match="no operation 'subtrakt'.*subtract"):
        labels(5, "subtrakt")


@pytest.mark.parametrize("operation", [part.name for part in parts.all_of("operation")])
def test_the_sign_says_which_waves_the_labels_are_functions_of(operation):
    sign = modular(7, operation=operation).extra["sign"]
    assert sign == (-1 if operation == "subtract" else 1)


def test_padding_keeps_the_data_in_a_corner_of_zeros():
    data, larger = modular(7, 0.4, seed=2), modular(10)
    grown_data = padded([data, larger])[0]
    assert grown_data.vocabulary == 8 and grown_data.num_answers == 7
    assert grown_data.extra == data.extra
    split = lambda x: (x.splits["train"], x.splits["test"])  # noqa: E731
    pairs = zip((grown_data.targets, *split(grown_data)), (data.targets, *split(data)), strict=True)
    for grown, own in pairs:
        assert grown.shape == (10, 10, 1) and grown.dtype == own.dtype
        np.testing.assert_array_equal(grown[:7, :7], own)
        assert not grown[7:].any() and not grown[:, 7:].any()


@pytest.mark.parametrize("extra", [0, 5])
def test_examples_are_the_training_pairs_with_weights_that_sum_to_one(extra):
    data = modular(7, 0.4, seed=2, operation="subtract")
    train = data.splits["train"][..., 0]
    n = int(train.sum())
    batch = examples(data, "train", n + extra)
    a, b, equals = batch.tokens[:n].T
    assert sorted(zip(a, b, strict=True)) == sorted(zip(*np.nonzero(train), strict=True))
    np.testing.assert_array_equal(batch.targets[:n, 0], (a - b) % 7)
    assert np.all(equals == 7)
    np.testing.assert_allclose(batch.weights[:n], 1 / n, rtol=1e-7)
    assert np.sum(batch.weights, dtype=np.float64) == pytest.approx(1, abs=1e-6)
    assert len(batch.weights) == n + extra and not batch.weights[n:].any()


def test_padded_examples_of_padded_data_are_the_same_examples():
    data = modular(7, 0.4)
    larger = padded([data, modular(11)])[0]
    for own, grown in zip(examples(data, "train", 30), examples(larger, "train", 30), strict=True):
        np.testing.assert_array_equal(own, grown)


def test_too_many_examples_for_their_room_are_refused():
    with pytest.raises(ValueError, match="19 examples do not fit into 18"):
        examples(modular(7, 0.4), "train", 18)


def test_division_undoes_multiplication_and_has_no_pairs_with_0():
    table = labels(7, "divide")
    assert np.all(table[:, 0] == -1) and table[:, 1:].min() == 0
    a, b = np.nonzero(table >= 0)
    np.testing.assert_array_equal(labels(7, "multiply")[table[a, b], b], a)
    data = modular(7, 0.4, operation="divide")
    exists = data.splits["train"] | data.splits["test"]
    np.testing.assert_array_equal(exists[..., 0], table >= 0)
    assert data.splits["train"].sum() == int(0.4 * 42)
    with pytest.raises(ConfigError, match="prime"):
        labels(12, "divide")


@pytest.mark.parametrize("held_out", ["square", "strip"])
def test_no_pair_of_a_held_out_region_is_trained_on(held_out):
    p, size = 13, 5
    a, b = np.indices((p, p))
    region = (a < size) & ((b < size) | (held_out == "strip"))
    data = modular(p, 0.4, seed=2, held_out=held_out, held_out_size=size)
    train, test = (data.splits[name][..., 0] for name in ("train", "test"))
    assert not (train & region).any() and (train ^ test).all()
    assert train.sum() == int(0.4 * p**2)  # a share of all pairs, as without a region
    # The pairs outside, in lexicographic order, after the shuffle of the seed.
    pairs = [(x, y) for x in range(p) for y in range(p) if not region[x, y]]
    random.Random(2).shuffle(pairs)
    assert set(zip(*np.nonzero(train), strict=True)) == set(pairs[: train.sum()])


def test_without_a_region_the_split_is_the_one_of_the_seed():
    region = np.zeros((23, 23), bool)
    expected = shuffled_split(23, 0.3, 4)
    np.testing.assert_array_equal(shuffled_split(23, 0.3, 4, None, region), expected)
    for held_out in ("random", "square", "strip"):
        data = modular(23, 0.3, 4, held_out=held_out)
        np.testing.assert_array_equal(data.splits["train"][..., 0], expected)


def test_the_strip_of_the_papers_last_row_leaves_no_more_than_it_trains_on():
    """Gu et al.: rows 0..67 of p = 97 leave 2,813 pairs, their 30 % are 2,822."""
    run = {"modulus": 97, "held_out": "strip", "held_out_size": 68}
    message = message_of(RunConfig, **run, train_fraction=0.3)
    assert "2822" in message and "2813" in message and "lower train_fraction" in message
    assert data_of(RunConfig(**run, train_fraction=0.299)).splits["train"].sum() == 2813


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"held_out": "circle"}, "one of 'random', 'square', 'strip'"),
        ({"held_out_size": 3}, 'choose "square" or "strip"'),
        ({"held_out": "square", "held_out_size": 113}, "below the modulus, 113"),
        ({"held_out": "square", "held_out_size": -1}, "from 0 to 999"),
    ],
)
def test_a_region_that_cannot_be_is_refused(fields, said):
    assert said in message_of(RunConfig, **fields)


def test_regions_are_axes_of_a_sweep():
    config = default()
    config.modulus, config.axes.held_out, config.axes.held_out_size = (
        13,
        ("square", "strip"),
        (2, 4),
    )
    runs = resolve(config).runs
    assert {(run.held_out, run.held_out_size) for run in runs} == {
        *(("square", 2), ("square", 4), ("strip", 2), ("strip", 4))
    }
    assert len(plan(runs)) == 1  # they share a program: masks alone differ
