import itertools
import json
import re

import numpy as np
import pytest

from experiments.paper_page import drawn, figures, items, judged, sequences, statements, tables
from experiments.paper_page.__main__ import PAGES, RESULTS, ROOT, filled, known
from experiments.paper_page.recorded import Experiment, Run, identity, preset
from experiments.paper_page.statements import EXPERIMENTS, Order, Statement
from grokjax.core import parts
from grokjax.core.errors import ConfigError

EVERY = known()


@pytest.mark.parametrize("page", PAGES)
def test_the_committed_pages_are_what_the_committed_results_bear(page):
    text = (ROOT / page).read_text()
    assert filled(text, PAGES[page], EVERY) == text, "run python -m experiments.paper_page"


@pytest.mark.parametrize("page", PAGES)
def test_the_links_of_the_pages_lead_somewhere(page):
    text = (ROOT / page).read_text()
    links = re.findall(r"\]\(([^)#]+)\)", text)
    assert links and all(((ROOT / page).parent / link).exists() for link in links)


def test_the_committed_figures_are_those_that_todays_code_draws():
    for name, experiment in EVERY.items():
        assert not experiment or drawn.faults(experiment, RESULTS / name) == []


def test_a_page_without_a_place_for_a_part_is_refused():
    with pytest.raises(ConfigError, match="no place for tally"):
        filled("# Results\n", PAGES["docs/results.md"], EVERY)


def test_what_one_key_frequency_less_costs_is_told_by_how_many_there_are():
    seeds = itertools.count()

    def run(losses, grokked=True, **fields):
        without = {"neuron_block": {k: {"all": x, "test": 9.0} for k, x in losses.items()}}
        mechanism = {"variants": {"loss_without_frequency": without}}
        numbers = {"grokked": grokked, "key_frequencies_stand_out": True, "mechanism": mechanism}
        fields = {"seed": next(seeds), **fields}
        return Run({"modulus": 113, "num_layers": 1, "loss": "exact", **fields}, numbers)

    runs = [run({"3": 0.5, "7": 1.5}), run({"4": 2.5, "5": 3.0}), run({"1": 0.25})]
    runs += [run({"1": 7.0}, grokked=False), run({"1": 7.0}, modulus=59)]
    runs += [run({"1": 7.0}, num_layers=2), run({"1": 7.0}, loss="low_precision")]
    of = lambda *runs: Experiment("some", "paper", runs, {})  # noqa: E731
    found = tables.without_one_table({"some": of(*runs), "again": of(runs[0]), "none": None})
    assert found.splitlines()[2:] == [
        "| 59 | 1 | 1 | 7 | 7 | `some` |",
        "| 113 | 1 | 1 | 0.25 | 0.25 | `some` |",
        "| 113 | 2 | 2 | 2 | 0.5 to 3 | `some` |",
    ]


# --- n, median, range, agrees ---------------------------------------------------------------------


def experiment(values, place="x", trained=40_000, **fields):
    runs = [
        Run(
            {"modulus": 113, "seed": i, **fields}, {place: x, "trained": trained, "mechanism": None}
        )
        for i, x in enumerate(values)
    ]
    return Experiment("some", "paper", tuple(runs), {})


def lined(values, check, place="x", **more):
    (line,) = judged.judged(
        (Statement("it", "so", place, check),), experiment(values, place, **more)
    )
    return line


def test_a_line_counts_and_says_whether_every_run_agrees():
    check = statements.between(1, 2)
    line = lined([1.25, 1.5, 3.0], check)
    assert (line.n, line.median, line.range, line.agrees) == (3, "1.5", "1.25 to 3", "2 of 3")
    assert lined([1.25, 1.5, 1.75], check).agrees == "yes"
    assert lined([3.0] * 3, check).cells[3:] == ("3", "3", "3", "no")
    assert lined([None] * 3, check).agrees == judged.NOT_MEASURED
    (line,) = judged.judged((Statement("it", "so", "x", check),), None)
    assert line.cells == ("it", "so", "1 to 2", "", "", "", judged.NOT_RUN)


