"""Muon: momentum whose singular values are made one."""

import optax

from grokjax.core import parts
from grokjax.core.parts import setting


# The size of a matrix scales its update, so that no run may have it padded.
@parts.optimizer(
    padded=False,
    momentum=setting(0.95, "decay rate of the moving average of gradients", low=0, below=1),
    newton_schulz_steps=setting(5, "of the orthogonalization", low=1),
    consistent_rms=setting(
        0.0,
        "scale updates to this RMS times the rate, 0.2 as AdamW's; 0: by sqrt(max(1, out / in))",
        low=0,
        static=True,
    ),
    source="Jordan 2024; Liu et al. 2025, arXiv 2502.16982",
)
def muon(hyper):
    """Muon: the update of a matrix is its momentum with all singular values made about 1 by
    Newton-Schulz steps. Leaves that are no matrices, those of the heads too, are AdamW's with
    Nesterov momentum at the same rate; the decay is decoupled, on every parameter."""
    b1, b2 = hyper.betas
    return optax.contrib.muon(
        hyper.learning_rate,
        ns_steps=hyper.newton_schulz_steps,
        beta=hyper.momentum,
        weight_decay=hyper.weight_decay,
        adam_b1=b1,
        adam_b2=b2,
        adam_weight_decay=hyper.weight_decay,
        consistent_rms=hyper.consistent_rms or None,
    )
