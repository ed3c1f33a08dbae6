from pathlib import Path

import pytest

from grokjax.cli import arguments
from grokjax.cli.arguments import read_sweep, run_main
from grokjax.config.sweep import SWEEP_SETTINGS, run_settings
from grokjax.core import parts
from grokjax.core.errors import ConfigError, DamagedError

pytestmark = pytest.mark.usefixtures("registry")

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


WITH_A_TASK = """
import grokjax
import grokjax.config

@grokjax.task(bits=grokjax.setting(20, "length of the input", low=2))
def sparse_parity(run):
    "The parity of the first three bits."

def get_config():
    config = grokjax.config.default()
    config.task = "sparse_parity"
    config.network = "attention_only"
    return config
"""


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "tiny.py") -> str:
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


def message_of(argv: list[str]) -> str:
    with pytest.raises(ConfigError) as caught:
        read_sweep(argv)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500
    return message


def test_a_config_file_alone(write):
    found = read_sweep(["--config", write(CONFIG)])
    assert [run.weight_decay for run in found.sweep.runs] == [0.1, 1.0]
    assert found.sweep.runs[0].modulus == 7
    assert Path(found.workdir) == Path("runs/tiny")


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize(
    "override", [["--config.steps=500"], ["--config.steps", "500"], ["--config.steps=5_00"]]
)
def test_overrides_in_either_form_and_any_order(write, override, order):
    file = [f"--config={write(CONFIG)}"] if order else ["--config", write(CONFIG)]
    parts = [["--workdir", "out"], file, override]
    for argv in (sum(parts, []), sum(reversed(parts), [])):
        found = read_sweep(argv)
        assert {run.steps for run in found.sweep.runs} == {500}
        assert found.workdir == "out"


def test_values_have_the_types_of_their_fields(write):
    argv = ["--config", write(CONFIG)]
    argv += ["--config.operation=subtract", "--config.learning_rate", "1", "--config.betas=(0.5,0)"]
    run = read_sweep(argv).sweep.runs[0]
    assert (run.operation, run.learning_rate, run.betas) == ("subtract", 1.0, (0.5, 0.0))
    assert type(run.learning_rate) is float


@pytest.mark.parametrize(
    "override, name, values",
    [
        ("axes.weight_decay=(1, 3.0)", "weight_decay", [1.0, 3.0]),
        ("axes.seed=(4, 5)", "seed", [4, 5]),
        ("axes.seed=4,5", "seed", [4, 5]),
        ("axes.seed=[4, 5]", "seed", [4, 5]),
        ("axes.operation=('add', 'random')", "operation", ["add", "random"]),
        ("axes.betas=((0.9, 0.98), (0.9, 0.99))", "betas", [(0.9, 0.98), (0.9, 0.99)]),
    ],
)
def test_axes_can_be_changed_and_added(write, override, name, values):
    sweep = read_sweep(["--config", write(CONFIG), f"--config.{override}"]).sweep
    assert list(dict.fromkeys(getattr(run, name) for run in sweep.runs)) == values
    assert set(sweep.axes) == {"weight_decay", name}


def test_none_unsweeps_an_axis(write):
    argv = ["--config", write(CONFIG), "--config.axes.weight_decay=None"]
    (run,) = read_sweep([*argv, "--config.weight_decay=3.0"]).sweep.runs
    assert run.weight_decay == 3.0


def test_the_last_of_two_overrides_counts(write):
    argv = ["--config", write(CONFIG), "--config.steps=5", "--config.steps=6"]
    assert read_sweep(argv).sweep.runs[0].steps == 6


def test_sweep_of_the_config_file_multiplies_with_axes(write):
    sweep = read_sweep(["--config", write(WITH_SWEEP)]).sweep
    assert sweep.axes == ("steps", "l1", "weight_decay")
    rows = [(run.steps, run.l1, run.weight_decay) for run in sweep.runs]
    assert rows == [(5, 0.0, 0.1), (5, 0.0, 1.0), (6, 0.1, 0.1), (6, 0.1, 1.0)]


@pytest.mark.parametrize("lock", ["config.lock()", "grokjax.config.ConfigDict(config).lock()"])
def test_a_locked_config_can_be_overridden(write, lock):
    file = write(CONFIG.replace("return config", f"return {lock}"))
    argv = ["--config", file, "--config.steps=5", "--config.axes.seed=(1,)"]
    assert read_sweep(argv).sweep.runs[0].steps == 5


