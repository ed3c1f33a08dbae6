"""Weight decay against training fraction, three seeds for each cell.

    grokjax sweep --config phase_diagram

For the map of where networks grok, generalize at once, only memorize, or learn nothing. A hundred
and twenty-six runs: meant for a GPU. Checkpoints are sparse, to keep the trajectories small.
"""

import grokjax.config


def get_config():
    config = grokjax.config.default()
    config.steps = 20_000
    config.checkpoint_every = 1_000
    config.axes.seed = (0, 1, 2)
    config.axes.weight_decay = (0.0, 0.1, 0.3, 1.0, 2.0, 3.0)
    config.axes.train_fraction = (0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8)
    return config
