"""Kernels of a compiled program: the bytes that each moves and its matrix products.

The source is the text that XLA's compilers for CPUs, NVIDIA GPUs and TPUs print. A kernel is an
instruction that runs by itself: a fusion, a copy, a library call. It reads every operand once and
writes every result once. If it only slices or gathers from an operand, it reads that part of it.
Arrays in the on-chip memory of a TPU move no bytes.
"""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

_NO_KERNELS = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all"}
_VIEWS = re.compile(r'target="(ConcatBitcast|AllocateBuffer)"')
_PICKS = {"slice", "dynamic-slice", "gather"}
_COPIES = ("copy-start", "slice-start")

_ITEM_BITS = {"pred": 8, "token": 0, "opaque": 0}
"""For types whose names do not end in their width."""

_ARRAY = re.compile(r"\b([a-z]\w*)\[([^\]]*)\](?:\{([^}]*)\})?")
_COMPUTATION = re.compile(r"(ENTRY )?%([\w.\-]+) \(.*\{\s*$")
_INSTRUCTION = re.compile(r"\s+(?:ROOT )?%([\w.\-]+) = (.*?) ([a-z][\w\-]*)\(([^)]*)\)?(.*)")


class Array(NamedTuple):
    """An array in memory."""

    type: str  # such as f32[8,128]
    shape: tuple[int, ...]
    bytes: int  # with the padding of a TPU's tiles
    on_chip: bool  # in a TPU's on-chip memory, not in HBM


class Instruction(NamedTuple):
    name: str
    opcode: str
    results: tuple[Array, ...]
    operands: tuple[str, ...]
    attributes: str

    def called(self, role: str) -> str:
        """The computation that an attribute such as `body` names."""
        return re.search(rf"\b{role}=%?([\w.\-]+)", self.attributes)[1]


Module = dict[str, dict[str, Instruction]]
"""Computations by name; each holds its instructions by name, in the order of the text."""


class Product(NamedTuple):
    operations: float  # multiplications and additions
    precision: str  # as compiled; "default" if the program asks for none


class Kernel(NamedTuple):
    name: str
    times: int
    is_copy: bool  # between a TPU's memories, asynchronous
    bytes: int
    whole_bytes: int  # if every array that is read were read whole
    products: tuple[Product, ...] = ()


def parse(text: str) -> tuple[Module, str]:
    """The computations of a program's text, and the name of the entry computation."""
    module, entry, current = {}, "", {}
    for line in text.splitlines():
        if header := _COMPUTATION.match(line):
            current = module.setdefault(header[2], {})
            entry = header[2] if header[1] else entry
        elif found := _INSTRUCTION.match(line):
            name, results, opcode, operands, attributes = found.groups()
            names = tuple(dict.fromkeys(re.findall(r"%([\w.\-]+)", operands)))
            names = (operands,) if opcode == "parameter" else names
            current[name] = Instruction(name, opcode, arrays(results), names, attributes)
    return module, entry


def arrays(text: str) -> tuple[Array, ...]:
    """The arrays that a type names."""
    return tuple(_array(*groups) for groups in _ARRAY.findall(text))