def test_few_seeds_and_another_setting_are_said():
    check = statements.between(1, 2)
    assert lined([1.5], check).agrees == "yes (1 run only)"
    line = lined([3.0, 3.0], check, modulus=59, train_fraction=0.5)
    assert line.agrees == "no (2 runs only; p = 59, train fraction = 0.5)"
    chosen = Statement("it", "so", "x", check, {"train_fraction": 0.5})
    (line,) = judged.judged((chosen,), experiment([1.5] * 3, train_fraction=0.5))
    assert line.agrees == "yes"


def test_a_run_that_was_too_short_tells_nothing_and_a_step_not_reached_is_late():
    never, grok = statements.never_groks(40_000), statements.groks(40_000)
    assert lined([False] * 3, never, "grokked").agrees == "yes"
    assert (
        lined([False] * 3, never, "grokked", trained=8_000).agrees == "unresolved: runs too short"
    )
    assert lined([True, False, False], never, "grokked").agrees == "2 of 3"
    assert lined([False] * 3, grok, "grokked").agrees == "no"
    text = lined([True, True, False], grok, "grokked", trained=8_000).agrees
    assert text == "unresolved: 2 of 2, 1 too short"
    text = lined([True, True, False], never, "grokked", trained=8_000).agrees
    assert text == "unresolved: 0 of 2, 1 too short"
    line = lined(
        [5_000, None, 7_000], statements.within(6_000, 1.5), "steps_to_grok", trained=9_000
    )
    assert (line.n, line.median, line.range) == (3, "7,000", "5,000 to > 9,000")
    assert line.agrees == "2 of 3"


def test_a_claim_of_several_readings_that_none_meets_is_unresolved():
    two = tuple(
        Statement(f"claim: {x}", "so", x, statements.between(1, 2), claim="claim") for x in "ab"
    )
    runs = tuple(Run({"seed": i}, {"a": 3.0, "b": 5.0, "trained": 1}) for i in range(3))
    found = Experiment("some", "paper", runs, {})
    assert [x.agrees for x in judged.judged(two, found)] == ["unresolved"] * 2
    runs = tuple(Run(x.fields, x.numbers | {"b": 1.5}) for x in runs)
    assert [x.agrees for x in judged.judged(two, found._replace(runs=runs))] == ["no", "yes"]
    assert [x.agrees for x in judged.judged(two[:1], found)] == ["no"]


@pytest.mark.parametrize(
    ("steps", "agrees"),
    [
        ({0.3: [9, 8, 7], 1.0: [6, 5, 4], 3.0: [3, 2, 1]}, "yes"),
        ({0.3: [9, None, 7], 1.0: [6, 5, 4], 3.0: [3, 2, 1]}, "yes"),
        ({0.3: [9, 8, 6], 1.0: [6, 5, 4], 3.0: [3, 2, 1]}, "no"),
        ({0.3: [9, 8, 7], 1.0: [6, 5, None], 3.0: [3, 2, 1]}, "no"),
    ],
)
def test_groups_are_in_order_only_where_all_seeds_lie_apart(steps, agrees):
    runs = [
        Run({"weight_decay": decay, "seed": i}, {"steps_to_grok": x, "trained": 10})
        for decay, values in steps.items()
        for i, x in enumerate(values)
    ]
    order = Order("later", "so", "weight_decay", tuple(steps))
    (line,) = judged.judged((order,), Experiment("some", "paper", tuple(runs), {}))
    assert line.agrees == agrees and line.n == 3 and line.median.endswith("; 2")


def test_numbers_of_the_mainline_table_against_the_json():
    report = json.loads((RESULTS / "mainline.json").read_text())
    lines = {x.says: x for x in judged.judged(tuple(statements.mainline()), EVERY["mainline"])}
    steps = [run["steps_to_grok"] for run in report["runs"]]
    line = lines["test accuracy 0.99"]
    assert line.n == len(steps) == 5
    assert line.median == f"{np.median(steps):,.0f}"
    assert line.range == f"{min(steps):,.0f} to {max(steps):,.0f}"
    residual = [found["neuron_logit_map_residual"] for found in report["mechanism"]]
    line = lines["W_L beyond the key frequencies: `neuron_logit_map_residual`"]
    assert float(line.median) == pytest.approx(np.median(residual), rel=5e-3)
    squares = np.square(residual)
    assert np.all(squares < 0.0055) == (
        lines["W_L beyond the key frequencies: `neuron_logit_map_residual_squared`"].agrees == "yes"
    )


