"""What a compiled program does: its kernels, the bytes that each moves, the products in it.

A kernel is an instruction that runs by itself: a fusion, a copy, a library call. It reads each
operand once and writes each result once; of an operand that it only slices, or picks rows from, it
reads what it takes. What lies in a TPU's memory on the chip moves no bytes.
"""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

from experiments.chips.hlo import Buffer, Instruction, Module

_FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all"}
"""What only names an array."""

_PICKS = {"slice", "dynamic-slice", "gather"}


class Product(NamedTuple):
    """A matrix product within a kernel."""

    shape: str  # of the result
    operations: float  # multiplications and additions
    precision: str  # as the compiler has it


class Kernel(NamedTuple):
    name: str
    kind: str
    times: int
    reads: tuple[tuple[Buffer, int], ...]  # with the bytes taken of each
    writes: tuple[tuple[Buffer, int], ...]
    products: tuple[Product, ...] = ()

    @property
    def bytes(self) -> int:
        return sum(n for _, n in self.reads + self.writes)

    @property
    def bytes_of_whole(self) -> int:
        """The same if every array that is read at all were read whole."""
        if self.kind == "transfer":
            return self.bytes
        return sum(x.bytes for x, _ in self.reads + self.writes)

    @property
    def operations(self) -> float:
        return sum(product.operations for product in self.products)


def step_of(module: Module) -> str:
    """The body of the outermost loop whose end the program does not know: a step of training."""
    for instruction in module.computations[module.entry].values():
        if instruction.opcode == "while" and not _trips(instruction):
            return instruction.called("body")
    raise ValueError("the program has no such loop")


def kernels(module: Module, computation: str, times: int = 1) -> Iterator[Kernel]:
    """All that runs in a computation, loops of known length as often as they go round."""
    own = module.computations[computation]
    for instruction in own.values():
        opcode = instruction.opcode
        if opcode == "while":
            inside = times * (_trips(instruction) or 1)
            yield from kernels(module, instruction.called("body"), inside)
        elif opcode == "call":
            yield from kernels(module, instruction.called("to_apply"), times)
        elif opcode == "conditional":
            raise ValueError(f"{instruction.name}: a conditional, of which the cost is not known")
        elif not _is_free(instruction):
            yield _kernel(module, computation, instruction, times)


def _is_free(instruction: Instruction) -> bool:
    kind, attributes = instruction.opcode, instruction.attributes
    views = kind == "custom-call" and re.search(
        r'target="(ConcatBitcast|AllocateBuffer)"', attributes
    )
    return kind in _FREE or kind.endswith("-done") or bool(views)


def _trips(loop: Instruction) -> int:
    found = re.search(r"known_trip_count\D+(\d+)", loop.attributes)
    return int(found[1]) if found else 0


def _kernel(module: Module, computation: str, instruction: Instruction, times: int) -> Kernel:
    own = module.computations[computation]
    operands = [_made(own, name) for name in instruction.operands if name in own]
    if instruction.opcode in ("copy-start", "slice-start"):
        reads, writes = _transfer(instruction, operands)
        return Kernel(instruction.name, "transfer", times, reads, writes)
    reads = [
        (buffer, taken)
        for place, operand in enumerate(operands)
        for buffer in operand.results
        if (taken := _taken(module, instruction, place, buffer))
    ]
    writes = [(buffer, buffer.bytes) for buffer in instruction.results if not buffer.near]
    found = tuple(products(module, computation, instruction))
    return Kernel(instruction.name, instruction.opcode, times, tuple(reads), tuple(writes), found)


def _made(own: dict[str, Instruction], name: str) -> Instruction:
    """The instruction that made an array, where a name is only another shape of it."""
    while own[name].opcode == "bitcast":
        (name,) = own[name].operands
    return own[name]


