"""Numbers in the prose of the docs match the JSON files; test_paper_page.py checks the tables."""

import re

import pytest
import xarray as xr

from experiments.paper_page.__main__ import ROOT, read
from experiments.written import digest


def section(title, page="docs/results.md"):
    """One section of a page, on one line."""
    text = (ROOT / page).read_text()
    assert f"## {title}\n" in text
    return " ".join(text.partition(f"## {title}\n")[2].partition("\n## ")[0].split())


def test_numbers_of_the_published_network():
    text = section("The paper's tables for any network", "docs/howto/other_networks.md")
    numbers = read("paper_tables_wd_10-1")
    agree = [x for x in numbers["agreement"] if x["verdict"] != "unresolved"]
    assert f"{len(agree)} of {len(numbers['agreement'])} statements agree" in text
    assert f" {numbers['neuron_logit_map_residual_squared']:.4f} of its" in text
    for reading in ("attention_fit_fve", "attention_score_fit_fve"):
        shares = [x["fve"] for x in numbers[reading].values()]
        assert f"{min(shares):.2f} to {max(shares):.2f} of the" in text


def cell(values):
    """The values of a reading as the docs show them."""
    form = "#.3g" if len(values) == 1 else ""
    text = " ".join(f"{x:{form or ('.1e' if x < 0.01 else '.4f')}}" for x in values)
    return text.replace("e-0", "e-")


def test_readings_of_the_authors_mainline_network():
    text = section("The authors' networks")
    early, late = authors()
    for one, other in zip(early["agreement"], late["agreement"], strict=True):
        for path, reading in one["readings"].items():
            if reading["status"]:
                states = cell(reading["here"]), cell(other["readings"][path]["here"])
                assert f"| {states[0]} | {states[1]} | {reading['status']} |" in text, path


def authors():
    """The authors' network near step 40,000 and at 49,900."""
    return [read(f"paper_tables_authors_mainline{x}") for x in ("", "_49900")]


def test_numbers_on_synergy():
    text = section("Synergy and redundancy (Clauw et al. 2024)")
    report = read("clauw")
    runs = {row["run"]: row for row in report["runs"]}
    for name in ("decay 0.1", "decay 2", "constant norm, scale 8"):
        assert f"groks at {runs[name]['grokked_at']:,.0f}" in text
    assert runs["decay 10"]["memorized_at"] is None
    for row in runs.values():
        assert row["early_peak_of_synergy_at"] == 6
        assert f"{row['synergy'][row['step'].index(6)]:.0f}" in text
    for row in report["subnetworks"]:
        for which in ("synergistic", "others", "all"):
            step = row[which]["grokked_at"]
            assert step is None or f"{step:,.0f}" in text


# --- Every number in the prose --------------------------------------------------------------------


def spread(values, form=",.0f"):
    return f"{min(values):{form}} to {max(values):{form}}"


def of_mainline():
    """The seed whose training loss rises again after step 30,000."""
    rows = read("mainline")["runs"]
    assert len(rows) == 5 and [x["seed"] for x in rows if x["slingshots"]] == [0]
    with xr.open_dataset(ROOT / "experiments/results/mainline/curves.nc") as curves:
        loss = curves["train_loss"].sel(run=0)
        assert (loss.where(loss["step"] > 5_000, drop=True)[0] < 1e-6).item()
        assert (loss.sel(step=slice(5_000, 30_000)) < 1e-5).all()
    yield "Of the five seeds, only seed 0 is unstable late"
    times, last = rows[0]["slingshots"], rows[0]["last"]["train_loss"]
    yield f"spikes {times} times after step 30,000 and is {last:.1e} at the last checkpoint"


def of_the_training_fraction():
    runs = [x for x in read("data_fraction")["runs"] if x["train_fraction"] == 0.2]
    assert len(runs) == 3 and not any(x["steps_to_grok"] for x in runs)
    best = max(x["last"]["test_accuracy"] for x in runs)
    yield f"none of three runs groks in {runs[0]['last']['step']:,} steps"
    yield f"One of them ends at test accuracy {best:.2f} and rising"


