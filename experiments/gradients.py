"""The gradients of training, in float32 by tables of tokens, against the plain network in float64.

At eight steps of three runs. An activation of a neuron near zero may have another sign in float32;
then its whole gradient differs. Such flips are counted, and left out in a second comparison, for
which both networks pass the same neurons.

    python -m experiments.gradients --out experiments/results/gradients.json
"""

import argparse
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.programs import Training, mainline
from grokjax.networks import by_name
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


def compared(fields: dict[str, Any], steps) -> list[dict[str, Any]]:
    """A row for each step: relative errors of the loss and of the gradients."""
    training, rows = Training(mainline(1, **fields)), []
    program = training.lanes[0].program
    data = jax.tree.map(lambda x: x[0], training.data[0])
    tokens, targets, weights = (np.asarray(x) for x in data.batch)
    prepared, num_classes = form(program).prepare(jnp.asarray(tokens)), int(data.data.num_classes)

    def loss_of(logits):
        return losses.cross_entropy(logits, targets[:, 0], num_classes) @ weights[:, 0]

    def by_tables(params, keep=None):
        seen = []

        def drop(neurons, layer, features=-1):
            seen.append(neurons > 0)
            return neurons if keep is None else jnp.where(keep, neurons, 0.0)

        loss = loss_of(form(program).logits(params, prepared, 1, drop=drop))
        return loss, seen[0]

    def by_the_network(params, keep=None):
        seen = []

        def drop(neurons, layer, features=-1):
            seen.append(neurons[:, -1] > 0)
            return neurons if keep is None else jnp.where(keep[:, None], neurons, 0.0)

        logits = by_name.logits(params, tokens, 1, program, drop=drop)
        return loss_of(logits.reshape(len(logits), -1)), seen[0]

    for step in steps:
        training.train(step - training.steps)
        params = training.params()[0]
        tables = jax.jit(jax.value_and_grad(by_tables, has_aux=True))
        network = jax.jit(jax.value_and_grad(by_the_network, has_aux=True))
        (loss, passed), gradient = jax.device_get(tables(params))
        with jax.enable_x64(True):
            wide = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
            (exact_loss, exact_passed), exact = jax.device_get(network(wide))
            both = passed & exact_passed
            exact_without = jax.device_get(network(wide, both))[1]
        without = jax.device_get(tables(params, both))[1]
        rows.append(
            {
                **fields,
                "step": step,
                "loss": float(exact_loss),
                "loss_error": abs(float(loss) / float(exact_loss) - 1),
                "gradient_error": _largest(gradient, exact),
                "flipped": int(np.sum(passed != exact_passed)),
                "activations": passed.size,
                "gradient_error_without_flipped": _largest(without, exact_without),
            }
        )
    return rows


def _largest(found: Any, exact: Any) -> float:
    """The largest error of an entry, relative to the largest entry of its array."""
    errors = jax.tree.map(lambda x, y: np.max(np.abs(x - y)) / np.max(np.abs(y)), found, exact)
    return float(max(jax.tree.leaves(errors)))


if __name__ == "__main__":
    main()
