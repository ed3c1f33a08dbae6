"""The cyclic group that a modular task is about, and its elements in the order of a generator.

Z_p for most operations; the nonzero residues of a prime p, in the order of their discrete
logarithms, where the answers are a b or a / b. Read off the answers themselves.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from grokjax.core.types import Array, IntLike
from grokjax.measures.network import Network


class Group(NamedTuple):
    """Elements are tokens. Row g of `powers` is 0, g, 2g, ... or 1, g, g^2, ..."""

    powers: Int[Array, "p p"]
    generates: Bool[Array, " p"]  # which g reach every element
    order: Int[Array, ""]  # the number of elements: p, or p - 1
    multiplicative: Bool[Array, ""]
    sign: Int[Array, ""]  # -1 for a - b and a / b

    @property
    def elements(self) -> Int[Array, " p"]:
        """In the order of the smallest generator; what lies beyond `order` is no element."""
        return self.powers[jnp.argmax(self.generates)]

    def or_nan(self, value: Float[Array, ""]) -> Float[Array, ""]:
        """The value, or NaN where nothing generates the group: products modulo a composite p."""
        return jnp.where(jnp.any(self.generates), value, jnp.nan)


def group(network: Network) -> Group:
    """Of the answers over all pairs that exist."""
    p, size, answers = network.p, network.size, network.labels
    exists = network.train | network.test
    a, b = jnp.arange(size)[:, None], jnp.arange(size)[None, :]
    agrees = lambda holds: jnp.all(holds | ~exists)  # noqa: E731
    product = agrees(answers == a * b % p)
    quotient = agrees((answers * b - a) % p == 0)
    multiplicative = product | quotient
    sign = jnp.where(multiplicative, jnp.where(product, 1, -1), network.sign)
    return of_order(multiplicative, sign, p, size)


def of_order(multiplicative: Bool[Array, ""], sign: IntLike, p: IntLike, size: int) -> Group:
    """The group of addition or of multiplication mod p."""
    g = jnp.arange(size)
    start = jnp.where(multiplicative, jnp.ones_like(g), jnp.zeros_like(g))

    def step(x, _):
        return jnp.where(multiplicative, x * g, x + g) % p, x

    _, powers = jax.lax.scan(step, start, length=size + 1)
    i, order = jnp.arange(size + 1)[:, None], jnp.where(multiplicative, p - 1, p)
    returns = powers == start
    early = jnp.any(returns & (i > 0) & (i < order), 0)
    closes = jnp.any(returns & (i == order), 0)
    generates = closes & ~early & (g < p) & (g > 0)
    return Group(powers[:size].T, generates, order, multiplicative, jnp.asarray(sign))
