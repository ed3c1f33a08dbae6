"""The runs to predict. Their hyperparameters say much about when they grok, but not all."""

from typing import Any

from grokjax.config import SweepConfig, axis, chain, default, product
from grokjax.config.axes import resolve


def rows() -> list[dict[str, Any]]:
    """Seeds of 9 cells that grok, and of 4 that memorize but do not grok within their steps."""
    grok = product(
        axis("weight_decay", (1.5, 4.0)),
        axis("train_fraction", (0.4, 0.5)),
        axis("learning_rate", (1e-3, 2e-3)),
        axis("seed", range(6)),
    )
    few_pairs = product([_cell(4.0, 0.35, 2e-3)], axis("seed", range(6)))
    never = [_cell(0.0, 0.5, 2e-3), _cell(0.0, 0.4, 1e-3), _cell(4.0, 0.3, 2e-3)]
    never.append(_cell(1.5, 0.3, 1e-3))
    return chain(grok, few_pairs, product(never, axis("seed", range(2))))


def _cell(decay: float, fraction: float, rate: float) -> dict[str, Any]:
    return {"weight_decay": decay, "train_fraction": fraction, "learning_rate": rate}


def sweep() -> SweepConfig:
    """62 runs with a quarter of the paper's neurons, each to a little after it groks."""
    config = default()
    config.modulus, config.d_mlp, config.steps = 59, 128, 3_000
    config.eval_every, config.resume_every = 10, 500
    config.checkpoint_every, config.checkpoint_log_steps = 250, 44
    config.stop, config.low_test_loss.below = "low_test_loss", 0.01
    config.measures = ("train_loss",)  # `taken` computes all others
    return resolve(config, lambda config: rows())
