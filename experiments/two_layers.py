"""Two layers: some grok, with slingshots, by the same algorithm (paper C.2, Figures 22, 23)."""

from experiments import evidence, lab, options
from grokjax.config import ConfigDict, default


def paper() -> ConfigDict:
    config = default()
    config.num_layers = 2
    config.axes.seed = (0, 1, 2)
    return config


def three_seeds() -> ConfigDict:
    """The paper's setting until cleanup is over, 20,000 steps at most, half of the paper's; an hour
    on two cores, 95 minutes at most: a step of two layers is four of one."""
    config = paper()
    config.steps, config.stop = 20_000, "cleanup_over"
    config.eval_every, config.checkpoint_every = 10, 100
    # Windows of 2,000 steps: slingshots shake the weights for hundreds.
    config.cleanup_over.evaluations = 200
    return config


def laptop() -> ConfigDict:
    """A smaller modulus and two seeds; five minutes on two cores."""
    config = paper()
    config.modulus, config.train_fraction, config.axes.seed = 59, 0.4, (0, 1)
    config.steps, config.eval_every, config.checkpoint_every = 3_000, 10, 50
    return config


PRESETS = {"paper": paper, "three_seeds": three_seeds, "laptop": laptop}
main = lab.experiment("two_layers", __doc__, PRESETS, mechanism=evidence.at_the_end)

if __name__ == "__main__":
    options.start(main)
