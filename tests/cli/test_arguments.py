"""Arguments, help texts and exit codes of the commands."""

import subprocess
import sys

import pytest

import grokjax
from grokjax import plots
from grokjax.cli import catalogue
from grokjax.cli.arguments import COMMANDS, main, parse, run_main
from grokjax.config.sweep import SWEEP_SETTINGS, run_settings
from grokjax.core import parts
from grokjax.core.errors import ConfigError, DamagedError
from grokjax.runner.signals import Interrupted, signal


@pytest.mark.parametrize("file", [["--config=tiny.py"], ["--config", "tiny.py"]])
@pytest.mark.parametrize("override", [["--config.steps=500"], ["--config.steps", "500"]])
def test_options_and_overrides_may_have_any_form_and_order(file, override):
    groups = [["--workdir", "out"], file, override, ["--dry-run"]]
    for argv in (sum(groups, []), sum(reversed(groups), [])):
        options = parse(["sweep", *argv])
        assert (options.config, options.workdir, options.dry_run) == ("tiny.py", "out", True)
        assert options.overrides == [("steps", "500")] and options.figures == "overview"


def test_the_choices_of_figures_are_those_of_the_plots():
    for which in plots.WHICH:
        assert parse(["analyze", "x", "--figures", which]).figures == which


@pytest.mark.parametrize(
    "argv, name, remedy",
    [
        (["swep"], "'swep'", "did you mean 'sweep'?"),
        (["sweep", "stray"], "'stray'", "quote a value"),
        (["sweep", "--config.axes.seed=(1,", "2)"], "'2)'", "quote a value"),
        (["sweep", "--wrkdir=x"], "'--wrkdir=x'", "--help"),
        (["sweep", "--work=x"], "'--work=x'", "--help"),
        (["sweep", "--workdir"], "--workdir", "expected one argument"),
        (["sweep", "--config"], "--config", "expected one argument"),
        (["sweep", "--config.steps"], "steps", "write --config.steps=VALUE"),
        (["sweep", "--config.steps", "--workdir=x"], "steps", "write --config.steps=VALUE"),
        (["sweep", "--figures", "some"], "--figures", "invalid choice: 'some'"),
        (["sweep"], "--config is missing", "name a config file"),
        (["sweep", "--config.steps=5"], "--config is missing", "name a config file"),
        (["sweep", "--config="], "--config is missing", "name a config file"),
        (["sweep", "--config", "mainline", "--workdir="], "--workdir is empty", "a directory"),
        (["sweep", "--shard", "3/2"], "'3/2'", "write I/N"),
        (["sweep", "--shard", "0/2"], "'0/2'", "write I/N"),
        (["sweep", "--shard", "1of2"], "'1of2'", "write I/N"),
        (["sweep", "--config", "none.py"], "none.py", "check the path"),
        (["sweep", "--config", "quickstart", "--config.steps=x"], "steps", "an integer"),
        (["analyze"], "WORKDIR", "--help"),
        (["analyze", "nowhere"], "nowhere", "holds no sweep"),
        (["analyze", "nowhere", "--config.steps=5"], "'--config.steps'", "--help"),
        (["report"], "WORKDIR", "--help"),
        (["parts", "restrictd_loss"], "'restrictd_loss'", "did you mean 'restricted_loss'"),
        (["parts", "--config", "quikstart"], "'quikstart'", "did you mean 'quickstart'"),
    ],
)
def test_invalid_arguments_end_with_one_line_and_code_2(argv, name, remedy, capsys, monkeypatch):
    monkeypatch.setattr("grokjax.runner.run.set_up_jax", lambda **options: None)
    assert run_main(main, argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1
    assert name in err and remedy in err and len(err) < 500


def test_errors_have_exit_codes(capsys, monkeypatch):
    def code_of(error):
        def fail(argv):
            raise error

        return run_main(fail, []), capsys.readouterr().err

    assert run_main(lambda argv: None, []) == 0
    assert run_main(len, ["a", "b", "c"]) == 3
    assert code_of(ConfigError("got x\n  and more")) == (2, "error: got x and more\n")
    assert code_of(DamagedError("a file")) == (2, "error: a file\n")
    full = "error: no space; the same command continues from the last save\n"
    assert code_of(OSError("no space")) == (1, full)
    assert code_of(KeyboardInterrupt()) == (130, "")
    stopped = "stopped by SIGTERM; the same command continues from here\n"
    assert code_of(Interrupted(signal.SIGTERM)) == (75, stopped)
    with pytest.raises(ZeroDivisionError):
        code_of(ZeroDivisionError())
    monkeypatch.setattr("sys.argv", ["program", "a", "b"])
    assert run_main(len) == 2  # the arguments of the process


def help_of(capsys, *argv):
    with pytest.raises(SystemExit) as caught:
        main([*argv, "--help"])
    assert not caught.value.code
    return capsys.readouterr().out


@pytest.mark.parametrize("argv", [[], *([name] for name in COMMANDS)])
def test_every_help_fits_80_columns(argv, capsys):
    printed = help_of(capsys, *argv)
    assert max(map(len, printed.splitlines())) <= 80
    assert "examples:" in printed and "130  stopped by Ctrl-C" in printed


def test_help_of_sweep_lists_every_option_and_field_with_its_default(capsys):
    printed = " ".join(help_of(capsys, "sweep").split())
    for name, setting in (run_settings() | SWEEP_SETTINGS).items():
        assert f"--config.{name}={setting.default!r} " in printed
        assert setting.meaning in printed
    for kind in ("task", "operation", "network", "loss", "optimizer"):
        assert f"one of {', '.join(part.name for part in parts.all_of(kind))})" in printed
    assert "--workdir" in printed and "--config.axes.weight_decay=" in printed
    assert "--config quickstart" in printed and "phase_diagram" in printed


def test_the_version_and_the_commands_are_printed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == grokjax.__version__
    assert main([]) == 2 and set(COMMANDS) <= set(capsys.readouterr().out.split())


def listed(capsys, *words):
    assert main(["parts", *words]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    return out


def test_parts_prints_an_index_of_one_screen(capsys):
    printed = listed(capsys)
    assert len(printed.splitlines()) < 60
    for kind in parts.KINDS:
        names = {part.name for part in parts.all_of(kind)}
        assert f"{kind.upper()} ({len(names)})" in printed or not names
    assert "\n  paper (" in printed and "sgd" in printed and "restricted_loss" not in printed


def test_parts_describes_named_parts_and_lists_groups(capsys):
    named = listed(capsys, "restricted_loss", "sgd")
    assert "MEASURE\n\n  restricted_loss" in named and "OPTIMIZER\n\n  sgd\n" in named
    assert "momentum=0.9: " in named and "excluded_loss [" not in named
    group = listed(capsys, "optimizer")
    assert "LOSS\n" not in group and "\n  adamw: AdamW as in" in group
    assert "restricted_loss: " in listed(capsys, "paper")


@pytest.mark.parametrize("word, name", [("Gini coeff", "gini_embedding"), ("prieto", "stablemax")])
def test_parts_searches_names_definitions_and_sources(word, name, capsys):
    assert name in listed(capsys, word) and "modular" not in listed(capsys, word)


def test_the_catalogue_is_kept_until_the_package_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = []
    make = lambda: made.append(1) or "text"  # noqa: E731
    assert catalogue.kept("x", make) == catalogue.kept("x", make) == "text" and len(made) == 1
    monkeypatch.setattr(catalogue, "_state_of_package", lambda: "changed")
    assert catalogue.kept("x", make) == "text" and len(made) == 2
    assert [path.name for path in (tmp_path / "grokjax").iterdir()] == ["x-changed.txt"]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_has_commands_flags_fields_and_sweeps(shell, capsys):
    pytest.importorskip("shtab")
    assert main(["completion", shell]) == 0
    printed = capsys.readouterr().out
    for word in ("analyze", "--dry-run", "--config.weight_decay", "quickstart", "stablemax"):
        assert word in printed, word


@pytest.mark.slow
@pytest.mark.parametrize("argv", [["--help"], ["--version"]])
def test_help_and_version_do_not_import_jax(argv):
    code = (
        "import sys\nfrom grokjax.cli.arguments import main\n"
        f"try:\n    main({argv!r})\nexcept SystemExit:\n    pass\n"
        "slow = {'jax', 'numpy', 'ml_collections', 'rich'} & set(sys.modules)\n"
        "assert not slow, slow\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)
