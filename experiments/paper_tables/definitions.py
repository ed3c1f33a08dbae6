"""What each number is: its place in the JSON, the paper's value, its definition; and the table."""

import itertools
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

ABLATIONS = {  # name: (the paper's loss, what is replaced)
    "neurons_as_polynomials": (
        "2.48e-07",
        "neurons above 0.85 replaced by the constant, linear and quadratic terms of their "
        "frequency",
    ),
    "sum_directions_only": (
        "5.54e-08",
        "logits reduced to cos and sin of w_k (a + b) and the mean of each class",
    ),
    "key_blocks_only": (
        "7.24e-08",
        "logits reduced to the mean of each class and the key frequencies' 3x3 blocks",
    ),
    "mlp_readout_span": (
        "1.19e-07",
        "MLP output projected on the span of the key readouts u_k, v_k; path around it kept",
    ),
    "mlp_readout_null_space": ("5.27", "MLP output without that span; path around it kept"),
    "mlp_skip_zero": ("9.12e-07", "residual path around the MLP set to zero"),
    "mlp_skip_mean": ("7.25e-07", "residual path around the MLP set to its mean over the pairs"),
    "attention_zero": ("24.3", "output of all heads set to zero"),
    "attention_linearised": (
        "2.12e-07",
        "each head's sigmoid of the score difference replaced by its best line, constant fitted; "
        "the weight of = kept",
    ),
}
OTHER_READINGS = {
    "key_products_only": ("", "as key_blocks_only with the four products of each frequency alone"),
    "sum_directions_only_in_neurons": ("5.54e-08", "as sum_directions_only, of the MLP alone"),
    "key_blocks_only_in_neurons": ("", "as key_blocks_only, of what the MLP adds alone"),
    "excluded_products": ("", "logits without the four products of each key frequency"),
    "excluded_blocks": ("", "logits without the key frequencies' blocks, constant kept"),
    "excluded_cube": ("", "logits without their projections on cos(w_k (a + b - c)), key k (3D)"),
    "mlp_readout_span_without_skip": ("", "as mlp_readout_span, path around the MLP removed"),
    "mlp_readout_null_space_without_skip": ("", "as the null space, path around the MLP removed"),
    "attention_skip_zero": ("19.1", "residual path around the heads set to zero"),
    "attention_mean": ("", "attention of each head set to its mean over the pairs"),
    "attention_linearised_through_half": ("", "the line has the constant 1/2"),
    "attention_linearised_without_equals": ("", "the weight of = is set to zero"),
    "attention_single_frequency": ("", "attention replaced by the fit of Table 2"),
    "equals_attention_zero": ("no effect", "attention of = to itself masked before the softmax"),
    "equals_attention_zero_unscaled": ("no effect", "the same weight set to zero behind it"),
}

