import importlib
import itertools
import re

import numpy as np
import pytest

from experiments.paper_page import drawn, figures, judged, sequences, tables
from experiments.paper_page.__main__ import PAGES, RESULTS, ROOT, all_results, filled
from experiments.paper_page.recorded import Experiment, Run, identity, preset
from experiments.paper_page.statements import EXPERIMENTS, MAINLINE, Statement
from experiments.paper_tables.checks import parse
from grokjax.core import parts
from grokjax.core.errors import ConfigError

EVERY = all_results()
NOTHING = dict.fromkeys(EVERY)


@pytest.mark.parametrize("page", PAGES)
def test_committed_pages_match_the_committed_results_and_have_no_dead_links(page):
    text = (ROOT / page).read_text()
    assert filled(text, PAGES[page], EVERY) == text, "run python -m experiments.paper_page"
    links = re.findall(r"\]\(([^)#]+)\)", text)
    links = [link for link in links if "://" not in link]
    assert links and all(((ROOT / page).parent / link).exists() for link in links)


@pytest.mark.slow
def test_committed_figures_are_those_that_todays_code_draws():
    for name, experiment in EVERY.items():
        assert not experiment or drawn.faults(experiment, RESULTS / name) == []


def test_page_without_marks_for_a_part_raises_config_error():
    with pytest.raises(ConfigError, match="no marks for tally"):
        filled("# Results\n", PAGES["docs/results.md"], EVERY)


# --- n, median, range, agrees ---------------------------------------------------------------------


def experiment(*runs, name="some"):
    return Experiment(name, "paper", runs, {})


def line_of(values, check, path="x", trained=40_000, chosen=None, **fields):
    """The line of a statement about runs with these values."""
    more = {"trained": trained, "mechanism": None}
    runs = (Run({"modulus": 113, "seed": i, **fields}, {path: x, **more}) for i, x in values)
    statement = Statement("it", "so", path, parse(check), chosen or {})
    return judged.judged((statement,), experiment(*runs))[0]


@pytest.mark.parametrize(
    ("values", "cells"),
    [
        ([1.25, 1.5, 3.0], ("3", "1.5", "1.25 to 3", "2 of 3")),
        ([1.25, 1.5, 1.75], ("3", "1.5", "1.25 to 1.75", "yes")),
        ([3.0] * 3, ("3", "3", "3", "no")),
        ([None] * 3, ("", "", "", judged.NOT_MEASURED)),
        ([], ("", "", "", judged.NOT_RUN)),
        ([1.5], ("1", "1.5", "1.5", "yes (1 run only)")),
    ],
)
def test_line_has_the_count_the_median_the_range_and_the_verdict(values, cells):
    line = line_of(enumerate(values), "between 1 2")
    assert line.cells == ["it", "so", "1 to 2", *cells]


def test_line_names_a_setting_that_differs_from_the_papers():
    line = line_of(enumerate([3.0, 3.0]), "between 1 2", modulus=59, train_fraction=0.5)
    assert line.agrees == "no (2 runs only; p = 59, train fraction = 0.5)"
    chosen = {"train_fraction": 0.5}
    line = line_of(enumerate([1.5] * 3), "between 1 2", chosen=chosen, train_fraction=0.5)
    assert line.agrees == "yes"


@pytest.mark.parametrize(
    ("check", "grokked", "trained", "agrees"),
    [
        ("never_groks", [False] * 3, 40_000, "yes"),
        ("never_groks", [False] * 3, 8_000, "unresolved: runs too short"),
        ("never_groks", [True, False, False], 40_000, "2 of 3"),
        ("never_groks", [True, True, False], 8_000, "unresolved: 0 of 2, 1 too short"),
        ("groks", [False] * 3, 40_000, "no"),
        ("groks", [True, True, False], 8_000, "unresolved: 2 of 2, 1 too short"),
    ],
)
def test_run_that_is_too_short_leaves_a_statement_unresolved(check, grokked, trained, agrees):
    line = line_of(enumerate(grokked), f"{check} 40000", "grokked", trained)
    assert line.agrees == agrees


def test_step_that_is_not_reached_is_later_than_the_last():
    steps = enumerate([5_000, None, 7_000])
    line = line_of(steps, "within 6000 1.5", "steps_to_grok", trained=9_000)
    assert line.cells[3:] == ["3", "7,000", "5,000 to > 9,000", "2 of 3"]


