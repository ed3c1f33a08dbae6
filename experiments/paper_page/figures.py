"""Where the counterpart of each figure and table of the paper is, and how far it was run here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from experiments.paper_page.judged import ENOUGH, number, other_setting
from experiments.paper_page.recorded import Experiment
from experiments.paper_page.tables import Known, table

COSTS: dict[str, tuple[str, str]] = {
    "mainline": ("paper", "50 minutes"),
    "data_fraction": ("three_seeds", "MINUTES minutes"),
    "two_layers": ("three_seeds", "MINUTES minutes"),
    "moduli": ("three_seeds", "MINUTES minutes"),
    "weight_decay": ("three_seeds", "MINUTES minutes"),
    "regularizers": ("three_seeds", "MINUTES minutes"),
    "low_precision": ("three_seeds", "MINUTES minutes"),
    "large_modulus": ("paper", "HOURS hours"),
    "skip_trigram": ("paper", "MINUTES minutes"),
    "five_digit_addition": ("paper", "HOURS hours"),
    "repeated_subsequence": ("paper", "HOURS hours"),
}
"""By experiment: the preset that has all that the paper shows, and what it takes on two cores."""

FOR_AN_ACCELERATOR = ("large_modulus", "five_digit_addition", "repeated_subsequence")
"""Experiments whose whole preset is no work for two cores."""


class Item(NamedTuple):
    """`experiment` is none where there is nothing to run; `files` may hold patterns."""

    number: str
    shows: str
    experiment: str = ""
    files: tuple[str, ...] = ()
    values: str = ""  # measures of the dataset, or keys of the JSON
    runs: Mapping[str, Any] = {}


_BLOCK = "figure_6_frequencies_ablated"
ITEMS = (
    Item("Figure 1", "the algorithm, a drawing: nothing is measured"),
    Item(
        "Figure 2",
        "accuracies and losses of five seeds",
        "mainline",
        ("curves", "losses"),
        "`train_loss`, `test_loss`, `train_accuracy`, `test_accuracy`",
    ),
    Item(
        "Figure 3",
        "Fourier norms of W_E and W_L",
        "mainline",
        ("spectra_run_0000",),
        "`embedding_norm`, `neuron_logit_map_norm`",
    ),
    Item(
        "Figure 4",
        "attention, neurons and logits over all pairs",
        "mainline",
        ("figure_4_activations", "figure_4_logits"),
    ),
    Item(
        "Figure 5",
        "neurons explained by one frequency; W_L of a cluster",
        "mainline",
        ("figure_5_neurons",),
        "`neuron_share`, `mechanism[].neurons_explained`",
    ),
    Item(
        "Figure 6",
        "loss without each frequency, and with the key ones alone",
        "mainline",
        (_BLOCK,),
        "`mechanism[].variants.loss_without_frequency`, `.ablations.key_blocks_only`",
    ),
    Item(
        "Figure 7",
        "progress measures and phases",
        "mainline",
        ("progress_run_0000",),
        "`excluded_loss`, `restricted_loss`, `gini_*`, `total_sum_squared_weights`, `*_end`",
    ),
    Item(
        "Figures 8-12",
        "waves and their sum (appendix B); attention, scores C_j, OV circuits, lines through the "
        "sigmoid (C.1); the sources do not tell which number is which",
        "mainline",
        ("appendix_b_waves", "appendix_c_attention", "appendix_c_scores", "appendix_c_ov"),
        "`attention_fit_fve`, `attention_score_fit_fve`, `variants.ov_share`",
    ),
    Item(
        "Figure 13",
        "restricted accuracy over training",
        "mainline",
        ("frequencies_run_0000",),
        "`restricted_accuracy`",
    ),
    Item(
        "Figure 14",
        "coefficients of cos(w(a+b-c)) over training",
        "mainline",
        ("frequencies_run_0000",),
        "`cos_coefficient`",
    ),
    Item(
        "Figure 15",
        "excluded loss by key frequency",
        "mainline",
        ("frequencies_run_0000",),
        "`excluded_loss_by_frequency`, `max_excluded_loss`",
    ),
    Item(
        "Figures 16, 17",
        "W_E and W_L of the other seeds",
        "mainline",
        tuple(f"spectra_run_{i:04d}" for i in range(1, 5)),
        "as Figure 3",
    ),
    Item(
        "Figures 18, 19",
        "progress measures of the other seeds",
        "mainline",
        ("progress_band_000", *(f"progress_run_{i:04d}" for i in range(1, 5))),
        "as Figure 7",
    ),
    Item(
        "Figure 20",
        "losses by training fraction, 0.1 to 0.9",
        "data_fraction",
        ("losses",),
        "`runs[].steps_to_grok`",
    ),
    Item(
        "Figure 21",
        "steps to a loss of 1e-6 by fraction",
        "data_fraction",
        ("steps_to_loss",),
        "`runs[].steps_to_test_loss_below`",
    ),
    Item("Figure 22", "two layers: losses", "two_layers", ("losses",), "`runs[].slingshots`"),
    Item("Figure 23", "two layers: excluded loss", "two_layers", ("losses",), "`excluded_loss`"),
    Item("Figure 24", "p = 53, decay 5", "moduli", ("losses",), "", {"modulus": 53}),
    Item("C.2, no figure", "p = 109", "moduli", ("losses",), "", {"modulus": 109}),
    Item("Figure 25", "p = 401", "large_modulus", ("losses",), ""),
    Item(
        "Figure 26",
        "no weight decay, with excluded loss",
        "weight_decay",
        ("losses",),
        "`excluded_loss`",
        {"weight_decay": 0.0},
    ),
    Item("Figure 27", "decay 0.3", "weight_decay", ("losses",), "", {"weight_decay": 0.3}),
    Item("Figure 27", "decay 3", "weight_decay", ("losses",), "", {"weight_decay": 3.0}),
    Item("Figure 28", "dropout", "regularizers", ("losses",), "", {"l1": 0.0, "weight_decay": 0.0}),
    Item("Figure 28", "L1", "regularizers", ("losses",), "", {"dropout": 0.0}),
    Item(
        "D.2, no figure",
        "slingshots by a low-precision loss",
        "low_precision",
        ("losses",),
        "`runs[].slingshots`",
    ),
    *(
        Item(
            f"Figure {first + finite}",
            f"{words}, {f'{count} sequences' if finite else 'fresh data'}",
            task,
            ("losses",),
            values,
            {f"{task}.num_sequences": count * finite},
        )
        for first, task, words, count, values in (
            (29, "five_digit_addition", "five-digit addition", 700, "losses by digit and carry"),
            (31, "repeated_subsequence", "repeated subsequence", 512, "`prefix_matching`"),
            (33, "skip_trigram", "skip trigram", 512, "`attention_to_key`"),
        )
        for finite in (0, 1)
    ),
    Item(
        "Table 1",
        "MLP readouts explained by waves",
        "mainline",
        (),
        "`mechanism[].mlp_readout_fve`, `.variants.mlp_readout_fve_products`",
    ),
    Item(
        "Table 2",
        "attention explained by one frequency",
        "mainline",
        (),
        "`mechanism[].attention_fit_fve`, `.attention_score_fit_fve`",
    ),
    Item("Table 3", "readouts of the other seeds", "mainline", (), "as Table 1"),
    Item(
        "Table 4",
        "ablations of the other seeds",
        "mainline",
        (),
        "`mechanism[].excluded_loss`, `.ablations.key_blocks_only`",
    ),
    Item(
        "Table 5",
        "key frequencies and logit FVE of every variant: [Results](../docs/results.md)",
        "mainline",
        (),
        "`runs[].key_frequencies`, `mechanism[].logit_fve` in every JSON",
    ),
    Item("Tables 6-9", "what they hold the sources here do not tell"),
)


def figures_table(known: Known, folder: Path) -> str:
    """One row for each; `folder` holds the results."""
    head = ("paper", "shows", "here", "measures and keys", "run here", "what remains")
    return table(head, [_row(item, known, folder) for item in ITEMS])


def _row(item: Item, known: Known, folder: Path) -> tuple[str, ...]:
    if not item.experiment:
        return item.number, item.shows, "none", "", "", ""
    experiment = known[item.experiment]
    place = f"`{item.experiment}`"
    if experiment:
        place = f"[{place}](results/{item.experiment}.json)"
        there = [x for x in item.files if (folder / item.experiment / f"{x}.png").exists()]
        links = (f"[{x}](results/{item.experiment}/{x}.png)" for x in there)
        place = ", ".join((place, *links))
    run = run_here(experiment, item.runs)
    return item.number, item.shows, place, item.values, run, remains(item, experiment)


def run_here(experiment: Experiment | None, chosen: Mapping[str, Any]) -> str:
    """With how many runs and steps."""
    runs = experiment.having(**chosen) if experiment else []
    if not runs:
        return "no"
    fields = [x for x in runs[0].fields if x not in ("seed", "steps", "stop")]
    kinds = {tuple(str(run.fields.get(x)) for x in fields) for run in runs}
    steps = sorted({run.numbers["trained"] for run in runs})
    lengths = number(steps[0]) if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,}"
    seeds = sorted({len(x) for x in _by_kind(runs, fields).values()})
    each = "-".join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))
    of = f" each of {len(kinds)} kinds" if len(kinds) > 1 else ""
    text = f"{each} seed{'s' * (each != '1')}{of}, {lengths} steps"
    setting = other_setting(dict.fromkeys((*chosen, *_swept(runs))), runs)
    return text + (f", {setting}" if setting else "")


def _by_kind(runs, fields) -> dict[tuple, list]:
    kinds: dict[tuple, list] = {}
    for run in runs:
        kinds.setdefault(tuple(str(run.fields.get(x)) for x in fields), []).append(run)
    return kinds


def _swept(runs) -> list[str]:
    names = runs[0].fields
    return [x for x in names if len({str(run.fields.get(x)) for run in runs}) > 1]


def remains(item: Item, experiment: Experiment | None) -> str:
    """The command that has all of it, and its cost; nothing where that was run."""
    preset, cost = COSTS[item.experiment]
    if experiment and experiment.preset == preset and len(experiment.having(**item.runs)):
        return ""
    where = "an accelerator's work, on two cores " if item.experiment in FOR_AN_ACCELERATOR else ""
    few = experiment and 0 < len(experiment.having(**item.runs)) < ENOUGH
    command = f"`python -m experiments.{item.experiment} --preset {preset}` ({where}{cost})"
    return f"{f'fewer than {ENOUGH} seeds: ' if few else ''}{command}"


def undrawn(known: Known) -> str:
    """Experiments whose figures are older than the record of what stands on them."""
    old = [f"`{name}`" for name, x in known.items() if x and x.figures is None]
    if not old:
        return "All figures were drawn by the code that records what stands on them."
    return (
        "Drawn before it was recorded what stands on a figure, so that no test holds them beside "
        f"today's code: those of {', '.join(old)}."
    )