def test_callers_can_add_options(write):
    def add_options(parser):
        parser.add_argument("--dry_run", action="store_true")

    argv = ["--dry_run", "--config", write(CONFIG)]
    assert read_sweep(argv, add_options).options.dry_run
    assert "'--dry_run'" in message_of(argv)


@pytest.mark.parametrize(
    "extra, name, remedy",
    [
        (["--config.stpes=5"], "'stpes'", "did you mean 'steps'?"),
        (["--config.axes.sed=(5,)"], "'axes.sed'", "did you mean 'seed'?"),
        (["--config.zzz=5"], "'zzz'", "choose from seed"),
        (["--config.axes.eval_every=(5,)"], "eval_every", "set --config.eval_every"),
        (["--config.axes=(5,)"], "axes", "--config.axes.FIELD"),
        (["--config.steps=1.5"], "steps", "an integer"),
        (["--config.steps=1e3"], "steps", "write 1000"),
        (["--config.steps=True"], "steps", "an integer"),
        (["--config.steps=abc"], "steps", "an integer"),
        (["--config.steps="], "steps", "an integer"),
        (["--config.steps=None"], "steps", "an integer"),
        (["--config.steps"], "steps", "write --config.steps=VALUE"),
        (["--config.steps", "--workdir=x"], "steps", "write --config.steps=VALUE"),
        (["--config.steps=(1, 2)"], "steps", "set axes.steps"),
        (["--config.steps", "-5"], "steps", "at least 1"),
        (["--config.l1=nan"], "l1", "a number of at least 0"),
        (["--config.l1=1e999"], "l1", "a number of at least 0"),
        (["--config.betas=0.5"], "betas", "a pair of numbers"),
        (["--config.betas=[0.5, 0.6]"], "betas", "write a tuple, (0.5, 0.6)"),
        (["--config.axes.seed={1, 2}"], "axes.seed", "write tuple({1, 2})"),
        (["--config.axes.seed=[]"], "axes.seed", "None to leave it unswept"),
        (["--config.axes.seed=7"], "axes.seed", "write (7,)"),
        (["--config.axes.seed=()"], "axes.seed", "None to leave it unswept"),
        (["--config.axes.operation=random"], "axes.operation", "write ('random',)"),
        (["--config.weight_decay=3.0"], "weight_decay", '--config.axes.weight_decay="(3.0,)"'),
        (["--config.num_heads=3"], "num_heads", "multiple of 3"),
        (["--config.momentum=0.5"], "momentum", "used by optimizer sgd"),
        (["--config.momentum=0.9"], "momentum", "has no effect: no run uses momentum"),
        (["--config.axes.momentum=(0.9,)"], "momentum", "no run uses momentum"),
        (["--config.task=sparse_parity"], "'sparse_parity'", "--config FILE"),
        (["stray"], "'stray'", "quote a value"),
        (["--config.axes.seed=(1,", "2)"], "'2)'", "quote a value"),
        (["--wrkdir=x"], "'--wrkdir=x'", "--help"),
        (["--work=x"], "'--work=x'", "--help"),
        (["--workdir"], "--workdir", "expected one argument"),
        (["--workdir="], "--workdir", "name a directory"),
    ],
)
def test_wrong_arguments_are_refused_before_or_after_the_file(write, extra, name, remedy):
    file = f"--config={write(CONFIG)}"
    for argv in ([file, *extra], [*extra, file]):
        if argv[-2:] == ["--workdir", file] or argv[:1] == ["--config.steps"]:
            continue  # There the file itself is taken for the missing value.
        message = message_of(argv)
        assert name in message and remedy in message


@pytest.mark.parametrize("argv", [[], ["--config.steps=5"], ["--config="]])
def test_a_missing_config_option(argv):
    message = message_of(argv)
    assert "--config" in message and "name a config file" in message


def test_a_config_option_without_its_file():
    assert "expected one argument" in message_of(["--config"])


def test_shipped_sweeps_go_by_their_names_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text in ("quickstart", "sweeps/quickstart.py"):
        found = read_sweep(["--config", text])
        assert len(found.sweep.runs) == 4 and Path(found.workdir) == Path("runs/quickstart")
    assert "did you mean 'quickstart'?" in message_of(["--config", "quikstart"])
    assert "choose from data_fraction" in message_of(["--config", "zzz"])
    assert "check the path" in message_of(["--config", "elsewhere/quickstart.py"])


def test_a_file_of_the_users_comes_before_the_shipped_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps").mkdir()
    for path in (tmp_path / "mainline", tmp_path / "sweeps" / "mainline.py"):
        path.write_text(CONFIG)
    for text in ("mainline", "sweeps/mainline.py"):
        assert {run.modulus for run in read_sweep(["--config", text]).sweep.runs} == {7}


