"""The comparison of a grid and a refined sweep, on known outcomes."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import grokjax
from experiments import boundary, lab, refine_rules
from tests.results.test_boundary import known, made


class Known:
    """A sweep of known outcomes."""

    def __init__(self, seeds, refine, noise=0.05):
        self.ds, self.made_with = made(seeds=seeds, noise=noise), {}
        self.config = lab.swept(boundary.refined).replace()
        self.runs = pd.DataFrame({x: self.ds[x].values for x in (*boundary.AXES, "seed", "steps")})
        self.config.__dict__["refine"] = refine

    def measures(self):
        return self.ds

    def ended(self):
        return pd.DataFrame({"ended_at": [], "ended_by": []})


@pytest.fixture
def sweeps(monkeypatch):
    refine = lab.swept(boundary.refined).refine
    opened = {"grid": Known(3, None), "refined": Known(2, refine)}
    monkeypatch.setattr(grokjax, "open_sweep", opened.__getitem__)
    return opened


def test_areas_between_boundaries_are_those_of_the_known_one(sweeps, tmp_path, monkeypatch):
    monkeypatch.setattr(boundary, "hours", {"grid": 2.0, "refined": 0.5}.get)
    options = ["--preset", "compare", "--workdirs", "grid", "refined", "--out", str(tmp_path)]
    assert boundary.main(options) == 0
    report = json.loads((tmp_path / "boundary.json").read_text())
    assert report["grid"]["runs"] == len(sweeps["grid"].config.runs)
    assert (report["grid"]["hours"], report["refined"]["hours"]) == (2.0, 0.5)
    assert 0 < report["area_between"]["refined, interpolated grid"] < 0.1
    assert report["area_between"]["refined, grid"] < 0.03
    assert 0 < report["area_of_the_grid_over_its_seeds"]["one_seed"] < 0.1
    assert (tmp_path / "boundary" / "both.png").exists()
    shares = boundary.share_of_grid(sweeps["grid"])
    decays, fractions = boundary._fine()
    truth = known(decays[:, None], fractions) < np.log10(40_000)
    assert np.mean(boundary.side_of_share(shares.mean("seed")) != truth) < 0.1
    diagram = boundary.boundary.diagram(sweeps["grid"].ds)
    assert np.mean(boundary.side_of_diagram(diagram) != truth) < 0.03


def test_presets_share_their_settings_and_a_quarter_of_the_runs():
    grid, refined = (lab.swept(boundary.PRESETS[name]) for name in ("grid", "refined"))
    assert len(grid.runs) == 768 and refined.refine.runs == 192
    free = {"weight_decay", "train_fraction", "seed"}
    fields = [
        {k: v for k, v in x.runs[0].to_dict().items() if k not in free} for x in (grid, refined)
    ]
    assert fields[0] == fields[1] and grid.eval_every == refined.eval_every
    for name, one in refined.refine.axes:
        assert (min(grid.column(name)), max(grid.column(name))) == (one.low, one.high)


def test_docs_show_the_recorded_errors():
    root = Path(refine_rules.__file__).parents[1]
    path = root / "experiments" / "results" / "refine_rules.json"
    table = json.loads(path.read_text())["table"]
    assert refine_rules.markdown(table) in (root / "docs" / "howto" / "refine.md").read_text()
    of = {(x["rule"], x["points"], x["function"], x["noise"]): x["error"] for x in table}
    for name in refine_rules.FUNCTIONS:
        for noise in refine_rules.NOISES:
            chosen = of["censored model, targeted", 64, name, noise]
            assert chosen < of["grid, interpolated", 256, name, noise]


def test_rules_take_as_many_points_as_they_may(monkeypatch):
    rules = ("random, interpolated", "Delaunay, interpolated", "censored model, straddle")
    chosen = {name: refine_rules.RULES[name] for name in rules}
    monkeypatch.setattr(refine_rules, "RULES", chosen)
    monkeypatch.setattr(refine_rules, "SIZES", (32,))
    errors = refine_rules.errors_of(refine_rules.line, 0.05, 0)
    assert set(errors) == {*rules, "grid, interpolated", "grid, censored model"}
    assert all(0 < error < 0.2 for sizes in errors.values() for error in sizes.values())
    trained = refine_rules.Trained(refine_rules.line, 0.05, 0)
    trained.train(refine_rules.square(4))
    trained.train(trained.points[:1])
    assert trained.count == 17 and len(trained.points) == 16 and len(trained.outcomes[0]) == 6


def test_hours_reach_from_the_first_file_to_the_measures(tmp_path):
    for name, at in (("config.json", 7200), ("measures.nc", 12_600), ("report.html", 99_999)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (at, at))
    assert boundary.hours(str(tmp_path)) == 1.5
