"""An operation mod p: four lines, and all measures of modular arithmetic apply."""

import grokjax


@grokjax.operation
def cube(a, b, p):
    "a^3 + b"
    return a**3 + b  # taken mod p


def get_config():
    config = grokjax.config.default()
    config.operation = "cube"
    config.modulus, config.train_fraction = 59, 0.5
    return config
