"""What is measured of a network, or of all of a run: functions registered by name.

A measure is a function of a `Network`, which holds what several need; its docstring is its
definition. A summary is a function of all that was recorded of one run.

    @grokjax.measure(dims=("matrix",), units="1", padded=True)
    def largest_weights(network):
        "largest absolute entry of each matrix and bias"
        return jnp.stack([jnp.abs(x).max() for x in jax.tree.leaves(network.params)])

    family    what asks for several at once: "general", "paper", "mechanism", "variants", "field"
    task      the only task that it means anything for; `applies(program)` asks further
    padded    it also works where arrays are larger than the run's vocabulary
    split     a split of the data without which there is nothing to measure
    at        "end": measured at a run's last checkpoint, then `given` to all measures of the run
    variant   it stands, for its task alone, in the place of the measure of the same name
"""

# ruff: noqa: I001 - parts keep this order in listings and programs
from grokjax.measures.mechanism import ablations
from grokjax.measures.mechanism import attention
from grokjax.measures.mechanism import attention_ablations
from grokjax.measures.field import circuits
from grokjax.measures.field import commutator
from grokjax.measures.field import coverage
from grokjax.measures.field import crossings
from grokjax.measures.field import curvature
from grokjax.measures.field import embedding
from grokjax.measures.paper import general
from grokjax.measures.field import harmonics
from grokjax.measures.field import information
from grokjax.measures.field import information_phases
from grokjax.measures.field import kernels
from grokjax.measures.paper import key_frequencies
from grokjax.measures.field import llc
from grokjax.measures.mechanism import logit_ablations
from grokjax.measures.paper import logit_fits
from grokjax.measures.mechanism import neurons
from grokjax.measures.field import noise
from grokjax.measures.paper import progress
from grokjax.measures.paper import phases
from grokjax.measures.field import precision
from grokjax.measures.field import ranks
from grokjax.measures.mechanism import readouts
from grokjax.measures.field import sequences
from grokjax.measures.paper import steps
from grokjax.measures.field import symmetry
