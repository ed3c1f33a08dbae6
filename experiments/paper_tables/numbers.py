"""All numbers of one network, as the JSON has them."""

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

from experiments import paper_figures
from experiments.paper_tables.ablations import ABLATIONS, OTHER_READINGS
from experiments.paper_tables.definitions import agreements
from experiments.paper_tables.networks import Network
from experiments.written import plain
from grokjax.measures import from_params, spectra
from grokjax.measures.select import matrix_names


def measure(network: Network) -> tuple[dict[str, Any], Iterator[tuple[str, Figure]]]:
    """All numbers of one network, as the JSON has them, and its figures, drawn when asked for."""
    numbers, found = numbers_of(network)
    numbers["versions"] = {name: version(name) for name in ("grokjax", "jax", "jaxlib", "numpy")}
    numbers["agreement"] = agreements(plain(numbers))
    program = from_params.program_of_params(network.params, network.data, network.activation)
    figures = paper_figures.figures(network.params, network.data, program, found, network.name)
    return numbers, figures


def numbers_of(network: Network) -> tuple[dict[str, Any], from_params.Measured]:
    """All numbers of one network, and the evidence that they are read off."""
    of_network = {
        "params": network.params,
        "data": network.data,
        "activation": network.activation,
    }
    found = jax.device_get(from_params.mechanism(**of_network, variants=True))
    keys = _keys(found.key_frequency)
    progress = jax.device_get(from_params.progress_measures(**of_network, key_frequencies=keys))
    of_ablation = lambda name: _splits(found.get(f"loss_{name}"))  # noqa: E731
    numbers = {
        "key_frequencies": keys,
        "loss": _splits(found.full_loss),
        "restricted_loss": _splits(found.restricted_loss_by_split),
        "excluded_loss": _splits(found.excluded_loss_by_split),
        "excluded_loss_by_frequency": _at(keys, progress.excluded_loss_by_frequency),
        "max_excluded_loss": progress.max_excluded_loss,
        "weakest_key_norm": progress.weakest_key_norm,
        "strongest_other_norm": progress.strongest_other_norm,
        "key_share_of_neuron_logit_map": progress.key_share_of_neuron_logit_map,
        "key_share_of_logits": progress.key_share_of_logits,
        "gini_embedding": progress.gini_embedding,
        "gini_neuron_logit_map": progress.gini_neuron_logit_map,
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
        "ablations": {name: of_ablation(name) for name in ABLATIONS},
        "variants": {
            **_variants(found, progress, network),
            "attention_zero_by_head": _heads(found.get("loss_attention_zero_head", ())),
            "ablations": {name: of_ablation(name) for name in OTHER_READINGS},
        },
        "inputs": network.inputs,
    }
    return numbers, found


def _variants(found, progress, network: Network) -> dict[str, Any]:
    """Other readings of the same analyses, and those analyses that the main keys leave out."""
    keys, others = _keys(found.key_frequency), _keys(~found.key_frequency)
    embedding = np.sqrt(np.nansum(progress.embedding_norm**2, axis=-1))
    prefix = "loss_without_frequency_"
    removed = {name.removeprefix(prefix): x for name, x in found.items() if name.startswith(prefix)}
    of_others = found.loss_without_other_frequency_logit_block[0]
    return {
        "key_frequencies_of_embedding": _keys(spectra.key_frequencies(embedding)),
        "key_frequencies_of_neurons": np.unique(
            found.neuron_frequency[found.neuron_frequency > 0]
        ).tolist(),
        "neuron_logit_map_residual_without_constant": found.neuron_logit_map_residual_centred,
        "mlp_readout_fve_products": _waves(keys, found.mlp_readout_fve_products),
        "mlp_readout_coefficients": {
            str(k): {
                "cos cos": found.mlp_readout_coefficients[0, 0, k - 1],
                "sin sin": found.mlp_readout_coefficients[0, 1, k - 1],
                "sin cos": found.mlp_readout_coefficients[1, 0, k - 1],
                "cos sin": found.mlp_readout_coefficients[1, 1, k - 1],
            }
            for k in keys
        },
        "logit_variance_shares": {
            name: _at(keys, found[f"logit_share_{name}"]) for name in ("block", "products", "sums")
        },
        "logit_fve_uncentred": found.logit_fve_uncentred,
        "logit_fve_class_centred": found.logit_fve_class_centred,
        "logit_fve_input_centred": found.logit_fve_input_centred,
        "logit_fit_amplitudes": _at(keys, found.logit_fit_amplitudes),
        "loss_without_frequency": {
            name: {str(k): _splits(x[:, k - 1]) for k in keys} for name, x in removed.items()
        },
        "loss_without_other_frequency": _at(others, of_others),
        "largest_loss_without_other_frequency": max(
            (of_others[k - 1] for k in others), default=None
        ),
        "largest_wave_off_zero": _interference(keys, int(network.data.extra["modulus"])),
        "sum_squared_weights_by_matrix": dict(
            zip(matrix_names(network.params), progress.sum_squared_weights, strict=True)
        ),
        **_circuits(found, keys),
    }


def _circuits(found, keys: Sequence[int]) -> dict[str, Any]:
    """What there is to say of the heads of a one-layer network."""
    if "ov_norms" not in found:
        return {}
    power = found.ov_norms[:, 1:] ** 2
    power = np.pad(power, ((0, 0), (0, power.shape[1] % 2))).reshape(len(power), -1, 2).sum(-1)
    share = power / power.sum(1, keepdims=True)
    heads = range(len(share))
    return {
        "attention_fit_fve_with_constant_half": _heads(found.attention_fit_fve_half),
        "attention_score_fit_fve_with_constant_zero": _heads(found.attention_score_fit_fve_zero),
        "attention_score_fit_alpha": _heads(found.attention_score_fit_alpha),
        "attention_score_fit_beta": _heads(found.attention_score_fit_beta),
        "attention_fit_alpha": _heads(found.attention_fit_alpha),
        "attention_fit_beta": _heads(found.attention_fit_beta),
        "equals_attention": _heads(found.equals_attention),
        "pattern_correlation": found.pattern_correlation,
        "ov_share": {str(h): _at(keys, share[h]) for h in heads},
    }


def _attention_fits(found, name: str) -> dict[str, dict[str, Any]]:
    """Frequency and share by head."""
    if f"{name}_fve" not in found:
        return {}
    pairs = zip(found[f"{name}_frequency"], found[f"{name}_fve"], strict=True)
    return {str(h): {"frequency": k, "fve": fve} for h, (k, fve) in enumerate(pairs)}


def _splits(losses) -> dict[str, float] | None:
    return None if losses is None else dict(zip(("all", "train", "test"), losses, strict=True))


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
    """By head; losses also by split."""
    return {str(h): _splits(value) if np.ndim(value) else value for h, value in enumerate(values)}
