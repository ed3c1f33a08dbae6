"""Config files, and the overrides of their fields and axes on the command line."""

from pathlib import Path

import pytest

from grokjax.config import between
from grokjax.core.errors import ConfigError
from tests.cli.config_files import error_of, read

SWEEPS = Path(__file__).parents[2] / "sweeps"

CONFIG = """
import grokjax.config

def get_config():
    config = grokjax.config.default()
    config.modulus = 7
    config.axes.weight_decay = (0.1, 1.0)
    return config
"""

WITH_SWEEP = (
    CONFIG
    + """
from grokjax.config import axis, zipped

def sweep(config):
    yield from zipped(axis("steps", (5, 6)), axis("l1", (0.0, 0.1)))
"""
)


# --- Overrides ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, name, values",
    [
        ([], "modulus", [7]),
        (["--config.steps=500"], "steps", [500]),
        (["--config.steps=5_00"], "steps", [500]),
        (["--config.steps=5", "--config.steps=6"], "steps", [6]),  # the last one counts
        (["--config.operation=subtract"], "operation", ["subtract"]),
        (["--config.learning_rate", "1"], "learning_rate", [1.0]),
        (["--config.betas=(0.5,0)"], "betas", [(0.5, 0.0)]),
        (["--config.axes.weight_decay=(1, 3.0)"], "weight_decay", [1.0, 3.0]),
        (["--config.axes.seed=(4, 5)"], "seed", [4, 5]),
        (["--config.axes.seed=4,5"], "seed", [4, 5]),
        (["--config.axes.operation=('add', 'random')"], "operation", ["add", "random"]),
        (["--config.axes.betas=((0.9, 0.98), (0, 1e-3))"], "betas", [(0.9, 0.98), (0.0, 1e-3)]),
        (["--config.axes.weight_decay=None", "--config.weight_decay=3"], "weight_decay", [3.0]),
    ],
)
def test_overrides_set_fields_and_axes_with_the_fields_types(write, options, name, values):
    sweep = read(write(CONFIG), *options)
    result = list(dict.fromkeys(sweep.column(name)))
    assert repr(result) == repr(values)  # 1 is not 1.0
    is_axis = any("axes" in option and "None" not in option for option in options)
    unswept = any("None" in option for option in options)
    assert set(sweep.axes) == {*["weight_decay"] * (not unswept), *[name] * is_axis}


@pytest.mark.parametrize("lock", ["config.lock()", "grokjax.config.ConfigDict(config).lock()"])
def test_a_locked_config_can_be_overridden(write, lock):
    file = write(CONFIG.replace("return config", f"return {lock}"))
    assert read(file, "--config.steps=5", "--config.axes.seed=(1,)").runs[0].steps == 5


@pytest.mark.parametrize(
    "option, name, remedy",
    [
        ("stpes=5", "'stpes'", "did you mean 'steps'?"),
        ("axes.sed=(5,)", "'axes.sed'", "did you mean 'seed'?"),
        ("lr=0.1", "'lr'", "did you mean 'learning_rate'"),
        ("p=59", "'p'", "did you mean 'modulus'"),
        ("axes.eval_every=(5,)", "eval_every", "set --config.eval_every"),
        ("axes=(5,)", "axes", "--config.axes.FIELD"),
        ("steps=1e3", "steps", "write 1000"),
        ("steps=abc", "steps", "an integer"),
        ("steps=", "steps", "an integer"),
        ("steps=(1, 2)", "steps", "set axes.steps"),
        ("l1=1e999", "l1", "a number of at least 0"),
        ("betas=[0.5, 0.6]", "betas", "write a tuple, (0.5, 0.6)"),
        ("axes.seed=7", "axes.seed", "write (7,)"),
        ("axes.seed=()", "axes.seed", "None to leave it unswept"),
        ("axes.operation=random", "axes.operation", "write ('random',)"),
        ("weight_decay=3.0", "weight_decay", '--config.axes.weight_decay="(3.0,)"'),
        ("momentum=0.5", "momentum", "used by optimizer sgd"),
        ("momentum=0.9", "momentum", "has no effect: no run uses momentum"),
        ("axes.momentum=(0.9,)", "momentum", "no run uses momentum"),
        ("task=sparse_parity", "'sparse_parity'", "--config FILE"),
    ],
)
def test_invalid_override_raises_config_error(write, option, name, remedy):
    message = error_of(write(CONFIG), f"--config.{option}")
    assert name in message and remedy in message


def test_an_override_of_what_sweep_sets_is_an_error(write):
    message = error_of(write(WITH_SWEEP), "--config.steps=5")
    assert "--config.steps=5 has no effect" in message and "change it in the config file" in message
    message = error_of(write(WITH_SWEEP), "--config.axes.steps=(5,)")
    assert "steps is set by sweep()" in message and "remove one of the two" in message


# --- Files ----------------------------------------------------------------------------------------


