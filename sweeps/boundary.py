"""Where networks grok in weight decay and training fraction: a sweep that chooses its own points.

    grokjax sweep --config boundary

A first round of 4 x 4 points with three seeds each, then rounds where the boundary is least
certain. p = 59 and a small network: 192 runs take an hour on two cores.
"""

import grokjax.config
from grokjax.config import between


def get_config():
    config = grokjax.config.default()
    config.modulus, config.d_model, config.num_heads, config.d_mlp = 59, 32, 2, 128
    config.steps, config.stop = 4_000, "grokked"
    config.eval_every, config.checkpoint_every = 50, 200
    config.axes.seed = (0, 1, 2)
    config.refine.weight_decay = between(0.1, 10, log=True)
    config.refine.train_fraction = between(0.15, 0.8)
    config.refine.runs, config.refine.round = 192, 30
    return config
