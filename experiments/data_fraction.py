"""How the training fraction decides whether and when a run groks (paper C.2.2, Figures 20, 21)."""

from ml_collections import ConfigDict

from experiments import lab
from grokjax.config import axis, default, zipped


def paper() -> ConfigDict:
    config = default()
    config.axes.train_fraction = tuple(n / 10 for n in range(1, 10))
    config.axes.seed = (0, 1, 2)
    return config


def laptop() -> tuple[ConfigDict, list[dict]]:
    """One seed, 0.3 to 0.9; more data needs fewer but dearer steps. 20 minutes on two cores."""
    config = default()
    config.checkpoint_every = 100
    fractions = tuple(n / 10 for n in range(3, 10))
    steps = (10_000, 6_000, 4_000, 3_000, 2_500, 2_000, 2_000)
    return config, zipped(axis("train_fraction", fractions), axis("steps", steps))


if __name__ == "__main__":
    lab.run("data_fraction", __doc__, {"paper": paper, "laptop": laptop})
