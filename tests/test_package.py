"""What the package says of itself, in the places where people and tools look for it."""

import re
import tomllib
from pathlib import Path

import pytest

import grokjax
from grokjax import plots
from grokjax.__main__ import COMMANDS, main
from grokjax.cli.help import Parser, add_figures
from grokjax.core import registry
from grokjax.core.errors import ConfigError

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_version_is_the_same_everywhere():
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.M)
    changed = re.search(r"^## (\S+?),? ", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert {grokjax.__version__, cited[1], changed[1]} == {PROJECT["version"]}


def test_every_public_name_exists_and_completes():
    assert set(grokjax.__all__) <= set(dir(grokjax))
    for name in grokjax.__all__:
        assert getattr(grokjax, name) is not None


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'sweeps_of'"):
        grokjax.sweeps_of  # noqa: B018


def test_every_package_is_in_the_wheel():
    packages = {".".join(x.parent.relative_to(ROOT).parts) for x in ROOT.glob("grokjax/**/*.py")}
    packages |= {"grokjax.sweeps"}  # from the top-level folder
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    assert set(tools["setuptools"]["packages"]) == packages


def test_the_licence_is_in_the_repository():
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert PROJECT["license"] == "Apache-2.0"


def test_every_command_helps_in_80_columns(capsys):
    for command in (None, *COMMANDS):
        argv = ["--help"] if command is None else [command, "--help"]
        if command is None:
            assert main(argv) == 0
        else:
            with pytest.raises(SystemExit) as caught:
                main(argv)
            assert not caught.value.code
        printed = capsys.readouterr().out
        assert max(map(len, printed.splitlines())) <= 80, command
        assert "examples:" in printed and "exit codes:" in printed, command


def test_the_choices_of_figures_are_those_there_are():
    parser = Parser()
    add_figures(parser)
    assert parser.parse_args([]).figures == "overview"
    assert all(parser.parse_args(["--figures", x]).figures == x for x in plots.WHICH)
    with pytest.raises(ConfigError, match="invalid choice: 'some'"):
        parser.parse_args(["--figures", "some"])


def test_commands_are_named_or_nearest_is_suggested(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == PROJECT["version"]
    with pytest.raises(ConfigError, match="did you mean 'sweep'?"):
        main(["swep"])
    assert main([]) == 2 and set(COMMANDS) <= set(capsys.readouterr().out.split())


def test_parts_in_a_shipped_sweep_are_a_users_own():
    """Also where a wheel has them, within the package."""
    package = Path(grokjax.__file__).parent
    assert registry._is_builtin(str(package / "measures" / "paper.py"))
    assert not registry._is_builtin(str(package / "sweeps" / "parity.py"))
    assert not registry._is_builtin(str(ROOT / "sweeps" / "parity.py"))


def test_the_file_for_others_ci_runs_every_version_that_is_promised():
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    promised = [x.rpartition(" ")[2] for x in PROJECT["classifiers"] if ":: 3." in x]
    assert f"python: [{', '.join(map(repr, promised))}]".replace("'", '"') in workflow
