import json
from pathlib import Path

import numpy as np
import pytest
import small_sweeps
from scipy import stats

import grokjax
from experiments.predictors import onsets, page, statistics, table, taken
from experiments.predictors import sweep as predicted
from experiments.predictors.figure import which_knew_first
from grokjax.config import SweepConfig
from grokjax.core.parts import get
from grokjax.measures.select import select

RESULT = Path(predicted.__file__).parents[1] / "results" / "predictors.json"

# --- Statistics -----------------------------------------------------------------------------------


def test_rank_correlation_leaves_out_missing_and_constant_values():
    x, y = np.round(np.random.default_rng(0).normal(size=(2, 40)))  # with ties
    assert statistics.spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    x[3] = y[5] = np.nan
    without = np.delete(x, (3, 5)), np.delete(y, (3, 5))
    assert statistics.spearman(x, y) == pytest.approx(stats.spearmanr(*without).statistic)
    assert np.isnan(statistics.spearman(np.ones(5), np.arange(5.0)))
    assert np.isnan(statistics.spearman(np.arange(2.0), np.arange(2.0)))


def test_rank_correlation_within_cells_ignores_differences_between_cells():
    cells = np.repeat([0, 1, 2], 5)
    order = np.tile([1.0, 2, 3, 4, 5], 3)
    x, y = 100 * cells + order, 100 * cells - order
    assert statistics.spearman(x, y) > 0.7
    assert statistics.spearman_within(x, y, cells) == pytest.approx((-1.0, -np.sqrt(12)))
    y[cells == 1] = np.nan  # a cell that never groks
    assert statistics.spearman_within(x, y, cells) == pytest.approx((-1.0, -np.sqrt(8)))
    assert np.isnan(statistics.spearman_within(x[:2], y[:2], cells[:2])[0])


def test_z_of_unrelated_numbers_is_standard_normal():
    rng = np.random.default_rng(1)
    cells = np.repeat(np.arange(4), [4, 5, 6, 8])
    samples = (rng.normal(size=(2, len(cells))) for _ in range(500))
    z = [statistics.spearman_within(*xy, cells)[1] for xy in samples]
    assert np.mean(z) == pytest.approx(0, abs=0.15)
    assert np.std(z) == pytest.approx(1, abs=0.1)


def test_concordance_of_a_censored_example_by_hand():
    # Runs grok at 1, 2 and 4; one ended at 3, and one at 5.
    times, grokked = np.array([1.0, 2, 4, 3, 5]), np.array([True, True, True, False, False])
    pairs = statistics.comparable(times, grokked)
    assert pairs.sum() == 4 + 3 + 1  # nothing is known about the one that ended at 3 after that
    assert not pairs[3].any() and not pairs[2, 3]
    assert statistics.concordance(-times, pairs) == 1
    assert statistics.concordance(times, pairs) == 0
    assert statistics.concordance(np.zeros(5), pairs) == 0.5
    scores = np.array([5.0, 1, 3, 4, 2])  # right: 0 before all; 2 before 4. Wrong: 1 before any
    assert statistics.concordance(scores, pairs) == pytest.approx(5 / 8)
    scores[0] = np.nan
    assert statistics.concordance(scores, pairs) == pytest.approx(1 / 4)


def test_run_that_ends_as_another_groks_is_later():
    pairs = statistics.comparable(np.array([3.0, 3, 3]), np.array([True, False, True]))
    assert pairs.tolist() == [[False, True, False], [False, False, False], [False, True, False]]


def test_concordance_without_censoring_is_kendalls_tau():
    rng = np.random.default_rng(2)
    times, scores = rng.permutation(30) * 1.0, rng.normal(size=30)
    result = statistics.concordance(scores, statistics.comparable(times, np.ones(30, bool)))
    assert 2 * result - 1 == pytest.approx(-stats.kendalltau(times, scores).statistic)


def test_weights_are_copies_of_runs():
    rng = np.random.default_rng(3)
    times, scores = rng.permutation(9) * 1.0, rng.normal(size=9)
    grokked, drawn = rng.random(9) < 0.7, rng.integers(9, size=9)
    pairs = statistics.comparable(times, grokked)
    weights = np.stack([np.bincount(drawn, minlength=9), np.ones(9)])
    by_weight = statistics.concordance(scores, pairs, weights)
    copies = [scores[i] > scores[j] for i in drawn for j in drawn if pairs[i, j]]
    assert by_weight[0] == pytest.approx(np.mean(copies))
    assert by_weight[1] == statistics.concordance(scores, pairs)


