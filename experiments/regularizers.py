"""Dropout groks, an L1 penalty does not (paper D.1, Figure 28); both without weight decay."""

from experiments import evidence, lab, options
from grokjax.config import ConfigDict, axis, chain, default, product


def paper() -> tuple[ConfigDict, list[dict]]:
    config = default()
    config.weight_decay = 0.0
    seeds = axis("seed", range(3))
    dropout = product(axis("dropout", (0.2, 0.5)), seeds)
    # The paper does not give the strengths of its L1 penalty.
    l1 = product(axis("l1", (1e-6, 1e-5, 1e-4)), seeds)
    return config, chain(dropout, l1)


def three_seeds() -> tuple[ConfigDict, list[dict]]:
    """The paper's setting, and neither of the two; two and a half hours on two cores.

    Dropout for the paper's 40,000 steps, the others for half of them, twice what runs with weight
    decay 1 need to grok; each until its cleanup is over. The controls are the first half of the
    runs of `weight_decay` with decay 0.
    """
    config, rows = paper()
    config.steps, config.checkpoint_every, config.stop = 20_000, 200, "cleanup_over"
    rows = [row | {"steps": 40_000} if "dropout" in row else row for row in rows]
    return config, chain(axis("seed", range(3)), rows)


def laptop() -> tuple[ConfigDict, list[dict]]:
    """p = 59 and one seed; five minutes on two cores."""
    config, rows = paper()
    config.modulus, config.train_fraction, config.steps = 59, 0.5, 6_000
    return config, [row for row in rows if row["seed"] == 0]


PRESETS = {"paper": paper, "three_seeds": three_seeds, "laptop": laptop}
main = lab.experiment("regularizers", __doc__, PRESETS, mechanism=evidence.at_the_end)

if __name__ == "__main__":
    options.start(main)
