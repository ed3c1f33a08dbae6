"""All numbers of one network, as the JSON has them."""

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

from experiments import paper_figures
from experiments.paper_tables import definitions
from experiments.paper_tables.networks import Network
from experiments.written import plain
from grokjax.measures import from_params, spectra
from grokjax.measures.select import matrix_names

PROGRESS = (
    "max_excluded_loss",
    "weakest_key_norm",
    "strongest_other_norm",
    "key_share_of_neuron_logit_map",
    "key_share_of_logits",
    "gini_embedding",
    "gini_neuron_logit_map",
)
"""Progress measures that are one number."""


def measure(network: Network) -> tuple[dict[str, Any], Iterator[tuple[str, Figure]]]:
    """All numbers of one network, and its figures, which are drawn on demand."""
    numbers, found = numbers_of(network)
    numbers["versions"] = {name: version(name) for name in ("grokjax", "jax", "jaxlib", "numpy")}
    numbers["agreement"] = definitions.agreements(plain(numbers))
    program = from_params.program_of_params(network.params, network.data, network.activation)
    figures = paper_figures.figures(network.params, network.data, program, found, network.name)
    return numbers, figures


def numbers_of(network: Network) -> tuple[dict[str, Any], from_params.Measured]:
    """All numbers of one network, and the measures of its mechanism."""
    of_network = (network.params, network.data)
    options = {"activation": network.activation}
    found = jax.device_get(from_params.mechanism(*of_network, variants=True, **options))
    keys = _keys(found.key_frequency)
    progress = from_params.progress_measures(*of_network, key_frequencies=keys, **options)
    progress = jax.device_get(progress)
    numbers = {
        "key_frequencies": keys,
        "loss": _splits(found.full_loss),
        "restricted_loss": _splits(found.restricted_loss_by_split),
        "excluded_loss": _splits(found.excluded_loss_by_split),
        "excluded_loss_by_frequency": _at(keys, progress.excluded_loss_by_frequency),
        **{name: progress[name] for name in PROGRESS},
        "sum_squared_weights": progress.sum_squared_weights.sum(),
        "neuron_logit_map_residual": found.neuron_logit_map_residual,
        "neuron_logit_map_residual_squared": found.neuron_logit_map_residual_squared,
        "mlp_readout_fve": _waves(keys, found.mlp_readout_fve),
        "logit_fve": found.logit_fve,
        "logit_fit_loss": _splits(found.logit_fit_loss),
        "neuron_clusters": _at(_keys(found.neuron_clusters), found.neuron_clusters),
        "neurons_explained": found.neuron_clusters.sum() / len(found.neuron_share),
        "attention_fit_fve": _attention_fits(found, "attention_fit"),
        "attention_score_fit_fve": _attention_fits(found, "attention_score_fit"),
        "ablations": _ablations(found, "ablations"),
        "variants": {
            **_variants(found, progress, network),
            **_heads_of(found, keys),
            "attention_zero_by_head": _by_head(found.get("loss_attention_zero_head", ())),
            "ablations": _ablations(found, "variants/ablations"),
        },
        "inputs": network.inputs,
    }
    return numbers, found


