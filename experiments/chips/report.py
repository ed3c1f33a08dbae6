"""From compiled programs to numbers a run, and to a table of them."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import jax

from experiments.chips import account, hlo, targets
from experiments.chips.account import Kernel
from experiments.chips.targets import Chip
from grokjax.core.errors import ConfigError

LARGEST = 8
"""How many arrays, kernels and products are listed."""


def figures(compiled: jax.stages.Compiled, chip: Chip, runs: int, steps: int) -> dict[str, Any]:
    """What one program costs a run; of a training loop, `steps` of them a round, a run-step."""
    found = of_text(text_of(compiled, chip), chip, runs, steps)
    memory = compiled.memory_analysis()
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes
    held += memory.temp_size_in_bytes - memory.alias_size_in_bytes
    temporary = memory.temp_size_in_bytes
    return found | {"temporary_bytes": temporary / runs, "all_bytes": held / runs}


def text_of(compiled: jax.stages.Compiled, chip: Chip) -> str:
    """The program as text.

    Raises:
        ConfigError: jaxlib cannot read what this version of the chip's compiler has made.
    """
    try:
        return compiled.as_text()
    except jax.errors.JaxRuntimeError as error:
        made = ", ".join(f"{name} {version(name)}" for name in chip.packages)
        raise ConfigError(
            f"jaxlib {version('jaxlib')} cannot read the program that {made} has made: install "
            f"another version of one of them ({str(error).splitlines()[0][:120]})"
        ) from error


def of_text(text: str, chip: Chip, runs: int, steps: int = 0) -> dict[str, Any]:
    """The same without memory, from a program's text; without a loop for 0 steps."""
    module = hlo.parse(text)
    root = account.step_of(module) if steps else module.entry
    kernels = list(account.kernels(module, root))
    share = runs * max(steps, 1)
    moving = [kernel for kernel in kernels if kernel.kind != "transfer"]
    return {
        "operations": sum(x.times * x.operations for x in kernels) / share,
        "bytes": sum(x.times * x.bytes for x in kernels) / share,
        "bytes_of_whole_arrays": sum(x.times * x.bytes_of_whole for x in kernels) / share,
        "kernels": sum(x.times for x in moving) / max(steps, 1),
        "transfers": sum(x.times for x in kernels if x.kind == "transfer") / max(steps, 1),
        "precisions": _precisions(kernels),
        "products": _products(kernels, share),
        "arrays": _arrays(kernels, share),
        "largest_kernels": _largest(kernels, share),
        "roofline": _roofline(kernels, chip, share),
    }


def _precisions(kernels: Sequence[Kernel]) -> dict[str, int]:
    return dict(Counter(product.precision for x in kernels for product in x.products))


def _products(kernels: Sequence[Kernel], share: float) -> list[dict[str, Any]]:
    """Every product, largest first."""
    found = [(product, x.times) for x in kernels for product in x.products]
    found.sort(key=lambda pair: -pair[0].operations)
    return [
        {"result": one.shape, "operations": times * one.operations / share, "as": one.precision}
        for one, times in found
    ]


def _arrays(kernels: Sequence[Kernel], share: float) -> list[dict[str, Any]]:
    """Shapes by the bytes that are moved of them, and how often they are passed over."""
    reads, writes, moved = Counter(), Counter(), defaultdict(float)
    for kernel in kernels:
        for counted, passes in ((reads, kernel.reads), (writes, kernel.writes)):
            for buffer, size in passes:
                counted[str(buffer)] += kernel.times
                moved[str(buffer)] += kernel.times * size / share
    names = sorted(moved, key=moved.__getitem__, reverse=True)[:LARGEST]
    return [
        {"array": name, "bytes": moved[name], "read": reads[name], "written": writes[name]}
        for name in names
    ]


def _largest(kernels: Sequence[Kernel], share: float) -> list[dict[str, Any]]:
    largest = sorted(kernels, key=lambda x: -x.times * x.bytes)[:LARGEST]
    return [{"kernel": x.name, "bytes": x.times * x.bytes / share} for x in largest]


def _roofline(kernels: Sequence[Kernel], chip: Chip, share: float) -> dict[str, float]:
    """Microseconds a run: kernels one after the other, each bound by arithmetic or by memory.

    At the published peaks, and at the shares of them that are assumed to be reached.
    """
    at_peak = expected = products = 0.0
    for kernel in kernels:
        rates = [targets.rate(chip, one.precision) for one in kernel.products]
        pairs = list(zip(kernel.products, rates, strict=True))
        peak = sum(one.operations / rate for one, (rate, _) in pairs)
        reached = sum(one.operations / rate for one, (_, rate) in pairs)
        memory = kernel.bytes / chip.bandwidth
        at_peak += kernel.times * max(peak, memory)
        expected += kernel.times * max(reached, memory / chip.reached["memory"])
        products += kernel.times * reached
    to_us = 1e6 / share
    return {
        "at_peak_us": at_peak * to_us,
        "expected_us": expected * to_us,
        "of_it_products_us": products * to_us,
    }


# --- As text --------------------------------------------------------------------------------------


def table(results: Mapping[str, Any]) -> str:
    """All figures of one chip, for people."""
    chip = results["chip"]
    lines = [
        f"{chip['name']}, {results['runs']} runs side by side, products over examples in "
        f"{results['precision']}",
        f"peaks: {chip['source']}",
    ]
    for name, found in results["programs"].items():
        unit = "run-step" if name == "training" else "network"
        lines += ["", *_lines(name, unit, found)]
    return "\n".join(lines)


def _lines(name: str, unit: str, found: Mapping[str, Any]) -> list[str]:
    mb = lambda size: f"{size / 1e6:.1f} MB"  # noqa: E731
    line = found["roofline"]
    rows = [
        f"{name}, a {unit}",
        f"  operations of products  {found['operations'] / 1e9:.3f} G",
        f"  bytes moved             {mb(found['bytes'])}; {mb(found['bytes_of_whole_arrays'])} "
        "if slices were whole arrays",
        f"  kernels, transfers      {found['kernels']:.0f}, {found['transfers']:.0f}",
        f"  temporary memory        {mb(found['temporary_bytes'])} of {mb(found['all_bytes'])}",
        f"  roofline                {line['at_peak_us']:.1f} us at the peaks, "
        f"{line['expected_us']:.1f} expected, of it products {line['of_it_products_us']:.1f}",
        "  products compiled as    "
        + ", ".join(f"{n} {kind}" for kind, n in found["precisions"].items()),
    ]
    for one in found["arrays"]:
        passes = f"read {one['read']} times, written {one['written']}"
        rows.append(f"    {one['array']:<28} {mb(one['bytes']):>9}  {passes}")
    for one in found["products"][:LARGEST]:
        rows.append(
            f"    product {one['result']:<20} {one['operations'] / 1e9:8.3f} G  as {one['as']}"
        )
    return rows
