"""The gradients of training, in float32 by tables of tokens, against the plain network in float64.

At eight steps of three runs. An activation of a neuron near zero may have another sign in float32;
then its whole gradient differs. Such flips are counted, and left out in a second comparison, for
which all networks pass the same neurons. There the form without these tables, which serves small
batches and accelerators, is compared too.

    python -m experiments.gradients --out experiments/results/gradients.json
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.programs import Training, mainline
from grokjax.networks import by_name, fast_tables
from grokjax.networks.forward import form
from grokjax.runner.run import set_up_jax
from grokjax.training import losses

RUNS = (
    {"modulus": 113, "train_fraction": 0.3},
    {"modulus": 113, "train_fraction": 0.3, "operation": "subtract"},
    {"modulus": 59, "train_fraction": 0.5},
)
STEPS = (0, 10, 30, 100, 300, 600, 1000, 2000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS)
    options = parser.parse_args()
    set_up_jax()
    rows = [row for fields in RUNS for row in compared(fields, options.steps)]
    options.out.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    for row in rows:
        print(*(f"{name} {value}" for name, value in row.items()), sep=", ")


def compared(fields: dict[str, Any], steps: Sequence[int]) -> list[dict[str, Any]]:
    """A row for each step: relative errors of the loss and of the gradients."""
    training, rows = Training(mainline(1, **fields)), []
    by_tables, by_mixes, by_network = _functions(training)
    for step in steps:
        training.train(step - training.steps)
        params = training.params()[0]
        (loss, passed), gradient = jax.device_get(by_tables(params))
        with jax.enable_x64(True):
            wide = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
            (exact_loss, exact_passed), exact = jax.device_get(by_network(wide))
            both = passed & exact_passed
            exact_without = jax.device_get(by_network(wide, both))[1]
        errors = [
            _largest(jax.device_get(call(params, keep))[1], exact_without)
            for call, keep in ((by_tables, both), (by_mixes, both.T))
        ]
        row = {
            "step": step,
            "loss": float(exact_loss),
            "loss_error": abs(float(loss) / float(exact_loss) - 1),
            "gradient_error": _largest(gradient, exact),
            "flipped": int(np.sum(passed != exact_passed)),
            "activations": passed.size,
        }
        names = ("gradient_error_without_flipped", "the_same_by_mixes_of_values")
        rows.append(fields | row | dict(zip(names, errors, strict=True)))
    return rows


def _functions(training: Training) -> list[Callable]:
    """Compiled (params, keep=None) -> (loss, active neurons), gradient; `keep` masks neurons.

    By tables of tokens, by mixes of values, and by the plain network.
    """
    program = training.lanes[0].program
    data = jax.tree.map(lambda x: x[0], training.data[0])
    tokens, targets, weights = (np.asarray(x) for x in data.batch)

    def compiled(logits_of: Callable) -> Callable:
        def loss_of(params, keep=None):
            seen = []

            def drop(neurons, layer, features=-1):
                seen.append((neurons[:, -1] if neurons.ndim == 3 else neurons) > 0)
                if keep is None:
                    return neurons
                return jnp.where(keep[:, None] if neurons.ndim == 3 else keep, neurons, 0.0)

            logits = logits_of(params, drop=drop)
            loss = losses.cross_entropy(logits, targets[:, 0], int(data.data.num_classes))
            return loss @ weights[:, 0], seen[0]

        return jax.jit(jax.value_and_grad(loss_of, has_aux=True))

    def by_a_form(params, drop):
        evaluate = form(program)
        return evaluate.logits(params, evaluate.prepare(jnp.asarray(tokens)), 1, drop=drop)

    def by_mixes(params, drop):
        with fast_tables.left_out():
            return by_a_form(params, drop)

    def by_network(params, drop):
        return by_name.logits(params, tokens, 1, program, drop=drop)

    return [compiled(x) for x in (by_a_form, by_mixes, by_network)]


def _largest(found: Any, exact: Any) -> float:
    """The largest error of an entry, relative to the largest entry of its array."""
    errors = jax.tree.map(lambda x, y: np.max(np.abs(x - y)) / np.max(np.abs(y)), found, exact)
    return float(max(jax.tree.leaves(errors)))


if __name__ == "__main__":
    main()
