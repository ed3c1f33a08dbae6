"""Measures of the training loss for a network that comes without its run."""

import jax
import numpy as np
import pytest
from measured import RUN, weights

from grokjax.core import parts
from grokjax.measures.compute import measure_networks
from grokjax.measures.from_params import measures_of
from grokjax.tasks.data import data_of
from grokjax.training.blocks import own_data, program_of

CHEAP = ("softmax_collapse", "mean_margin", "least_margin", "largest_logit", "total_nlm_cosine")
COSTLY = ("hessian_top", "hessian_trace", "commutator_defect", "nlm_cosine")


def of_a_run(names):
    """The measures of the same network as one of a sweep, with the run's own batch."""
    chosen = tuple(parts.get("measure", name) for name in names)
    data = own_data([RUN])._asdict()
    networks = {"params": jax.tree.map(lambda x: x[None], weights(RUN)), **data}
    return measure_networks(program_of(RUN), chosen, networks)


@pytest.mark.parametrize("names", [CHEAP, pytest.param(COSTLY, marks=pytest.mark.slow)])
def test_batch_of_a_given_network_is_its_training_split(names):
    found = measures_of(weights(RUN), data_of(RUN), *names)
    for name, expected in of_a_run(names).items():
        np.testing.assert_allclose(found[name], expected[0], rtol=1e-4, atol=1e-6, err_msg=name)
