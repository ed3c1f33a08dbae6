"""The rounding of other devices' products, emulated where products are in float32.

with matmul.computed_by(rounding.CONTRACTS["tensorfloat32"]):
    ...  # trace and compile a training program
"""

from functools import partial

import jax

from grokjax.networks.matmul import contract


def _rounded(mantissa_bits: int, x, y, axes: tuple[int, int]):
    """Round both operands to the nearest number with fewer mantissa bits; sum in float32."""
    keep = lambda z: jax.lax.reduce_precision(z, 8, mantissa_bits)  # noqa: E731
    return contract(keep(x), keep(y), axes)


def _in_three(x, y, axes: tuple[int, int]):
    """Split each operand into a sum of two bfloat16; add the three largest of four products."""
    high = lambda z: jax.lax.reduce_precision(z, 8, 7)  # noqa: E731
    low = lambda z: high(z - high(z))  # noqa: E731
    small = contract(high(x), low(y), axes) + contract(low(x), high(y), axes)
    return contract(high(x), high(y), axes) + small


CONTRACTS = {
    "control": partial(_rounded, 22),  # one bit less than float32: the effect of chaos alone
    "tensorfloat32": partial(_rounded, 10),
    "bfloat16_3x": _in_three,
    "bfloat16": partial(_rounded, 7),
}
"""By precision, the function that computes products over examples."""
