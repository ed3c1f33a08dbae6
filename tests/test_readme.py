"""Everything that the README and the docs show runs."""

import importlib.util
import re
import shlex
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import grokjax
from grokjax.cli.arguments import main, parse
from grokjax.cli.config_file import read_sweep, run_file
from grokjax.storage import datasets
from tests.runner.test_trackers import stand_in
from tests.test_notebooks import SIZES as SIZES_OF
from tests.test_notebooks import SMALL
from tests.test_own_parts import command

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CUSTOM_PARTS = ROOT / "docs" / "howto" / "custom_parts.md"
SITE = sorted((ROOT / "docs").rglob("*.md"))
# Pages without directives, whose snippets run.
PAGES = [ROOT / "README.md", *(x for x in SITE if "```{" not in x.read_text())]
PLACEHOLDER = r"\b(BUCKET|WORKDIR|ADDRESS|HOST|OWNER|MINE)\b|scheduler:"
"""Of what only the reader has: such lines and snippets are parsed, not run."""
SIZES = {"modulus": 7, "d_model": 8, "num_heads": 2, "d_mlp": 16}


class Block(NamedTuple):
    language: str
    text: str


def blocks_of(page):
    return [Block(*x) for x in re.findall(r"(?ms)^```(\w*)\n(.*?)^```$", page.read_text())]


def file_of(block):
    """The name of the file that a snippet shows, or None."""
    named = re.match(r"# (\w+\.py)", block.text)
    return named[1] if named else None


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A folder in which the file of custom parts in the docs was trained, and what was printed."""
    folder = tmp_path_factory.mktemp("readme")
    (block,) = (x for x in blocks_of(CUSTOM_PARTS) if file_of(x) == "own.py")
    (folder / "own.py").write_text(block.text)
    tiny = (
        "--config.modulus=7 --config.train_fraction=0.6 --config.d_model=8 --config.num_heads=2 "
        "--config.d_mlp=16 --config.steps=20 --config.checkpoint_every=10 --config.eval_every=10"
    )
    code, out, err = command("sweep", "--config", "own.py", *tiny.split(), cwd=folder)
    assert code == 0, err
    return folder, out


@pytest.mark.slow
def test_the_custom_parts_of_the_docs_train_and_are_measured(own):
    folder, out = own
    assert "softened.temperature" in out
    ds = datasets.load(folder / "runs" / "own" / "measures.nc")
    assert list(ds["softened.temperature"].values) == [0.5, 1.0, 2.0]
    assert (ds["operation"] == "cube").all() and (ds["my_sgd.nesterov"] == 1).all()
    assert (ds["distance"].sel(step=0) == 0).all() and (ds["distance"].sel(step=20) > 0).all()
    np.testing.assert_allclose(ds["lowest_test_loss"], ds["test_loss"].min("step"))
    a, b = np.indices((7, 7))
    params_of_the_task = np.asarray((a**3 + b) % 7)
    run_file(str(folder / "own.py"))
    data = grokjax.open_sweep(folder / "runs" / "own").data(0)
    np.testing.assert_array_equal(data.targets[..., 0], params_of_the_task)


def test_every_kind_of_part_is_in_the_newcomers_table():
    page = CUSTOM_PARTS.read_text()
    table = page[page.index("| to add | write |") :]
    table = table[: table.index("\n\n")]
    for kind in ("operation", "task", "network", "loss", "optimizer", "measure", "summary", "view"):
        assert f"@grokjax.{kind}" in table, kind


@pytest.mark.slow
def test_parts_lists_the_custom_parts_of_a_file(own):
    folder, _ = own
    code, out, err = command("parts", "softened", "--config", "own.py", cwd=folder)
    assert code == 0, err
    assert "softened.temperature=1.0: of the softmax (a number greater than 0)" in out
    assert max(map(len, out.splitlines())) <= 80


# --- Every snippet, in order, in one workdir ------------------------------------------------------


def run_line(line):
    """Run a line of a shell with small networks; only look up what installs or takes hours."""
    argv = shlex.split(line, comments=True)
    if argv[:1] == ["make"]:
        assert re.search(rf"(?m)^{argv[1]}:", (ROOT / "Makefile").read_text()), line
    elif argv[:2] == ["pip", "install"]:
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        known = extras["optional-dependencies"]
        assert all(set(re.findall(r"\[(.*)\]", x)) <= set(known) for x in argv), line
    elif argv[:2] == ["python", "-m"]:
        assert importlib.util.find_spec(argv[2]) is not None, line
    elif argv[0] == "grokjax" and ("|" in argv or "--on" in argv or re.search(PLACEHOLDER, line)):
        parse(argv[1 : argv.index("|") if "|" in argv else None])  # needs a cluster or a bucket
    elif argv[:2] == ["grokjax", "sweep"] and argv[3] != "own.py":
        steps = 1000 if argv[3] == "quickstart" else 20
        every = [f"--config.{name}={value}" for name, value in SIZES.items()]
        every += [f"--config.{x}_every={steps // 4}" for x in ("eval", "checkpoint")]
        every += ["--config.train_fraction=0.5"] * (argv[3] == "weight_decay")
        assert main([*argv[1:], *every, f"--config.steps={steps}", "--figures", "none"]) == 0, line
    else:
        assert argv[0] == "grokjax" and main(argv[1:]) == 0, line


def run_block(block, names):
    """Run a snippet with small networks; only parse those of a library that is not installed."""
    text = block.text
    for pattern, small in SMALL:
        text = re.sub(pattern, small.replace("{sizes}", SIZES_OF["modular"]), text)
    # One size for all, which is compiled once.
    text = text.replace("config.modulus = 11", "config.modulus, config.train_fraction = 7, 0.5")
    code = compile(text, "snippet", "exec")
    if re.search(PLACEHOLDER, text):
        return
    of_others = "transformer_lens" in text
    if of_others and importlib.util.find_spec("transformer_lens") is None:
        return
    try:
        exec(code, names)
    except ImportError:
        if not of_others:
            raise


@pytest.mark.slow
def test_every_snippet_runs_in_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    if importlib.util.find_spec("wandb") is None:
        monkeypatch.setitem(sys.modules, "wandb", stand_in([]))
    monkeypatch.setenv("WANDB_MODE", "offline")
    names = {"__name__": "snippets"}
    order = sorted(PAGES, key=lambda page: page.stem not in ("README", "sweeps"))
    for page in order:
        for block in blocks_of(page):
            assert block.language in ("sh", "python", "text", "bibtex"), (page.name, block)
            if block.language == "sh":
                for line in block.text.splitlines():
                    run_line(line)
            elif block.language == "python" and file_of(block):
                Path(file_of(block)).write_text(block.text)
                if file_of(block) != "own.py":  # trained apart
                    assert len(read_sweep(file_of(block)).runs) > 1
            elif block.language == "python":
                run_block(block, names)
    assert (tmp_path / "runs" / "quickstart" / "report.html").exists()
    assert (tmp_path / "both.html").exists() and names["ds"].restricted_loss.sizes["step"] == 5


def test_links_lead_somewhere():
    for page in PAGES:
        text = re.sub(r"(?ms)^```.*?^```$", "", page.read_text())
        for link in re.findall(r"\]\(([^)#]+)\)", text):
            assert (page.parent / link).exists(), (page.name, link)
        assert not re.search(r"(?m)^    \w", text), page.name  # a snippet that is not fenced
