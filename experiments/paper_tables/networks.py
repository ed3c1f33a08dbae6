"""The network to analyse, read from a file or from the workdir of a sweep."""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

from grokjax.core.errors import ConfigError
from grokjax.core.types import Data, Params
from grokjax.networks import interop
from grokjax.tasks.modular import modular, shuffled_split


class Network(NamedTuple):
    """A network with its data, and where it came from."""

    params: Params
    data: Data
    activation: str
    inputs: dict[str, Any]
    name: str  # in the titles of figures
    about: str = ""  # how the tensors of a file were read


def from_file(options: argparse.Namespace) -> Network:
    fraction = 0.3 if options.train_fraction is None else options.train_fraction
    seed, operation = options.split_seed or 0, options.operation or "add"
    names = dict(_name(text) for text in options.name or ())
    read = interop.read_network(options.weights, options.checkpoint, options.num_heads, names)
    params = read.params
    _check_plain(read, options.weights)
    p = params["embed"]["W_E"].shape[0] - 1
    if not (0 < fraction < 1 and 0 < int(fraction * p * p)):
        reason = "must lie between 0 and 1 and leave a training pair"
        raise ConfigError(f"--train-fraction {fraction} {reason}")
    split = interop.torch_split if options.split == "torch" else shuffled_split
    train = split(p, fraction, seed)[..., None]
    splits = {"train": train, "test": ~train}
    data = modular(p, fraction, seed, operation)._replace(splits=splits)
    inputs = {
        "weights": str(options.weights),
        "modulus": p,
        "checkpoint": options.checkpoint,
        "split": options.split or "python",
        "split_seed": seed,
        "train_fraction": fraction,
        "operation": operation,
    }
    name = f"{Path(options.weights).stem}, p = {p}"
    return Network(params, data, options.activation or "relu", inputs, name, read.about)


def _name(text: str) -> list[str]:
    if text.count("=") != 1:
        raise ConfigError(f"--name {text} must be OLD=NEW, such as ff.weight=blocks.0.mlp.W_in")
    return text.split("=")


def _check_plain(read: interop.Read, path: str) -> None:
    """The paper's analyses are of its own architecture."""
    if read.settings["layer_norm"] or read.settings["attention_rate"] != 1:
        raise ConfigError(f"{path} has LayerNorm or an attention rate, and the paper's has neither")
    if len(read.params["pos_embed"]["W_pos"]) < 3:
        raise ConfigError(f"{path} has 2 positions: the paper's tables need the tokens a, b, =")


def from_workdir(options: argparse.Namespace) -> Network:
    from grokjax.results import sweep as evaluate

    sweep, run = evaluate.Sweep(options.workdir), options.run or 0
    count = len(sweep.config.runs)
    if not 0 <= run < count:
        raise ConfigError(f"there is no run {run}: the sweep has runs 0 to {count - 1}")
    config = sweep.config.runs[run]
    number = next(i for i, block in enumerate(sweep.blocks) if run in block.indices)
    saved = [step for step in sweep.steps_of(number) if step <= config.steps]
    if not saved:
        raise ConfigError(f"{options.workdir} holds no checkpoint of run {run} yet")
    step = saved[-1] if options.step is None else options.step
    try:
        params = sweep.params(run, step)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    inputs = {"workdir": str(options.workdir), "run": run, "step": step, **config.to_dict()}
    name = f"p = {config.modulus}, seed {config.seed}, step {step:,}"
    return Network(params, sweep.data(run), config.activation, inputs, name)
