"""A log-softmax in float32 induces slingshots, the exact loss does not (paper D.2)."""

from experiments import evidence, lab, options
from grokjax.config import ConfigDict, default


def paper() -> ConfigDict:
    """As the authors saved one, for both losses and decays; 80 minutes on two cores."""
    config = default()
    config.axes.loss = ("exact", "low_precision")
    config.axes.weight_decay = (0.1, 1.0)
    config.steps, config.eval_every = 50_000, 10
    return config


def three_seeds() -> ConfigDict:
    """The paper's setting with weight decay 1, and the exact loss as control; half an hour on
    two cores. Runs end when cleanup is over, or after 16,000 steps."""
    config = default()
    config.axes.loss, config.axes.seed = ("exact", "low_precision"), (0, 1, 2)
    config.steps, config.stop = 16_000, "cleanup_over"
    config.eval_every, config.checkpoint_every = 10, 200
    config.cleanup_over.evaluations = 100
    return config


def laptop() -> ConfigDict:
    """p = 59; six minutes on two cores."""
    config = paper()
    config.modulus, config.train_fraction = 59, 0.5
    config.steps, config.checkpoint_every = 8_000, 200
    return config


PRESETS = {"paper": paper, "three_seeds": three_seeds, "laptop": laptop}
main = lab.experiment("low_precision", __doc__, PRESETS, mechanism=evidence.at_the_end)

if __name__ == "__main__":
    options.start(main)
