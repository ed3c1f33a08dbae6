"""Optimisers: optax transformations whose hyperparameters may be traced.

An optimiser is a function of `hyper`, the run's hyperparameters as attributes: traced settings are
traced numbers, static settings Python values. `hyper.learning_rate` is a schedule with warm-up, to
be passed to optax unchanged::

    @grokjax.optimizer
    def my_lion(hyper):
        return optax.lion(hyper.learning_rate, weight_decay=hyper.weight_decay)
"""

from typing import Any

import optax

from grokjax.core import parts
from grokjax.core.calls import call, reported, wrong
from grokjax.core.hyperparameters import Settings
from grokjax.core.parts import setting
from grokjax.core.types import Hyper, Params, Program
from grokjax.networks.variants import rate_factor

_ZERO_TO_ONE = lambda pair: all(0 <= x < 1 for x in pair)  # noqa: E731
parts.common(
    "optimizer",
    learning_rate=setting(1e-3, "learning rate after warm-up", above=0, traced=True),
    warmup_steps=setting(10, "steps of linear warm-up", low=0, traced=True),
    betas=setting(
        (0.9, 0.98),
        "AdamW's decay rates of both moments",
        accepts=("a pair of numbers from 0 to below 1, such as (0.9, 0.98)", _ZERO_TO_ONE),
        static=True,
    ),
    weight_decay=setting(1.0, "decoupled, times the learning rate", low=0, traced=True),
)


def make(hyper: Hyper, program: Program) -> optax.GradientTransformation:
    """The program's optimiser for one run."""
    values, factor = dict(program.settings), rate_factor(program)

    def look_up(name: str) -> Any:
        value = hyper[name] if name in hyper else values[name]
        return factor * value if name == "learning_rate" and factor != 1 else value

    part = program.optimizer
    made = call(part, Settings(part, look_up))
    if not isinstance(made, optax.GradientTransformation):
        raise wrong(part, made, "an optax.GradientTransformation, as optax.adam(...) is one")
    return made


def evaluation_params(program: Program, params: Params, opt_state: Any) -> Any:
    """The parameters that are evaluated and saved: those that are trained, or what the optimiser
    makes of them and its state."""
    function = program.optimizer.options.get("evaluation_params")
    if function is None:
        return params
    with reported(program.optimizer):
        return function(params, opt_state)


@parts.optimizer
def adamw(hyper):
    "AdamW as in the authors' code: decoupled decay of every parameter, eps 1e-8."
    # The betas are Python floats because 1 - beta2 in float32 is off by 1e-6.
    return optax.adamw(hyper.learning_rate, *hyper.betas, eps=1e-8, weight_decay=hyper.weight_decay)


@parts.optimizer(eps=setting(1e-8, "added to the root of the second moment", above=0))
def adam(hyper):
    """Adam with coupled weight decay, added to the gradient like an L2 penalty. Prieto et al. 2025
    use eps from 1e-25 to 1e-30, because 1e-8 alone can stop training"""
    return optax.chain(
        optax.add_decayed_weights(hyper.weight_decay),
        optax.scale_by_adam(*hyper.betas, eps=hyper.eps),
        optax.scale_by_learning_rate(hyper.learning_rate),
    )


parts.common(
    "optimizer",
    momentum=parts.setting(0.9, "of SGD", low=0, below=1, traced=True, static=False),
)


@parts.optimizer
def sgd(hyper):
    "SGD with heavy-ball momentum and decoupled weight decay."
    return optax.chain(
        optax.trace(decay=hyper.momentum),
        optax.add_decayed_weights(hyper.weight_decay),
        optax.scale_by_learning_rate(hyper.learning_rate),
    )


# Not padded: a matrix's size scales its update.
@parts.optimizer(
    padded=False,
    momentum=setting(0.95, "decay rate of the moving average of gradients", low=0, below=1),
    newton_schulz_steps=setting(5, "Newton-Schulz steps of the orthogonalization", low=1),
    consistent_rms=setting(
        0.0,
        "RMS of updates relative to the rate, 0.2 is AdamW's; 0: scale by sqrt(max(1, out / in))",
        low=0,
        static=True,
    ),
    source="Jordan 2024; Liu et al. 2025, arXiv 2502.16982",
)
def muon(hyper):
    """Muon: the update of a matrix is its momentum with all singular values set to about 1 by
    Newton-Schulz steps. Other leaves, including those of the heads, use AdamW with Nesterov
    momentum at the same rate; decay is decoupled, on every parameter."""
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
