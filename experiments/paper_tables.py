"""Every number of the paper's analysis of one network, beside the paper's own, and its figures.

    python -m experiments.paper_tables --weights FILE --split-seed 0 --train-fraction 0.3 --out DIR
    python -m experiments.paper_tables --workdir RUNS --run 3 [--step 10000] --out DIR

The network is one that others trained (see `grokjax.interop`) or a run trained here. Losses are
over the p classes; all pairs unless a split is named. Nanda et al. 2023, sections 4, 5 and C; the
paper's numbers are those of its mainline network, whose frequencies are others. Most of this file
is the table of what each number is.
"""

import argparse
import itertools
import json
import math
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from grokjax import interop, tasks
from grokjax.commandline import Parser, run_main
from grokjax.config import ConfigError
from grokjax.types import Params, Task

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


class Network(NamedTuple):
    """What is analysed, and where it came from."""

    params: Params
    task: Task
    activation: str
    inputs: dict[str, Any]
    name: str  # in the titles of figures


def main(argv: list[str]) -> int:
    options = _options(argv)
    network = _from_file(options) if options.weights else _from_workdir(options)
    out = Path(options.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {out} cannot be made: {error.strerror}") from error
    numbers, figures = measure(network)
    numbers = _plain(numbers)
    print(table(numbers))
    train, test = numbers["loss"]["train"], numbers["loss"]["test"]
    if options.weights and train is not None and test is not None and train >= test:
        note = "the training loss is not below the test loss: check --split, --split-seed"
        print(f"note: {note} and --train-fraction", file=sys.stderr)
    path = out / "paper_tables.json"
    try:
        path.write_text(json.dumps(numbers, indent=1, allow_nan=False) + "\n")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    print(f"\nwritten to {path}")
    from experiments import lab  # as all that imports jax, late

    print(f"figures  {len(lab.save_figures(figures, out))} in {out}")
    return 0


# --- Which network ------------------------------------------------------------------------------


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m experiments.paper_tables",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--weights", metavar="FILE", help=".pth, .pt, .npz or .safetensors")
    source.add_argument("--workdir", metavar="RUNS", help="of a sweep trained here")
    parser.add_argument("--out", metavar="DIR", required=True, help="for paper_tables.json")
    file = parser.add_argument_group("with --weights")
    file.add_argument("--split-seed", type=int, metavar="N", help="of the split; default 0")
    file.add_argument("--train-fraction", type=float, metavar="F", help="default 0.3")
    file.add_argument("--split", choices=("python", "torch"), help="generator; default python")
    file.add_argument("--operation", choices=tasks.OPERATIONS[:3], help="default add")
    file.add_argument("--activation", choices=("relu", "gelu"), help="default relu")
    file.add_argument("--checkpoint", type=int, metavar="N", help="which one; default the last")
    run = parser.add_argument_group("with --workdir")
    run.add_argument("--run", type=int, metavar="N", help="which run; default 0")
    run.add_argument("--step", type=int, metavar="N", help="which checkpoint; default the last")
    options = parser.parse_args(argv)
    other = run if options.weights else file
    for action in other._group_actions:
        if getattr(options, action.dest) is not None:
            wanted = "--workdir" if options.weights else "--weights"
            raise ConfigError(f"{action.option_strings[0]} goes with {wanted} alone: leave it out")
    return options


def _from_file(options: argparse.Namespace) -> Network:
    fraction = 0.3 if options.train_fraction is None else options.train_fraction
    seed, operation = options.split_seed or 0, options.operation or "add"
    params = interop.load_network(options.weights, options.checkpoint)
    p = params["embed"]["W_E"].shape[0] - 1
    if not (0 < fraction < 1 and 0 < int(fraction * p * p)):
        reason = "must lie between 0 and 1 and leave a training pair"
        raise ConfigError(f"--train-fraction {fraction} {reason}")
    split = interop.torch_split if options.split == "torch" else tasks.shuffled_split
    task = tasks.modular(p, fraction, seed, operation)._replace(train=split(p, fraction, seed))
    inputs = {
        "weights": str(options.weights),
        "checkpoint": options.checkpoint,
        "split": options.split or "python",
        "split_seed": seed,
        "train_fraction": fraction,
        "operation": operation,
    }
    name = f"{Path(options.weights).stem}, p = {p}"
    return Network(params, task, options.activation or "relu", inputs, name)


