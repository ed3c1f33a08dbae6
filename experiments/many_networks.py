"""The paper's statements on 100 networks of two cheaper settings, trained until cleanup is over.

With the mainline's five seeds they tell what is a property of grokking, of the paper's setting, or
of one network. An interrupted evaluation continues.
"""

from typing import Any

from experiments import distribution, lab, options
from grokjax.config import ConfigDict, axis, chain, default, product

CELLS = (
    ({"modulus": 59, "train_fraction": 0.5}, 80),
    ({"modulus": 113, "train_fraction": 0.4}, 20),
)
"""Settings, and how many seeds of each."""


def laptop() -> tuple[ConfigDict, list[dict[str, Any]]]:
    """100 runs; `--dry-run` says how long they take at most."""
    config = default()
    config.steps, config.eval_every, config.checkpoint_every = 12_000, 20, 50
    config.stop, config.cleanup_over.evaluations = "cleanup_over", 50
    rows = (product([cell], axis("seed", range(seeds))) for cell, seeds in CELLS)
    return config, chain(*rows)


PRESETS = {"laptop": laptop}
main = lab.experiment(
    "many_networks", __doc__, PRESETS, measure=distribution.measure, limit=0, drawn_from=None
)

if __name__ == "__main__":
    options.start(main)
