"""A log-softmax in float32 induces slingshots, the exact loss does not (paper D.2)."""

from ml_collections import ConfigDict

from experiments import lab
from grokjax.config import default


def paper() -> ConfigDict:
    config = default()
    config.axes.loss = ("exact", "low_precision")
    config.axes.weight_decay = (0.1, 1.0)
    config.steps, config.eval_every = 50_000, 10
    return config


def laptop() -> ConfigDict:
    """p = 59; six minutes on two cores."""
    config = paper()
    config.modulus, config.train_fraction = 59, 0.5
    config.steps, config.checkpoint_every = 8_000, 200
    return config


if __name__ == "__main__":
    lab.run("low_precision", __doc__, {"paper": paper, "laptop": laptop})
