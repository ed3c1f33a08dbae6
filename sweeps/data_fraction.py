"""The mainline run on 10 % to 90 % of the pairs, three seeds each.

    grokjax sweep --config data_fraction

For how the amount of data sets the delay between memorizing and generalizing.
"""

import grokjax.config


def get_config():
    config = grokjax.config.default()
    config.checkpoint_every = 400
    config.axes.seed = (0, 1, 2)
    config.axes.train_fraction = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    return config
