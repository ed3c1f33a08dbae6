"""What holds for every built-in measure, for each kind of network that it applies to."""

from functools import partial

import jax
import numpy as np
import pytest

from grokjax.core import parts
from grokjax.measures.compute import compute
from grokjax.measures.select import labels
from grokjax.networks import by_name
from grokjax.results.passes import sizes_of_dims
from grokjax.training import blocks
from tests.measures.conftest import KINDS, measures_of_kind

COMPUTED = ("transformer", "mlp")


def each_kind(test):
    """Compiling all measures of a kind of network takes a minute."""
    return pytest.mark.slow(pytest.mark.parametrize("kind", COMPUTED)(test))


@pytest.mark.slow
def test_every_measure_applies_to_some_kind_of_network():
    names = {part.name for kind in KINDS for part in measures_of_kind(kind)}
    builtin = {part.name for part in parts.all_of("measure") if part.builtin}
    assert names == builtin


def test_every_measure_has_a_definition_units_and_a_family():
    for part in parts.all_of("measure"):
        assert part.definition and part.units and any(part.families), part
        assert part.options["cost"] in ("every", "tenth", "demand"), part


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_array_has_the_axes_that_its_measure_names(kind):
    run, measures = KINDS[kind], measures_of_kind(kind)
    program, shapes = blocks.program_of(run), by_name.shapes(blocks.program_of(run))
    data = jax.tree.map(lambda x: x[0], blocks.own_data([run])._asdict())
    network = {"params": shapes, "initial": shapes, "step": np.int32(3), **data}
    values = {}
    for wide in (False, True):
        together = [part for part in measures if ("float64" in part.needs) == wide]
        with jax.enable_x64(wide):
            values |= jax.eval_shape(partial(compute, program, together), **network)
    for part in measures:
        shape = values[part.name].shape
        names = [labels(dim, 1000, program, shapes) for dim in part.dims]
        known = [len(x) if len(x) < 1000 else n for x, n in zip(names, shape, strict=True)]
        assert list(shape) == known, part


@each_kind
def test_networks_measured_together_have_the_measures_of_each_alone_and_padded(kind, values_of):
    values = values_of(kind)
    for part in values.measures:
        together, alone = values.together[part.name], values.alone[part.name]
        if part.padded:
            sizes = sizes_of_dims(part.dims, alone.shape[1:], values.program)
            assert sizes == list(together.shape[1:]), part
            alone = alone[(slice(None), *map(slice, sizes))]
        _close(together, alone, part)


@each_kind
def test_a_network_of_zeros_has_no_infinite_measure(kind, values_of):
    """Ratios without a denominator are NaN."""
    for name, x in values_of(kind).together.items():
        assert not np.isinf(x).any(), name


def _close(actual, expected, part):
    scale = np.nanmax(np.abs(np.where(np.isfinite(expected), expected, np.nan)), initial=1e-6)
    # Chains from random weights amplify rounding over their 1,300 steps.
    rtol, atol = (0.1, 0.1) if part.name.startswith("llc") else (2e-4, 2e-5)
    atol = max(atol * scale, 1e-8)
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol, err_msg=part.name)
