"""The mainline run at six weight decays, five seeds each.

    grokjax sweep --config weight_decay

For how weight decay sets the time at which a network groks, and whether it does at all.
"""

import grokjax.config


def get_config():
    config = grokjax.config.default()
    config.steps = 30_000
    config.axes.seed = (0, 1, 2, 3, 4)
    config.axes.weight_decay = (0.1, 0.3, 0.5, 1.0, 2.0, 3.0)
    return config
