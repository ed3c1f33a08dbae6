"""The text of a compiled program, as records: computations, their instructions, their arrays.

Reads what XLA's compilers for CPUs, NVIDIA's GPUs and TPUs print of an optimised module.
"""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

_ITEM_BITS = {"pred": 8, "token": 0, "opaque": 0}
"""Of types whose names do not end in their width."""

_ARRAY = re.compile(r"\b([a-z]\w*)\[([^\]]*)\](?:\{([^}]*)\})?")
_NAME = re.compile(r"%([\w.\-]+)")
_COMPUTATION = re.compile(r"(ENTRY )?%([\w.\-]+) \(")
_INSTRUCTION = re.compile(r"\s+(ROOT )?%([\w.\-]+) = (.*)")


class Buffer(NamedTuple):
    """An array in memory."""

    dtype: str
    shape: tuple[int, ...]
    bytes: int  # with the padding of a TPU's tiles
    near: bool  # in a TPU's fast memory on the chip, not in its HBM

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


class Instruction(NamedTuple):
    name: str
    opcode: str
    results: tuple[Buffer, ...]  # leaves of a tuple
    operands: tuple[str, ...]
    attributes: str  # all that follows the operands

    def called(self, role: str) -> str:
        """The computation named in an attribute, such as `body`."""
        return re.search(rf"\b{role}=%?([\w.\-]+)", self.attributes)[1]


class Module(NamedTuple):
    """Computations by name, each its instructions by name, in the order of the text."""

    computations: dict[str, dict[str, Instruction]]
    entry: str

    def reached(self, computation: str) -> Iterator[tuple[str, Instruction]]:
        """All instructions below one, those of fusions included; with their computation's name."""
        for instruction in self.computations[computation].values():
            yield computation, instruction
            if " calls=" in f" {instruction.attributes}":
                yield from self.reached(instruction.called("calls"))


def parse(text: str) -> Module:
    """The records of a module's text."""
    computations: dict[str, dict[str, Instruction]] = {}
    entry, current = "", None
    for line in text.splitlines():
        header = _COMPUTATION.match(line)
        if header and line.rstrip().endswith("{"):
            current = computations.setdefault(header[2], {})
            entry = header[2] if header[1] else entry
        elif current is not None and (found := _INSTRUCTION.match(line)):
            current[found[2]] = _instruction(found[2], found[3])
    return Module(computations, entry)


def _instruction(name: str, text: str) -> Instruction:
    end = _closing(text) if text.startswith("(") else text.index(" ")
    results, rest = text[:end], text[end:].lstrip()
    opcode, _, _ = rest.partition("(")
    rest = rest[len(opcode) :]
    end = _closing(rest)
    operands = tuple(dict.fromkeys(_NAME.findall(rest[:end])))
    if opcode in ("parameter", "constant"):
        operands = (rest[1 : end - 1],)
    return Instruction(name, opcode, buffers(results), operands, rest[end:])


def _closing(text: str) -> int:
    """The place behind the parenthesis that closes the first."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if not depth:
            return place + 1
    raise ValueError(f"a parenthesis stays open in {text[:80]!r}")


def buffers(text: str) -> tuple[Buffer, ...]:
    """The arrays that a type names."""
    return tuple(_buffer(*found) for found in _ARRAY.findall(text))


def _buffer(dtype: str, dims: str, layout: str) -> Buffer:
    shape = tuple(int(n) for n in re.findall(r"\d+", dims))
    order, _, details = layout.partition(":")
    stored = [shape[int(i)] for i in order.split(",") if i][::-1] or list(shape)
    tile = re.search(r"T\(([\d,]+)\)", details)
    if tile:
        sizes = [int(n) for n in tile[1].split(",")]
        stored = [1] * (len(sizes) - len(stored)) + stored
        kept = len(stored) - len(sizes)
        stored[kept:] = [-(-n // m) * m for n, m in zip(stored[kept:], sizes, strict=True)]
    width = re.search(r"\d+", dtype)
    bits = _ITEM_BITS.get(dtype, int(width[0]) if width else 8)
    if dtype.startswith("c"):
        bits = int(width[0])
    return Buffer(dtype, shape, math.prod(stored) * bits // 8, "S(1)" in details)
