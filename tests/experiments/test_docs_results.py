"""Numbers that the docs state of the authors' network are those of the JSON beside them.

The tables of the results are tests/test_paper_page.py's.
"""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NETWORKS_PAGE = (ROOT / "docs" / "other_networks.md").read_text()
RESULTS = ROOT / "experiments" / "results"


def read(name):
    return json.loads((RESULTS / f"{name}.json").read_text())


def section(title):
    """Of the results, as one line."""
    page = (ROOT / "docs" / "results.md").read_text()
    return " ".join(page.partition(f"## {title}\n")[2].partition("\n## ")[0].split())


def numbers(text):
    return [x.replace(",", "") for x in re.findall(r"\d[\d,]*\.?\d*(?:e-?\d+)?", text)]


def assert_printed(text, values):
    """Every number of the text is a value, rounded to the digits that are printed."""
    found = [x.rstrip(".") for x in numbers(re.sub(r",(?= )", " ", text))]
    assert len(found) == len(values), (text, values)
    for printed, value in zip(found, values, strict=True):
        mantissa, _, exponent = printed.partition("e")
        unit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
        assert abs(float(printed) - value) <= 0.5001 * unit, (printed, value)


def test_the_table_of_the_published_network_is_that_of_its_json():
    found = read("paper_tables_wd_10-1")
    agree = [x for x in found["agreement"] if x["verdict"] != "unresolved"]
    assert f"{len(agree)} of {len(found['agreement'])} statements agree" in NETWORKS_PAGE
    squared = found["neuron_logit_map_residual_squared"]
    assert f"key frequencies is {squared:.4f} of its" in NETWORKS_PAGE
    for reading in ("attention_fit_fve", "attention_score_fit_fve"):
        shares = [x["fve"] for x in found[reading].values()]
        assert_printed(
            "0.39 to 0.67" if "score" not in reading else "0.40 to 0.67", [min(shares), max(shares)]
        )


def test_the_words_on_ways_to_train_are_of_their_json():
    text = section("Ways to train")
    rows = {row["way"]: row for row in read("ways")["ways"]}
    assert f"{len(rows)} ways, three seeds each" in text
    whole = ("AdamW, decay 3", "AdamW, decay 1", "Adam, coupled decay", "constant attention")
    whole += ("orthogonal gradient", "constant norm", "SGD", "Muon", "LayerNorm", "2 layers")
    for name in (*whole, "Grokfast"):
        steps = rows[name]["steps_to_grok"]
        assert f"{min(steps):,.0f} to {max(steps):,.0f}" in text, name
    none = ("StableMax", "10 % label noise", "subtract", "divide", "x2_xy_y2", "x3_xy_y3")
    assert all(rows[name]["grokked"] == 0 for name in none)
    assert all(rows[x]["grokked"] == 2 for x in ("multiply", "x2_y2", "dihedral group of 58"))
    assert rows["S5"]["grokked"] == 1


def test_the_words_on_which_measure_knew_first_are_of_their_json():
    text = section("Which measure knew first")
    found = read("predictors")
    rows = {row["name"]: row for row in found["rows"]}
    assert f"{found['runs']} runs of p = 59" in text
    assert f"in {found['cells']} cells" in text
    assert f"of which {found['never_grok']} never grok" in text
    assert f"At step {found['landmark']}, before any" in text and found["at_risk"] == 62
    best = max(row["concordance"] or 0 for row in found["rows"])
    assert f"reach {best:.2f}" in text
    hyper = rows["hyperparameters"]
    low, high = hyper["concordance_interval"]
    assert f"({hyper['concordance']:.2f}, interval {low:.2f} to {high:.2f})" in text
    perfect = [x for x in found["rows"] if x["warned"] == x["grokked"] and not x["false_alarms"]]
    assert not perfect


def test_the_words_on_synergy_are_of_their_json():
    text = section("Synergy and redundancy (Clauw et al. 2024)")
    found = read("clauw")
    runs = {row["run"]: row for row in found["runs"]}
    for name in ("decay 0.1", "decay 2", "constant norm, scale 8"):
        assert f"groks at {runs[name]['grokked_at']:,.0f}" in text
    assert runs["decay 10"]["memorized_at"] is None
    assert {row["early_peak_of_synergy_at"] for row in runs.values()} == {6.0}
    peaks = [row["synergy"][row["step"].index(6)] for row in runs.values()]
    assert all(f"{peak:.0f}" in text for peak in peaks)
    for row in found["subnetworks"]:
        for which in ("synergistic", "others", "all"):
            step = row[which]["grokked_at"]
            assert step is None or f"{step:,.0f}" in text
