"""The mainline run and four more seeds (paper, Figures 2, 3, 7, 16-19; C.2.1)."""

from ml_collections import ConfigDict

from experiments import lab
from grokjax.config import default


def paper() -> ConfigDict:
    config = default()
    config.axes.seed = (0, 1, 2, 3, 4)
    return config


def laptop() -> ConfigDict:
    """Half as long, which leaves cleanup long over; about 45 minutes on two cores."""
    config = paper()
    config.steps, config.checkpoint_every = 20_000, 200
    return config


if __name__ == "__main__":
    lab.run("mainline", __doc__, {"paper": paper, "laptop": laptop})
