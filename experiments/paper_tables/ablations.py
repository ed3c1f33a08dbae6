"""The ablations: what is replaced, the paper's loss and what agrees with it."""

from experiments.paper_tables.agreement import multiple, no_effect, relative

SPAN, NULL, LINE = "mlp_readout_span", "mlp_readout_null_space", "attention_linearised"
SUMS, BLOCKS = "sum_directions_only", "key_blocks_only"
NO_EQUALS = "equals_attention_zero"

ABLATIONS: dict[str, tuple] = {  # by name: what is replaced, the paper's loss, what agrees, claim
    "neurons_as_polynomials": (
        "neurons above 0.85 replaced by the constant, linear and quadratic terms of their "
        "frequency",
        "2.48e-07",
        multiple(2.48e-7),
    ),
    SUMS: (
        "logits reduced to cos and sin of w_k (a + b) and the mean of each class",
        "5.54e-08",
        multiple(5.54e-8),
        SUMS,
    ),
    BLOCKS: (
        "logits reduced to the mean of each class and the key frequencies' 3x3 blocks",
        "7.24e-08",
        multiple(7.24e-8),
        BLOCKS,
    ),
    SPAN: (
        "MLP output projected on the span of the key readouts u_k, v_k; path around it kept",
        "1.19e-07",
        multiple(1.19e-7),
        SPAN,
    ),
    NULL: ("MLP output without that span; path around it kept", "5.27", relative(5.27), NULL),
    "mlp_skip_zero": (
        "residual path around the MLP set to zero",
        "9.12e-07",
        multiple(9.12e-7),
    ),
    "mlp_skip_mean": (
        "residual path around the MLP set to its mean over the pairs",
        "7.25e-07",
        multiple(7.25e-7),
    ),
    "attention_zero": ("output of all heads set to zero", "24.3", relative(24.3)),
    LINE: (
        "each head's sigmoid of the score difference replaced by its best line, constant fitted; "
        "the weight of = kept",
        "2.12e-07",
        multiple(2.12e-7),
        LINE,
    ),
}
OTHER_READINGS: dict[str, tuple] = {
    "key_products_only": (
        "as key_blocks_only with the four products of each frequency alone",
        *ABLATIONS[BLOCKS][1:],
    ),
    "sum_directions_only_in_neurons": (
        "as sum_directions_only, of the MLP alone",
        *ABLATIONS[SUMS][1:],
    ),
    "key_blocks_only_in_neurons": (
        "as key_blocks_only, of what the MLP adds alone",
        *ABLATIONS[BLOCKS][1:],
    ),
    "excluded_products": ("logits without the four products of each key frequency",),
    "excluded_blocks": ("logits without the key frequencies' blocks, constant kept",),
    "excluded_cube": ("logits without their projections on cos(w_k (a + b - c)), key k (3D)",),
    "mlp_readout_span_without_skip": (
        "as mlp_readout_span, path around the MLP removed",
        *ABLATIONS[SPAN][1:],
    ),
    "mlp_readout_null_space_without_skip": (
        "as the null space, path around the MLP removed",
        *ABLATIONS[NULL][1:],
    ),
    "attention_skip_zero": (
        "residual path around the heads set to zero",
        "19.1",
        relative(19.1),
    ),
    "attention_mean": ("attention of each head set to its mean over the pairs",),
    "attention_linearised_through_half": ("the line has the constant 1/2", *ABLATIONS[LINE][1:]),
    "attention_linearised_without_equals": (
        "the weight of = is set to zero",
        *ABLATIONS[LINE][1:],
    ),
    "attention_single_frequency": ("attention replaced by the fit of Table 2",),
    NO_EQUALS: (
        "attention of = to itself masked before the softmax",
        "no effect",
        no_effect(),
        NO_EQUALS,
    ),
    "equals_attention_zero_unscaled": (
        "the same weight set to zero behind it",
        "no effect",
        no_effect(),
        NO_EQUALS,
    ),
}
