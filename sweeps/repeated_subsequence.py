"""Repeated subsequences on fresh sequences and on a finite set of 512, three seeds each.

    grokjax sweep --config repeated_subsequence

For the paper's Figures 31 and 32, and the heads that learn induction. The paper trains the finite
set for 285,820 updates: --config.axes.repeated_subsequence.num_sequences="(512,)"
--config.steps=285820.
"""

import grokjax.config


def get_config():
    config = grokjax.config.default("repeated_subsequence")
    config.axes.repeated_subsequence.num_sequences = (0, 512)
    config.axes.seed = (0, 1, 2)
    return config
