"""A summary and a stopping rule: both see one run's curves."""

import numpy as np

import grokjax


@grokjax.summary(needs=("restricted_loss", "test_loss"), units="nats")
def largest_gap(run):
    "Largest difference of test loss and restricted loss."
    return float((run.test_loss - run.restricted_loss).max())


@grokjax.stop(below=grokjax.setting(1e-3, "test loss, in nats", above=0))
def generalizes(run, below):
    "Once the test loss is low."
    return bool(np.any(run["test_loss"] < below))


def get_config():
    config = grokjax.config.default()
    config.stop = "generalizes"
    return config
