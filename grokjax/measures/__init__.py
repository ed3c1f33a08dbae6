"""Measures of a network at one checkpoint, and summaries of a whole run.

A measure is a registered function of a `Network`, the record of one run at one checkpoint with the
quantities that several measures share. Its docstring is its definition. A summary is a registered
function of everything recorded of one run. The built-in measures are in three folders, and those
that the explore page draws in the file `views`::

    paper      Nanda et al. 2023: progress measures, key frequencies, phases of training
    mechanism  Nanda et al. 2023: the evidence for the Fourier algorithm, and ablations
    field      measures from other papers

A custom measure needs the decorator and a function::

    @grokjax.measure(dims=("matrix",), units="1", padded=True)
    def largest_weights(network):
        "largest absolute entry of each weight matrix and bias vector"
        return jnp.stack([jnp.abs(x).max() for x in jax.tree.leaves(network.params)])

Options of the decorator::

    family    a name that selects several measures: "general", "paper", "mechanism", "variants",
              "field", "views"
    task      the only task for which the measure is defined; `applies(program)` restricts further
    padded    whether the measure supports arrays larger than the run's vocabulary
    split     the split of the data that the measure needs
    at        "end": evaluated at a run's last checkpoint, then available to all measures as `given`
    variant   whether the measure replaces, for its task, the measure of the same name
"""

# ruff: noqa: I001 - listings and compiled programs keep this order
from grokjax.measures.paper import logit_fits
from grokjax.measures.mechanism import neurons
from grokjax.measures.mechanism import readouts
from grokjax.measures.mechanism import ablations
from grokjax.measures.mechanism import attention
from grokjax.measures.mechanism import attention_ablations
from grokjax.measures.field import circuits
from grokjax.measures.field import commutator
from grokjax.measures.field import embedding
from grokjax.measures.field import coverage
from grokjax.measures.field import crossings
from grokjax.measures.field import curvature
from grokjax.measures.paper import general
from grokjax.measures.field import harmonics
from grokjax.measures.field import information
from grokjax.measures.field import information_phases
from grokjax.measures.field import kernels
from grokjax.measures.paper import progress
from grokjax.measures.paper import key_frequencies
from grokjax.measures.field import llc
from grokjax.measures.mechanism import logit_ablations
from grokjax.measures.mechanism import readings
from grokjax.measures.field import noise
from grokjax.measures.paper import phases
from grokjax.measures.field import precision
from grokjax.measures.field import ranks
from grokjax.measures.field import sequences
from grokjax.measures.field import symmetry
from grokjax.measures import views