def test_bootstrap_interval_has_the_theoretical_width():
    counts = statistics.resampled(400)
    assert (counts.sum(1) == 400).all()
    x = np.random.default_rng(4).normal(size=400)
    low, high = statistics.interval(counts @ x / 400)
    assert high - low == pytest.approx(2 * 1.96 * x.std() / 20, rel=0.08)
    assert all(np.isnan(statistics.interval(np.array([np.nan]))))


def test_half_of_every_cell_is_judged():
    cells = np.array([0, 1, 0, 1, 2, 0, 1, 0, 1, 2])
    judged = statistics.halves(cells)
    assert [judged[cells == cell].sum() for cell in (0, 1, 2)] == [2, 2, 1]


def test_hyperparameters_predict_the_median_of_the_nearest_cell():
    settings = np.array([[1, 0.1], [1, 0.1], [1, 0.1], [2, 0.1], [2, 0.1], [3, 0.9], [3, 0.9]])
    times = np.array([10.0, 30, 99, 50, 70, 500, 500])
    grokked = np.array([True, True, True, True, True, False, False])
    known = np.array([True, True, False, True, False, True, False])
    result = statistics.of_nearest_cell(settings, times, grokked, known)
    assert result.tolist() == [20, 20, 20, 50, 50, np.inf, np.inf]
    known[3] = False  # no run of (2, 0.1) is known: (1, 0.1) is nearer than (3, 0.9)
    assert statistics.of_nearest_cell(settings, times, grokked, known)[4] == 20


# --- Onsets ---------------------------------------------------------------------------------------

STEPS = np.array([0, 10, 20, 30, 40])


@pytest.mark.parametrize(
    ("kind", "in_a_row", "series", "step"),
    [
        ("above", 1, [0, 1, 2, 3, 4], 30),
        ("below", 1, [0, -1, -2, -3, -4], 30),
        ("up since the start by", 1, [5, 6, 7, 8, 9], 30),
        ("down since the start by", 1, [5, 4, 3, 2, 1], 30),
        ("up from its lowest by", 1, [9, 1, 2, 5, 2], 30),
        ("down from its highest by", 1, [1, 9, 8, 5, 8], 30),
        ("above", 1, [0, np.nan, 1, np.nan, 2], np.nan),
        ("above", 2, [0, 3, 0, 3, 3], 40),
        ("above", 2, [0, 0, 0, 0, 3], np.nan),
    ],
)
def test_onset_is_the_first_step_beyond_the_threshold(kind, in_a_row, series, step):
    result = onsets.onset(STEPS, np.array([series], float), onsets.Rule(kind, 2.0, in_a_row))
    np.testing.assert_equal(result, [step])


def test_outcome_counts_leads_misses_and_false_alarms():
    times = np.array([100.0, 200, 300, 40, 40])
    grokked = np.array([True, True, True, False, False])
    result = onsets.outcome(np.array([50, 250, 100, np.nan, 30]), times, grokked)
    counts = [result[x] for x in ("grokked", "warned", "never", "false_alarms")]
    assert counts == [3, 2, 2, 1]  # run 1 had its onset after it grokked
    assert result["lead"] == [87.5, 125, 162.5]
    assert result["lead_share"][1] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert result["skill"] == pytest.approx(2 / 3 - 1 / 2)


def test_chosen_rule_tells_runs_apart_as_early_as_possible():
    times, grokked = np.array([40.0, 40, 40, 40]), np.array([True, True, False, False])
    series = np.array([[0.0, 1, 2, 3, 9], [0, 1, 2, 3, 9], [0, 1, 1, 1, 1], [0, 1, 1, 1, 1]])
    rule = onsets.choose(STEPS, series, times, grokked)
    np.testing.assert_equal(onsets.onset(STEPS, series, rule), [20, 20, np.nan, np.nan])