def test_shipped_sweeps_are_read_by_name_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text in ("quickstart", "sweeps/quickstart.py"):
        assert len(read(text).runs) == 4
    assert "did you mean 'quickstart'?" in error_of("quikstart")
    assert "choose from boundary, data_fraction" in error_of("zzz")
    for path in ("elsewhere/quickstart.py", str(tmp_path / "no" / "folder.py")):
        assert path in error_of(path) and "check the path" in error_of(path)


def test_a_users_file_takes_precedence_over_the_shipped_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps").mkdir()
    for path in (tmp_path / "mainline", tmp_path / "sweeps" / "mainline.py"):
        path.write_text(CONFIG)
    for text in ("mainline", "sweeps/mainline.py"):
        assert {run.modulus for run in read(text).runs} == {7}


@pytest.mark.parametrize(
    "text, line, remedy",
    [
        ("x = 1\ndef get_config(:\n", ":2:", "fix it"),
        ("x = 1\nimport grokjax.confg\n", ":2:", "No module named 'grokjax.confg'"),
        ("def get_config():\n    return 1 / 0\n", ":2:", "ZeroDivisionError"),
        ("import sys\ndef get_config():\n    sys.exit(0)\n", ":3:", "SystemExit"),
        ("x = 1\n", "", "add one that returns a ConfigDict"),
        ("def get_config():\n    return {}\n", "", "must return what config.default() gave"),
        (CONFIG.replace("modulus", "modlus"), "", "did you mean 'modulus'?"),
        (CONFIG + "def sweep(config):\n    yield {'seed': config.sed}\n", ":10:", "sed"),
        (CONFIG + "sweep = [{'seed': 1}]\n", "", "sweep is a list; make it a function"),
        (CONFIG + "def sweep(config):\n    while True: yield {}\n", "", "more than 50 rows"),
        (WITH_SWEEP.replace("(5, 6)", "(5,)"), ":13:", "use product"),
        ("x = 1\0", "", "null bytes"),
    ],
)
def test_invalid_config_file_raises_an_error_with_its_line(write, monkeypatch, text, line, remedy):
    monkeypatch.setattr("grokjax.cli.config_file.MOST_ROWS", 50)
    path = write(text)
    message = error_of(path)
    assert (path in message or not line) and line in message and remedy in message


SHIPPED = {
    "quickstart": (4, ("seed",)),
    "mainline": (5, ("seed",)),
    "weight_decay": (30, ("weight_decay", "seed")),
    "data_fraction": (27, ("train_fraction", "seed")),
    "moduli": (18, ("modulus", "seed")),
    "phase_diagram": (126, ("train_fraction", "weight_decay", "seed")),
    "boundary": (48, ("train_fraction", "weight_decay", "seed")),
    "parity": (30, ("seed",)),
    "five_digit_addition": (6, ("five_digit_addition.num_sequences", "seed")),
    "repeated_subsequence": (6, ("repeated_subsequence.num_sequences", "seed")),
    "skip_trigram": (6, ("skip_trigram.num_sequences", "seed")),
}


@pytest.mark.parametrize("path", sorted(SWEEPS.glob("*.py")), ids=lambda path: path.stem)
def test_a_shipped_sweep_has_its_runs_and_axes(path):
    sweep = read(str(path))
    assert (len(sweep.runs), sweep.axes) == SHIPPED[path.stem]
    docstring = path.read_text().split('"""')[1]
    assert f"grokjax sweep --config {path.stem}\n" in docstring


def test_custom_parts_of_a_shipped_sweep_take_the_overrides_of_its_docstring():
    options = ["--config.task=sparse_parity", "--config.network=Perceptron"]
    sweep = read("parity", *options, "--config.axes.sparse_parity.bits=(20, 30)")
    assert sweep.axes == ("sparse_parity.bits", "seed") and len(sweep.runs) == 60
    run = sweep.runs[-1]
    assert run["sparse_parity.bits"] == 30 and run["Perceptron.width"] == 200
    assert (run.optimizer, run.weight_decay) == ("my_lion", 1.0)
    assert "betas" not in run and "modulus" not in run


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("refine=3", "needs a field"),
        ("refine.wrong=1", "unknown field 'refine.wrong'"),
        ("refine.weight_decay=(1.0,1.0)", "is empty"),
        ("refine.weight_decay=(0.0,1.0,'log')", "above 0"),
        ("refine.weight_decay=3", "must be a range"),
        ("refine.level=high", "must be a number, or None"),
        ("axes.weight_decay=(0.1,1.0)", "swept by axes.weight_decay and by refine.weight_decay"),
    ],
)
def test_invalid_refinement_is_one_line(option, words):
    with pytest.raises(ConfigError) as error:
        read("boundary", f"--config.{option}")
    assert words in str(error.value) and "\n" not in str(error.value)


def test_ranges_are_overridden():
    options = ["--config.refine.weight_decay=None", "--config.refine.d_mlp=(8, 64, 'log')"]
    refine = read("boundary", *options).refine
    assert refine.names == ("train_fraction", "d_mlp") and refine.runs == 192
    assert dict(refine.axes)["d_mlp"] == between(8, 64, log=True, integer=True)