def _variants(found, progress, network: Network) -> dict[str, Any]:
    """Other readings of the same analyses, and analyses without a key of their own."""
    keys, others = _keys(found.key_frequency), _keys(~found.key_frequency)
    embedding = np.sqrt(np.nansum(progress.embedding_norm**2, axis=-1))
    neurons = found.neuron_frequency[found.neuron_frequency > 0]
    coefficients = found.mlp_readout_coefficients
    pairs = {"cos cos": (0, 0), "sin sin": (0, 1), "sin cos": (1, 0), "cos sin": (1, 1)}
    prefix = "loss_without_frequency_"
    removed = {name.removeprefix(prefix): x for name, x in found.items() if name.startswith(prefix)}
    of_others = _at(others, found.loss_without_other_frequency_logit_block[0])
    matrices = zip(matrix_names(network.params), progress.sum_squared_weights, strict=True)
    centres = ("uncentred", "class_centred", "input_centred")
    return {
        "key_frequencies_of_embedding": _keys(spectra.key_frequencies(embedding)),
        "key_frequencies_of_neurons": np.unique(neurons).tolist(),
        "neuron_logit_map_residual_without_constant": found.neuron_logit_map_residual_centred,
        "mlp_readout_fve_products": _waves(keys, found.mlp_readout_fve_products),
        "mlp_readout_coefficients": {
            str(k): {name: coefficients[(*ij, k - 1)] for name, ij in pairs.items()} for k in keys
        },
        "logit_variance_shares": {
            name: _at(keys, found[f"logit_share_{name}"]) for name in ("block", "products", "sums")
        },
        **{f"logit_fve_{centre}": found[f"logit_fve_{centre}"] for centre in centres},
        "logit_fit_amplitudes": _at(keys, found.logit_fit_amplitudes),
        "loss_without_frequency": {
            name: {str(k): _splits(x[:, k - 1]) for k in keys} for name, x in removed.items()
        },
        "loss_without_other_frequency": of_others,
        "largest_loss_without_other_frequency": max(of_others.values(), default=None),
        "largest_wave_off_zero": _interference(keys, int(network.data.extra["modulus"])),
        "sum_squared_weights_by_matrix": dict(matrices),
    }


def _heads_of(found, keys: Sequence[int]) -> dict[str, Any]:
    """Numbers for each head of a one-layer network."""
    if "ov_norms" not in found:
        return {}
    power = found.ov_norms[:, 1:] ** 2
    power = np.pad(power, ((0, 0), (0, power.shape[1] % 2))).reshape(len(power), -1, 2).sum(-1)
    share = power / power.sum(1, keepdims=True)
    measures = {
        "attention_fit_fve_with_constant_half": "attention_fit_fve_half",
        "attention_fit_fve_with_constant_half_about_zero": "attention_fit_fve_half_about_zero",
        "attention_score_fit_fve_with_constant_zero": "attention_score_fit_fve_zero",
    }
    fits = ("attention_score_fit_alpha", "attention_score_fit_beta")
    fits += ("attention_fit_alpha", "attention_fit_beta", "equals_attention")
    measures |= {name: name for name in fits}
    return {
        **{name: _by_head(found[measure]) for name, measure in measures.items()},
        "pattern_correlation": found.pattern_correlation,
        "ov_share": {str(h): _at(keys, x) for h, x in enumerate(share)},
    }


def _attention_fits(found, name: str) -> dict[str, dict[str, Any]]:
    """Frequency and share by head; empty for networks of several layers."""
    if f"{name}_fve" not in found:
        return {}
    pairs = zip(found[f"{name}_frequency"], found[f"{name}_fve"], strict=True)
    return {str(h): {"frequency": k, "fve": fve} for h, (k, fve) in enumerate(pairs)}


def _ablations(found, folder: str) -> dict[str, Any]:
    return {name: _splits(found.get(f"loss_{name}")) for name in definitions.ablations(folder)}


def _splits(losses) -> dict[str, float] | None:
    return None if losses is None else dict(zip(("all", "train", "test"), losses, strict=True))


def _interference(keys: Sequence[int], p: int) -> dict[str, float]:
    """Largest value of cos(w_k x) over x != 0 and k, and of its mean over k (appendix B)."""
    waves = np.cos(2 * np.pi * np.outer(keys, np.arange(1, p)) / p)
    return {"single": waves.max(), "mean": waves.mean(0).max()}


def _keys(mask) -> list[int]:
    return (1 + np.flatnonzero(mask)).tolist()


def _at(keys: Sequence[int], by_frequency) -> dict[str, float]:
    return {str(k): by_frequency[k - 1] for k in keys}


def _waves(keys: Sequence[int], values) -> dict[str, dict[str, float]]:
    return {str(k): {"cos": values[0, k - 1], "sin": values[1, k - 1]} for k in keys}


def _by_head(values) -> dict[str, Any]:
    """Values by head; losses also by split."""
    return {str(h): _splits(value) if np.ndim(value) else value for h, value in enumerate(values)}