# A heading, or: title, key in the JSON, the paper's value, or values by key, definition. Values by
# frequency are the paper's in the order of its own frequencies, 14 35 41 42 52.
TABLE: tuple[tuple, ...] = (
    ("Losses, in nats over the p classes",),
    ("loss,", "loss", {"all": "2.41e-07"}, "of the network"),
    (
        "restricted_loss,",
        "restricted_loss",
        {"all": "5.54e-08"},
        "logits reduced to the mean of each class and cos, sin of w_k (a + b), key k",
    ),
    (
        "excluded_loss,",
        "excluded_loss",
        "",
        "logits without cos, sin of w_k (a + b), key k; no mean is put back",
    ),
    (
        "excluded_loss, train, k =",
        "excluded_loss_by_frequency",
        "",
        "without cos, sin of w_k (a + b) of one frequency",
    ),
    ("Weights",),
    (
        "key_frequencies",
        "key_frequencies",
        "14 35 41 42 52",
        "norm in W_L = W_U W_out above a quarter of the largest; key in all that follows",
    ),
    ("of the embedding", "variants.key_frequencies_of_embedding", "6 of them", "same rule, W_E"),
    (
        "of the neurons",
        "variants.key_frequencies_of_neurons",
        "",
        "best frequency of any neuron, no threshold: the rule of the authors' code",
    ),
    ("gini_embedding", "gini_embedding", "", "of the norms of the p Fourier components of W_E"),
    ("gini_neuron_logit_map", "gini_neuron_logit_map", "", "the same of W_L"),
    ("sum_squared_weights", "sum_squared_weights", "", "of all parameters, biases included"),
    (
        "neuron_logit_map_residual",
        "neuron_logit_map_residual",
        "< 0.0055",
        "Frobenius norm of W_L less sum_k cos(w_k) u_k^T + sin(w_k) v_k^T, as a share of W_L's",
    ),
    (
        "without the constant",
        "variants.neuron_logit_map_residual_without_constant",
        "",
        "what W_L adds to all classes alike left out of both norms",
    ),
    ("Readouts, logits and neurons",),
    (
        "mlp_readout_fve, k =",
        "mlp_readout_fve",
        "",
        "share of the variance of u_k . MLP and v_k . MLP that cos and sin of w_k (a + b) explain",
    ),
    (
        "fitted on products, k =",
        "variants.mlp_readout_fve_products",
        "0.932 to 0.982",
        "the same with the two products of each wave fitted apart (Table 1)",
    ),
    (
        "logits, 2x2 block, k =",
        "variants.logit_variance_shares.products",
        "",
        "share of the variance of the logits about each class's mean in the four products",
    ),
    (
        "logit_fve",
        "logit_fve",
        "0.95",
        "share of the variance of the logits about the mean of all that sum_k alpha_k "
        "cos(w_k (a + b - c)) explains",
    ),
    ("about zero", "variants.logit_fve_uncentred", "", ""),
    ("about each class's mean", "variants.logit_fve_class_centred", "", ""),
    ("about each pair's mean", "variants.logit_fve_input_centred", "", ""),
    ("logit_fit_loss", "logit_fit_loss", "4.7e-08", "of that fit"),
    (
        "largest wave off 0,",
        "variants.largest_wave_off_zero",
        {"single": "0.998"},
        "of cos(w_k x) for any key k, and of their mean (appendix B)",
    ),
    (
        "neurons_explained",
        "neurons_explained",
        "0.846",
        "share of the neurons of whose variance a frequency's 8 terms explain more than 0.85",
    ),
    (
        "neuron_clusters, k =",
        "neuron_clusters",
        "44 93 145 87 64",
        "number of those neurons by frequency",
    ),
    ("Attention of = to a",),
    (
        "attention_fit_fve, head",
        "attention_fit_fve",
        {"0": "35 0.9903", "1": "42 0.9849", "2": "52 0.9907", "3": "42 0.9791"},
        "best frequency, and share of the variance that constant + alpha (cos w a - cos w b) + "
        "beta (sin w a - sin w b) explains, the constant fitted (Table 2)",
    ),
    (
        "with constant 1/2, head",
        "variants.attention_fit_fve_with_constant_half",
        "",
        "the same but for the constant",
    ),
    (
        "to itself, head",
        "variants.equals_attention",
        dict.fromkeys("0123", "0.001 to 0.004"),
        "mean weight that = gives itself",
    ),
    (
        "OV, head",
        "variants.ov_share",
        "",
        "share of each key frequency in the power of W_in W_O W_V W_E over the tokens",
    ),
    ("Loss over all pairs after an ablation",),
    *((name, f"ablations.{name}", *what) for name, what in ABLATIONS.items()),
    (
        "logit block, k =",
        "variants.loss_without_frequency.logit_block",
        "",
        "the 8 terms of one frequency's block removed from the logits (Figure 6)",
    ),
    (
        "logit waves, k =",
        "variants.loss_without_frequency.logit_sum_directions",
        "",
        "its cos, sin of w_k (a + b) removed from the logits",
    ),
    (
        "neuron block, k =",
        "variants.loss_without_frequency.neuron_block",
        "",
        "the 8 terms removed from the neurons",
    ),
    (
        "neuron waves, k =",
        "variants.loss_without_frequency.neuron_sum_directions",
        "2.0e-04 4.6e-04 1.9e-03 5.2e-03 2.4e-02",
        "its cos, sin of w_k (a + b) removed from the neurons",
    ),
    (
        "logit block, other k",
        "variants.largest_loss_without_other_frequency",
        "",
        "the largest of those of frequencies that are not key",
    ),
    (
        "attention_zero, head",
        "variants.attention_zero_by_head",
        "",
        "output of one head set to zero",
    ),
    ("Other readings of the ablations",),
    *((name, f"variants.ablations.{name}", *what) for name, what in OTHER_READINGS.items()),
)


def table(numbers: Mapping[str, Any], width: int = 118) -> str:
    """The numbers beside the paper's, definitions wrapped into the last column."""
    lines, columns = [], (38, 20, 16)
    columns += (width - sum(columns),)
    for row in (("", "here", "paper", "definition"), *rows(numbers)):
        cells = [textwrap.wrap(x, size - 2) for x, size in zip(row, columns, strict=False)]
        if len(cells) == 1:
            lines += ["", row[0]]
            continue
        for parts in itertools.zip_longest(*cells, fillvalue=""):
            padded = (x.ljust(size) for x, size in zip(parts, columns, strict=True))
            lines.append(f"  {''.join(padded)}".rstrip())
    return "\n".join(lines)


def rows(numbers: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Heading, or title, value here, the paper's, definition: one line for each single number."""
    for title, *rest in TABLE:
        if not rest:
            yield (title,)
            continue
        place, paper, definition = rest
        value: Any = numbers
        for part in place.split("."):
            value = value.get(part) if value is not None else None
        first = paper if isinstance(paper, str) else ""
        if not isinstance(value, Mapping) or not value:
            yield title, _show(value), first or "-", definition
            continue
        for i, (key, x) in enumerate(value.items()):
            other = paper.get(key) if isinstance(paper, Mapping) else "" if i else first
            yield f"{title} {key}", _show(x), other or "-", "" if i else definition


def _show(value: Any, digits: int = 5) -> str:
    if value is None or value == {}:
        return "-"
    if isinstance(value, Mapping):
        return " ".join(f"{k}: " * k.isdigit() + _show(x, digits=4) for k, x in value.items())
    if isinstance(value, list):
        return " ".join(map(str, value[:10])) + f" ... ({len(value)})" * (len(value) > 10)
    if isinstance(value, int | str):
        return str(value)
    return f"{value:.3e}" if 0 < abs(value) < 1e-3 else f"{value:.{digits}g}"
