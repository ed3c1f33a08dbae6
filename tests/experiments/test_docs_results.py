"""Numbers in the prose of the docs match the JSON files; test_paper_page.py checks the tables."""

import json
from pathlib import Path

ROOT = Path(__file__).parents[2]


def read(name):
    return json.loads((ROOT / "experiments" / "results" / f"{name}.json").read_text())


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


def test_numbers_of_the_authors_mainline_network():
    text = section("The authors' networks")
    early, late = (read(f"paper_tables_authors_mainline{x}") for x in ("", "_49900"))
    counts = []
    for numbers in (early, late):
        readings = [claim["readings"].values() for claim in numbers["agreement"]]
        agree = sum(any(x["agrees"] for x in one) for one in readings)
        plain = sum(any(x["agrees"] and not x["status"] for x in one) for one in readings)
        counts += [agree, len(readings), plain]
    assert "{} of {} statements agree by at least one reading".format(*counts[:2]) in text
    assert f"{counts[2]} of them by what the text says" in text
    assert "{} of {} agree, {} of them without these".format(*counts[3:]) in text
    assert f"So {counts[0] - counts[3]} statements depend on the checkpoint" in text
    for one, other in zip(early["agreement"], late["agreement"], strict=True):
        for path, reading in one["readings"].items():
            if reading["status"]:
                states = cell(reading["here"]), cell(other["readings"][path]["here"])
                assert f"| {states[0]} | {states[1]} | {reading['status']} |" in text, path
    shares = [x["fve"] for x in early["attention_fit_fve"].values()]
    assert f"About the mean they are {min(shares):.2f} to {max(shares):.2f}." in text
    assert f"loss is {early['variants']['ablations']['attention_skip_zero']['all']:.3f}." in text
    (sixth,) = {*early["variants"]["key_frequencies_of_embedding"]} - {*early["key_frequencies"]}
    assert f"does not name, is {sixth}." in text
    block = [x["all"] for x in early["variants"]["loss_without_frequency"]["neuron_block"].values()]
    assert f"({cell([min(block)] * 2).split()[0]} to {max(block):.3f})" in section(
        "The mainline run"
    )


def test_numbers_on_ways_to_train():
    text = section("Ways to train")
    rows = {row["way"]: row for row in read("ways")["ways"]}
    assert f"{len(rows)} ways, three seeds each" in text
    all_grok = ("AdamW, decay 3", "AdamW, decay 1", "Adam, coupled decay", "constant attention")
    all_grok += ("orthogonal gradient", "constant norm", "SGD", "Muon", "LayerNorm", "2 layers")
    for name in (*all_grok, "Grokfast"):
        steps = rows[name]["steps_to_grok"]
        assert f"{min(steps):,.0f} to {max(steps):,.0f}" in text, name
    none = ("StableMax", "10 % label noise", "subtract", "divide", "x2_xy_y2", "x3_xy_y3")
    grokked = dict.fromkeys(none, 0) | {"multiply": 2, "x2_y2": 2, "dihedral group of 58": 2}
    for name, count in (grokked | {"S5": 1}).items():
        assert rows[name]["grokked"] == count, name


def test_numbers_on_which_measure_knew_first():
    text = section("Which measure knew first")
    report = read("predictors")
    rows = {row["name"]: row for row in report["rows"]}
    assert f"{report['runs']} runs of p = 59" in text
    assert f"in {report['cells']} cells" in text
    assert f"of which {report['never_grok']} never grok" in text
    assert f"At step {report['landmark']}, before any" in text and report["at_risk"] == 62
    assert f"reach {max(row['concordance'] or 0 for row in rows.values()):.2f}" in text
    low, high = rows["hyperparameters"]["concordance_interval"]
    concordance = rows["hyperparameters"]["concordance"]
    assert f"({concordance:.2f}, interval {low:.2f} to {high:.2f})" in text
    assert not any(x["warned"] == x["grokked"] and not x["false_alarms"] for x in rows.values())


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
