"""How the training fraction decides whether and when a run groks (paper C.2.2, Figures 20, 21)."""

from ml_collections import ConfigDict

from experiments import lab
from grokjax.config import default


def paper() -> ConfigDict:
    config = default()
    config.axes.train_fraction = tuple(n / 10 for n in range(1, 10))
    config.axes.seed = (0, 1, 2)
    return config


def laptop() -> ConfigDict:
    """One seed and 0.3 to 0.9; more data needs fewer but dearer steps."""
    config = paper()
    config.axes.train_fraction = tuple(n / 10 for n in range(3, 10))
    config.axes.seed = None
    config.steps = 10_000
    config.checkpoint_every = 200
    return config


if __name__ == "__main__":
    lab.run("data_fraction", __doc__, {"paper": paper, "laptop": laptop})