def of_the_modulus():
    runs = [x for x in read("moduli")["runs"] if (x["modulus"], x["weight_decay"]) == (53, 1)]
    steps = [f"{x:,.0f}" for x in sorted(x["steps_to_grok"] for x in runs)]
    first = ", ".join(steps[:2])
    yield f"all three seeds reach test accuracy 0.99, at {first} and {steps[2]} steps"


def of_regularizers():
    runs = read("regularizers")["runs"]
    penalty, dropout = ([x for x in runs if x[name]] for name in ("l1", "dropout"))
    neither = [x for x in runs if not x["l1"] and not x["dropout"]]
    steps = [x["steps_to_grok"] for x in penalty if x["steps_to_grok"]]
    (never,) = (x for x in penalty if not x["steps_to_grok"])
    accuracy = lambda rows: spread([x["last"]["test_accuracy"] for x in rows], ".2f")  # noqa: E731
    assert (len(steps), len(dropout), len(neither)) == (8, 6, 3)
    assert not any(x["steps_to_grok"] for x in dropout + neither)
    assert never["l1"] == max(x["l1"] for x in penalty)
    yield f"Eight of nine runs with an L1 penalty on all parameters grok, at {spread(steps)} steps"
    yield (
        f"is at test accuracy {never['last']['test_accuracy']:.2f} after {never['last']['step']:,}."
    )
    yield f"They end at test accuracies of {accuracy(dropout)}, and those with dropout 0.2 still"
    yield f"are at {accuracy(neither)} after {neither[0]['last']['step']:,} steps."


def of_sequences():
    runs = read("skip_trigram")["runs"]
    size = "skip_trigram.num_sequences"
    for count in (512, 100):
        ends = [x["steps_to_test_loss_below"]["0.1"] for x in runs if x[size] == count]
        assert len(ends) == 3 and all(ends)
    few = [x["steps_to_test_loss_below"] for x in runs if x[size] == 50]
    assert not any(x["0.1"] for x in few) and sum(bool(x["1.0"]) for x in few) == 2
    yield "Here sets of 512 and 100 generalize as they are memorized, in all three seeds"
    yield "a set of 50 generalizes later, in part or not at all."
    ends = {True: [], False: []}
    for run in read("repeated_subsequence")["runs"]:
        doubled = run["induction_transformer.doubled_residual"]
        ends[doubled].append(run["last"]["test_loss"])
    assert max(ends[True]) < 0.4 and min(ends[False]) > 1.3
    yield "gets below 0.4 in all three seeds, and the one without the doubling stays above 1.3."


def of_ways():
    rows = {row["way"]: row for row in read("ways")["ways"]}
    steps = {name: row["steps_to_grok"] for name, row in rows.items()}
    of = lambda name: spread(steps[name])  # fails unless all seeds grok  # noqa: E731
    order = [("Adam, coupled decay", "AdamW, decay 3"), ("constant attention", "AdamW, decay 3")]
    late = ("SGD", "Muon", "LayerNorm", "2 layers")
    assert all(max(steps[a]) < min(steps[b]) for a, b in order)
    assert all(min(steps[x]) > max(steps["AdamW, decay 3"]) for x in late)
    none = ("StableMax", "10 % label noise", "subtract", "divide", "x2_xy_y2", "x3_xy_y3")
    grokked = dict.fromkeys(none, 0) | {"multiply": 2, "x2_y2": 2, "dihedral group of 58": 2}
    for name, count in (grokked | {"S5": 1, "AdamW, no decay": 0}).items():
        assert rows[name]["grokked"] == count, name
    yield f"{len(rows)} ways, three seeds each"
    yield (
        f"All seeds of coupled Adam ({of('Adam, coupled decay')} steps) and of constant attention "
        f"({of('constant attention')}) grok before all seeds of AdamW with decay 3 "
        f"({of('AdamW, decay 3')})."
    )
    yield (
        f"all seeds of the orthogonal gradient ({of('orthogonal gradient')}) and of constant norm "
        f"({of('constant norm')}) do."
    )
    yield f"All seeds of SGD (rate 0.1, decay 0.01; {of('SGD')})"
    yield f"of Muon (updates of the size of the rate, 0.001; {of('Muon')})"
    yield f"of LayerNorm ({of('LayerNorm')}) and of two layers ({of('2 layers')}) grok"
    yield f"by more than its seeds do ({of('Grokfast')} against {of('AdamW, decay 1')})."


