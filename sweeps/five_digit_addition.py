"""Five-digit addition on fresh sums and on a finite set of 700, three seeds each.

    grokjax sweep --config five_digit_addition

For the paper's Figures 29 and 30: a change for each digit of the sum with fresh data, grokking with
a finite set, which the paper trains for 18,053 updates (--config.steps).
"""

import grokjax.config


def get_config():
    config = grokjax.config.default("five_digit_addition")
    config.eval_every = 10
    config.axes.five_digit_addition.num_sequences = (0, 700)
    config.axes.seed = (0, 1, 2)
    return config
