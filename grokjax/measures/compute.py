"""The evaluator: measures of one network, and the same compiled for a stack of networks."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from grokjax.core.calls import named, reported
from grokjax.core.errors import ConfigError
from grokjax.core.parts import Part
from grokjax.core.types import Program
from grokjax.measures.network import Network
from grokjax.measures.select import all_labels
from grokjax.training import devices


def compute(
    program: Program, measures: Sequence[Part], any_axes: bool = False, **network: Any
) -> dict[str, Any]:
    """Measures of one network, by name; pure.

    Measures with at="end" are computed first. The others see them in `network.given`, unless the
    caller gives values, such as those of the run's last checkpoint.

    Args:
        program: the network's static settings and sizes.
        measures: what to compute.
        any_axes: accept arrays whose number of axes is not that of the measure's `dims`.
        network: the other arguments of `Network`.

    Raises:
        ConfigError: a custom measure fails, or returns something else than its `dims` say.
    """
    seen = Network(program=program, **network)
    value = lambda part: value_of(part, seen, any_axes)  # noqa: E731
    first = [part for part in measures if part.at == "end" and part.name not in seen.given]
    seen.given |= {part.name: value(part) for part in first}
    return {
        part.name: seen.given[part.name] if part.at == "end" else value(part) for part in measures
    }


def value_of(part: Part, network: Network, any_axes: bool = False) -> Any:
    """The array that a measure returns, with an axis for each of its dims.

    Raises:
        ConfigError: a custom measure fails, or returns something else.
    """
    with reported(part):
        value = part.function(network)
        value = value if "host" in part.needs else jnp.asarray(value)
    if not any_axes and np.ndim(value) != len(part.dims):
        raise ConfigError(
            f"{named(part)} returned an array of shape {list(np.shape(value))}, but its "
            f"dims are {tuple(part.dims)!r}: name one for each axis, as in dims=('head',)"
        )
    if not any_axes:
        _check_sizes(part, np.shape(value), network)
    return value


def _check_sizes(part: Part, shape: Sequence[int], network: Network) -> None:
    for dim, size in zip(part.dims, shape, strict=True):
        expected = len(all_labels(dim, size, network.program, network.params))
        if size != expected:
            raise ConfigError(
                f"{named(part)} returned an array of shape {list(shape)}, but its dim "
                f"{dim!r} has {expected} entries for this network: return as many, or give the "
                "dim another name"
            )


@cache
def compiled(
    program: Program,
    measures: tuple[Part, ...],
    precision: str = "float32",
    any_axes: bool = False,
) -> Callable:
    """The jitted function (networks, shared={}) -> {name: values}, run axis first.

    Both arguments are dicts of what `compute` takes of a network: `networks` with a leading run
    axis on all leaves, `shared` without. `precision` is that of matrix products.
    """

    def one(network: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
        return compute(program, measures, any_axes, **network, **shared)

    mapped = devices.over_runs(one, precision)
    return jax.jit(lambda networks, shared={}: mapped(networks, shared))  # noqa: B006


def measure_networks(
    program: Program, measures: tuple[Part, ...], networks: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Measures of a stack of networks, run axis first, on the host.

    Computed in float32, so that networks trained in another precision can be compared; in float64
    where a measure needs it. Measures that need the host get NumPy arrays, one network at a time.
    """
    needs = {need for part in measures for need in part.needs}
    with _as_needed(needs, networks) as networks:
        if "host" in needs:
            return _one_by_one(program, measures, jax.device_get(networks))
        return jax.device_get(compiled(program, measures)(networks))


def compile_networks(
    program: Program, measures: tuple[Part, ...], networks: Mapping[str, Any]
) -> tuple[dict[str, np.ndarray], int]:
    """Compile what `measure_networks` then calls: zeros in place of its result, and its bytes.

    Measures that need the host are computed; their bytes are not known, and 0.
    """
    needs = {need for part in measures for need in part.needs}
    if "host" in needs:
        return measure_networks(program, measures, networks), 0
    with _as_needed(needs, networks) as networks:
        lowered = compiled(program, measures).lower(networks)
        found = lowered.compile().memory_analysis()
        zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), lowered.out_info)
    size = found.temp_size_in_bytes + found.argument_size_in_bytes + found.output_size_in_bytes
    return zeros, size


@contextmanager
def _as_needed(needs: Collection[str], networks: Any) -> Iterator[Any]:
    """The networks in the precision that measures need, and a context that computes in it."""
    if "float64" not in needs:
        yield networks
        return
    wide = lambda x: np.asarray(x, np.float64) if x.dtype == np.float32 else x  # noqa: E731
    with jax.enable_x64(True):
        yield jax.tree.map(wide, jax.device_get(networks))


def _one_by_one(program: Program, measures: Sequence[Part], networks: Any) -> Any:
    count = jax.tree.leaves(networks)[0].shape[0]
    each = [jax.tree.map(lambda x, j=j: np.asarray(x[j]), networks) for j in range(count)]
    values = [compute(program, measures, **network) for network in each]
    return jax.tree.map(lambda *x: np.stack([np.asarray(y) for y in x]), *values)
