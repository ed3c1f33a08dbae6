"""The documented example of parts of one's own, through the commands alone."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import grokjax
from grokjax.cli.config_file import run_file
from grokjax.results.workdir import measures_path
from grokjax.storage import datasets

pytestmark = pytest.mark.slow

PARITY = Path(__file__).parents[1] / "sweeps" / "parity.py"
TINY = (
    "--config.modulus=7 --config.train_fraction=0.6 --config.d_model=8 --config.num_heads=2 "
    "--config.d_mlp=16 --config.steps=30 --config.checkpoint_every=10 --config.eval_every=10"
).split()
SEEDS = "--config.axes.seed=(0, 1)"


def command(module, *arguments, cwd):
    environment = {
        **os.environ,
        "PYTHONPATH": str(PARITY.parents[1]),
        "XDG_CACHE_HOME": str(cwd / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "grokjax", module, *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("own")


@pytest.fixture(scope="module")
def trained(folder):
    code, out, err = command("sweep", "--config", PARITY, *TINY, SEEDS, cwd=folder)
    assert code == 0, err
    return folder / "runs" / "parity", out


def test_the_example_trains_measures_and_plots(trained):
    workdir, out = trained
    assert "key frequencies" in out
    run_file(str(PARITY))
    sweep = grokjax.open_sweep(workdir)
    ds = sweep.measures()
    print(ds)
    assert ds["entropy_of_attention"].dims == ("run", "step", "head")
    assert ds["entropy_of_attention"].attrs["units"] == "nats"
    assert ds["entropy_of_attention"].attrs["definition"].startswith("Entropy of the attention")
    assert "restricted_loss" in ds and (ds["optimizer"] == "my_lion").all()
    for number, step in ((0, 0), (1, 30)):
        params, data = sweep.params(number, step), sweep.data(number)
        expected = entropies(params, np.asarray(data.tokens))
        found = ds["entropy_of_attention"].sel(run=number, step=step)
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def entropies(params, tokens):
    """By head, in float64, from the attention of the plain transformer."""
    params = {name: {k: np.float64(x) for k, x in p.items()} for name, p in leaves(params)}
    attn = params["attn"]
    x = params["embed"]["W_E"][tokens] + params["pos_embed"]["W_pos"]
    q = np.einsum("...d,hdk->...hk", x[..., -1, :], attn["W_Q"])
    k = np.einsum("...sd,hdk->...shk", x, attn["W_K"])
    scores = np.einsum("...hk,...shk->...hs", q, k) / np.sqrt(q.shape[-1])
    w = np.exp(scores - scores.max(-1, keepdims=True))
    w /= w.sum(-1, keepdims=True)
    return -(w * np.log(w)).sum(-1).mean((0, 1))


def leaves(params):
    yield "embed", params["embed"]
    yield "pos_embed", params["pos_embed"]
    yield "attn", params["blocks"]["0"]["attn"]


def test_analyze_adds_what_is_missing_and_leaves_the_rest(trained, folder):
    workdir, _ = trained
    path = measures_path(workdir)
    full = datasets.load(path)
    datasets.save(full.drop_vars("entropy_of_attention"), path)
    arguments = ("--config", PARITY, "--measures", "entropy_of_attention")
    code, _, err = command("analyze", workdir, *arguments, cwd=folder)
    assert code == 0, err
    again = datasets.load(path)
    assert set(again.data_vars) == set(full.data_vars)
    np.testing.assert_allclose(again["entropy_of_attention"], full["entropy_of_attention"])
    code, _, err = command("analyze", workdir, "--measures", "entropy_of_attention", cwd=folder)
    assert code == 2 and err.count("\n") == 1
    assert "entropy_of_attention" in err and "--config FILE" in err and "Traceback" not in err


def test_the_task_and_the_network_of_the_example(folder):
    code, out, err = command(
        *("sweep", "--config", PARITY, "--workdir", folder / "bits", SEEDS),
        *("--config.task=sparse_parity", "--config.network=Perceptron", "--config.steps=400"),
        "--config.axes.sparse_parity.bits=(5, 8)",
        cwd=folder,
    )
    assert code == 0, err
    assert "sparse_parity.bits" in out and "restricted" not in out
    run_file(str(PARITY))
    ds = grokjax.open_sweep(folder / "bits").measures()
    assert list(ds["sparse_parity.bits"].values) == [5, 5, 8, 8]
    assert {"train_loss", "test_accuracy", "steps_to_grok", "sum_squared_weights"} <= set(ds)
    assert not {"restricted_loss", "entropy_of_attention"} & set(ds.data_vars)
    assert (ds["train_accuracy"].isel(step=-1) > 0.7).all()
    assert list((folder / "bits" / "figures").glob("progress_run_*.png"))
    # Without the file the numbers can still be read; nothing of it is run.
    read = (
        "import grokjax; s = grokjax.open_sweep('bits'); print(s.runs['sparse_parity.bits'].sum())"
    )
    environment = {**os.environ, "PYTHONPATH": str(PARITY.parents[1])}
    look = {"cwd": folder, "env": environment, "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, "-c", read], **look)
    assert done.stdout.strip() == "26", done.stderr
