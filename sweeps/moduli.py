"""Six moduli, odd and even, prime and composite, in one sweep, three seeds each.

    grokjax sweep --config moduli

For whether the algorithm that a network learns depends on the modulus. An even modulus has a
frequency p/2 at which the sine vanishes; runs of different moduli share a program by padding.
"""

import grokjax.config


def get_config():
    config = grokjax.config.default()
    config.train_fraction = 0.5
    config.steps = 20_000
    config.checkpoint_every = 200
    config.axes.seed = (0, 1, 2)
    config.axes.modulus = (48, 53, 59, 64, 97, 113)
    return config
