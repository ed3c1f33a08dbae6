"""The family "field": where its measures apply, and padding for tasks other than addition."""

import jax
import numpy as np
import pytest
from programs import padded, program, random_params

from grokjax.core import parts
from grokjax.measures import select
from grokjax.measures.network import Network
from grokjax.networks import by_name
from grokjax.tasks.modular import modular


def names_for(kind):
    return {part.name for part in select.select(["field"], program(network=kind))}


def test_measures_apply_to_networks_that_have_what_they_need():
    names = {kind: names_for(kind) for kind in ("transformer", "mlp", "attention_only")}
    everywhere = {"med", "med_best", "circularity", "trig_logit_share", "distance_irrelevance"}
    assert everywhere <= set.intersection(*names.values())
    of_neurons = {"o_information", "ipr", "spectral_entropy"}
    assert of_neurons <= names["transformer"] & names["mlp"]
    assert not of_neurons & names["attention_only"]
    assert not {"clock", "gradient_symmetricity", "ffd_embedding"} & names["mlp"]


SIGNED = (
    "med_best trig_logit_share trig_logit_share_centred circulant_deviation hankel_deviation "
    "distance_irrelevance commutativity_kl commutativity_kl_max accuracy_by_coverage"
).split()


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["subtract", "multiply"])
def test_padding_changes_no_measure_of_differences_and_products(operation):
    own, large = program(p=11), program(p=13)
    params, data = random_params(own, 0.5), modular(11, 0.5, seed=1, operation=operation)

    def values(of, params, data):
        @jax.jit
        def measure(params, data):
            network = Network(params, data, of)
            return {name: parts.get("measure", name).function(network) for name in SIGNED}

        return measure(params, data)

    expected = values(own, params, data)
    of_padded = values(large, by_name.pad(params, large), padded(data, 13))
    for name, value in expected.items():
        np.testing.assert_allclose(of_padded[name], value, rtol=3e-4, atol=1e-5, err_msg=name)
