"""Sweeps that train in a second, and everything that they write."""

import os
import signal

import jax
import numpy as np
import xarray as xr

import grokjax
from grokjax.config import axis, product
from grokjax.config.runs import RunConfig
from grokjax.config.sweep import SweepConfig
from grokjax.runner.run import run_sweep
from grokjax.storage import checkpoints

TINY = {
    "modulus": 7,
    "train_fraction": 0.7,
    "d_model": 8,
    "num_heads": 2,
    "d_mlp": 16,
    "steps": 40,
}


def rows_of(axes):
    return product(*(axis(name, values) for name, values in axes.items()))


def runs_of(**axes):
    """A run for each combination of values."""
    return tuple(RunConfig(**{**TINY, **row}) for row in rows_of(axes))


def config_text(**fields):
    """A config file with these fields, `axes.NAME` among them."""
    lines = [f"config.{name} = {value!r}" for name, value in {**TINY, **fields}.items()]
    body = ["config = grokjax.config.default()", *lines, "return config"]
    return "import grokjax\n\ndef get_config():\n" + "".join(f"    {line}\n" for line in body)


def train(sweep, folder, figures="none", **options):
    """Run a sweep; returns the text that it prints."""
    lines = []
    run_sweep(sweep, folder, lambda text: lines.append(str(text)), figures, **options)
    return "\n".join(lines)


def contents(folder):
    """Parameters by (run, step), and the datasets of what was recorded and measured."""
    opened = grokjax.open_sweep(folder)
    params = {}
    for i, block in enumerate(opened.blocks):
        for step in checkpoints.steps(opened.directory(i)):
            for run in block.indices:
                params[run, step] = opened.params(run, step)
    return params, opened.curves().drop_attrs(), opened.measures().drop_attrs()


def assert_same(one, other):
    """Both contents are equal bit for bit."""
    assert one[0].keys() == other[0].keys()
    jax.tree.map(np.testing.assert_array_equal, one[0], other[0])
    for mine, theirs in zip(one[1:], other[1:], strict=True):
        xr.testing.assert_equal(mine, theirs)


def small_sweep(**fields):
    """Four runs in two blocks."""
    runs = runs_of(seed=(0, 1), weight_decay=(1.0, 0.0))
    every = {"eval_every": 5, "checkpoint_every": 10, "resume_every": 15, "max_block": 2}
    measures = ("train_loss", "test_loss", "restricted_loss", "key_frequency")
    return SweepConfig(runs, **{"measures": measures, **every, **fields})


def kill_once(monkeypatch, owner, name, when):
    """Send SIGTERM once, after the first call of a method for which `when(self)` is true."""
    original, sent = getattr(owner, name), []

    def method(self, *args):
        result = original(self, *args)
        if when(self) and not sent:  # a second signal would end the process
            sent.append(True)
            os.kill(os.getpid(), signal.SIGTERM)
        return result

    monkeypatch.setattr(owner, name, method)
