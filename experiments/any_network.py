"""The paper's measures of networks that are not the paper's, from their logits and from W_L.

The built-in transformer and three networks of docs/howto/extensions, three seeds each, p = 31,
until cleanup is over. Of every last checkpoint: the key frequencies by W_L, where a network has
one, and by the logits; the measures of the logits by both sets; and how far these are from a
float64 evaluation of the same logits.

    python -m experiments.any_network [--workdir DIR] [--out DIR]

OUT/any_network.json holds one row a run.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import grokjax
from experiments import lab, options
from experiments.written import command, make_writable, save_json
from grokjax.cli.config_file import read_sweep
from grokjax.core import parts
from grokjax.measures import spectra
from grokjax.measures.compute import compute
from grokjax.measures.network import Network
from grokjax.results import at_end
from grokjax.runner.run import set_up_jax

EXTENSIONS = Path(__file__).parents[1] / "docs" / "howto" / "extensions"
SHARED = {"modulus": "31", "stop": "cleanup_over", "axes.seed": "(0, 1, 2)"}
SMALL = {"train_fraction": "0.6", "steps": "10_000", "d_model": "32"}
NETWORKS = {
    "transformer": ("quickstart", SMALL | {"num_heads": "2", "d_mlp": "128"}),
    "Rope": ("rope_network", SMALL | {"num_heads": "2", "d_mlp": "64"}),
    "added": ("mlp_network", SMALL | {"d_mlp": "128"}),
    "Recurrent": ("recurrent_network", {"train_fraction": "0.8", "steps": "20_000"}),
}
"""By network, its config file and the settings at which it groks."""

MEASURES = (
    *("restricted_loss", "excluded_loss", "max_excluded_loss", "key_share_of_logits"),
    *("test_loss", "train_loss"),
)
PHASES = ("steps_to_grok", "memorization_end", "circuit_formation_end", "cleanup_end")


def rows(name: str, sweep: grokjax.Sweep) -> list[dict[str, Any]]:
    """One dict a run of a network."""
    measures, table = sweep.measures(), []
    steps = at_end(measures)["step"]
    for run in measures["run"].values.tolist():
        step = int(steps.sel(run=run))
        network = Network(sweep.params(run, step), sweep.data(run), sweep.program(run))
        spectra_of = {"by_logits": spectra.logit_norms}
        if spectra.has_neuron_logit_map(network.program):
            spectra_of["by_W_L"] = spectra.neuron_logit_map_norms
        norms = {x: spectra.frequency_norms(of(network)) for x, of in spectra_of.items()}
        table.append(
            {"network": name, "seed": sweep.runs["seed"][run], "step": step}
            | {x: measures[x].sel(run=run).item() for x in PHASES}
            | {"rule": measures["key_frequency"].attrs["rule"]}
            | {x: by_keys(network, spectra.key_frequencies(y)) for x, y in norms.items()}
        )
    return table


def by_keys(network: Network, key: Any) -> dict[str, Any]:
    """The measures by a mask of key frequencies, and their largest relative error."""
    keys = (1 + np.flatnonzero(key)).tolist()
    chosen = [parts.get("measure", name, "modular") for name in MEASURES]
    given = {"key_frequency": key}
    found = compute(network.program, chosen, params=network.params, data=network.data, given=given)
    found = {name: float(value) for name, value in found.items()}
    exact = in_float64(np.asarray(network.logits, np.float64)[: network.p], network, keys)
    error = max(abs(found[name] - exact[name]) / abs(exact[name]) for name in MEASURES)
    return {"keys": keys} | found | {"largest_relative_error": error}


def in_float64(logits: np.ndarray, network: Network, keys: Sequence[int]) -> dict[str, float]:
    """The same measures of logits [c p p], from their definitions in NumPy."""
    p = len(logits)
    a, b = np.indices((p, p))
    answers, train = (a + b) % p, np.asarray(network.train)

    def loss(logits: np.ndarray, pairs: np.ndarray) -> float:
        right = np.take_along_axis(logits, answers[None], 0)[0]
        return float((np.logaddexp.reduce(logits, 0) - right)[pairs].mean())

    def along(ks: Sequence[int]) -> np.ndarray:
        waves = [
            f(2 * np.pi * k * (a + b) / p) * np.sqrt(2) / p for k in ks for f in (np.cos, np.sin)
        ]
        return sum(
            (np.tensordot(logits, w, 2)[:, None, None] * w for w in waves), np.zeros_like(logits)
        )

    mean = logits.mean((1, 2), keepdims=True)
    found, everywhere = along(keys), np.ones((p, p), bool)
    return {
        "restricted_loss": loss(mean + found, everywhere),
        "excluded_loss": loss(logits - found, train),
        "max_excluded_loss": max(loss(logits - along([k]), train) for k in range(1, p // 2 + 1)),
        "key_share_of_logits": float((found**2).sum() / ((logits - mean) ** 2).sum()),
        "test_loss": loss(logits, ~train),
        "train_loss": loss(logits, train),
    }


def main(argv: list[str]) -> int:
    parser = options.parser("any_network", __doc__)
    parser.add_argument("--workdir", default="runs/any_network")
    parser.add_argument("--out", default="experiments/results")
    chosen = parser.parse_args(argv)
    make_writable(Path(chosen.out))
    set_up_jax()
    table = []
    for name, (file, settings) in NETWORKS.items():
        path = file if name == "transformer" else str(EXTENSIONS / f"{file}.py")
        swept = read_sweep(path, list((SHARED | settings).items()))
        sweep = lab.trained(swept, Path(chosen.workdir) / name)
        table += rows(name, sweep)
    about = {"experiment": " ".join(__doc__.split()), "command": command("any_network", argv)}
    save_json(
        about | {"made_with": sweep.made_with, "runs": table}, Path(chosen.out) / "any_network.json"
    )
    return 0


if __name__ == "__main__":
    options.start(main)