def _from_workdir(options: argparse.Namespace) -> Network:
    from grokjax import checkpoints, evaluate  # after the arguments: jax takes seconds to import

    sweep, run = evaluate.open_sweep(options.workdir), options.run or 0
    count = len(sweep.config.runs)
    if not 0 <= run < count:
        raise ConfigError(f"there is no run {run}: the sweep has runs 0 to {count - 1}")
    config = sweep.config.runs[run]
    place = next(i for i, block in enumerate(sweep.blocks) if run in block.indices)
    saved = [step for step in checkpoints.steps(sweep.directory(place)) if step <= config.steps]
    if not saved:
        raise ConfigError(f"{options.workdir} holds no checkpoint of run {run} yet")
    step = saved[-1] if options.step is None else options.step
    try:
        params = sweep.params(run, step)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    inputs = {"workdir": str(options.workdir), "run": run, "step": step, **config.to_dict()}
    name = f"p = {config.modulus}, seed {config.seed}, step {step:,}"
    return Network(params, sweep.task(run), config.activation, inputs, name)


# --- The numbers --------------------------------------------------------------------------------


def measure(network: Network) -> tuple[dict[str, Any], Iterator[tuple[str, Figure]]]:
    """All numbers of one network, as the JSON has them, and its figures, drawn when asked for."""
    import jax

    from experiments import paper_figures
    from grokjax import evaluate
    from grokjax.measures import spectra

    of_network = {"params": network.params, "task": network.task, "activation": network.activation}
    found = jax.device_get(evaluate.mechanism(**of_network, variants=True))
    keys = _keys(found.key)
    progress = jax.device_get(evaluate.progress_measures(**of_network, key_frequencies=keys))
    names = spectra.matrix_names(network.params)
    ablations = {name: split.all for name, split in found.ablations.items()}
    numbers = {
        "key_frequencies": keys,
        "loss": found.loss._asdict(),
        "restricted_loss": found.restricted_loss._asdict(),
        "excluded_loss": found.excluded_loss._asdict(),
        "excluded_loss_by_frequency": _at(keys, progress.excluded_loss_by_frequency),
        "gini_embedding": progress.gini_embedding,
        "gini_neuron_logit_map": progress.gini_neuron_logit_map,
        "sum_squared_weights": progress.sum_squared_weights.sum(),
        "neuron_logit_map_residual": found.neuron_logit_map_residual,
        "mlp_readout_fve": _waves(keys, found.readouts.fve),
        "logit_fve": found.logit_fit.fve,
        "logit_fit_loss": found.logit_fit_loss.all,
        "neuron_clusters": _at(_keys(found.neuron_clusters), found.neuron_clusters),
        "neurons_explained": found.neuron_clusters.sum() / len(found.neuron_share),
        "attention_fit_fve": _attention_fits(found.circuits),
        "ablations": {name: ablations.get(name) for name in ABLATIONS},
        "variants": {
            **_variants(found, progress, names, int(network.task.modulus)),
            "attention_zero_by_head": _zero_by_head(ablations),
            "ablations": {name: ablations.get(name) for name in OTHER_READINGS},
        },
        "inputs": network.inputs,
        "versions": {name: version(name) for name in ("grokjax", "jax", "jaxlib", "numpy")},
    }
    arch = evaluate.architecture_of(network.params, network.activation)
    return numbers, paper_figures.figures(network.params, network.task, arch, found, network.name)


