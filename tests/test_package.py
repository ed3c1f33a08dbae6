"""Metadata of the package, where people and tools look for it."""

import re
import tomllib
from pathlib import Path

import pytest

import grokjax
from grokjax.core import registry

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
    packages |= {"grokjax.sweeps", "grokjax.jobs"}  # from the top-level folders
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    assert set(tools["setuptools"]["packages"]) == packages


def test_the_licence_is_in_the_repository():
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert PROJECT["license"] == "Apache-2.0"


def test_parts_of_a_shipped_sweep_are_custom_parts():
    """A wheel has the sweeps within the package."""
    package = Path(grokjax.__file__).parent
    assert registry._is_builtin(str(package / "measures" / "paper.py"))
    assert not registry._is_builtin(str(package / "sweeps" / "parity.py"))
    assert not registry._is_builtin(str(ROOT / "sweeps" / "parity.py"))


def test_the_workflow_runs_every_python_version_of_the_classifiers():
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    versions = [x.rpartition(" ")[2] for x in PROJECT["classifiers"] if ":: 3." in x]
    assert f"python: [{', '.join(map(repr, versions))}]".replace("'", '"') in workflow