def test_an_unreadable_file_is_named(tmp_path):
    for path in (tmp_path / "absent.py", tmp_path / "no" / "folder.py"):
        message = message_of(["--config", str(path)])
        assert str(path) in message and "check the path" in message


@pytest.mark.parametrize(
    "text, line, remedy",
    [
        ("x = 1\ndef get_config(:\n", ":2:", "mend the syntax"),
        ("x = 1\nimport grokjax.confg\n", ":2:", "No module named 'grokjax.confg'"),
        ("def get_config():\n    return 1 / 0\n", ":2:", "ZeroDivisionError"),
        ("x = 1\n", "", "add one that returns a ConfigDict"),
        ("def get_config():\n    return {}\n", "", "must return what config.default() gave"),
        (CONFIG.replace("modulus", "modlus"), "", "did you mean 'modulus'?"),
        (CONFIG.replace("= 7", "= '7'"), "", "modulus must be an integer"),
        (CONFIG + "def sweep(config):\n    yield {'seed': config.sed}\n", ":10:", "sed"),
        (WITH_SWEEP.replace("(5, 6)", "(5,)"), ":13:", "use product"),
        ("x = 1\0", "", "null bytes"),
    ],
)
def test_errors_of_a_config_file_say_where(write, text, line, remedy):
    path = write(text)
    message = message_of(["--config", path])
    assert (path in message or not line) and line in message and remedy in message


def test_an_override_of_what_sweep_sets_is_refused(write):
    file = write(WITH_SWEEP)
    message = message_of(["--config", file, "--config.steps=5"])
    assert "--config.steps=5 has no effect" in message and "change it in the config file" in message
    message = message_of(["--config", file, "--config.axes.steps=(5,)"])
    assert "steps is set by sweep()" in message and "remove one of the two" in message


def test_help_lists_every_option_and_field_with_its_default(capsys):
    with pytest.raises(SystemExit) as caught:
        read_sweep(["--help"])
    assert not caught.value.code
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert "130  stopped by Ctrl-C" in printed and "--config quickstart" in printed
    printed = " ".join(printed.split())
    for name, setting in (run_settings() | SWEEP_SETTINGS).items():
        assert f"--config.{name}={setting.default!r} " in printed
        assert setting.meaning in printed
    for kind in ("task", "operation", "network", "loss", "optimizer"):
        assert f"one of {', '.join(part.name for part in parts.all_of(kind))})" in printed
    assert "--workdir" in printed and "--config.axes.weight_decay=" in printed


def test_run_main_turns_errors_into_exit_codes(capsys):
    def fail(argv):
        raise ConfigError(f"got {argv[0]}\n  and more")

    def damaged(argv):
        raise DamagedError("a file")

    def interrupt(argv):
        raise KeyboardInterrupt

    assert run_main(lambda argv: None, []) == 0
    assert run_main(len, ["a", "b", "c"]) == 3
    assert run_main(fail, ["x"]) == 2
    assert capsys.readouterr().err == "error: got x and more\n"
    assert run_main(damaged, []) == 2
    assert capsys.readouterr().err == "error: a file\n"
    assert run_main(interrupt, []) == 130
    with pytest.raises(ZeroDivisionError):
        run_main(lambda argv: 1 / 0, [])


def test_run_main_reads_the_arguments_of_the_process(monkeypatch):
    monkeypatch.setattr("sys.argv", ["program", "a", "b"])
    assert run_main(len) == 2


@pytest.mark.parametrize(
    "name, runs, axes",
    [
        ("quickstart", 4, ("seed",)),
        ("mainline", 5, ("seed",)),
        ("weight_decay", 30, ("weight_decay", "seed")),
        ("data_fraction", 27, ("train_fraction", "seed")),
        ("moduli", 18, ("modulus", "seed")),
        ("phase_diagram", 126, ("train_fraction", "weight_decay", "seed")),
        ("parity", 30, ("seed",)),
        ("five_digit_addition", 6, ("five_digit_addition.num_sequences", "seed")),
        ("repeated_subsequence", 6, ("repeated_subsequence.num_sequences", "seed")),
        ("skip_trigram", 6, ("skip_trigram.num_sequences", "seed")),
    ],
)
def test_the_sweeps_that_are_shipped(name, runs, axes):
    path = SWEEPS / f"{name}.py"
    found = read_sweep(["--config", str(path)])
    assert (len(found.sweep.runs), found.sweep.axes) == (runs, axes)
    docstring = path.read_text().split('"""')[1]
    assert f"grokjax sweep --config {name}\n" in docstring


