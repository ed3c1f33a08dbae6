import pytest

from grokjax.tasks.modular import labels, modular

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
