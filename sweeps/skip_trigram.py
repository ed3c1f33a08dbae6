"""The skip trigram on fresh sequences and on a finite set of 512, three seeds each.

    grokjax sweep --config skip_trigram

For the paper's Figures 33 and 34: a sudden change with fresh data, grokking with a finite set.
"""

import grokjax.config


def get_config():
    config = grokjax.config.default("skip_trigram")
    config.eval_every = 10
    config.axes.skip_trigram.num_sequences = (0, 512)
    config.axes.seed = (0, 1, 2)
    return config
