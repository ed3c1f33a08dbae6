"""PyTorch loops for the paper's mainline run, from given weights in TransformerLens' names.

They train as the paper does: AdamW with a LambdaLR warm-up, full batch, the loss a float64
log-softmax of float32 logits at the last position.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
WARMUP = 10


class Data(NamedTuple):
    """Tokens [b, 3] and answers [b] of one run, or [r, b, 3] and [r, b] of several."""

    inputs: np.ndarray
    labels: np.ndarray
    test_inputs: np.ndarray
    test_labels: np.ndarray

    def tensors(self) -> list[torch.Tensor]:
        return [torch.tensor(np.asarray(x, np.int64), device=DEVICE) for x in self]


class Loop(NamedTuple):
    """`step` does one update of all runs and returns the losses [r] before it."""

    step: Callable[[], np.ndarray]
    runs: int


class Transformer(nn.Module):
    """The paper's network at all three positions; returns the logits of the last."""

    def __init__(self, params: dict[str, Any]):
        super().__init__()
        block = params["blocks"]["0"]
        groups = (params["embed"], params["pos_embed"], block["attn"], block["mlp"])
        for group in (*groups, params["unembed"]):
            for name, leaf in group.items():
                self.register_parameter(name, nn.Parameter(torch.tensor(np.asarray(leaf))))
        self.register_buffer("future", torch.ones(3, 3).triu(1).bool())

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.W_E[tokens] + self.W_pos
        q, k, v = (torch.einsum("bsd,hdk->bhsk", x, w) for w in (self.W_Q, self.W_K, self.W_V))
        scores = (q @ k.transpose(-1, -2)).masked_fill(self.future, -1e10)
        mixed = torch.softmax(scores / math.sqrt(k.shape[-1]), -1) @ v
        x = x + torch.einsum("bhsk,hkd->bsd", mixed, self.W_O)
        x = x + torch.relu(x @ self.W_in + self.b_in) @ self.W_out + self.b_out
        return (x @ self.W_U)[:, -1]


class LastPosition(Transformer):
    """The same function; before the last position only keys and values are computed."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.W_E[tokens] + self.W_pos
        k, v = (torch.einsum("bsd,hdk->bhsk", x, w) for w in (self.W_K, self.W_V))
        x = x[:, -1]
        q = torch.einsum("bd,hdk->bhk", x, self.W_Q)
        scores = torch.einsum("bhk,bhsk->bhs", q, k) / math.sqrt(k.shape[-1])
        mixed = torch.einsum("bhs,bhsk->bhk", torch.softmax(scores, -1), v)
        x = x + mixed.flatten(1) @ self.W_O.flatten(0, 1)
        x = x + torch.relu(x @ self.W_in + self.b_in) @ self.W_out + self.b_out
        return x @ self.W_U


def loss_of(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy, the log-softmax in float64."""
    log_probabilities = torch.log_softmax(logits.to(torch.float64), -1)
    return -log_probabilities.gather(-1, labels[..., None]).mean()


def _adamw(weights: Any) -> Callable[[], None]:
    """update(): AdamW with warm-up on the weights' gradients."""
    optimizer = torch.optim.AdamW(weights, 1e-3, (0.9, 0.98), 1e-8, 1.0)
    warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: min(i / WARMUP, 1))

    def update() -> None:
        optimizer.step()
        warmup.step()
        optimizer.zero_grad()

    return update


def plain(
    params: dict[str, Any], data: Data, network=Transformer, with_test_loss: bool = False
) -> Loop:
    """The paper's loop for one run, with the test loss before each update if wanted."""
    model = network(params).to(DEVICE)
    update = _adamw(model.parameters())
    inputs, labels, test_inputs, test_labels = data.tensors()

    def step() -> np.ndarray:
        loss = loss_of(model(inputs), labels)
        if with_test_loss:
            loss_of(model(test_inputs), test_labels).item()
        loss.backward()
        update()
        return np.array([loss.item()])

    return Loop(step, 1)


def vmapped(params: Sequence[dict[str, Any]], data: Data, network=Transformer) -> Loop:
    """`torch.func`: the gradients of all runs from one vmapped call, AdamW on stacked tensors."""
    models = [network(one).to(DEVICE) for one in params]
    weights, buffers = stack_module_state(models)
    inputs, labels, *_ = data.tensors()
    update = _adamw(weights.values())

    def run_loss(weights, buffers, inputs, labels):
        return loss_of(functional_call(models[0], (weights, buffers), (inputs,)), labels)

    gradients = vmap(grad_and_value(run_loss))

    def step() -> np.ndarray:
        detached = {name: x.detach() for name, x in weights.items()}
        grads, losses = gradients(detached, buffers, inputs, labels)
        for name, x in weights.items():
            x.grad = grads[name]
        update()
        return losses.cpu().numpy()

    return Loop(step, len(params))
