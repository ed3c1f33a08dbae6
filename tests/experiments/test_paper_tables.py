import json

import jax
import numpy as np
import pytest
from programs import program

from experiments.paper_tables import __main__ as paper_tables
from experiments.paper_tables.definitions import TABLE, ablations
from grokjax.cli.arguments import run_main
from grokjax.config.sweep import RunConfig, SweepConfig
from grokjax.networks import by_name, interop
from grokjax.runner.run import run_sweep

NAME = "wd_10-1_mod_addition_loss_curve"
TOP_LEVEL = {row.path for row in TABLE if "/" not in row.path}
MORE = {"ablations", "variants", "inputs", "versions", "agreement"}


def run(*arguments):
    return run_main(paper_tables.main, [str(x) for x in arguments])


def read(folder):
    return json.loads((folder / "paper_tables.json").read_text())


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file with an untrained network."""
    path = tmp_path_factory.mktemp("weights") / "x.npz"
    params = by_name.init(jax.random.key(0), program(8, 2, 16), 2.0)
    interop.save_network(jax.tree.map(np.asarray, params), path)
    return path


@pytest.mark.slow
def test_every_number_is_printed_and_written(weights, tmp_path, capsys):
    options = ("--weights", weights, "--train-fraction", 0.5, "--split-seed", 3)
    assert run(*options, "--out", tmp_path) == 0
    numbers = read(tmp_path)
    assert set(numbers) == TOP_LEVEL | MORE and len(TOP_LEVEL) == 22
    assert list(numbers["ablations"]) == ablations("ablations") and len(numbers["ablations"]) == 9
    losses = [numbers[name] for name in ("loss", "restricted_loss", "excluded_loss")]
    losses += [*numbers["ablations"].values(), *numbers["variants"]["ablations"].values()]
    losses += numbers["variants"]["attention_zero_by_head"].values()
    for loss in losses:
        assert list(loss) == ["all", "train", "test"]
        assert min(loss["train"], loss["test"]) <= loss["all"] <= max(loss["train"], loss["test"])
    keys = {str(k) for k in numbers["key_frequencies"]}
    assert keys == set(numbers["mlp_readout_fve"]) == set(numbers["excluded_loss_by_frequency"])
    assert set(numbers["attention_fit_fve"]["1"]) == {"frequency", "fve"}
    assert numbers["inputs"]["split_seed"] == 3 and numbers["versions"]["jax"] == jax.__version__
    first, _, text = capsys.readouterr().out.partition("\n")
    assert first.startswith(f"read {weights}: ") and "embed.W_E as W_E [v, d]" in first
    assert all(row.title in text for row in TABLE)
    assert max(map(len, text.splitlines())) <= 120
    torch = tmp_path / "torch"
    assert run(*options, "--split", "torch", "--out", torch) == 0
    assert read(torch)["loss"]["all"] == numbers["loss"]["all"]
    assert read(torch)["loss"]["train"] != numbers["loss"]["train"]


@pytest.mark.slow
def test_network_of_a_sweep_is_analysed(tmp_path):
    sizes = dict(d_model=8, num_heads=2, d_mlp=16, steps=4, train_fraction=0.5, modulus=7)
    runs = [RunConfig(**sizes, num_layers=n) for n in (1, 2)]
    every = dict(eval_every=2, checkpoint_every=2, resume_every=2)
    sweep = SweepConfig(tuple(runs), measures=("general",), **every)
    run_sweep(sweep, tmp_path / "runs", lambda text: None, "none")
    runs = ("--workdir", tmp_path / "runs", "--run")
    assert run(*runs, 0, "--step", 2, "--out", tmp_path / "one") == 0
    assert run(*runs, 1, "--out", tmp_path / "two") == 0
    one, two = read(tmp_path / "one"), read(tmp_path / "two")
    assert one["inputs"]["step"] == 2 and two["inputs"]["step"] == 4
    assert one["ablations"]["attention_zero"]["all"] > 0
    assert two["ablations"]["attention_zero"] is None and two["attention_fit_fve"] == {}
    assert two["ablations"]["mlp_skip_zero"]["all"] > 0
    missing = {x["claim"] for x in one["agreement"]} - {x["claim"] for x in two["agreement"]}
    assert "Table 2" in missing and "neurons_as_polynomials" not in missing
    assert run(*runs, 2, "--out", tmp_path) == run(*runs, 0, "--step", 3, "--out", tmp_path) == 2


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((), "--weights --workdir is required"),
        (("--weights", "missing.npz"), "no such file"),
        (("--weights", "FILE", "--workdir", "x"), "not allowed with"),
        (("--weights", "FILE", "--train-fraction", 1.5), "must lie between 0 and 1"),
        (("--weights", "FILE", "--train-fraction", 0.001), "leave a training pair"),
        (("--weights", "FILE", "--split", "jax"), "invalid choice"),
        (("--weights", "FILE", "--split-seed", "x"), "invalid int"),
        (("--weights", "FILE", "--run", 0), "--run requires --workdir"),
        (("--weights", "FILE", "--checkpoint", 1), "no checkpoints"),
        (("--weights", "FILE", "--out", "FILE"), "cannot be made"),
        (("--workdir", "missing"), "holds no sweep"),
        (("--workdir", "missing", "--split", "torch"), "--split requires --weights"),
    ],
)
def test_invalid_input_is_a_one_line_error(weights, tmp_path, capsys, arguments, message):
    arguments = [weights if x == "FILE" else x for x in arguments]
    assert run("--out", tmp_path, *arguments) == 2
    text = capsys.readouterr().err
    assert message in text and text.count("\n") == 1 and text.startswith("error:")


@pytest.mark.slow
def test_published_network_has_its_published_numbers(reference, tmp_path, capsys):
    expected = json.loads((reference / f"{NAME}.json").read_text())
    path = reference / f"{NAME}.npz"
    assert run("--weights", path, "--split-seed", 1, "--out", tmp_path) == 0
    numbers = read(tmp_path)
    assert numbers["key_frequencies"] == expected["keys"]
    assert numbers["neuron_clusters"] == expected["neurons_above_085"]
    for ours, theirs in {
        "loss": "loss",
        "restricted_loss": "restricted",
        "excluded_loss": "excluded",
        "excluded_loss_by_frequency": "excluded_by_frequency_train",
        "gini_embedding": "gini_W_E",
        "gini_neuron_logit_map": "gini_W_L",
        "sum_squared_weights": "sum_squared_weights",
    }.items():
        assert numbers[ours] == pytest.approx(expected[theirs], rel=1e-4), ours
    assert numbers["logit_fve"] == pytest.approx(0.97477, rel=1e-5)
    assert numbers["logit_fit_loss"]["all"] == pytest.approx(1.590e-9, rel=1e-3)
    # Weight decay 0.1 leaves 1 % of the squared norm of W_L to other frequencies.
    assert numbers["neuron_logit_map_residual_squared"] == pytest.approx(0.00992, rel=1e-3)
    verdicts = {x["claim"]: x["verdict"] for x in numbers["agreement"]}
    assert verdicts["W_L beyond the key frequencies"] == verdicts["Table 2"] == "unresolved"
    assert verdicts["equals_attention_zero"].startswith("agrees: equals_attention_zero")
    assert not capsys.readouterr().err
    # The split of another seed has training pairs that the network was not trained on.
    assert run("--weights", path, "--split-seed", 0, "--out", tmp_path) == 0
    assert read(tmp_path)["loss"]["train"] > 1e-7
