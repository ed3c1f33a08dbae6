import pytest
from configs import message_of

from grokjax.config.axes import axis, chain, product, zipped


def test_combinators():
    a, b = axis("seed", range(2)), axis("steps", (5, 6))
    assert product(a, b) == [
        {"seed": 0, "steps": 5},
        {"seed": 0, "steps": 6},
        {"seed": 1, "steps": 5},
        {"seed": 1, "steps": 6},
    ]
    assert zipped(a, b) == [{"seed": 0, "steps": 5}, {"seed": 1, "steps": 6}]
    assert chain(a, b) == [{"seed": 0}, {"seed": 1}, {"steps": 5}, {"steps": 6}]
    assert product(iter(a), chain(iter(b))) == product(a, b)
    assert product() == [{}]


@pytest.mark.parametrize(
    "build, name, remedy",
    [
        (lambda: axis("seed", 3), "'seed'", "write a tuple"),
        (lambda: axis("operation", "add"), "'operation'", "write a tuple"),
        (lambda: axis("seed", ()), "'seed'", "at least one value"),
        (lambda: zipped(axis("seed", (1,)), axis("l1", (0.0, 1.0))), "1, 2", "use product"),
        (lambda: product(axis("seed", (1,)), axis("seed", (2,))), "'seed'", "keep one"),
        (lambda: zipped(axis("seed", (1,)), axis("seed", (2,))), "'seed'", "keep one"),
    ],
)
def test_wrong_combinations_are_refused(build, name, remedy):
    message = message_of(build)
    assert name in message and remedy in message
