"""What the README shows is what runs."""

import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
from test_own_parts import command

import grokjax
from grokjax import results

README = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """The workdir of the file of one's own parts in the README."""
    folder = tmp_path_factory.mktemp("readme")
    text = README[README.index("    # own.py:") :]
    text = text[: re.search(r"\n\S", text).start()]
    (folder / "own.py").write_text(textwrap.dedent(text))
    tiny = (
        "--config.modulus=7 --config.train_fraction=0.6 --config.d_model=8 --config.num_heads=2 "
        "--config.d_mlp=16 --config.steps=20 --config.checkpoint_every=10 --config.eval_every=10"
    )
    code, out, err = command("sweep", "--config", "own.py", *tiny.split(), cwd=folder)
    assert code == 0, err
    return folder, out


def test_the_parts_of_the_readme_train_and_are_measured(own):
    folder, out = own
    assert "softened.temperature" in out
    ds = results.load(folder / "runs" / "own" / "measures.nc")
    assert list(ds["softened.temperature"].values) == [0.5, 1.0, 2.0]
    assert (ds["operation"] == "cube").all() and (ds["my_sgd.nesterov"] == 1).all()
    assert (ds["distance"].sel(step=0) == 0).all() and (ds["distance"].sel(step=20) > 0).all()
    np.testing.assert_allclose(ds["lowest_test_loss"], ds["test_loss"].min("step"))
    a, b = np.indices((7, 7))
    params_of_the_task = np.asarray((a**3 + b) % 7)
    from grokjax.commandline import run_file

    run_file(str(folder / "own.py"))
    data = grokjax.open_sweep(folder / "runs" / "own").data(0)
    np.testing.assert_array_equal(data.targets[..., 0], params_of_the_task)


def test_every_kind_of_part_is_in_the_newcomers_table():
    table = README[README.index("| to add | write |") :]
    table = table[: table.index("\n\n")]
    for kind in ("operation", "task", "network", "loss", "optimizer", "measure", "summary"):
        assert f"@grokjax.{kind}" in table, kind


def test_the_catalogue_lists_every_part_in_80_columns(own):
    folder, _ = own
    code, out, err = command("parts", "--config", "own.py", cwd=folder)
    assert code == 0, err
    from grokjax import config, parts

    assert config
    for kind in parts.KINDS:
        for part in parts.all_of(kind):
            assert f"  {part.name}" in out, part.name
    assert "softened.temperature=1.0: of the softmax (a number greater than 0)" in out
    assert max(map(len, out.splitlines())) <= 80
    code, out, err = command("parts", "restricted_los", cwd=folder)
    assert code == 2 and "did you mean 'restricted_loss'" in err and err.count("\n") == 1
