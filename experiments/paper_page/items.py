"""The paper's figures and tables, what stands for each here, and what that takes to run."""

from collections.abc import Mapping
from typing import Any, NamedTuple

COSTS: dict[str, dict[str, str]] = {
    "mainline": {"paper": "45 minutes on two cores"},
    "data_fraction": {"three_seeds": "an hour and a half on two cores"},
    "two_layers": {"three_seeds": "an hour on two cores, 95 minutes at most"},
    "moduli": {"three_seeds": "half an hour on two cores"},
    "weight_decay": {"three_seeds": "two hours on two cores"},
    "regularizers": {"three_seeds": "two and a half hours on two cores"},
    "low_precision": {
        "three_seeds": "half an hour on two cores",
        "paper": "80 minutes on two cores",
    },
    "large_modulus": {"paper": "5 days on two cores, and so work for an accelerator"},
    "skip_trigram": {"paper": "8 minutes on two cores"},
    "five_digit_addition": {
        "laptop": "25 minutes on two cores",
        "paper": "18 hours on two cores, nearly all of them for the finite set",
    },
    "repeated_subsequence": {
        "laptop": "35 minutes on two cores",
        "paper": "18 hours on two cores, nearly all of them for the finite set",
    },
}
"""By experiment, the presets that have what the paper shows, and what they take: see their
docstrings. The first that plans the runs of a row is named there."""


class Item(NamedTuple):
    """`experiment` is none where there is nothing to run; `files` may hold patterns."""

    number: str
    shows: str
    experiment: str = ""
    files: tuple[str, ...] = ()
    values: str = ""  # measures of the dataset, or keys of the JSON
    runs: Mapping[str, Any] = {}


_OTHER_SEEDS = {
    kind: tuple(f"{kind}_run_{seed:04d}" for seed in range(1, 5))
    for kind in ("spectra", "progress")
}
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
        ("figure_6_frequencies_ablated",),
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
    *(
        Item(number, shows, "mainline", _OTHER_SEEDS[kind], f"as Figure {like}")
        for number, shows, kind, like in (
            ("Figure 16", "W_E of the other seeds", "spectra", 3),
            ("Figure 17", "W_L of the other seeds", "spectra", 3),
            ("Figure 18", "progress measures of the other seeds", "progress", 7),
            ("Figure 19", "more of them; the sources do not tell which", "progress", 7),
        )
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
    *(
        Item(
            "D.2, no figure",
            f"slingshots by a low-precision loss, {words}",
            "low_precision",
            ("losses",),
            "`runs[].slingshots`",
            {"weight_decay": decay},
        )
        for decay, words in (
            (1.0, "decay 1"),
            (0.1, "decay 0.1 as in a run that the authors saved"),
        )
    ),
    *(
        Item(
            f"Figure {first + finite}",
            f"{words}, {f'{count} sequences' if finite else 'fresh data'}",
            task,
            ("losses", *["progress_run_0000"] * (not finite)),
            values,
            {f"{task}.num_sequences": count * finite},
        )
        for first, task, words, count, values in (
            (
                29,
                "five_digit_addition",
                "five-digit addition",
                700,
                "`loss_by_digit`, `loss_by_digit_with_carry`, `loss_by_digit_without_carry`",
            ),
            (31, "repeated_subsequence", "repeated subsequence", 512, "`prefix_matching_score`"),
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
        "key frequencies and logit FVE of every variant: a table in [Results](../docs/results.md)",
        values="`runs[].key_frequencies`, `mechanism[].logit_fve` of every JSON",
    ),
    Item("Tables 6-9", "what they hold the sources here do not tell"),
)
