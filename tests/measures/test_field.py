"""The family "field" as a whole: what it costs, where it applies, what padding does to it."""

import jax
import numpy as np
import programs
import pytest
from programs import program, random_params

from grokjax.core import parts
from grokjax.core.errors import MissingError
from grokjax.measures import select
from grokjax.measures.network import Network
from grokjax.networks import by_name
from grokjax.tasks.modular import modular


def field(of):
    every = (x for x in parts.all_of("measure") if x.builtin and "field" in x.families)
    every = (parts.get("measure", x.name, of.task.name) for x in every)
    return [part for part in every if select.applies(part, of, ("train", "test"))]


def needs_a_run(part, params, data, of):
    """Whether a measure asks for a training batch, or where a run has started."""
    try:
        jax.eval_shape(lambda x: part.function(Network(x, data, of)), params)
    except (MissingError, KeyError):  # or for answers before noise
        return True
    return False


@pytest.mark.parametrize("network", ["transformer", "mlp", "attention_only"])
def test_it_says_its_cost_units_and_source(network):
    for part in field(program(network=network)):
        assert part.cost in ("every", "tenth", "demand"), part.name
        assert part.definition and part.source and part.units


def test_it_is_of_what_a_network_has():
    names = {
        kind: {part.name for part in field(program(network=kind))}
        for kind in ("transformer", "mlp", "attention_only")
    }
    everywhere = {"med", "med_best", "circularity", "trig_logit_share", "distance_irrelevance"}
    assert everywhere <= set.intersection(*names.values())
    of_neurons = {"o_information", "synergy", "ipr", "spectral_entropy"}
    assert of_neurons <= names["transformer"] & names["mlp"]
    assert not of_neurons & names["attention_only"]
    assert {"clock", "gradient_symmetricity", "ffd_embedding"} & names["mlp"] == set()


def values(params, data, of, names):
    """Of one network, in one compiled call."""

    @jax.jit
    def measure(params, data):
        network = Network(params, data, of)
        return {name: parts.get("measure", name, "modular").function(network) for name in names}

    return measure(params, data)


@pytest.mark.parametrize("operation", ["subtract", "multiply"])
def test_a_padded_network_has_the_values_of_its_own_size(operation):
    p, size = 11, 13
    own, large = program(p=p), program(p=size)
    params, data = random_params(own, 0.5), modular(p, 0.5, seed=1, operation=operation)
    wide = {x.name for x in field(own) if "float64" in x.needs}
    cheap = [x for x in field(own) if x.cost != "demand" and x.padded and x.name not in wide]
    names = [x.name for x in cheap if not needs_a_run(x, params, data, own)]
    assert len(names) > 20
    found = values(params, data, own, names)
    padded = values(by_name.pad(params, large), programs.padded(data, size), large, names)
    for name, small in found.items():
        cut = np.asarray(padded[name])[tuple(map(slice, small.shape))]
        np.testing.assert_allclose(cut, small, rtol=3e-4, atol=1e-5, err_msg=name)


def test_information_is_the_same_in_padded_arrays():
    p, size = 7, 9
    own, large = program(p=p, network="mlp"), program(p=size, network="mlp")
    names = ("o_information", "total_correlation", "living_neurons")
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda x: np.asarray(x, np.float64), random_params(own))
        data = modular(p, 0.7, seed=1)
        found = values(wide, data, own, names)
        padded = values(by_name.pad(wide, large), programs.padded(data, size), large, names)
    assert float(found["living_neurons"]) > 20
    for name in names:
        np.testing.assert_allclose(padded[name], found[name], rtol=1e-9, err_msg=name)