def test_no_shipped_sweep_goes_untested():
    names = {path.stem for path in SWEEPS.glob("*.py")}
    cases = test_the_sweeps_that_are_shipped.pytestmark[0].args[1]
    assert {name for name, _, _ in cases} == names
    assert callable(arguments.load(str(SWEEPS / "mainline.py"))[0])


# --- Parts that a config file defines -------------------------------------------------------------


def test_settings_of_a_part_of_the_file_are_overridden_and_swept(write):
    file = ["--config", write(WITH_A_TASK)]
    (run,) = read_sweep([*file, "--config.sparse_parity.bits=24"]).sweep.runs
    assert run.task == "sparse_parity" and run["sparse_parity.bits"] == 24
    swept = read_sweep([*file, "--config.axes.sparse_parity.bits", "(4, 8)"]).sweep
    assert swept.axes == ("sparse_parity.bits",)
    assert swept.column("sparse_parity.bits") == (4, 8)
    (run,) = read_sweep([*file, "--config.axes.sparse_parity.bits=None"]).sweep.runs
    assert run["sparse_parity.bits"] == 20


def test_a_config_made_before_the_part_can_be_overridden_too(write):
    before, after = WITH_A_TASK.split("@grokjax.task")
    early = before + "config = grokjax.config.default()\n\n@grokjax.task" + after
    early = early.replace("    config = grokjax.config.default()\n", "")
    (run,) = read_sweep(["--config", write(early), "--config.sparse_parity.bits=24"]).sweep.runs
    assert run["sparse_parity.bits"] == 24


@pytest.mark.parametrize(
    "extra, name, remedy",
    [
        (["--config.sparse_parity.bits=1"], "sparse_parity.bits", "an integer of at least 2"),
        (["--config.sparse_parity.bitz=8"], "'sparse_parity.bitz'", "'sparse_parity.bits'?"),
        (["--config.axes.sparse_parity.bits=8"], "axes.sparse_parity.bits", "write (8,)"),
        (["--config.axes.sparse_parity.bits=(8, 1)"], "sparse_parity.bits", "at least 2"),
        (["--config.modulus=7"], "modulus=7", "task sparse_parity"),
        (
            ["--config.task=modular", "--config.sparse_parity.bits=8"],
            "sparse_parity.bits",
            "sparse_parity alone uses it",
        ),
        (
            ["--config.sparse_parity.bits=8", "--config.axes.sparse_parity.bits=(8, 9)"],
            "sparse_parity.bits=8",
            'write --config.axes.sparse_parity.bits="(8,)"',
        ),
    ],
)
def test_wrong_settings_of_a_part_of_the_file_are_refused(write, extra, name, remedy):
    message = message_of(["--config", write(WITH_A_TASK), *extra])
    assert name in message and remedy in message


def test_a_file_may_be_read_twice_and_two_files_may_not_share_a_name(write):
    first, second = write(WITH_A_TASK, "first.py"), write(WITH_A_TASK, "second.py")
    for _ in range(2):
        read_sweep(["--config", first])
    message = message_of(["--config", second])
    assert f"registered twice, in {first} and in {second}" in message
    assert message.startswith(f"{second}:") and "give one of them another name" in message


def test_parts_of_a_file_that_is_changed_are_those_it_has_now(write):
    read_sweep(["--config", write(WITH_A_TASK)])
    before = parts.get("task", "sparse_parity")
    read_sweep(["--config", write(WITH_A_TASK.replace("three bits", "four bits"))])
    after = parts.get("task", "sparse_parity")
    assert after.definition == "The parity of the first four bits."
    assert after.fingerprint != before.fingerprint


def test_the_parts_of_the_shipped_sweep_take_the_overrides_of_its_docstring():
    argv = ["--config", str(SWEEPS / "parity.py"), "--config.task=sparse_parity"]
    argv += ["--config.network=Perceptron", "--config.axes.sparse_parity.bits=(20, 30)"]
    sweep = read_sweep(argv).sweep
    assert sweep.axes == ("sparse_parity.bits", "seed") and len(sweep.runs) == 60
    run = sweep.runs[-1]
    assert run["sparse_parity.bits"] == 30 and run["Perceptron.width"] == 200
    assert (run.optimizer, run.weight_decay) == ("my_lion", 1.0)
    assert "betas" not in run and "modulus" not in run