def test_no_tolerance_of_an_experiment_accepts_anything():
    for one in [*statements.mainline(), *sum(EXPERIMENTS.values(), ())]:
        if isinstance(one, Order) or one.place.startswith("mechanism/"):
            continue  # tests/test_paper_agreement.py has those of the mechanism
        run = {"trained": 10**6, "steps_to_train_loss_below": {"1.0": 100}}
        found = (
            {one.check.met(x, run) for x in (True, False)}
            if one.place == "grokked"
            else {one.check.met(x, run) for x in (0, *np.geomspace(1e-3, 1e9, 300).tolist())}
        )
        assert found == {True, False}, one.says


# --- Table 5 --------------------------------------------------------------------------------------


def test_variants_group_the_seeds_and_name_what_differs():
    runs = [
        Run(
            {"modulus": 53, "train_fraction": 0.3, "weight_decay": decay, "seed": seed},
            {
                "trained": 100,
                "key_frequencies": [1, 2],
                "key_frequencies_stand_out": decay > 1,
                "mechanism": {
                    "logit_fve": 0.9 + seed / 100,
                    "restricted_loss": 1e-7,
                    "excluded_loss": {"train": 5.0} if decay > 1 else None,
                },
            },
        )
        for decay in (1.0, 5.0)
        for seed in range(3)
    ]
    some = Experiment("moduli", "paper", tuple(runs), {})
    nothing = dict.fromkeys(EVERY)
    table = tables.variants_table(nothing | {"moduli": some}).splitlines()
    assert len(table) == 4
    stuck, grokked = (line.split(" | ") for line in table[2:])
    assert stuck[0] == "| moduli: p 53, fraction 0.3, decay 1" and stuck[1] == "3"
    assert stuck[3] == "; ".join(["none stands out (2)"] * 3) and stuck[7] == "1.0e-7"
    assert grokked[3] == "1 2; 1 2; 1 2" and grokked[4] == "0.91 (0.9 to 0.92)"
    assert stuck[8] == f"{judged.NOT_MEASURED} |" and grokked[8] == "5 |"


def test_a_configuration_that_was_trained_twice_is_listed():
    fields = preset("mainline", "paper")[0]
    runs = [
        Run(fields | {"steps": n}, {"steps_to_grok": x, "trained": n})
        for n, x in ((10, 7), (20, None))
    ]
    one, other = (Experiment("x", "paper", (run,), {}) for run in runs)
    table = tables.repeated_table(dict.fromkeys(EVERY) | {"mainline": one, "weight_decay": other})
    assert "| `mainline` 7; `weight_decay` not in 20 |" in table
    apart = other.runs[0]._replace(fields=fields | {"seed": 9})
    other = other._replace(runs=(apart,))
    table = tables.repeated_table(dict.fromkeys(EVERY) | {"mainline": one, "weight_decay": other})
    assert len(table.splitlines()) == 2


# --- Figures --------------------------------------------------------------------------------------


def test_every_figure_and_table_of_the_paper_has_a_row():
    named = [x.number for x in items.ITEMS]
    for kind, last in (("Figure", 34), ("Table", 9)):
        found = set()
        for text in named:
            for first, end in re.findall(rf"^{kind}s? (\d+)(?:-(\d+))?$", text):
                found |= set(range(int(first), int(end or first) + 1))
        assert found == set(range(1, last + 1))


def test_every_file_of_a_row_is_there_where_its_experiment_was_run():
    for item in items.ITEMS:
        if item.experiment and EVERY[item.experiment]:
            for stem in item.files:
                assert (RESULTS / item.experiment / f"{stem}.png").exists(), stem


def test_every_measure_of_a_row_is_one():
    measures = {part.name for kind in ("measure", "summary") for part in parts.all_of(kind)}
    measures |= {f"{split}_{x}" for split in ("train", "test") for x in ("loss", "accuracy")}
    for item in items.ITEMS:
        for name in re.findall(r"`(\w+)`", item.values):
            assert name in measures, name


