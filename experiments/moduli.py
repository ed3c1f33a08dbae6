"""Moduli 53, 109 and 401 (paper C.2, Figures 24, 25).

p = 53 needs weight decay 5 to grok; p = 401 at 30 % of the pairs generalizes at once, and with
decay 1 overfits for good at 5 % and 10 %.
"""

from ml_collections import ConfigDict

from experiments import lab
from grokjax.config import axis, chain, default, product


def paper() -> tuple[ConfigDict, list[dict]]:
    small = product(
        axis("modulus", (53,)), axis("weight_decay", (1.0, 5.0)), axis("seed", range(3))
    )
    middle = product(axis("modulus", (109,)), axis("weight_decay", (1.0,)), axis("seed", range(3)))
    decays = product(
        axis("modulus", (401,)),
        axis("weight_decay", (0.3, 0.5, 1.0, 3.0, 5.0, 8.0)),
        axis("seed", range(3)),
    )
    fractions = product(
        axis("modulus", (401,)), axis("train_fraction", (0.05, 0.1, 0.2)), axis("seed", range(3))
    )
    return default(), chain(small, middle, decays, fractions)


def laptop() -> tuple[ConfigDict, list[dict]]:
    """p = 53 alone, two seeds of each decay, six minutes: 400 times p = 401 is a GPU's work."""
    config = default()
    config.steps, config.checkpoint_every = 15_000, 150
    rows = product(axis("modulus", (53,)), axis("weight_decay", (1.0, 5.0)), axis("seed", range(2)))
    return config, rows


if __name__ == "__main__":
    lab.run("moduli", __doc__, {"paper": paper, "laptop": laptop})
