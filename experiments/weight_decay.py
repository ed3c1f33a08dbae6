"""Weight decay 0, 0.3, 1 and 3 (paper D.1, Figures 26, 27).

The paper's text gives 0.3: 3k, 1: 5-10k, 3: 20k steps to grok beside the sentence that less decay
is slower; these numbers are almost certainly in the wrong order (paper notes, 7).
"""

from experiments import evidence, lab, options
from grokjax.config import ConfigDict, axis, default, product, zipped


def paper() -> ConfigDict:
    config = default()
    config.axes.weight_decay = (0.0, 0.3, 1.0, 3.0)
    config.axes.seed = (0, 1, 2)
    return config


def three_seeds() -> tuple[ConfigDict, list[dict]]:
    """The same; two hours on two cores.

    0.3 for all of the paper's 40,000 steps, the others until cleanup is over: without decay, which
    never groks, for all of them too. Those go on where the controls of `regularizers` end.
    """
    config = default()
    config.checkpoint_every = 200
    stops = ("cleanup_over", "never", "cleanup_over", "cleanup_over")
    rows = zipped(axis("weight_decay", (0.0, 0.3, 1.0, 3.0)), axis("stop", stops))
    return config, product(rows, axis("seed", range(3)))


def laptop() -> tuple[ConfigDict, list[dict]]:
    """One seed, each run as long as it needs; 25 minutes on two cores."""
    config = default()
    config.checkpoint_every = 200
    decays, steps = (0.0, 0.3, 1.0, 3.0), (8_000, 32_000, 12_000, 8_000)
    return config, zipped(axis("weight_decay", decays), axis("steps", steps))


PRESETS = {"paper": paper, "three_seeds": three_seeds, "laptop": laptop}
main = lab.experiment("weight_decay", __doc__, PRESETS, mechanism=evidence.at_the_end)

if __name__ == "__main__":
    options.start(main)
