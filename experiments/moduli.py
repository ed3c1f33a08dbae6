"""Moduli 53 and 109 (paper C.2, Figure 24): p = 53 needs weight decay 5 to grok."""

from experiments import evidence, lab, options
from grokjax.config import ConfigDict, axis, chain, default, product


def paper() -> tuple[ConfigDict, list[dict]]:
    small = product(axis("modulus", (53,)), axis("weight_decay", (1.0, 5.0)))
    middle = product(axis("modulus", (109,)), axis("weight_decay", (1.0,)))
    return default(), product(chain(small, middle), axis("seed", range(3)))


def three_seeds() -> tuple[ConfigDict, list[dict]]:
    """The same; half an hour on two cores.

    p = 53 with decay 1, which never groks, trains for all of the paper's 40,000 steps; the others
    end when cleanup is over.
    """
    config, rows = paper()
    config.checkpoint_every = 200
    stuck = {"modulus": 53, "weight_decay": 1.0}
    for row in rows:
        row["stop"] = "never" if stuck.items() <= row.items() else "cleanup_over"
    return config, rows


def laptop() -> tuple[ConfigDict, list[dict]]:
    """p = 53 alone, two seeds of each decay, six minutes on two cores."""
    config = default()
    config.steps, config.checkpoint_every = 15_000, 150
    rows = product(axis("modulus", (53,)), axis("weight_decay", (1.0, 5.0)), axis("seed", range(2)))
    return config, rows


PRESETS = {"paper": paper, "three_seeds": three_seeds, "laptop": laptop}
main = lab.experiment("moduli", __doc__, PRESETS, mechanism=evidence.at_the_end)

if __name__ == "__main__":
    options.start(main)
