"""Weight decay 0, 0.3, 1 and 3 (paper D.1, Figures 26, 27).

The paper's text gives 0.3: 3k, 1: 5-10k, 3: 20k steps to grok beside the sentence that less decay
is slower; these numbers are almost certainly in the wrong order (paper notes, 7).
"""

from ml_collections import ConfigDict

from experiments import lab
from grokjax.config import default


def paper() -> ConfigDict:
    config = default()
    config.axes.weight_decay = (0.0, 0.3, 1.0, 3.0)
    config.axes.seed = (0, 1, 2)
    return config


def laptop() -> ConfigDict:
    config = paper()
    config.axes.seed = None
    config.steps = 30_000
    config.checkpoint_every = 300
    return config


if __name__ == "__main__":
    lab.run("weight_decay", __doc__, {"paper": paper, "laptop": laptop})
