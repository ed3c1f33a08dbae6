import numpy as np
import pytest
import xarray as xr

from experiments import ways, ways_table
from grokjax.config.axes import resolve

EVERY = ways.ways()


@pytest.fixture(scope="module")
def sweep():
    config, rows = ways.laptop()
    return resolve(config, lambda config: rows)


def test_every_way_differs_from_its_baseline_in_itself_alone():
    by_name = {way.name: way for way in EVERY}
    assert len(by_name) == len(EVERY)
    for way in EVERY:
        if way.against:
            other = by_name[way.against]
            assert not other.against
            shared = way.fields.keys() & other.fields.keys()
            differing = {name for name in shared if way.fields[name] != other.fields[name]}
            assert differing <= {"weight_decay", "loss"} and way.fields != other.fields


def test_every_run_is_of_one_way_with_three_seeds(sweep):
    chosen = [ways.runs_of(sweep.runs, way, EVERY) for way in EVERY]
    assert all(len(x) == 3 for x in chosen)
    assert sorted(sum(chosen, [])) == list(range(len(sweep.runs)))
    for way, numbers in zip(EVERY, chosen, strict=True):
        assert {sweep.runs[i].seed for i in numbers} == {0, 1, 2}
        assert all(sweep.runs[i][name] == x for i in numbers for name, x in way.fields.items())


def test_table_counts_runs_that_grok_and_divides_by_the_baseline(sweep):
    steps = np.full(len(sweep.runs), np.nan)
    by_name = {way.name: ways.runs_of(sweep.runs, way, EVERY) for way in EVERY}
    steps[by_name[ways.BASE]] = [600, 500, 700]
    steps[by_name["Muon"]] = [300, np.nan, 200]
    steps[by_name["LayerNorm"]] = [900, np.nan, np.nan]
    steps[by_name["StableMax"]] = [4000, 5000, 6000]
    measures = xr.Dataset({name: ("run", steps) for name in ("steps_to_memorize", "steps_to_grok")})
    rows = {row["way"]: row for row in ways.table(sweep.runs, measures, EVERY)}
    assert (rows["Muon"]["grokked"], rows["Muon"]["seeds"]) == (2, 3)
    assert (rows["Muon"]["median"], rows["Muon"]["median_without"]) == (300, 600)
    assert rows["Muon"]["ratio"] == 0.5
    assert rows["LayerNorm"]["grokked"] == 1 and np.isnan(rows["LayerNorm"]["ratio"])
    assert rows["StableMax"]["median"] == 5000 and np.isnan(rows["StableMax"]["ratio"])
    assert rows[ways.BASE]["against"] is None


def test_smaller_budget_has_the_same_ways_with_fewer_updates():
    for whole, half in zip(EVERY, ways.ways(0.5), strict=True):
        assert half == whole._replace(fields=whole.fields | {"steps": whole.fields["steps"] // 2})


def test_losses_have_a_panel_for_each_way_with_its_seeds(sweep):
    runs = np.arange(len(sweep.runs))
    fields = sorted({name for run in sweep.runs for name in run})
    coords = {}
    for name in fields:
        values = [run[name] if name in run else None for run in sweep.runs]
        text = any(isinstance(x, str) for x in values)
        if any(isinstance(x, tuple) for x in values):
            continue
        values = [("" if text else np.nan) if x is None else x for x in values]
        coords[name] = ("run", values)
    steps, series = [0, 10, 20], np.ones((len(runs), 3))
    names = ("train_loss", "test_loss", "excluded_loss")
    ds = xr.Dataset(
        {name: (("run", "step"), series) for name in names},
        {"run": runs, "step": steps, **coords},
    )
    figure = ways.losses(ds, ds)
    assert [ax.get_title() for ax in figure.axes] == [way.name for way in EVERY]
    assert all(len(ax.lines) == 9 for ax in figure.axes)
    assert max(figure.get_size_inches()) < 15


# --- The page -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "others", "how"),
    [
        ([100, 200, 300], [400, 500, None], "earlier"),
        ([100, 200, 400], [400, 500, 600], ""),
        ([None, None, None], [400, 500, 600], "later"),
        ([None, None, None], [None, 500, 600], ""),
        ([100, 200, 300], [None, None, None], "earlier"),
        ([None] * 3, [None] * 3, ""),
    ],
)
def test_comparison_has_a_word_only_if_all_seeds_lie_apart(steps, others, how):
    assert ways_table.separated(steps, others) == how


def test_probability_of_equal_runs_apart_by_chance():
    rng = np.random.default_rng(0)
    apart = [
        bool(ways_table.separated(*np.split(rng.permutation(6).astype(float), 2)))
        for _ in range(4_000)
    ]
    assert np.mean(apart) == pytest.approx(ways_table.by_chance(3, 3), abs=0.02)


def test_range_text_shows_runs_that_did_not_grok():
    assert ways_table.range_text([300, 100, 200], 1_500) == "200 [100, 300]"
    assert ways_table.range_text([300, None, 200], 1_500) == "300 [200, > 1,500]"
    assert ways_table.range_text([None, None, 200], 1_500) == "> 1,500 [200, > 1,500]"
    assert ways_table.range_text([None] * 3, 4_000) == "> 4,000"
    assert ways_table.range_text([100, 200], 4_000) == "150 [100, 200]"
    assert ways_table.range_text([100, None], 4_000) == "> 4,000 [100, > 4,000]"


def test_page_has_a_sentence_only_for_ways_that_lie_apart():
    row = lambda way, against, steps, claim=None, memorized=(100, 100, None): {  # noqa: E731
        "way": way,
        "against": against,
        "claim": claim,
        "updates": 1_500,
        "seeds": 3,
        "grokked": sum(x is not None for x in steps),
        "steps_to_grok": steps,
        "steps_to_memorize": memorized,
        "ratio": 0.5 if against else None,
    }
    rows = [
        row("base", None, [400, 500, 600]),
        row("fast", "base", [100, 200, 300], "is fast"),
        row("same", "base", [400, 500, None]),
        row("stuck", "base", [None] * 3, memorized=[None] * 3),
    ]
    text = ways_table.markdown({"ways": rows, "command": "python"})
    assert (
        "| fast | 200 [100, 300] | 3/3 | 2/3 | 500 [400, 600] *base* | 3/3 | 0.50 | earlier" in text
    )
    assert "- fast: earlier than base" in text and "- same" not in text
    assert text.count("does not memorize") == 1