def _variants(found, progress, matrices: Sequence[str], p: int) -> dict[str, Any]:
    """Other readings of the same analyses, and those analyses that the main keys leave out."""
    from grokjax.measures import spectra

    keys, others = _keys(found.key), _keys(~found.key)
    fit, removed = found.logit_fit, found.frequency_ablated
    embedding = spectra.frequency_norms(progress.embedding_norms)
    return {
        "key_frequencies_of_embedding": _keys(spectra.key_frequencies(embedding)),
        "key_frequencies_of_neurons": np.unique(
            found.neuron_frequency[found.neuron_frequency > 0]
        ).tolist(),
        "neuron_logit_map_residual_without_constant": found.neuron_logit_map_residual_centred,
        "neuron_logit_map_residual_squared": found.neuron_logit_map_residual**2,
        "mlp_readout_fve_products": _waves(keys, found.readouts.fve_products),
        "mlp_readout_coefficients": {
            str(k): {
                "cos cos": found.readouts.coefficients[0, 0, k - 1],
                "sin sin": found.readouts.coefficients[0, 1, k - 1],
                "sin cos": found.readouts.coefficients[1, 0, k - 1],
                "cos sin": found.readouts.coefficients[1, 1, k - 1],
            }
            for k in keys
        },
        "logit_variance_shares": {
            name: _at(keys, share) for name, share in found.logit_shares._asdict().items()
        },
        "logit_fve_uncentred": fit.fve_uncentred,
        "logit_fve_class_centred": fit.fve_class_centred,
        "logit_fve_input_centred": fit.fve_input_centred,
        "logit_fit_amplitudes": _at(keys, fit.amplitudes),
        "loss_without_frequency": {name: _at(keys, x.all) for name, x in removed.items()},
        "loss_without_other_frequency": _at(others, removed["logit_block"].all),
        "largest_loss_without_other_frequency": max(
            (removed["logit_block"].all[k - 1] for k in others), default=None
        ),
        "largest_wave_off_zero": _interference(keys, p),
        "sum_squared_weights_by_matrix": dict(
            zip(matrices, progress.sum_squared_weights, strict=True)
        ),
        **_circuits(found, keys),
    }


def _circuits(found, keys: Sequence[int]) -> dict[str, Any]:
    """What there is to say of the heads of a one-layer network."""
    circuits = found.circuits
    if circuits is None:
        return {}
    power = circuits.ov_norms[:, 1:] ** 2
    power = np.pad(power, ((0, 0), (0, power.shape[1] % 2))).reshape(len(power), -1, 2).sum(-1)
    share = power / power.sum(1, keepdims=True)
    heads = range(len(share))
    return {
        "attention_fit_fve_with_constant_half": _heads(circuits.fit.fve_half),
        "attention_fit_alpha": _heads(circuits.fit.alpha),
        "attention_fit_beta": _heads(circuits.fit.beta),
        "equals_attention": _heads(circuits.equals_attention),
        "pattern_correlation": circuits.pattern_correlation,
        "ov_share": {str(h): _at(keys, share[h]) for h in heads},
    }


def _zero_by_head(ablations: Mapping[str, Any]) -> dict[str, Any]:
    prefix = "attention_zero_head_"
    return {k.removeprefix(prefix): v for k, v in ablations.items() if k.startswith(prefix)}


def _attention_fits(circuits) -> dict[str, dict[str, Any]]:
    if circuits is None:
        return {}
    pairs = zip(circuits.fit.frequency, circuits.fit.fve, strict=True)
    return {str(h): {"frequency": k, "fve": fve} for h, (k, fve) in enumerate(pairs)}


def _interference(keys: Sequence[int], p: int) -> dict[str, float]:
    """Largest value off 0 of cos(w_k x) for any key k, and of their mean (appendix B)."""
    waves = np.cos(2 * np.pi * np.outer(keys, np.arange(1, p)) / p)
    return {"single": waves.max(), "mean": waves.mean(0).max()}


def _keys(mask) -> list[int]:
    return (1 + np.nonzero(np.asarray(mask))[0]).tolist()


def _at(keys: Sequence[int], by_frequency) -> dict[str, float]:
    return {str(k): by_frequency[k - 1] for k in keys}


def _waves(keys: Sequence[int], values) -> dict[str, dict[str, float]]:
    return {str(k): {"cos": values[0, k - 1], "sin": values[1, k - 1]} for k in keys}


def _heads(values) -> dict[str, float]:
    return {str(h): value for h, value in enumerate(values)}


def _plain(x: Any) -> Any:
    """As JSON can hold it: Python's own numbers, and null for what is not a number."""
    if isinstance(x, Mapping):
        return {str(k): _plain(v) for k, v in x.items()}
    if isinstance(x, list | tuple):
        return [_plain(v) for v in x]
    if hasattr(x, "tolist"):
        return _plain(np.asarray(x).tolist())
    return None if isinstance(x, float) and not math.isfinite(x) else x


# --- The table ----------------------------------------------------------------------------------


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


if __name__ == "__main__":
    sys.exit(run_main(main))
