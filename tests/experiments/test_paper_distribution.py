import json

import numpy as np
import pytest
import xarray as xr

from experiments import distribution, distribution_shown
from experiments.paper_page.__main__ import RESULTS
from grokjax import open_sweep
from grokjax.config.sweep import RunConfig, SweepConfig
from grokjax.runner.run import run_sweep

LOSS, SKIP = "loss", "ablations.mlp_skip_zero"
OTHER = distribution.PAPERS | {"modulus": 59}


def values(ratios, setting=distribution.PAPERS, agrees=None):
    """Networks by run: ratio [run][checkpoint] of the loss without the skip to the loss."""
    return [
        {
            "run": run,
            "step": step,
            "setting": setting,
            "readings": {
                LOSS: {"compared": [2e-7], "agrees": True},
                SKIP: {"compared": [x], "agrees": x > 3.5 if agrees is None else agrees},
            },
        }
        for run, of_run in enumerate(ratios)
        for step, x in enumerate(of_run)
    ]


def test_quantiles_and_spreads_are_those_of_numpy():
    ratios = np.array([[3.0, 4.0, 5.0], [6.0, 8.0, 10.0]])
    (setting,) = distribution.summary(values(ratios))["settings"].values()
    found = setting["readings"][SKIP]
    assert (setting["runs"], setting["networks"], found["networks"]) == (2, 6, 6)
    (printed,) = found["printed"]
    assert printed == pytest.approx(9.12e-7 / 2.41e-7)
    np.testing.assert_allclose(found["quantiles"][0], np.quantile(ratios, distribution.QUANTILES))
    np.testing.assert_allclose(found["spread_within"], [np.median([1.0, 2.0])])
    np.testing.assert_allclose(found["spread_between"], [np.std([4.0, 8.0], ddof=1)])
    assert found["share_below_printed"] == [pytest.approx(1 / 6)]
    assert found["agrees"] == pytest.approx(5 / 6)
    assert setting["statements"]["mlp_skip_zero"] == pytest.approx(5 / 6)
    assert setting["statements"]["Table 2"] == 0


@pytest.mark.parametrize("printed, share", [(0, 0), (1, 0.125), (2, 0.5), (3, 0.875), (9, 1)])
def test_ties_with_the_printed_number_count_half(printed, share):
    assert distribution.below(np.array([1, 2, 2, 3]), printed) == share


def test_lists_need_the_papers_setting_and_another():
    authors = {
        "agreement": [
            {"claim": "mlp_skip_zero", "verdict": "agrees: x"},
            {"claim": "Table 2", "verdict": "agrees: y"},
            {"claim": "loss", "verdict": "unresolved"},
        ]
    }

    def found(*groups):
        return distribution.lists(distribution.summary(sum(groups, [])), authors)

    often, seldom = [[4.0] * 20], [[4.0] * 18 + [1.0] * 2]
    assert found(values(often, OTHER)) == dict.fromkeys(("grokking", "setting", "checkpoint"))
    alone = found(values(often))
    assert alone == {"grokking": None, "setting": None, "checkpoint": ["Table 2"]}
    both = found(values(often), values(often, OTHER))
    assert both["grokking"] == ["loss", "mlp_skip_zero"] and both["setting"] == []
    own = found(values(often), values(seldom, OTHER))
    assert own["grokking"] == ["loss"] and own["setting"] == ["mlp_skip_zero"]
    one = found(values(seldom), values(often, OTHER))
    assert one["grokking"] == ["loss"] and one["checkpoint"] == ["mlp_skip_zero", "Table 2"]


def test_figure_and_table_show_the_papers_setting_alone():
    report = distribution.summary(values([[3.0, 4.0]]) + values([[9.0]], OTHER))
    (loss, skip) = distribution_shown.lines(report, RESULTS)
    assert (loss.claim, skip.claim) == ("loss", "mlp_skip_zero")
    state = json.loads((RESULTS / "paper_tables_authors_mainline.json").read_text())
    of_network = state["ablations"]["mlp_skip_zero"]["all"] / state["loss"]["all"]
    assert skip.authors[0] == pytest.approx(of_network) and skip.quantiles[2] == 3.5
    cells = distribution_shown.rows(report, RESULTS)
    assert [len(x) for x in cells] == [len(distribution_shown.HEAD)] * 2
    assert "p 59, fraction 0.3, decay 1: 1 runs" in distribution_shown.text(report, RESULTS)
    (ax,) = distribution_shown.figure(report, RESULTS).axes
    assert [x.get_text() for x in ax.get_yticklabels()] == ["mlp_skip_zero", "loss"]
    assert not list(distribution_shown.lines(distribution.summary(values([[9.0]], OTHER)), RESULTS))


@pytest.mark.slow
def test_an_interrupted_evaluation_continues(tmp_path, monkeypatch):
    sizes = dict(d_model=8, num_heads=2, d_mlp=16, steps=6, train_fraction=0.5, modulus=7)
    runs = [RunConfig(**sizes, seed=seed) for seed in (0, 1, 2)]
    every = dict(eval_every=2, checkpoint_every=2, resume_every=2)
    config = SweepConfig(tuple(runs), measures=("general",), **every)
    run_sweep(config, tmp_path / "runs", lambda text: None, "none")
    sweep, folder = open_sweep(tmp_path / "runs"), tmp_path / "statements"
    ends = xr.Dataset({"cleanup_end": ("run", [2.0, np.nan, 6.0])}, {"run": [0, 1, 2]})
    report = distribution.evaluate(sweep, ends, folder, last=2)
    assert report["runs_without_end_of_cleanup"] == [1]
    names = {path.name for path in folder.iterdir()}
    assert names == {"0_4.json", "0_6.json", "2_6.json"}
    (setting,) = report["settings"].values()
    assert (setting["runs"], setting["networks"]) == (2, 3)
    assert setting["readings"]["loss"]["networks"] == 3
    calls = []
    compute = distribution._value
    monkeypatch.setattr(distribution, "_value", lambda *x: calls.append(x[1:]) or compute(*x))
    (folder / "0_6.json").unlink()
    again = distribution.evaluate(sweep, ends, folder, last=2)
    assert calls == [(0, 6)] and json.dumps(again) == json.dumps(report)
