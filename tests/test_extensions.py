"""The extensions in docs/howto/extensions run; a plausible first mistake in each is one line."""

from pathlib import Path

import pytest

import grokjax
from grokjax.cli.arguments import main, run_main
from grokjax.plots import saving

FOLDER = Path(__file__).parents[1] / "docs" / "howto" / "extensions"
EXTENSIONS = sorted(path.stem for path in FOLDER.glob("*.py"))
PAIRS = "train_fraction=0.6".split()
SIZES = "d_model=8 num_heads=2 d_mlp=12".split()
SHORT = "steps=20 checkpoint_every=10 eval_every=10".split()
OVERRIDES = {
    "task": [*SIZES, "majority.length=3"],
    "zipped_axes": ["train_fraction=0.6", "d_model=8", "num_heads=2", "steps=20"],
    "rope_network": ["modulus=7", *PAIRS, *SIZES],
    "recurrent_network": ["modulus=7", *PAIRS, "Recurrent.width=8"],
    "mlp_network": ["modulus=7", *PAIRS, "d_model=8", "d_mlp=12"],
}
USUAL = ["modulus=7", *PAIRS, *SIZES]

MISTAKES = {
    "operation": ("a**3 + b", "a**3 + b / 2", "expected integers for all pairs"),
    "task": ("tokens, (answers", "tokens / 2, (answers", "tokens must be an array of integers"),
    "mlp_network": ("neurons)  # [b c]", "neurons[0])  # [b c]", "neurons, an array of shape [12]"),
    "recurrent_network": ("self.out(h)", "self.out(h)[0]", "expected floats of [2, 8]"),
    "rope_network": ('"embed.embedding"', '"embed.kernel"', "is no matrix among its parameters"),
    "schedule_free": ("schedule_free_eval_params(state, params)", "schedule_free", "fails"),
    "optimizer": ("hyper.final +", "hyper.last +", "last=grokjax.setting(...)"),
    "loss": ("axis=0)[0]", "axis=0)", "expected float32 losses of shape [5]"),
    "measure": ('dims=("head",), ', "", "name one for each axis, as in dims=('head',)"),
    "summary": (".max())", ")", "fails: TypeError"),
    "zipped_axes": ("(256, 512)", "(256,)", "zipped needs equal lengths, got 2, 1"),
    "figure": ('"run", shows', '"rum", shows', "did you mean 'run'?"),
}


@pytest.fixture(autouse=True)
def figures(monkeypatch):
    monkeypatch.setattr(saving, "_kinds", list(saving._kinds))
    monkeypatch.setattr("grokjax.runner.run.set_up_jax", lambda **options: None)


def arguments(name, file, folder):
    overrides = [f"--config.{x}" for x in OVERRIDES.get(name, USUAL)]
    return ["sweep", "--config", str(file), "--workdir", str(folder / "wd"), *overrides]


def test_every_extension_has_a_mistake():
    assert set(MISTAKES) == set(EXTENSIONS) and len(EXTENSIONS) >= 10
    assert all(len((FOLDER / f"{x}.py").read_text().splitlines()) < 65 for x in EXTENSIONS)


@pytest.mark.parametrize("name", EXTENSIONS)
def test_a_first_mistake_is_one_line(name, tmp_path, capsys):
    right, wrong, words = MISTAKES[name]
    text = (FOLDER / f"{name}.py").read_text()
    assert right in text
    file = tmp_path / f"{name}.py"
    file.write_text(text.replace(right, wrong))
    assert run_main(main, [*arguments(name, file, tmp_path), "--dry-run"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and words in err


@pytest.mark.slow
@pytest.mark.parametrize("name", EXTENSIONS)
def test_an_extension_trains_and_is_measured(name, tmp_path):
    short = [f"--config.{x}" for x in SHORT if not x.startswith("steps") or name != "zipped_axes"]
    modulus = ["--config.axes.seed=(0,)"] if name not in ("zipped_axes",) else []
    argv = [*arguments(name, FOLDER / f"{name}.py", tmp_path), *short, *modulus]
    assert run_main(main, argv) == 0
    ds = grokjax.open_sweep(tmp_path / "wd").measures()
    expected = {
        "measure": {"attention_entropy", "distance"},
        "summary": {"largest_gap"},
        "task": {"test_loss"},
        "recurrent_network": {"gini_logits", "restricted_loss"},
        "rope_network": {"gini_neuron_logit_map", "embedding_norm"},
    }.get(name, {"restricted_loss"})
    assert expected <= set(ds.data_vars)
    if name == "figure":
        assert list((tmp_path / "wd" / "figures").glob("excluded_run_*.png"))
