"""The axis glossary, array aliases and the NamedTuples that cross `vmap`.

Axis letters, in annotations and einsums alike:
  r runs                 t recorded steps        b examples
  s positions            v vocabulary (p + 1)    p modulus (or the padded size of it)
  d residual width       h heads                 k head width
  m MLP neurons          f frequency 1..p//2     c output class

Records that cross `vmap` are NamedTuples: a dataclass would run its own `__init__`, and its type
checks, on the placeholder objects with which JAX rebuilds a tree.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

Array = jax.Array | np.ndarray
"""Arrays of either kind; functions of arrays return JAX's."""

IntLike = int | Int[Array, ""]

Params = dict[str, Any]
"""Nested dict of arrays under TransformerLens' names, e.g. params["blocks"]["0"]["attn"]["W_Q"]."""


@dataclass(frozen=True)
class Architecture:
    """What a program is compiled for; the vocabulary is a run's own."""

    d_model: int = 128
    num_heads: int = 4
    d_mlp: int = 512
    num_layers: int = 1
    activation: str = "relu"

    @property
    def d_head(self) -> int:
        return self.d_model // self.num_heads


class Task(NamedTuple):
    """A binary operation on Z_q and its train/test split, as arrays over all pairs (a, b).

    The arrays may be larger than the modulus (`p` >= q): entries with a >= q or b >= q are padding,
    have label 0 and are not in the training set.
    """

    modulus: Int[Array, ""]  # q
    labels: Int[Array, "p p"]
    train: Bool[Array, "p p"]
    sign: Int[Array, ""]  # the waves of the circuit are functions of a + sign * b


class Examples(NamedTuple):
    """Training examples of one run; those of weight 0 are padding. The weights sum to 1."""

    inputs: Int[Array, "b s"]
    labels: Int[Array, " b"]
    weights: Float[Array, " b"]


class Hyperparameters(NamedTuple):
    """What may differ between runs of one compiled program; every field may be traced."""

    learning_rate: Float[Array, ""]
    warmup_steps: Float[Array, ""]
    weight_decay: Float[Array, ""]
    l1: Float[Array, ""]
    dropout: Float[Array, ""]
    steps: Int[Array, ""]
    seed: Int[Array, ""]  # of the dropout masks


class Scores(NamedTuple):
    """Mean losses (nats) and accuracies over one split each."""

    train_loss: Float[Array, ""]
    test_loss: Float[Array, ""]
    train_accuracy: Float[Array, ""]
    test_accuracy: Float[Array, ""]


class Trace(NamedTuple):
    """Forward pass over all pairs (a, b) at the last position, features first."""

    logits: Float[Array, "v p p"]
    neurons: Float[Array, "m p p"]  # after the activation, last layer
    attention: Float[Array, "h s p p"]  # weight from "=" to each position, last layer
    residual: Float[Array, "d p p"]  # the stream that enters the last MLP
