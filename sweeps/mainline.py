"""The paper's mainline run, addition modulo 113 on 30 % of the pairs, for five seeds.

    grokjax sweep --config mainline

For the paper's figures over training: losses, progress measures and the three phases.
"""

import grokjax.config


def get_config():
    config = grokjax.config.default()
    config.steps = 40_000
    config.checkpoint_every = 100
    config.axes.seed = (0, 1, 2, 3, 4)
    return config
