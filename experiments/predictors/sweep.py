"""The runs that are predicted: their hyperparameters give away much, but not all."""

from typing import Any

from grokjax.config.axes import resolve
from grokjax.config import SweepConfig, axis, chain, default, product

GROK = [
    product(
        axis("weight_decay", (1.5, 4.0)),
        axis("train_fraction", (0.4, 0.5)),
        axis("learning_rate", (1e-3, 2e-3)),
        axis("seed", range(6)),
    ),
    # As few pairs as some seeds can do with.
    product(
        [{"weight_decay": 4.0, "train_fraction": 0.35, "learning_rate": 2e-3}],
        axis("seed", range(6)),
    ),
]
NEVER = [
    product(
        [{"weight_decay": decay, "train_fraction": share, "learning_rate": rate}],
        axis("seed", range(2)),
    )
    for decay, share, rate in (
        (0.0, 0.5, 2e-3),
        (0.0, 0.4, 1e-3),
        (4.0, 0.3, 2e-3),
        (1.5, 0.3, 1e-3),
    )
]
"""Without decay, or with too few pairs: these memorize and no more within their steps."""

STEPS = 3_000


def rows() -> list[dict[str, Any]]:
    return chain(*GROK, *NEVER)


def sweep() -> SweepConfig:
    """62 runs with a quarter of the paper's neurons, each to a little after it groks."""
    config = default()
    config.modulus, config.d_mlp, config.steps = 59, 128, STEPS
    config.eval_every, config.resume_every = 10, 500
    config.checkpoint_every, config.checkpoint_log_steps = 250, 44
    config.stop, config.low_test_loss.below = "low_test_loss", 0.01
    return resolve(config, lambda config: rows())
