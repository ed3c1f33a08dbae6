import itertools

import numpy as np
import pytest
from configs import message_of

from grokjax.config.sweep import RunConfig
from grokjax.tasks.data import data_of, sizes_of
from grokjax.tasks.modular import labels, modular


@pytest.mark.parametrize("p", [7, 10, 13])
def test_products(p):
    table = labels(p, "multiply")
    for a, b in itertools.product(range(p), repeat=2):
        assert table[a, b] == a * b % p


@pytest.mark.parametrize("p", [3, 7, 13])
def test_quotients_times_b_are_a_and_those_by_zero_do_not_exist(p):
    table = labels(p, "divide")
    for a, b in itertools.product(range(p), repeat=2):
        expected = [c for c in range(p) if c * b % p == a] if b else [-1]
        assert [table[a, b]] == expected


@pytest.mark.parametrize("p", [4, 6, 9, 15, 1000])
def test_division_by_a_composite_modulus_is_refused(p):
    message = message_of(RunConfig, operation="divide", modulus=p)
    assert f"division modulo {p}" in message and "use a prime modulus" in message
    assert RunConfig(operation="multiply", modulus=p).modulus == p


@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.5, 0.93])
def test_pairs_with_b_zero_are_in_no_split_and_all_others_in_one(fraction):
    run = RunConfig(operation="divide", modulus=11, train_fraction=fraction, seed=3)
    data = data_of(run)
    train, test = (data.splits[name][..., 0] for name in ("train", "test"))
    exists = np.broadcast_to(np.arange(11) != 0, (11, 11))
    np.testing.assert_array_equal(train ^ test, exists)
    assert not (train & test).any()
    assert train.sum() == int(fraction * 110) == sizes_of(run).num_examples
    np.testing.assert_array_equal(data.targets[exists][:, 0], labels(11, "divide")[exists])


def test_a_fraction_that_leaves_no_pair_of_those_there_are_is_refused():
    fraction = 1.0 / 9 + 1e-6  # one of the 9 pairs that there are of sums, none of 6 quotients
    assert sizes_of(RunConfig(modulus=3, train_fraction=fraction)).num_examples == 1
    message = message_of(RunConfig, modulus=3, train_fraction=fraction, operation="divide")
    assert "leaves no training pair at modulus=3" in message


P = 11
FORMULAS = {
    "x2_y2": lambda x, y: x * x + y * y,
    "x2_xy_y2_x": lambda x, y: x * x + x * y + y * y + x,
    "x3_xy": lambda x, y: x**3 + x * y,
    "x3_xy2_y": lambda x, y: x**3 + x * y**2 + y,
    "x3_y3": lambda x, y: x**3 + y**3,
    "x3_xy_y3": lambda x, y: x**3 + x * y + y**3,
}


@pytest.mark.parametrize("name", FORMULAS)
def test_answers_are_those_of_the_formula(name):
    table = labels(P, name)
    for x in range(P):
        for y in range(P):
            assert table[x, y] == FORMULAS[name](x, y) % P
    assert labels(997, name).max() < 997


def test_division_where_b_is_odd_and_subtraction_where_it_is_even():
    table = labels(P, "divide_or_subtract")
    for x in range(P):
        for y in range(P):
            if y % 2:
                assert table[x, y] * y % P == x
            else:
                assert table[x, y] == (x - y) % P
    assert (modular(P, 0.5, operation="divide_or_subtract").targets >= 0).all()
