import json

import jax
import numpy as np
import pytest
from programs import program

from experiments.paper_tables import __main__ as paper_tables
from grokjax.cli.arguments import run_main
from grokjax.config.sweep import RunConfig, SweepConfig
from grokjax.networks import by_name, interop
from grokjax.runner import run as runner

NAME = "wd_10-1_mod_addition_loss_curve"
KEYS = {
    "key_frequencies",
    "loss",
    "restricted_loss",
    "excluded_loss",
    "excluded_loss_by_frequency",
    "max_excluded_loss",
    "weakest_key_norm",
    "strongest_other_norm",
    "key_share_of_neuron_logit_map",
    "key_share_of_logits",
    "gini_embedding",
    "gini_neuron_logit_map",
    "sum_squared_weights",
    "neuron_logit_map_residual",
    "neuron_logit_map_residual_squared",
    "mlp_readout_fve",
    "logit_fve",
    "logit_fit_loss",
    "neuron_clusters",
    "neurons_explained",
    "attention_fit_fve",
    "attention_score_fit_fve",
    "ablations",
}
ABLATIONS = {
    "neurons_as_polynomials",
    "sum_directions_only",
    "key_blocks_only",
    "mlp_readout_span",
    "mlp_readout_null_space",
    "mlp_skip_zero",
    "mlp_skip_mean",
    "attention_zero",
    "attention_linearised",
}


def run(*arguments):
    return run_main(paper_tables.main, [str(x) for x in arguments])


