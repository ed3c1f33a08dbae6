"""Axes that do not multiply: wider networks for larger moduli, times two seeds.

The sweep grows when steps or rows are added: the same command trains the rest.
"""

import grokjax
from grokjax.config import axis, product, zipped


def get_config():
    config = grokjax.config.default()
    config.train_fraction = 0.5
    return config


def sweep(config):
    sizes = zipped(axis("modulus", (53, 113)), axis("d_mlp", (256, 512)))
    yield from product(sizes, axis("init_seed", (0, 1)), axis("split_seed", (0, 1)))