# --- The table ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def report():
    """Eight cells of six runs. One measure knows all, one nothing, one the hyperparameters."""
    rng = np.random.default_rng(5)
    cells = np.repeat(np.arange(8), 6)
    settings = np.stack([cells // 4, cells % 4], 1).astype(float)
    to_grok = 500 + 100.0 * cells + 40 * rng.normal(size=48)
    to_grok[cells >= 6] = np.nan
    runs = table.runs_of(to_grok, np.full(48, 2_000.0), settings)
    steps = np.array([0, 100, 200, 400, 800])
    series = {
        "knows": -np.nan_to_num(to_grok, nan=5_000)[:, None] + 20.0 * steps,
        "guesses": rng.normal(size=(48, 5)),
        "train_loss": np.repeat(1.0 * cells[:, None], 5, 1),
        "total_sum_squared_weights": rng.normal(size=(48, 5)),
    }
    at = table.landmark(steps, runs)
    rows = table.rows({name: (name, x) for name, x in series.items()}, steps, runs, at)
    rows = [row | {"sees_test_answers": False} for row in rows]
    counts = {"runs": 48, "never_grok": 12, "cells": 8, "at_risk": 48}
    return {"rows": rows, "landmark": at, "needed_z": statistics.needed_z(len(rows)), **counts}


def test_a_measure_that_knows_is_told_from_one_that_guesses(report):
    assert report["landmark"] == 400  # before any choosing run groks
    rows = {row["name"]: row for row in report["rows"]}
    knows, guesses, of_cells = (rows[x] for x in ("knows", "guesses", "train_loss"))
    assert knows["rank_correlation_within_cells"] == pytest.approx(-1)
    assert knows["z_within_cells"] == pytest.approx(-np.sqrt(6 * 5))
    assert knows["concordance"] == 1 and knows["high_means_early"]
    assert knows["warned"] == knows["grokked"] == 18 and knows["false_alarms"] == 0
    assert {"train_loss", "hyperparameters", "total_sum_squared_weights"} == set(knows["beats"])
    assert abs(guesses["z_within_cells"]) < report["needed_z"] and not guesses["beats"]
    assert 0.3 < guesses["concordance"] < 0.7
    assert np.isnan(of_cells["rank_correlation_within_cells"])  # it is constant within a cell
    assert of_cells["concordance"] == pytest.approx(rows["hyperparameters"]["concordance"], abs=0.1)


def test_figure_has_a_line_for_each_row(report):
    figure = which_knew_first(report["rows"], 400, report["needed_z"], "here")
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names[-1] == "hyperparameters" and len(names) == len(report["rows"])


def test_committed_table_follows_the_committed_numbers():
    report = page.with_nan(json.loads(RESULT.read_text()))
    assert page.markdown(report) == (RESULT.parent / "predictors" / "table.md").read_text()
    assert report["needed_z"] == pytest.approx(statistics.needed_z(len(report["rows"])))


# --- Measures at chosen checkpoints ---------------------------------------------------------------


@pytest.mark.slow
def test_measures_use_only_what_is_known_at_their_checkpoint(tmp_path):
    config = SweepConfig(small_sweeps.runs_of(seed=(0, 1)), checkpoint_every=20)
    small_sweeps.train(config.replace(measures=("train_loss",)), tmp_path / "runs")
    opened = grokjax.open_sweep(tmp_path / "runs")
    names = ("key_frequency", "restricted_loss", "gini_embedding", "drift")
    choose = lambda block: select(names, block.program, opened.data(0).splits)  # noqa: E731
    steps = opened.steps[:2]
    ds = taken.take(opened, steps, choose, tmp_path / "taken" / "some")
    for run in (0, 1):
        for step in steps:
            expected = grokjax.measures_of(opened.params(run, step), opened.data(run), *names[:3])
            for name in names[:3]:
                values = np.asarray(expected[name], float)
                np.testing.assert_allclose(ds[name].sel(run=run, step=step), values, 1e-5)
    assert (ds["drift"].sel(step=0) == 0).all() and (ds["drift"].sel(step=steps[1]) > 0).all()
    files = {path.name: path.stat().st_mtime for path in (tmp_path / "taken").iterdir()}
    assert len(files) == len(steps)
    assert taken.take(opened, steps, choose, tmp_path / "taken" / "some").equals(ds)
    assert files == {path.name: path.stat().st_mtime for path in (tmp_path / "taken").iterdir()}
    parts = [get("measure", name, "modular") for name in names[1:]]
    assert taken.sees_test_answers(parts, opened, 0, steps[1]) == {"restricted_loss"}
    series = taken.scalars(ds)
    assert set(series) == set(names[1:])
    assert series["drift"][1].shape == (2, 2)


# --- The runs -------------------------------------------------------------------------------------


def test_a_quarter_of_at_least_sixty_runs_never_groks():
    runs, result = predicted.sweep().runs, json.loads(RESULT.read_text())
    assert len(runs) == result["runs"] >= 60
    assert 1 / 5 < result["never_grok"] / result["runs"] < 1 / 3
    assert {run.modulus for run in runs} == {59}


def test_few_checkpoints_are_some_of_the_many():
    many = taken.spaced(range(0, 3001, 10), 28)
    few = taken.spaced(many, 12)
    assert many[0] == 0 and many[-1] == 3000 and len(many) <= 28
    assert set(few) <= set(many) and 10 <= len(few) <= 12
    assert taken.spaced([0, 5, 9], 28) == [0, 5, 9]
