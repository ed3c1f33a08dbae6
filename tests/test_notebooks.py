"""The notebooks of docs run from first cell to last, on small networks and few steps."""

import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs" / "notebooks").glob("*.ipynb"))

SMALL = (
    (r"config\.modulus, config\.train_fraction = 59, 0\.5", "config.modulus = 11"),
    (r"config\.steps = [\d_]+", "config.steps = 100"),
    (r"(config = grokjax\.config\.default\(\).*)", r"\1\n{sizes}"),
)
SIZES = {"modular": "config.d_model, config.num_heads, config.d_mlp = 8, 2, 16"}
SIZES["parity"] = "config.d_mlp = 16"


def cells(path: Path) -> list[dict]:
    return [x for x in json.loads(path.read_text())["cells"] if x["cell_type"] == "code"]


def test_there_are_three():
    assert [path.stem[0] for path in NOTEBOOKS] == ["1", "2", "3"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_kept_and_hold_no_error(path):
    kinds = [output["output_type"] for cell in cells(path) for output in cell["outputs"]]
    assert kinds and "error" not in kinds
    numbers = [cell["execution_count"] for cell in cells(path)]
    assert numbers == list(range(1, len(numbers) + 1))  # run once, from above
    pictures = [
        o for cell in cells(path) for o in cell["outputs"] if "image/png" in o.get("data", {})
    ]
    assert pictures and "/home" not in path.read_text() and "Traceback" not in path.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_runs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    names = {"__name__": f"notebook_{path.stem}"}
    sizes = SIZES["parity" if "own" in path.stem else "modular"]
    for number, cell in enumerate(cells(path), 1):
        source = "".join(cell["source"])
        for pattern, small in SMALL:
            source = re.sub(pattern, small.replace("{sizes}", sizes), source)
        exec(compile(source, f"{path.name}, cell {number}", "exec"), names)
    assert list((tmp_path / "runs").glob("*/measures.nc"))
