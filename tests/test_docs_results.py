"""Numbers that the docs state are those of the JSON files beside it."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RESULTS_PAGE = (ROOT / "docs" / "results.md").read_text()
NETWORKS_PAGE = (ROOT / "docs" / "other_networks.md").read_text()
RESULTS = ROOT / "experiments" / "results"


def read(name):
    return json.loads((RESULTS / f"{name}.json").read_text())


MAINLINE = read("mainline")
READOUTS = "mlp_readout_fve"


def _fits(mechanism):
    shares = [x["fve"] for x in mechanism["attention_fit"].values()]
    return [min(shares), max(shares)]


ROWS = {  # by the beginning of a row of the table: what the JSON has of (run, mechanism)
    "key frequencies |": lambda run, found: run["key_frequencies"],
    "memorization ends": lambda run, found: [run["memorization_end"]],
    "circuit formation ends": lambda run, found: [run["circuit_formation_end"]],
    "cleanup ends": lambda run, found: [run["cleanup_end"]],
    "test accuracy reaches 0.99": lambda run, found: [run["steps_to_grok"]],
    "loss, all pairs": lambda run, found: [found["loss"]],
    "restricted loss, all pairs": lambda run, found: [found["restricted_loss"]],
    "key frequencies' blocks alone": lambda run, found: [found["ablations"]["key_blocks_only"]],
    "without the key frequencies": lambda run, found: [found["excluded_loss_train"]],
    "variance of the logits": lambda run, found: [found["logit_fve"]],
    "MLP readouts explained": lambda run, found: [min(map(min, found[READOUTS].values()))],
    "W_L beyond the key": lambda run, found: [found["neuron_logit_map_residual"] ** 2],
    "the same, norm": lambda run, found: [found["neuron_logit_map_residual"]],
    "attention to a explained": lambda run, found: _fits(found),
    "neurons explained": lambda run, found: [found["neurons_explained"]],
    "loss, neurons as polynomials": lambda run, found: [
        found["ablations"]["neurons_as_polynomials"]
    ],
    "loss, MLP readouts' span": lambda run, found: [found["ablations"]["mlp_readout_span"]],
    "loss, MLP without": lambda run, found: [found["ablations"]["mlp_readout_null_space"]],
    "loss, path around": lambda run, found: [found["ablations"]["mlp_skip_zero"]],
    "loss, attention linearised": lambda run, found: [found["ablations"]["attention_linearised"]],
    "loss, attention removed": lambda run, found: [found["ablations"]["attention_zero"]],
}


def row_of(start):
    (line,) = re.findall(rf"^\| {re.escape(start)}.*$", RESULTS_PAGE, re.M)
    return [cell.strip() for cell in line.strip("|").split("|")]


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


@pytest.mark.parametrize("start", ROWS)
def test_the_mainline_table_is_that_of_its_json(start):
    cells = row_of(start)[-5:]
    for cell, run, found in zip(cells, MAINLINE["runs"], MAINLINE["mechanism"], strict=True):
        assert_printed(cell, ROWS[start](run, found))


def test_every_row_of_the_mainline_table_is_checked():
    table = RESULTS_PAGE[RESULTS_PAGE.index("| | paper | here: seed 0") :]
    rows = table[: table.index("\n\n")].splitlines()[2:]
    assert len(rows) == len(ROWS)


def test_what_is_said_of_the_mainline_table_holds():
    squares = [100 * found["neuron_logit_map_residual"] ** 2 for found in MAINLINE["mechanism"]]
    assert_printed("0.10 to 0.27", [min(squares), max(squares)])
    assert "0.10 to 0.27 % here" in RESULTS_PAGE and max(squares) < 0.55 < 100 * 0.03
    for run in MAINLINE["runs"]:
        ends = [run[f"{phase}_end"] for phase in ("memorization", "circuit_formation", "cleanup")]
        assert ends == sorted(ends) and ends[0] >= run["steps_to_memorize"]
        assert ends[1] <= run["steps_to_grok"] <= ends[2]


def test_the_other_experiments_are_those_of_their_json():
    runs = read("weight_decay")["runs"] + read("data_fraction")["runs"] + read("moduli")["runs"]
    steps = [run["steps_to_grok"] for run in runs]
    of = lambda start: row_of(start)[-1]  # noqa: E731
    assert_printed(of("weight decay 0.3, 1, 3").partition("(")[0], steps[1:4])
    assert_printed(of("fraction 0.3").partition("(")[0], steps[4:7])
    assert_printed(of("fraction 0.6").partition(";")[0], steps[7:11])
    assert max(run["max_test_loss"] for run in runs[7:11]) < 5.0 + 0.05
    assert_printed(of("p = 53, weight decay 5").partition("(")[0].replace("and", ""), steps[13:15])
    stuck = runs[11:13]
    said = of("p = 53, weight decay 1")
    assert_printed(
        re.search("losses, (.*) at the end", said)[1], [x["last"]["excluded_loss"] for x in stuck]
    )
    assert [len(run["key_frequencies"]) for run in stuck] == [7, 14] and "7 and 14 freq" in said
    dropped = [run for run in read("regularizers")["runs"] if run["dropout"]]
    said = of("dropout 0.2")
    assert_printed(
        re.search("accuracy (.*) after", said)[1], [x["last"]["test_accuracy"] for x in dropped]
    )
    assert_printed(
        re.search("loss is (.*):", said)[1], [x["last"]["restricted_loss"] for x in dropped]
    )
    assert [len(run["key_frequencies"]) for run in dropped] == [13, 11] and "13 and 11 of" in said
    sparse = [run["steps_to_grok"] for run in read("regularizers")["runs"] if run["l1"]]
    assert_printed(re.search("at (1,200.*) \\(", of("L1 penalty"))[1], sparse)


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


def test_what_is_said_of_the_skip_trigram_is_in_its_json():
    runs = read("skip_trigram")["runs"]
    text = RESULTS_PAGE[RESULTS_PAGE.index("Of the tasks of sequences one was run") :].partition(
        "The authors'"
    )[0]
    text = " ".join(text.split())

    def holds(pattern, values):
        assert_printed(re.search(pattern, text)[1].replace(" and", ""), values)

    below = lambda level: [run["steps_to_test_loss_below"][level] for run in runs]  # noqa: E731
    holds("below 1 from step (.*?), below", below("1.0"))
    holds("below 0.1 from (.*?), and 3.3", below("0.1"))
    holds("and (3.3e-6.*?) at the end", [run["last"]["test_loss"] for run in runs])
    for step, pattern in ((100, "rises from (.*?) at step 100"), (200, "to (0.85.*?) at step 200")):
        over = [run["over_training"] for run in runs]
        holds(pattern, [x["attention_to_key"][x["step"].index(step)][0] for x in over])