def of_predictors():
    report = read("predictors")
    cells, never = report["cells"], report["never_grok"]
    step = int(max(x for x in report["ends"] if x))
    yield f"{report['runs']} runs of p = 59 with 128 neurons in {cells} cells"
    yield f"of which {never} never grok in {step:,} steps."
    yield f"{report['runs']} runs support no firm verdict."


def of_the_authors_networks():
    counts = []
    for numbers in (early_and_late := authors()):
        readings = [claim["readings"].values() for claim in numbers["agreement"]]
        agree = sum(any(x["agrees"] for x in one) for one in readings)
        documented = sum(any(x["agrees"] and not x["status"] for x in one) for one in readings)
        counts += [agree, len(readings), documented]
    early, _ = early_and_late
    yield "{} of {} statements agree by at least one reading".format(*counts[:2])
    yield f"{counts[2]} of them by what the text says."
    yield "{} of {} agree, {} of them without these readings".format(*counts[3:])
    yield f"So {counts[0] - counts[3]} statements depend on the checkpoint"
    shares = [x["fve"] for x in early["attention_fit_fve"].values()]
    yield f"About the mean they are {spread(shares, '.2f')}."
    without = early["variants"]["ablations"]["attention_skip_zero"]["all"]
    yield f"If the stream is removed everywhere, the loss is {without:.3f}."
    (sixth,) = {*early["variants"]["key_frequencies_of_embedding"]} - {*early["key_frequencies"]}
    yield f"does not name, is {sixth}."
    block = [x["all"] for x in early["variants"]["loss_without_frequency"]["neuron_block"].values()]
    least = cell([min(block)] * 2).split()[0]
    yield f"the frequency's block from the neurons does not ({least} to {max(block):.3f})."


CLAIMS = (
    *(of_mainline, of_the_training_fraction, of_the_modulus, of_regularizers, of_sequences),
    *(of_ways, of_predictors, of_the_authors_networks),
)

GIVEN = """
Nanda et al. 2023, version 3 | "2 of 5" | p = 113, 30 % of the pairs, weight decay 1
which is 2.41e-7 in the paper | last 50 checkpoints | 100 runs of two cheaper settings
With 20 % of the pairs | test accuracy 0.99
With p = 53 and decay 1 | paper's 40,000 steps | (Table 5) | below 1 at step 237
0.255 at step 200 and 2.9e-6 at 1,000 | below 1 at 1,517, below 0.1 at 2,077, and about 0.04
4.14 at step 800, 2.03 at 900, 1.26 at 1,000, 0.37 at 2,000 and about 0.30 at the end (6,000 steps)
at p = 59 with half of the pairs and 256 neurons, for 4,000 steps | loss is below 0.05
10 % of noise | On 35 % of the pairs | a² + a b + b² or a³ + a b + b³ | a² + b² |
dihedral group of 58 | one groks S5 | 20 minutes on two cores | (Clauw et al. 2024)
3,000 steps instead of 4,000 to 6,000
55 checkpoints instead of one every 5 steps | (Gu et al. 2025) | p = 97 with 30 % of the pairs
(p = 113, weight decay 1, seed 0)
near step 40,000 | Near step 40,000 | Grokfast at decay 1 | step 49,900
over 10,000 steps | shares of Table 2 | the constant 1/2
The loss 19.1 | to 2.1e-6 relative | the test asserts 1e-5 | weight decay 0.1
at p = 31 with 60 % of the pairs (: 80 %)
"""
"""Phrases whose numbers are settings, published, or of a test."""


def prose():
    """The page on one line, without generated parts, tables, code and the targets of links."""
    text = (ROOT / "docs/results.md").read_text()
    text = re.sub(r"<!-- generated.*?<!-- end -->|```.*?```|^\|.*?$", "", text, flags=re.S | re.M)
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)
    return " ".join(
        re.sub(r" ?\((figure|table|JSON|below)(, (figure|table|JSON))*\)", "", text).split()
    )


@pytest.mark.parametrize("claim", CLAIMS)
def test_sentences_have_the_numbers_of_the_results(claim):
    text = prose()
    for sentence in claim():
        assert sentence in text


