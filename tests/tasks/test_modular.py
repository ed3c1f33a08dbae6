"""The operations, the authors' split, held-out regions and label noise."""

import hashlib
import random

import numpy as np
import pytest

from grokjax.config.axes import resolve
from grokjax.config.sweep import RunConfig
from grokjax.core import parts
from grokjax.core.errors import ConfigError
from grokjax.tasks.data import data_of, sizes_of
from grokjax.tasks.modular import labels, modular, shuffled_split
from grokjax.tasks.noise import with_noise
from grokjax.training.packing import pack
from tests.configs import config_with, message_of

# --- Operations -----------------------------------------------------------------------------------

FORMULAS = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "x2_y2": lambda a, b: a * a + b * b,
    "x2_xy_y2": lambda a, b: a * a + a * b + b * b,
    "x2_xy_y2_x": lambda a, b: a * a + a * b + b * b + a,
    "x3_xy": lambda a, b: a**3 + a * b,
    "x3_xy2_y": lambda a, b: a**3 + a * b**2 + b,
    "x3_y3": lambda a, b: a**3 + b**3,
    "x3_xy_y3": lambda a, b: a**3 + a * b + b**3,
}


def divided(a, b, p):
    return next(c for c in range(p) if c * b % p == a) if b else -1


@pytest.mark.parametrize("name", [part.name for part in parts.all_of("operation")])
def test_answers_are_those_of_the_formula(name):
    table = {p: labels(p, name) for p in (3, 7, 13)}
    if name in FORMULAS:
        table |= {p: labels(p, name) for p in (10, 12)}
        assert labels(997, name).max() < 997
    for p, answers in table.items():
        if name == "random":  # one fixed table for each seed
            np.testing.assert_array_equal(answers, labels(p, name, seed=0))
            assert np.any(answers != labels(p, name, seed=2))
            assert p == 3 or set(np.unique(answers)) == set(range(p))
            continue
        for (a, b), answer in np.ndenumerate(answers):
            if name in FORMULAS:
                expected = FORMULAS[name](a, b) % p
            elif name == "divide" or b % 2:
                expected = divided(a, b, p)
            else:
                assert name == "divide_or_subtract"
                expected = (a - b) % p
            assert answer == expected
    sign = modular(7, operation=name).extra["sign"]
    assert sign == (-1 if name == "subtract" else 1)


def test_an_unknown_operation_is_told_with_those_like_it():
    with pytest.raises(ConfigError, match="no operation 'subtrakt'.*subtract"):
        labels(5, "subtrakt")


@pytest.mark.parametrize("p", [4, 9, 15, 1000])
def test_division_by_a_composite_modulus_is_refused(p):
    message = message_of(RunConfig, operation="divide", modulus=p)
    assert f"division modulo {p}" in message and "use a prime modulus" in message
    assert RunConfig(operation="multiply", modulus=p).modulus == p


# --- The split ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seed", "digest"),
    [(0, "0e18047a9115ed76"), (1, "ded321c0223f1ccf"), (4, "545ce78fc2e8dd59")],
)
def test_the_split_is_the_authors_for_every_seed(seed, digest):
    train = shuffled_split(113, 0.3, seed)
    ids = ",".join(str(i) for i in np.flatnonzero(train))
    assert hashlib.sha256(ids.encode()).hexdigest()[:16] == digest
    assert np.sum(train) == 3830 and np.sum(~train) == 8939
    if seed == 0:  # as in the authors' lists
        assert all(train[pair] for pair in [(18, 34), (10, 83), (55, 28), (25, 51), (63, 65)])
        assert not any(train[pair] for pair in [(50, 67), (92, 107), (29, 14)])


def test_a_smaller_training_set_is_part_of_a_larger_one():
    small, large = shuffled_split(23, 0.2, 3), shuffled_split(23, 0.6, 3)
    assert not np.any(small & ~large)


@pytest.mark.parametrize("operation", ["add", "divide"])
@pytest.mark.parametrize("fraction", [0.1, 0.29, 0.58, 0.93, 1 - 2**-53])
def test_all_pairs_that_exist_are_in_one_split_and_train_has_the_size_of_its_fraction(
    operation, fraction
):
    run = RunConfig(operation=operation, modulus=11, train_fraction=fraction, seed=3)
    data = data_of(run)
    train, test = (data.splits[name][..., 0] for name in ("train", "test"))
    exists = labels(11, operation) >= 0
    np.testing.assert_array_equal(train ^ test, exists)
    assert train.sum() == int(fraction * exists.sum()) == sizes_of(run).num_examples
    np.testing.assert_array_equal(data.targets[exists][:, 0], labels(11, operation)[exists])


def test_a_fraction_that_leaves_no_pair_of_those_there_are_is_refused():
    fraction = 1.0 / 9 + 1e-6  # one of the 9 pairs that there are of sums, none of 6 quotients
    assert sizes_of(RunConfig(modulus=3, train_fraction=fraction)).num_examples == 1
    message = message_of(RunConfig, modulus=3, train_fraction=fraction, operation="divide")
    assert "leaves no training pair at modulus=3" in message


# --- Held-out regions -----------------------------------------------------------------------------


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
    without = modular(p, 0.4, seed=2, held_out=held_out).splits["train"][..., 0]
    np.testing.assert_array_equal(without, shuffled_split(p, 0.4, 2))


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
        ({"label_noise": -0.1}, "from 0 to 1"),
        ({"label_noise": 1.5}, "from 0 to 1"),
    ],
)
def test_impossible_regions_and_noise_are_refused(fields, said):
    assert said in message_of(RunConfig, **fields)


def test_regions_are_axes_of_a_sweep():
    axes = {"axes_held_out": ("square", "strip"), "axes_held_out_size": (2, 4)}
    runs = resolve(config_with(modulus=13, **axes)).runs
    assert [(run.held_out, run.held_out_size) for run in runs] == [
        *(("square", 2), ("square", 4), ("strip", 2), ("strip", 4))
    ]
    assert len(pack(runs)) == 1  # they share a program: masks alone differ


# --- Label noise ----------------------------------------------------------------------------------

NOISY = RunConfig(modulus=23, train_fraction=0.5, steps=5)


def test_a_share_of_the_training_answers_is_drawn_uniformly_and_no_others():
    clean, noisy = data_of(NOISY), data_of(NOISY.replace(label_noise=0.4))
    train = clean.splits["train"]
    changed = noisy.targets != clean.targets
    count = int(0.4 * train.sum())
    assert not changed[~train].any()
    # One in 23 of those drawn is right by chance.
    assert abs(changed.sum() - count * 22 / 23) < 4 * np.sqrt(count / 23)
    for data in (noisy, clean):
        np.testing.assert_array_equal(data.extra["right_answers"], clean.targets)
    for name in clean.splits:
        np.testing.assert_array_equal(noisy.splits[name], clean.splits[name])


def test_all_of_them_are_uniform_and_a_seed_has_its_own():
    made = data_of(NOISY)._replace(num_classes=24, num_answers=23)
    whole = [with_noise(made, 1.0, seed).targets for seed in range(20)]
    counts = np.bincount(np.concatenate([x[made.splits["train"]] for x in whole]), minlength=23)
    expected = counts.sum() / 23
    assert len(counts) == 23 and np.sum((counts - expected) ** 2 / expected) < 55  # chi2, p 1e-4
    assert (whole[0] != whole[1]).any()
