"""Modulus 401 (paper C.2, Figure 25).

At 30 % of the pairs it generalizes at once, whatever the weight decay; with decay 1 it overfits for
good at 5 % and 10 %, and generalizes at once at 20 %.
"""

from experiments import evidence, lab, options
from grokjax.config import ConfigDict, axis, chain, default, product


def paper() -> tuple[ConfigDict, list[dict]]:
    """Three seeds of each; 5 days on two cores, and so work for an accelerator: a step has up to
    13 times the pairs of p = 113."""
    config = default()
    config.modulus, config.checkpoint_every = 401, 500
    decays = axis("weight_decay", (0.3, 0.5, 1.0, 3.0, 5.0, 8.0))
    fractions = axis("train_fraction", (0.05, 0.1, 0.2))
    return config, product(chain(decays, fractions), axis("seed", range(3)))


def laptop() -> tuple[ConfigDict, list[dict]]:
    """30 % of the pairs with decay 1 until the test loss is below 1e-3, one seed; 30 minutes on two
    cores at most."""
    config, _ = paper()
    config.steps, config.eval_every, config.checkpoint_every = 1_500, 20, 100
    config.stop, config.low_test_loss.below = "low_test_loss", 1e-3
    return config, [{"weight_decay": 1.0, "seed": 0}]


PRESETS = {"paper": paper, "laptop": laptop}
main = lab.experiment("large_modulus", __doc__, PRESETS, mechanism=evidence.in_short)

if __name__ == "__main__":
    options.start(main)