def test_claim_with_several_readings_is_unresolved_if_none_agrees():
    two = [Statement(f"claim: {x}", "so", x, parse("between 1 2"), claim="claim") for x in "ab"]
    runs = lambda **x: experiment(*[Run({"seed": i}, {"trained": 1, **x}) for i in range(3)])  # noqa: E731
    verdicts = lambda *args: [x.agrees for x in judged.judged(*args)]  # noqa: E731
    assert verdicts(two, runs(a=3.0, b=5.0)) == ["unresolved"] * 2
    assert verdicts(two, runs(a=3.0, b=1.5)) == ["no", "yes"]
    assert verdicts(two[:1], runs(a=3.0, b=5.0)) == ["no"]


@pytest.mark.parametrize(
    ("steps", "agrees"),
    [
        ({0.3: [9, 8, 7], 1.0: [6, 5, 4], 3.0: [3, 2, 1]}, "yes"),
        ({0.3: [9, None, 7], 1.0: [6, 5, 4], 3.0: [3, 2, 1]}, "yes"),
        ({0.3: [9, 8, 6], 1.0: [6, 5, 4], 3.0: [3, 2, 1]}, "no"),
        ({0.3: [9, 8, 7], 1.0: [6, 5, None], 3.0: [3, 2, 1]}, "no"),
    ],
)
def test_groups_are_in_order_only_if_all_seeds_lie_apart(steps, agrees):
    runs = [
        Run({"weight_decay": decay, "seed": i}, {"steps_to_grok": x, "trained": 10})
        for decay, values in steps.items()
        for i, x in enumerate(values)
    ]
    order = Statement("later", "so", "steps_to_grok", None, {"weight_decay": list(steps)})
    (line,) = judged.judged((order,), experiment(*runs))
    assert line.agrees == agrees and line.n == 3 and line.median.endswith("; 2")


def test_every_tolerance_about_runs_rejects_something():
    for one in itertools.chain(MAINLINE, *EXPERIMENTS.values()):
        if one.check is None or one.path.startswith("mechanism/"):
            continue  # test_paper_agreement.py has those about networks
        run = {"trained": 10**6, "steps_to_train_loss_below": {"1.0": 100}}
        values = (
            (True, False) if one.path == "grokked" else (0, *np.geomspace(1e-3, 1e9, 300).tolist())
        )
        assert {bool(one.check.met(x, run)) for x in values} == {True, False}, one.text


# --- Tables over several experiments --------------------------------------------------------------


def test_variants_group_the_seeds_and_name_what_differs():
    def run(decay, seed):
        mechanism = {"logit_fve": 0.9 + seed / 100, "restricted_loss": 1e-7}
        mechanism["excluded_loss"] = {"train": 5.0} if decay > 1 else None
        numbers = {"trained": 100, "key_frequencies": [1, 2], "mechanism": mechanism}
        fields = {"modulus": 53, "train_fraction": 0.3, "weight_decay": decay, "seed": seed}
        return Run(fields, numbers | {"key_frequencies_stand_out": decay > 1})

    runs = [run(decay, seed) for decay in (1.0, 5.0) for seed in range(3)]
    table = tables.variants_table(NOTHING | {"moduli": experiment(*runs, name="moduli")})
    assert len(table.splitlines()) == 4
    stuck, grokked = (line.split(" | ") for line in table.splitlines()[2:])
    assert stuck[0] == "| moduli: p 53, fraction 0.3, decay 1" and stuck[1] == "3"
    assert stuck[3] == "; ".join(["none stands out (2)"] * 3) and stuck[7] == "1.0e-7"
    assert grokked[3] == "1 2; 1 2; 1 2" and grokked[4] == "0.91 (0.9 to 0.92)"
    assert stuck[8] == f"{judged.NOT_MEASURED} |" and grokked[8] == "5 |"


# --- Figures --------------------------------------------------------------------------------------


def test_every_figure_and_table_of_the_paper_has_a_row():
    for kind, last in (("Figure", 34), ("Table", 9)):
        numbers = set()
        for item in figures.ITEMS:
            for first, end in re.findall(rf"^{kind}s? (\d+)(?:-(\d+))?$", item.number):
                numbers |= set(range(int(first), int(end or first) + 1))
        assert numbers == set(range(1, last + 1))


