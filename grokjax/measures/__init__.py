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

from grokjax.measures import (
    ablations,
    attention,
    attention_ablations,
    circuits,
    commutator,
    coverage,
    crossings,
    curvature,
    embedding,
    general,
    harmonics,
    information,
    information_phases,
    kernels,
    keys,
    llc,
    logit_ablations,
    logit_fits,
    neurons,
    noise,
    paper,
    phases,
    precision,
    ranks,
    readouts,
    sequences,
    steps,
    symmetry,
)

__all__ = [
    "ablations",
    "attention",
    "attention_ablations",
    "circuits",
    "commutator",
    "coverage",
    "crossings",
    "curvature",
    "embedding",
    "general",
    "harmonics",
    "information",
    "information_phases",
    "kernels",
    "keys",
    "llc",
    "logit_ablations",
    "logit_fits",
    "neurons",
    "noise",
    "paper",
    "phases",
    "precision",
    "ranks",
    "readouts",
    "sequences",
    "steps",
    "symmetry",
]
