"""Further operations modulo p: those of Power et al. 2022 and Gu et al. 2025."""

import numpy as np

from grokjax.core.parts import operation
from grokjax.tasks.multiplication import divide

_POWER = dict(source="Power et al. 2022, arXiv 2201.02177")
_GU = dict(source="Gu et al. 2025, arXiv 2504.03162")


@operation(**_POWER)
def x2_y2(a, b, p):
    "a^2 + b^2"
    return a**2 + b**2


@operation(**_POWER)
def x2_xy_y2_x(a, b, p):
    "a^2 + a b + b^2 + a"
    return a**2 + a * b + b**2 + a


@operation(**_POWER)
def x3_xy(a, b, p):
    "a^3 + a b"
    return a**3 + a * b


@operation(**_POWER)
def x3_xy2_y(a, b, p):
    "a^3 + a b^2 + b"
    return a**3 + a * b**2 + b


@operation(**_GU)
def x3_y3(a, b, p):
    "a^3 + b^3"
    return a**3 + b**3


@operation(**_GU)
def x3_xy_y3(a, b, p):
    "a^3 + a b + b^3"
    return a**3 + a * b + b**3


@operation(partial=True, **_POWER)
def divide_or_subtract(a, b, p):
    "a / b where b is odd, else a - b, for a prime p"
    return np.where(b % 2 == 1, divide(a, b, p), (a - b) % p)