def test_files_and_measures_of_every_row_exist():
    measures = {part.name for kind in ("measure", "summary") for part in parts.all_of(kind)}
    measures |= {f"{split}_{x}" for split in ("train", "test") for x in ("loss", "accuracy")}
    for item in figures.ITEMS:
        assert set(re.findall(r"`(\w+)`", item.values)) <= measures
        if item.experiment and EVERY[item.experiment]:
            for stem in item.files:
                assert (RESULTS / item.experiment / f"{stem}.png").exists(), stem


def test_costs_are_those_in_the_docstrings_of_the_presets():
    assert set(figures.COSTS) == {"mainline", *EXPERIMENTS}
    for name, presets in figures.COSTS.items():
        module = importlib.import_module(f"experiments.{name}")
        for which, cost in presets.items():
            assert cost in " ".join(module.PRESETS[which].__doc__.split()), (name, which)


def test_nothing_remains_once_every_planned_run_was_trained_or_ended_by_its_rule():
    item = next(x for x in figures.ITEMS if x.number == "Figure 24")
    planned = figures.chosen(preset("moduli", "three_seeds"), item.runs)
    assert len(planned) == 6
    runs = [
        Run(fields | {"stop": "never"}, {"trained": 9, "ended_by": "cleanup_over"})
        if fields["weight_decay"] == 5
        else Run(fields, {"trained": fields["steps"]})
        for fields in planned
    ]
    done = experiment(*runs)
    assert figures.remains(item, done) == ""
    assert figures.run_here(done, item.runs) == "3 seeds each of 2 kinds, 9 to 40,000 steps"
    short = experiment(*runs[:-1], Run(runs[-1].fields, {"trained": 9}))
    for missing in (short, experiment(*runs[:-1]), None):
        assert "--preset three_seeds" in figures.remains(item, missing)


def test_runs_are_the_same_whatever_ends_them():
    runs = preset("weight_decay", "three_seeds")
    never = next(x for x in runs if x["stop"] == "never" and x["weight_decay"] == 0.3)
    same = next(x for x in preset("weight_decay", "paper") if x["weight_decay"] == 0.3)
    assert identity(never) == identity(same) != identity(never | {"seed": 1})


# --- Sequence tasks -------------------------------------------------------------------------------


def test_sequence_tables_show_values_by_seed_and_late_steps():
    names = [f"loss_by_digit{x}" for x in ("", "_with_carry", "_without_carry")]
    losses = [[2.3] * 6, [0.5, 2, 2, 2, 2, None], [0.05, 2, 2, 2, 2, None]]
    numbers = {
        "steps_to_test_loss_below": {"2.0": 700, "1.0": None},
        "steps_to_train_loss_below": {"1.0": 90},
        "last": {"test_loss": 0.25},
        "over_training": {"step": [0, 500, 1_000], **dict.fromkeys(names, losses)},
        "trained": 2_000,
    }
    numbers["over_training"]["prefix_matching_score"] = [[[0.1, 0.2], [0.1, x]] for x in (0, 3, 4)]
    runs = lambda task: {  # noqa: E731
        task: experiment(*[Run({f"{task}.num_sequences": n}, numbers) for n in (0, 0, 0, 7)])
    }
    text = sequences.five_digit_addition(runs("five_digit_addition"))
    lines = [[x.strip() for x in line.split("|")[1:-1]] for line in text.splitlines()[4:]]
    assert lines[0] == ["0 (the carry)", "500", "9", "1,000", "288", "1,000", "1,000"]
    assert lines[2] == ["2", "> 2,000", "1,582", "> 2,000", "2,180", "> 2,000", "> 2,000"]
    make = sequences.losses_table("repeated_subsequence")
    fresh, finite = make(runs("repeated_subsequence")).splitlines()[2:]
    cells = ["fresh data", "2,000 steps (3 seeds)", "", "700; 700; 700"]
    cells += ["> 2,000; > 2,000; > 2,000", "0.25; 0.25; 0.25", "3; 3; 3", "4; 4; 4", ""]
    assert fresh == f"| {' | '.join(cells)} |"
    assert finite.startswith("| 7 sequences | 2,000 steps (1 seeds) | 90 | 700 | > 2,000 | 0.25 |")
    for make in (sequences.losses_table("skip_trigram"), sequences.five_digit_addition):
        assert make(NOTHING) == "Not run here."
