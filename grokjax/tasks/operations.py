"""Binary operations modulo p.

An operation maps a and b, arrays of all pairs, and p to answers, which are then reduced mod p.
With `partial`, negative answers mark pairs that do not exist. `sign` declares that the circuit's
waves are functions of a + sign b.
"""

import numpy as np

from grokjax.core.errors import ConfigError
from grokjax.core.parts import operation

_POWER = dict(source="Power et al. 2022, arXiv 2201.02177")
_GU = dict(source="Gu et al. 2025, arXiv 2504.03162")


@operation
def add(a, b, p):
    "a + b"
    return a + b


@operation(sign=-1)
def subtract(a, b, p):
    "a - b"
    return a - b


@operation
def x2_xy_y2(a, b, p):
    "a^2 + a b + b^2"
    return a * a + a * b + b * b


@operation("random", fourier=False)
def random_table(a, b, p, seed):
    "A fixed table of random answers, drawn from the run's split_seed."
    return np.random.default_rng(seed).integers(p, size=a.shape)


@operation
def multiply(a, b, p):
    "a b"
    return a * b


@operation(partial=True)
def divide(a, b, p):
    "a / b for a prime p; pairs with b = 0 do not exist"
    if any(p % n == 0 for n in range(2, int(p**0.5) + 1)):
        raise ConfigError(f"division modulo {p} is not defined for every b: use a prime modulus")
    inverses = np.array([pow(n, -1, p) if n else 0 for n in range(p)])
    return np.where(b == 0, -1, a * inverses[b] % p)


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