def _transfer(start: Instruction, operands: list[Instruction]) -> tuple[tuple, tuple]:
    """Of a copy between a TPU's memories, which goes on beside kernels: (reads, writes)."""
    there = [buffer for buffer in start.results if buffer.dtype != "u32" and buffer.shape]
    if not there:  # a number
        return (), ()
    moved = min(buffer.bytes for buffer in there)
    source = operands[0].results[0]
    # Of the two arrays in the result one is the source, the other where it goes.
    into = [x for x in there if x.near != source.near or x.shape != source.shape] or there[:1]
    reads = () if source.near else ((source, moved),)
    writes = () if into[0].near else ((into[0], moved),)
    return reads, writes


def _taken(module: Module, instruction: Instruction, place: int, buffer: Buffer) -> int:
    """Bytes that a kernel reads of an operand."""
    if buffer.near:
        return 0
    if instruction.opcode in _PICKS and place == 0:
        return min(buffer.bytes, sum(x.bytes for x in instruction.results))
    if instruction.opcode != "fusion":
        return buffer.bytes
    inside = module.computations[instruction.called("calls")]
    parameter = next(
        x.name for x in inside.values() if x.opcode == "parameter" and x.operands[0] == str(place)
    )
    picked = _picked(inside, parameter)
    return buffer.bytes if picked is None else min(buffer.bytes, picked)


def _picked(inside: dict[str, Instruction], name: str) -> int | None:
    """Bytes taken of an array that is only sliced, or picked from; None if it is used whole."""
    total = 0
    for user in inside.values():
        if name not in user.operands or user.opcode in ("parameter", "constant"):
            continue
        if user.opcode == "bitcast":
            further = _picked(inside, user.name)
            if further is None:
                return None
            total += further
        elif user.opcode in _PICKS and user.operands[0] == name:
            total += sum(x.bytes for x in user.results)
        else:
            return None
    return total


# --- Products -------------------------------------------------------------------------------------


def products(module: Module, computation: str, instruction: Instruction) -> Iterator[Product]:
    """The products in a kernel."""
    found = [(computation, instruction)]
    if " calls=" in f" {instruction.attributes}":
        found = list(module.reached(instruction.called("calls")))
    for where, one in found:
        if one.opcode == "custom-call" and "gemm" in one.attributes:
            raise ValueError(f"{one.name} is a library's product: compile without autotuning")
        if one.opcode in ("dot", "convolution"):
            count = _dot if one.opcode == "dot" else _convolution
            first, second = (
                module.computations[where][name].results[0] for name in (one.operands * 2)[:2]
            )
            operations = 2.0 * math.prod(one.results[0].shape) * count(one, first, second)
            yield Product(str(one.results[0]), operations, _precision(one.attributes))


def _dot(product: Instruction, first: Buffer, second: Buffer) -> int:
    """How many products are summed for one entry of the result."""
    dims = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", product.attributes)[1]
    return math.prod(first.shape[int(i)] for i in dims.split(",") if i)


def _convolution(product: Instruction, first: Buffer, second: Buffer) -> int:
    """The same of a product that a TPU's compiler writes as a convolution.

    A window that is dilated or padded holds one entry of each place: an axis of the batch.
    """
    labels = re.search(r"dim_labels=\w+_(\w+)->", product.attributes)[1]
    summed = second.shape[labels.index("i")]
    window = re.search(r"window=\{([^}]*)\}", product.attributes)
    fields = dict(part.split("=") for part in window[1].split()) if window else {}
    sizes = [int(n) for n in fields.get("size", "").split("x") if n]
    padding = fields.get("pad", "x".join(["0_0"] * len(sizes))).split("x")
    dilation = fields.get("lhs_dilate", "x".join(["1"] * len(sizes))).split("x")
    for size, pad, dilate in zip(sizes, padding, dilation, strict=False):
        summed *= size if pad == "0_0" and dilate == "1" else 1
    return summed


def _precision(attributes: str) -> str:
    """The precision that a product is compiled for; "default" where none is asked for."""
    algorithm = re.search(r"algorithm=dot_(\w+)", attributes)
    if algorithm:
        return algorithm[1]
    asked = re.search(r"operand_precision=\{(\w+),", attributes)
    return asked[1] if asked else "default"
