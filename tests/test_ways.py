import numpy as np
import pytest
import xarray as xr

from experiments import ways
from grokjax.table import resolve

EVERY = ways.ways()


@pytest.fixture(scope="module")
def sweep():
    config, rows = ways.laptop()
    return resolve(config, lambda config: rows)


def test_every_way_is_set_against_one_that_is_there_and_differs_in_itself_alone():
    by_name = {way.name: way for way in EVERY}
    assert len(by_name) == len(EVERY)
    for way in EVERY:
        if way.against:
            other = by_name[way.against]
            assert not other.against
            shared = way.fields.keys() & other.fields.keys()
            differing = {name for name in shared if way.fields[name] != other.fields[name]}
            assert differing <= {"weight_decay", "loss"} and way.fields != other.fields


def test_three_seeds_of_each_and_no_run_of_two_ways(sweep):
    chosen = [ways.places(sweep.runs, way, EVERY) for way in EVERY]
    assert all(len(x) == 3 for x in chosen)
    assert sorted(sum(chosen, [])) == list(range(len(sweep.runs)))
    for way, places in zip(EVERY, chosen, strict=True):
        assert {sweep.runs[i].seed for i in places} == {0, 1, 2}
        assert all(sweep.runs[i][name] == x for i in places for name, x in way.fields.items())


def test_the_table_counts_what_grokked_and_divides_by_the_baseline(sweep):
    steps = np.full(len(sweep.runs), np.nan)
    by_name = {way.name: ways.places(sweep.runs, way, EVERY) for way in EVERY}
    steps[by_name[ways.BASE]] = [600, 500, 700]
    steps[by_name["Muon"]] = [300, np.nan, 200]
    steps[by_name["LayerNorm"]] = [900, np.nan, np.nan]
    steps[by_name["StableMax"]] = [4000, 5000, 6000]
    measures = xr.Dataset({name: ("run", steps) for name in ("steps_to_memorize", "steps_to_grok")})
    found = {row["way"]: row for row in ways.table(sweep.runs, measures, EVERY)}
    assert (found["Muon"]["grokked"], found["Muon"]["seeds"]) == (2, 3)
    assert (found["Muon"]["median"], found["Muon"]["median_without"]) == (300, 600)
    assert found["Muon"]["ratio"] == 0.5
    assert found["LayerNorm"]["grokked"] == 1 and np.isnan(found["LayerNorm"]["ratio"])
    assert found["StableMax"]["median"] == 5000 and np.isnan(found["StableMax"]["ratio"])
    assert found[ways.BASE]["against"] is None


def test_a_smaller_budget_is_the_same_ways_in_fewer_updates():
    for whole, half in zip(EVERY, ways.ways(0.5), strict=True):
        assert half == whole._replace(fields=whole.fields | {"steps": whole.fields["steps"] // 2})
