from pathlib import Path

import numpy as np
import pytest

import grokjax
from grokjax.config.sweep import SweepConfig
from grokjax.plots.page import explore
from tests.plots.kinds import KINDS, of_kind
from tests.small_sweeps import train
from tests.synthetic_sweeps import sweep as synthetic

STEPS = np.arange(0, 40_001, 400)


@pytest.fixture(scope="session")
def grid():
    """Two axes and seeds: three runs never grok, one diverges."""
    axes = {"weight_decay": (0.3, 1.0, 3.0), "train_fraction": (0.3, 0.5), "seed": (0, 1, 2)}
    return synthetic(steps=STEPS, never={0, 1, 2}, diverged={5}, **axes)


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """A run of each kind of network, 41 steps with 9 checkpoints."""
    folder = tmp_path_factory.mktemp("runs") / "kinds"
    runs = tuple(map(of_kind, KINDS))
    train(SweepConfig(runs, eval_every=5, checkpoint_every=5), folder)
    return grokjax.open_sweep(folder)


@pytest.fixture(scope="module")
def written(kinds, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "explore.html"
    return explore.write(kinds, path, runs=range(len(KINDS)))
