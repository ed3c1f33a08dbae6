"""A trained sweep of two interleaved programs, two moduli in each."""

import shutil

import pytest

import grokjax
from grokjax.config.sweep import RunConfig, SweepConfig
from tests.small_sweeps import train

TINY = dict(d_model=8, num_heads=2, d_mlp=16, steps=40, train_fraction=0.6)
KINDS = (
    {"operation": "subtract", "dropout": 0.2},
    {"operation": "x2_xy_y2", "activation": "gelu", "loss": "low_precision", "l1": 1e-4},
)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "interleaved"
    runs = tuple(RunConfig(**{**TINY, **kind, "modulus": p}) for p in (11, 12) for kind in KINDS)
    train(SweepConfig(runs, eval_every=5, checkpoint_every=20, resume_every=15), folder)
    return folder


@pytest.fixture
def sweep(folder):
    return grokjax.open_sweep(folder)


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")