def test_every_number_of_the_prose_is_one_of_a_result_or_given():
    text = re.sub(r"`[^`]*`", "", prose())
    given = [x.strip() for x in GIVEN.replace("\n", "|").split("|") if x.strip()]
    for sentence in [sentence for claim in CLAIMS for sentence in claim()] + given:
        text = text.replace(sentence, "")
    left = [x for x in re.split(r"(?<=[.:;]) ", text) if re.search(r"\b\d", x)]
    assert not left, left


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_the_first_picture_is_one_that_was_drawn_with_its_numbers(page):
    (stem,) = re.findall(r"experiments/results/mainline/(\w+)\.png\)", (ROOT / page).read_text())
    report = read("mainline")
    assert (
        digest(ROOT / f"experiments/results/mainline/{stem}.png")
        == (report["figures"][stem]["sha256"])
    )
    run = report["runs"][int(stem.removeprefix("progress_run_"))]
    assert not run["slingshots"] and report["figures"][stem]["title"].startswith(
        f"Run {run['seed']}: modulus 113, operation add, train fraction 0.3, weight decay 1, seed"
    )


def test_numbers_on_the_refined_boundary():
    text, report = section("Compared", "docs/howto/refine.md"), read("boundary")
    for name, words in (("grid", "grid, 16 x 16 points"), ("refined", "refined")):
        runs, steps, hours = (report[name][x] for x in ("runs", "run_steps", "hours"))
        assert f"| {words} | {runs} | {steps:,} | {hours:.1f} |" in text
    areas = [*report["area_between"].values(), *report["area_of_the_grid_over_its_seeds"].values()]
    by_interpolation, by_model, readings, one_seed, resampled = (f"{x:.1%}"[:-1] for x in areas)
    rows = {"refined, and the grid by the same model": by_model}
    rows |= {"refined, and the grid interpolated": by_interpolation}
    rows |= {"the grid by the model, and interpolated": readings}
    rows |= {"with seeds drawn anew at every point": resampled}
    rows |= {"the interpolated grids of two single seeds": one_seed}
    assert all(f"{words} | {share} % |" in text for words, share in rows.items())
    factor = report["advice"].partition("factor of ")[2].split()[0]
    assert f"seeds differ by a factor of {factor}," in text
    assert (
        digest(ROOT / "experiments/results/boundary/both.png")
        == (report["figures"]["both"]["sha256"])
    )


def test_numbers_on_engines():
    text, trials = section("What was tried", "docs/howto/many_machines.md"), read("engines")
    killed = {(x["engine"], x["place"]): x["faults"] for x in trials if x["how"] == "killed"}
    assert len(killed) == 8
    for engine in ("Ray", "Dask", "SLURM", "Indexed"):
        faults = [killed[engine.lower(), place] for place in ("disk", "gs")]
        lost = lambda kind, faults=faults: [  # noqa: E731
            str(x["steps_lost"]) for one in faults for x in one if x["kind"].endswith(kind)
        ]
        cells = [*map(", ".join, map(lost, ("worker killed", "asked to end", "node killed")))]
        if engine == "Indexed":
            cells = [", ".join(lost("pod killed")), cells[1], "-"]
        assert re.search(rf"\| [^|]*{engine}[^|]* \| {' [|] '.join(cells)} \|", text), cells
    for x in trials:
        assert {88, 29} == {x[f"{of}_with_the_same_bits"] for of in ("run_checkpoints", "measures")}
        if x["how"] == "calm":
            cells = " [|] ".join(map(str, x["seconds"].values()))
            assert re.search(rf"(?i)\| [^|]*{x['engine']}[^|]* \| {cells} \|", text), cells


def test_every_result_is_referred_to_somewhere():
    folder = ROOT / "experiments" / "results"
    pages = [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "experiments").rglob("*.py"),
    ]
    text = "\n".join(x.read_text() for x in [*pages, ROOT / "experiments" / "README.md"])
    files = [x.name for x in folder.iterdir() if x.suffix == ".json" or x.is_dir()]
    assert not [
        x for x in files if not re.search(rf"\b{re.escape(x.removesuffix('.json'))}\b", text)
    ]