def test_the_costs_are_those_of_the_presets_docstrings():
    import importlib

    assert set(items.COSTS) == {"mainline", *EXPERIMENTS}
    for name, presets in items.COSTS.items():
        module = importlib.import_module(f"experiments.{name}")
        for which, cost in presets.items():
            assert cost in " ".join(module.PRESETS[which].__doc__.split()), (name, which)


def test_nothing_remains_once_every_planned_run_was_trained_or_ended_by_its_rule():
    item = next(x for x in items.ITEMS if x.number == "Figure 24")
    planned = figures.chosen(preset("moduli", "three_seeds"), item.runs)
    assert len(planned) == 6
    runs = [
        Run(fields | {"stop": "never"}, {"trained": 9, "ended_by": "cleanup_over"})
        if fields["weight_decay"] == 5
        else Run(fields, {"trained": fields["steps"]})
        for fields in planned
    ]
    done = Experiment("moduli", "three_seeds", tuple(runs), {})
    assert figures.remains(item, done) == ""
    assert figures.run_here(done, item.runs) == "3 seeds each of 2 kinds, 9 to 40,000 steps"
    short = (*runs[:-1], Run(runs[-1].fields, {"trained": 9}))
    assert "--preset three_seeds" in figures.remains(item, done._replace(runs=short))
    assert "--preset three_seeds" in figures.remains(item, done._replace(runs=tuple(runs[:-1])))
    assert "--preset three_seeds" in figures.remains(item, None)


def test_two_runs_are_one_whatever_ends_them():
    first = preset("weight_decay", "three_seeds")
    never = next(x for x in first if x["stop"] == "never" and x["weight_decay"] == 0.3)
    same = next(x for x in preset("weight_decay", "paper") if x["weight_decay"] == 0.3)
    assert identity(never) == identity(same)
    assert identity(never) != identity(never | {"seed": 1})


# --- Tasks of sequences ---------------------------------------------------------------------------


def of_sequences(task, name, values, below, steps=(0, 500, 1_000, 2_000)):
    """Three seeds on fresh data with a measure at some steps, and one run on a finite set."""
    numbers = {
        "steps_to_test_loss_below": below,
        "last": {"test_loss": 0.25},
        "over_training": {"step": list(steps)} | {x: values for x in name},
        "trained": 2_000,
    }
    fields = (
        {f"{task}.num_sequences": n, "seed": i, sequences.DOUBLED: False}
        for i, n in enumerate((0, 0, 0, 7))
    )
    return {task: Experiment(task, "paper", tuple(Run(x, numbers) for x in fields), {})}


def test_the_first_checkpoints_of_each_digit_are_listed_beside_theirs():
    names = [f"loss_by_digit{x}" for x in ("", "_with_carry", "_without_carry")]
    losses = np.array([[2.3] * 6, [0.5] * 6, [0.05] * 6, [0.01] * 6]).astype(object)
    losses[:, 5], losses[:, 2] = None, 2.0
    runs = of_sequences("five_digit_addition", names, losses.tolist(), {})
    text = sequences.five_digit_addition(runs)
    assert "for 2,000 steps (3 seeds)" in text and "0.25, 0.25 and 0.25" in text
    lines = [[x.strip() for x in line.split("|")[1:-1]] for line in text.splitlines()[2:]]
    assert lines[2] == ["0 (the carry)", "500", "9", "1,000", "288", "1,000", "1,000"]
    assert lines[4] == ["2", "> 2,000", "1,582", "> 2,000", "2,180", "> 2,000", "> 2,000"]
    assert lines[7] == ["5 (units)", "", "1,635", "", "1,761", "", ""]


def test_the_best_head_stands_beside_the_loss():
    scores = [[[0.1, 0.2], [0.1, x]] for x in (0.1, 0.3, 0.9, 0.8)]
    below = {"2.0": 700, "1.0": None, "0.1": None}
    runs = of_sequences("repeated_subsequence", ["prefix_matching_score"], scores, below)
    (text,) = sequences.repeated_subsequence(runs).splitlines()
    assert "below 2 from step 700, 700 and 700, below 1 from > 2,000, " in text
    assert "0.3, 0.3 and 0.3 at step 500, 0.9, 0.9 and 0.9 at step 1,000" in text
    for make in (sequences.skip_trigram, sequences.five_digit_addition):
        name = make.__name__
        assert make({name: None}) == "Not run here."