def _array(dtype: str, dims: str, layout: str) -> Array:
    shape = tuple(int(n) for n in re.findall(r"\d+", dims))
    order, _, details = layout.partition(":")
    stored = [shape[int(i)] for i in order.split(",") if i][::-1] or list(shape)
    if tile := re.search(r"T\(([\d,]+)\)", details):
        sizes = [int(n) for n in tile[1].split(",")]
        stored = [1] * (len(sizes) - len(stored)) + stored
        kept = len(stored) - len(sizes)
        stored[kept:] = [-(-n // m) * m for n, m in zip(stored[kept:], sizes, strict=True)]
    width = re.search(r"\d+", dtype)
    bits = _ITEM_BITS.get(dtype, int(width[0]) if width else 8)
    name = f"{dtype}[{','.join(map(str, shape))}]"
    return Array(name, shape, math.prod(stored) * bits // 8, "S(1)" in details)


# --- Kernels --------------------------------------------------------------------------------------


def step_kernels(text: str) -> list[Kernel]:
    """Kernels of one round of the training loop: the first entry loop of unknown length."""
    module, entry = parse(text)
    for one in module[entry].values():
        if one.opcode == "while" and not _trips(one):
            return list(kernels(module, one.called("body")))
    raise ValueError("the program has no training loop")


def kernels(module: Module, computation: str, times: int = 1) -> Iterator[Kernel]:
    """The kernels of a computation; those of a loop of known length count once a round."""
    for one in module[computation].values():
        if one.opcode == "while":
            yield from kernels(module, one.called("body"), times * (_trips(one) or 1))
        elif one.opcode == "call":
            yield from kernels(module, one.called("to_apply"), times)
        elif one.opcode == "conditional":
            raise ValueError(f"{one.name}: the cost of a conditional is unknown")
        elif not (one.opcode in _NO_KERNELS or one.opcode.endswith("-done")):
            if not (one.opcode == "custom-call" and _VIEWS.search(one.attributes)):
                yield _kernel(module, computation, one, times)


def _trips(loop: Instruction) -> int:
    trips = re.search(r"known_trip_count\D+(\d+)", loop.attributes)
    return int(trips[1]) if trips else 0


def _kernel(module: Module, computation: str, one: Instruction, times: int) -> Kernel:
    own = module[computation]
    operands = [_source(own, name).results for name in one.operands if name in own]
    if one.opcode in _COPIES:
        moved = _copied(one, operands[0][0])
        return Kernel(one.name, times, True, moved, moved)
    inside = module[one.called("calls")] if one.opcode == "fusion" else {}
    parameters = {x.operands[0]: x.name for x in inside.values() if x.opcode == "parameter"}
    read = whole = sum(x.bytes for x in one.results if not x.on_chip)
    for number, results in enumerate(operands):
        for array in [x for x in results if not x.on_chip]:
            picked = None
            if one.opcode in _PICKS and number == 0:
                picked = sum(x.bytes for x in one.results)
            elif inside:
                picked = _picked(inside, parameters[str(number)])
            part = array.bytes if picked is None else min(array.bytes, picked)
            read, whole = read + part, whole + array.bytes * (part > 0)
    return Kernel(one.name, times, False, read, whole, tuple(_products(module, computation, one)))


def _source(own: dict[str, Instruction], name: str) -> Instruction:
    """The instruction that made an array, through bitcasts."""
    while own[name].opcode == "bitcast":
        (name,) = own[name].operands
    return own[name]


def _copied(start: Instruction, source: Array) -> int:
    """Bytes that an asynchronous copy reads from HBM and writes to it."""
    ends = [x for x in start.results if not x.type.startswith("u32") and x.shape]
    if not ends:  # a scalar
        return 0
    # The result holds the source and the destination.
    other = [x for x in ends if x.on_chip != source.on_chip or x.shape != source.shape]
    destination = (other or ends)[0]
    return min(x.bytes for x in ends) * ((not source.on_chip) + (not destination.on_chip))


def _picked(inside: dict[str, Instruction], name: str) -> int | None:
    """Bytes sliced or gathered from an array within a fusion; None if it is used whole."""
    total = 0
    for user in inside.values():
        if name not in user.operands or user.opcode == "parameter":
            continue
        is_pick = user.opcode in _PICKS and user.operands[0] == name
        part = sum(x.bytes for x in user.results) if is_pick else None
        part = _picked(inside, user.name) if user.opcode == "bitcast" else part
        if part is None:
            return None
        total += part
    return total


# --- Products -------------------------------------------------------------------------------------


def inside(module: Module, one: Instruction) -> Iterator[Instruction]:
    """An instruction and, if it is a fusion, all instructions in it."""
    yield one
    if " calls=" in f" {one.attributes}":
        for inner in module[one.called("calls")].values():
            yield from inside(module, inner)


def _products(module: Module, computation: str, kernel: Instruction) -> Iterator[Product]:
    """The matrix products of a kernel, those inside fusions included."""
    arrays_of = {one.name: one.results for one in module[computation].values()}
    arrays_of |= {one.name: one.results for one in inside(module, kernel)}
    for one in inside(module, kernel):
        text = one.attributes
        if one.opcode == "custom-call" and "gemm" in text:
            raise ValueError(f"{one.name} is a product of a library: compile without autotuning")
        if one.opcode in ("dot", "convolution"):
            first, second = (arrays_of[name][0] for name in (one.operands * 2)[:2])
            if one.opcode == "dot":
                dims = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", text)[1]
                summed = math.prod(first.shape[int(i)] for i in dims.split(",") if i)
            else:
                summed = convolution_terms(text, second)
            asked = re.search(r"algorithm=dot_(\w+)|operand_precision=\{(\w+),", text)
            precision = asked[1] or asked[2] if asked else "default"
            yield Product(2.0 * math.prod(one.results[0].shape) * summed, precision)


def convolution_terms(attributes: str, second: Array) -> int:
    """Terms in an entry of a product that a TPU's compiler writes as a convolution.

    A window that is dilated or padded is an axis of the batch, which is not summed over.
    """
    labels = re.search(r"dim_labels=\w+_(\w+)->", attributes)[1]
    window = re.search(r"window=\{([^}]*)\}", attributes)
    fields = dict(field.split("=") for field in window[1].split()) if window else {}
    sizes = [int(n) for n in fields.get("size", "").split("x") if n]
    axes = {x: fields.get(x, "x".join([y] * len(sizes))).split("x") for x, y in _SUMMED.items()}
    rows = zip(sizes, *axes.values(), strict=False)
    summed = [n for n, *axis in rows if axis == list(_SUMMED.values())]
    return second.shape[labels.index("i")] * math.prod(summed)


_SUMMED = {"pad": "0_0", "lhs_dilate": "1"}
"""The attributes of an axis of a window that is summed over."""