def read(folder):
    return json.loads((folder / "paper_tables.json").read_text())


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of a network that has learned nothing."""
    path = tmp_path_factory.mktemp("weights") / "x.npz"
    params = by_name.init(jax.random.key(0), program(8, 2, 16), 2.0)
    interop.save_network(jax.tree.map(np.asarray, params), path)
    return path


def test_every_number_is_printed_and_written(weights, tmp_path, capsys):
    code = run("--weights", weights, "--split-seed", 3, "--train-fraction", 0.5, "--out", tmp_path)
    assert code == 0
    found = read(tmp_path)
    assert set(found) == KEYS | {"variants", "inputs", "versions", "agreement"}
    assert set(found["ablations"]) == ABLATIONS
    losses = [found[name] for name in ("loss", "restricted_loss", "excluded_loss")]
    losses += [*found["ablations"].values(), *found["variants"]["ablations"].values()]
    losses += found["variants"]["attention_zero_by_head"].values()
    assert all(list(x) == ["all", "train", "test"] for x in losses)
    for loss in losses:
        assert min(loss["train"], loss["test"]) <= loss["all"] <= max(loss["train"], loss["test"])
    keys = {str(k) for k in found["key_frequencies"]}
    assert keys == set(found["mlp_readout_fve"]) == set(found["excluded_loss_by_frequency"])
    assert set(found["attention_fit_fve"]["1"]) == {"frequency", "fve"}
    assert found["inputs"]["split_seed"] == 3 and found["versions"]["jax"] == jax.__version__
    first, _, said = capsys.readouterr().out.partition("\n")
    assert first.startswith(f"read {weights}: ") and "embed.W_E as W_E [v, d]" in first
    unnamed = {"ablations", "excluded_loss_by_frequency", "neuron_logit_map_residual_squared"}
    for name in (KEYS | ABLATIONS) - unnamed - {x for x in KEYS if x.startswith("key_share")}:
        assert name in said, name
    assert max(map(len, said.splitlines())) <= 120


def test_the_split_of_torch_differs_from_pythons(weights, tmp_path):
    for split in ("python", "torch"):
        assert run("--weights", weights, "--split", split, "--out", tmp_path / split) == 0
    one, other = (read(tmp_path / split) for split in ("python", "torch"))
    assert one["loss"]["all"] == other["loss"]["all"]
    assert one["loss"]["train"] != other["loss"]["train"]


def test_a_run_trained_here(tmp_path, monkeypatch):
    monkeypatch.setattr(runner.plots, "save_all", lambda *args, **kwargs: [])
    sizes = dict(d_model=8, num_heads=2, d_mlp=16, steps=4, train_fraction=0.5, modulus=7)
    runs = [RunConfig(**sizes, num_layers=n) for n in (1, 2)]
    every = dict(eval_every=2, checkpoint_every=2, resume_every=2)
    sweep = SweepConfig(tuple(runs), measures=("general",), **every)
    runner.run_sweep(sweep, tmp_path / "runs", lambda text: None)
    runs = ("--workdir", tmp_path / "runs", "--run")
    assert run(*runs, 0, "--step", 2, "--out", tmp_path / "one") == 0
    assert run(*runs, 1, "--out", tmp_path / "two") == 0
    one, two = read(tmp_path / "one"), read(tmp_path / "two")
    assert one["inputs"]["step"] == 2 and two["inputs"]["step"] == 4
    assert one["ablations"]["attention_zero"]["all"] > 0
    assert two["ablations"]["attention_zero"] is None and two["attention_fit_fve"] == {}
    assert two["ablations"]["mlp_skip_zero"]["all"] > 0
    named = {x["claim"] for x in one["agreement"]} - {x["claim"] for x in two["agreement"]}
    assert "Table 2" in named and "neurons_as_polynomials" not in named
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
        (("--weights", "FILE", "--run", 0), "--run goes with --workdir"),
        (("--weights", "FILE", "--checkpoint", 1), "no checkpoints"),
        (("--workdir", "missing"), "holds no sweep"),
        (("--workdir", "missing", "--split", "torch"), "--split goes with --weights"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(weights, tmp_path, capsys, arguments, message):
    arguments = [weights if x == "FILE" else x for x in arguments]
    assert run(*arguments, "--out", tmp_path) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1 and said.startswith("error:")


def test_the_folder_that_cannot_be_written_is_named(weights, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run("--weights", weights, "--out", tmp_path / "file") == 2
    assert "cannot be made" in capsys.readouterr().err


def test_the_published_network_has_its_published_numbers(reference, tmp_path, capsys):
    expected = json.loads((reference / f"{NAME}.json").read_text())
    path = reference / f"{NAME}.npz"
    assert run("--weights", path, "--split-seed", 1, "--out", tmp_path) == 0
    found = read(tmp_path)
    assert found["key_frequencies"] == expected["keys"]
    assert found["neuron_clusters"] == expected["neurons_above_085"]
    for ours, theirs in {
        "loss": "loss",
        "restricted_loss": "restricted",
        "excluded_loss": "excluded",
        "excluded_loss_by_frequency": "excluded_by_frequency_train",
        "gini_embedding": "gini_W_E",
        "gini_neuron_logit_map": "gini_W_L",
        "sum_squared_weights": "sum_squared_weights",
    }.items():
        assert found[ours] == pytest.approx(expected[theirs], rel=1e-4), ours
    assert found["logit_fve"] == pytest.approx(0.97477, rel=1e-5)
    assert found["logit_fit_loss"]["all"] == pytest.approx(1.590e-9, rel=1e-3)
    # Another weight decay: its W_L keeps 1 % of its squared norm for other frequencies.
    assert found["neuron_logit_map_residual_squared"] == pytest.approx(0.00992, rel=1e-3)
    verdicts = {x["claim"]: x["verdict"] for x in found["agreement"]}
    assert verdicts["W_L beyond the key frequencies"] == verdicts["Table 2"] == "unresolved"
    assert verdicts["equals_attention_zero"].startswith("agrees: equals_attention_zero")
    assert not capsys.readouterr().err
    # The split of another seed mixes pairs that were trained on with others.
    assert run("--weights", path, "--split-seed", 0, "--out", tmp_path) == 0
    assert read(tmp_path)["loss"]["train"] > 1e-7
