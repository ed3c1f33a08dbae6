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
    """Tokens [r, b, 3] and answers [r, b] of runs."""

    inputs: np.ndarray
    labels: np.ndarray
    test_inputs: np.ndarray
    test_labels: np.ndarray

    def tensors(self) -> list[torch.Tensor]:
        return [torch.tensor(np.asarray(x, np.int64), device=DEVICE) for x in self]


Step = Callable[[], np.ndarray]
"""Does one update of all runs and returns the losses [r] before it."""


class Transformer(nn.Module):
    """The paper's network at all three positions; returns the logits of the last."""

    def __init__(self, params: dict[str, Any]):
        super().__init__()
        for name, leaf in named(params).items():
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


def named(params: dict[str, Any]) -> dict[str, Any]:
    """The arrays of a one-layer network by their own names."""
    block = params["blocks"]["0"]
    groups = (params["embed"], params["pos_embed"], block["attn"], block["mlp"], params["unembed"])
    return {name: leaf for group in groups for name, leaf in group.items()}


class Tables(nn.Module):
    """Stacked runs by tables of tokens, as `grokjax.networks.fast_tables`; logits [r, b, c].

    A pair's pre-activations are a bag of eight rows, one for each token and head, weighted by
    attention: `embedding_bag`, PyTorch's own kernel for such sums and for their gradients.
    """

    def __init__(self, params: Sequence[dict[str, Any]]):
        super().__init__()
        for name in named(params[0]):
            stacked = np.stack([named(one)[name] for one in params])
            self.register_parameter(name, nn.Parameter(torch.tensor(stacked)))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        (r, b, _), (_, h, _, k) = tokens.shape, self.W_Q.shape
        m, v = self.W_in.shape[-1], self.W_E.shape[1]
        equals = self.W_E[:, -1] + self.W_pos[:, 2]  # "=" is the last token
        sides = self.W_E[:, None] + self.W_pos[:, :2, None] - equals[:, None, None]  # [r 2 v d]
        query = torch.einsum("rd,rhdk->rhk", equals, self.W_Q)
        W_score = torch.einsum("rhdk,rhk->rdh", self.W_K, query) / math.sqrt(k)
        scores = (sides @ W_score[:, None]).reshape(r * 2 * v, h)
        side = torch.arange(2, device=tokens.device) * v
        run = torch.arange(r, device=tokens.device)[:, None, None] * (2 * v)
        rows = tokens[:, :, :2] + side + run  # [r b 2]
        own = torch.cat([scores[rows], scores.new_zeros(r, b, 1, h)], 2)
        weights = torch.softmax(own, 2)[:, :, :2]

        onward = torch.cat([self.W_in, self.W_U], 2)
        by_head = self.W_O @ onward[:, None]  # [r h k n]
        values = torch.einsum("rjvd,rhdk->rhjvk", sides, self.W_V).flatten(2, 3)
        tables = (values @ by_head).flatten(0, 2)  # [r*h*2*v n]
        head = torch.arange(h, device=tokens.device) * (2 * v)
        bags = (rows + run * (h - 1))[..., None] + head  # [r b 2 h]
        mixed = nn.functional.embedding_bag(
            bags.reshape(r * b, -1),
            tables,
            mode="sum",
            per_sample_weights=weights.reshape(r * b, -1),
        ).view(r, b, -1)
        of_equals = torch.einsum("rd,rhdk->rhk", equals, self.W_V)
        constant = equals + torch.einsum("rhk,rhkd->rd", of_equals, self.W_O)
        before = mixed + (constant[:, None] @ onward)
        neurons = torch.relu(before[..., :m] + self.b_in[:, None])
        around = before[..., m:] + self.b_out[:, None] @ self.W_U
        return neurons @ (self.W_out @ self.W_U) + around


def loss_of(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy over examples, the log-softmax in float64."""
    log_probabilities = torch.log_softmax(logits.to(torch.float64), -1)
    return -log_probabilities.gather(-1, labels[..., None]).mean((-2, -1))


def _adamw(weights: Any) -> Callable[[], None]:
    """update(): AdamW with warm-up on the weights' gradients."""
    optimizer = torch.optim.AdamW(weights, 1e-3, (0.9, 0.98), 1e-8, 1.0)
    warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: min(i / WARMUP, 1))

    def update() -> None:
        optimizer.step()
        warmup.step()
        optimizer.zero_grad()

    return update


def one_by_one(
    params: Sequence[dict[str, Any]], data: Data, network=Transformer, **options
) -> Step:
    """The paper's loop for each run, one after the other."""
    steps = [
        _of_one(network(one), [x[i] for x in data.tensors()], **options)
        for i, one in enumerate(params)
    ]
    return lambda: np.concatenate([step() for step in steps])


def by_tables(params: Sequence[dict[str, Any]], data: Data, **options) -> Step:
    """All runs at once, by tables of tokens."""
    return _of_one(Tables(params), data.tensors(), **options)


def _of_one(model, data, with_test_loss=False, compiled: str | None = None, threads=0) -> Step:
    """One module's loop.

    Args:
        model: returns logits [... b c].
        data: tensors of `Data`.
        with_test_loss: compute the test loss before each update.
        compiled: a mode of `torch.compile`; "reduce-overhead" uses CUDA graphs.
        threads: of this process; 0 for PyTorch's own choice.
    """
    if threads:
        torch.set_num_threads(threads)
    model, update = model.to(DEVICE), _adamw(model.parameters())
    inputs, labels, test_inputs, test_labels = data
    losses = lambda inputs, labels: loss_of(model(inputs), labels)  # noqa: E731
    losses = torch.compile(losses, mode=compiled) if compiled else losses

    def step() -> np.ndarray:
        loss = losses(inputs, labels)
        if with_test_loss:
            losses(test_inputs, test_labels).sum().item()
        loss.sum().backward()
        update()
        return loss.detach().cpu().numpy().reshape(-1)

    return step


def vmapped(params: Sequence[dict[str, Any]], data: Data, network=Transformer) -> Step:
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

    return step
