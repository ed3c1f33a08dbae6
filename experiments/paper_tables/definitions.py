"""What each number is: its place in the JSON, the paper's value, what agrees with it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from experiments.paper_tables.ablations import ABLATIONS, OTHER_READINGS, SUMS
from experiments.paper_tables.agreement import (
    Check,
    agreement,
    below,
    count,
    extremes,
    in_order,
    multiple,
    near,
    of_key_frequencies,
    within,
)


class Row(NamedTuple):
    """A line of the table, or a line for each key of what stands at its place.

    Values by frequency are the paper's in the order of its own frequencies, 14 35 41 42 52. Rows
    with the same claim are readings of one statement of the paper.
    """

    title: str
    place: str = ""  # in the JSON; none: a heading
    definition: str = ""
    paper: str | Mapping[str, str] = ""  # as printed there, or by key
    check: Check | None = None
    claim: str = ""
    of: tuple[str, ...] = ()  # where the check is about one of the values alone

    @property
    def paper_text(self) -> str:
        shown = self.paper if isinstance(self.paper, str) else self.paper.values()
        return shown if isinstance(shown, str) else ", ".join(dict.fromkeys(shown))


_W_L = ("< 0.0055", below(0.0055), "W_L beyond the key frequencies")
_TABLE_1 = ("0.932 to 0.982", extremes(0.932, 0.982, 0.02), "Table 1")
_TABLE_2 = (
    {"0": "35 0.9903", "1": "42 0.9849", "2": "52 0.9907", "3": "42 0.9791"},
    in_order((0.9903, 0.9849, 0.9907, 0.9791), 0.01),
    "Table 2",
)
_FVE = ("0.95", near(0.95, 0.02), "logit_fve")
_ONE_LESS = (
    "2.0e-04 4.6e-04 1.9e-03 5.2e-03 2.4e-02",
    extremes(2.0e-4, 2.4e-2, factor=1.5),
    "one key frequency less",
)
_BY_FREQUENCY = "variants.loss_without_frequency."

TABLE: tuple[Row, ...] = (
    Row("Losses, in nats over the p classes"),
    Row("loss,", "loss", "of the network", {"all": "2.41e-07"}, within(2.41e-7, 2.0), of=("all",)),
    Row(
        "restricted_loss,",
        "restricted_loss",
        "logits reduced to the mean of each class and cos, sin of w_k (a + b), key k",
        {"all": "5.54e-08"},
        multiple(5.54e-8),
        SUMS,
    ),
    Row(
        "excluded_loss",
        "excluded_loss",
        "logits without cos, sin of w_k (a + b), key k; no mean is put back",
    ),
    Row(
        "excluded_loss, train, k =",
        "excluded_loss_by_frequency",
        "without cos, sin of w_k (a + b) of one frequency",
    ),
    Row(
        "max_excluded_loss",
        "max_excluded_loss",
        "the largest of those of all frequencies, key or not (footnote 3)",
    ),
    Row("Weights"),
    Row(
        "key_frequencies",
        "key_frequencies",
        "norm in W_L = W_U W_out above a quarter of the largest; key in all that follows",
        "14 35 41 42 52",
        count(3, 5),
    ),
    Row(
        "of the embedding",
        "variants.key_frequencies_of_embedding",
        "same rule, W_E",
        "6 of them",
        count(5, 7),
        "key frequencies of the embedding",
    ),
    Row(
        "of the neurons",
        "variants.key_frequencies_of_neurons",
        "best frequency of any neuron, no threshold: the rule of the authors' code",
    ),
    Row(
        "weakest_key_norm",
        "weakest_key_norm",
        "norm in W_L of the weakest key frequency, as a share of the largest",
    ),
    Row("strongest_other_norm", "strongest_other_norm", "the same of the strongest other one"),
    Row(
        "key share of W_L",
        "key_share_of_neuron_logit_map",
        "share of W_L's squared norm, but for the constant, that the key frequencies have",
    ),
    Row(
        "key share of the logits",
        "key_share_of_logits",
        "share of the logits' variance about each class's mean along cos, sin of w_k (a + b)",
    ),
    Row("gini_embedding", "gini_embedding", "of the norms of the p Fourier components of W_E"),
    Row("gini_neuron_logit_map", "gini_neuron_logit_map", "the same of W_L"),
    Row("sum_squared_weights", "sum_squared_weights", "of all parameters, biases included"),
    Row(
        "neuron_logit_map_residual",
        "neuron_logit_map_residual",
        "Frobenius norm of W_L less sum_k cos(w_k) u_k^T + sin(w_k) v_k^T, as a share of W_L's",
        *_W_L,
    ),
    Row(
        "squared",
        "neuron_logit_map_residual_squared",
        "the same of the squared norms",
        *_W_L,
    ),
    Row(
        "without the constant",
        "variants.neuron_logit_map_residual_without_constant",
        "what W_L adds to all classes alike left out of both norms, not squared",
        *_W_L,
    ),
    Row("Readouts, logits and neurons"),
    Row(
        "mlp_readout_fve, k =",
        "mlp_readout_fve",
        "share of the variance of u_k . MLP and v_k . MLP that cos and sin of w_k (a + b) explain",
        *_TABLE_1,
    ),
    Row(
        "fitted on products, k =",
        "variants.mlp_readout_fve_products",
        "the same with the two products of each wave fitted apart (Table 1)",
        *_TABLE_1,
    ),
    Row(
        "logits, 2x2 block, k =",
        "variants.logit_variance_shares.products",
        "share of the variance of the logits about each class's mean in the four products",
    ),
    Row(
        "logit_fve",
        "logit_fve",
        "share of the variance of the logits about the mean of all that sum_k alpha_k "
        "cos(w_k (a + b - c)) explains",
        *_FVE,
    ),
    Row("about zero", "variants.logit_fve_uncentred", "", *_FVE),
    Row("about each class's mean", "variants.logit_fve_class_centred", "", *_FVE),
    Row("about each pair's mean", "variants.logit_fve_input_centred", "", *_FVE),
    Row("logit_fit_loss,", "logit_fit_loss", "of that fit", {"all": "4.7e-08"}, multiple(4.7e-8)),
    Row(
        "largest wave off 0,",
        "variants.largest_wave_off_zero",
        "of cos(w_k x) for any key k, and of their mean (appendix B)",
        {"single": "0.998"},
        near(0.998, 0.001),
        of=("single",),
    ),
    Row(
        "neurons_explained",
        "neurons_explained",
        "share of the neurons of whose variance a frequency's 8 terms explain more than 0.85",
        "0.846",
        near(0.846, 0.05),
    ),
    Row(
        "neuron_clusters, k =",
        "neuron_clusters",
        "number of those neurons by frequency",
        "44 93 145 87 64",
        of_key_frequencies(),
    ),
    Row("Attention of = to a"),
    Row(
        "attention_fit_fve, head",
        "attention_fit_fve",
        "best frequency, and share of the variance of the attention that constant + alpha "
        "(cos w a - cos w b) + beta (sin w a - sin w b) explains, the constant fitted (Table 2)",
        *_TABLE_2,
    ),
    Row(
        "with constant 1/2, head",
        "variants.attention_fit_fve_with_constant_half",
        "the same but for the constant",
        *_TABLE_2,
    ),
    Row(
        "attention_score_fit_fve, head",
        "attention_score_fit_fve",
        "the same of the score of a less that of b, before the softmax, the constant fitted",
        *_TABLE_2,
    ),
    Row(
        "with constant 0, head",
        "variants.attention_score_fit_fve_with_constant_zero",
        "the same but for the constant",
        *_TABLE_2,
    ),
    Row(
        "to itself, head",
        "variants.equals_attention",
        "mean weight that = gives itself",
        dict.fromkeys("0123", "0.001 to 0.004"),
        below(0.005),
    ),
    Row(
        "OV, head",
        "variants.ov_share",
        "share of each key frequency in the power of W_in W_O W_V W_E over the tokens",
    ),
    Row("Loss over all pairs after an ablation; below it over the training pairs and the others"),
    *(Row(name, f"ablations.{name}", *what) for name, what in ABLATIONS.items()),
    Row(
        "logit block, k =",
        f"{_BY_FREQUENCY}logit_block",
        "the 8 terms of one frequency's block removed from the logits (Figure 6)",
        *_ONE_LESS,
    ),
    Row(
        "logit waves, k =",
        f"{_BY_FREQUENCY}logit_sum_directions",
        "its cos, sin of w_k (a + b) removed from the logits",
        *_ONE_LESS,
    ),
    Row(
        "neuron block, k =",
        f"{_BY_FREQUENCY}neuron_block",
        "the 8 terms removed from the neurons",
        *_ONE_LESS,
    ),
    Row(
        "neuron waves, k =",
        f"{_BY_FREQUENCY}neuron_sum_directions",
        "its cos, sin of w_k (a + b) removed from the neurons",
        *_ONE_LESS,
    ),
    Row(
        "logit block, other k",
        "variants.largest_loss_without_other_frequency",
        "the largest of those of frequencies that are not key, over all pairs",
    ),
    Row(
        "attention_zero, head", "variants.attention_zero_by_head", "output of one head set to zero"
    ),
    Row("Other readings of the ablations"),
    *(Row(name, f"variants.ablations.{name}", *what) for name, what in OTHER_READINGS.items()),
)


def agreements(numbers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What of the paper's statements the numbers bear, by claim."""
    return agreement((row for row in TABLE if row.check), numbers)
