"""A task: all rows at once, with named splits, one of which may be empty."""

import numpy as np

import grokjax


@grokjax.task(
    length=grokjax.setting(9, "bits of the input, an odd number", low=3),
    corrupted=grokjax.setting(0.0, "share of the training rows with a wrong answer", low=0, high=1),
    uses=("train_fraction",),
    defaults={"train_fraction": 0.5},
)
def majority(run):
    "Whether most of the bits are 1."
    tokens = (np.arange(2**run.length)[:, None] >> np.arange(run.length)) & 1
    answers = tokens.sum(1, keepdims=True) > run.length / 2
    draws = np.random.default_rng(run.split_seed).random((2, len(tokens), 1))
    train = draws[0] < run.train_fraction
    wrong = train & (draws[1] < run.corrupted)
    splits = {"train": train, "test": ~train, "corrupted": wrong}
    return grokjax.Data(2, 2, tokens, (answers ^ wrong).astype(int), splits)


def get_config():
    config = grokjax.config.default("majority")
    config.axes.majority.corrupted = (0.0, 0.1)
    return config
