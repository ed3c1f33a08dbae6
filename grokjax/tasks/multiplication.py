"""Multiplication and division modulo a prime p."""

import numpy as np

from grokjax.core.errors import ConfigError
from grokjax.core.parts import operation


@operation
def multiply(a, b, p):
    "a b"
    return a * b


@operation(partial=True)
def divide(a, b, p):
    "a / b for a prime p; pairs with b = 0 do not exist"
    if any(p % n == 0 for n in range(2, int(p**0.5) + 1)):
        raise ConfigError(f"division modulo {p} is not defined for every b: take a prime modulus")
    inverses = np.array([pow(n, -1, p) if n else 0 for n in range(p)])
    return np.where(b == 0, -1, a * inverses[b] % p)
