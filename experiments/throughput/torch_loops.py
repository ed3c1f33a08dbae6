"""What one would use instead of grokjax: PyTorch loops for the paper's mainline run.

Each is a `Loop` that does one update of one or several runs and gives their training losses from
before it. All start from given weights, under TransformerLens' names and shapes, and train as the
paper does: AdamW with a LambdaLR warm-up, full batch, the loss a float64 log-softmax of float32
logits at the last position.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

from grokjax.core.types import Params

RATE, BETAS, EPSILON, DECAY, WARMUP = 1e-3, (0.9, 0.98), 1e-8, 1.0, 10


class Data(NamedTuple):
    """Tokens [b, 3] and answers [b] of one run, or [r, b, 3] and [r, b]; `test` may be None."""

    inputs: np.ndarray
    labels: np.ndarray
    test_inputs: np.ndarray | None = None
    test_labels: np.ndarray | None = None


class Loop(NamedTuple):
    """`step` does one update of all runs and gives the losses [r] of the weights before it."""

    step: Callable[[], np.ndarray]
    runs: int


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Transformer(nn.Module):
    """The paper's network at all three positions; gives the logits of the last."""

    def __init__(self, params: Params):
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
    """The same function; only keys and values are computed before the last position."""

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


def plain(params: Params, data: Data, network=Transformer, test: str = "") -> Loop:
    """The loop of the paper's method for one run.

    `test` is "graph" to take the test loss before each update as a loop written without a thought
    does, autograd recording it; "no_grad" to take it without; "" for none.
    """
    model = network(params).to(device())
    optimizer = torch.optim.AdamW(model.parameters(), RATE, BETAS, EPSILON, DECAY)
    warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: min(i / WARMUP, 1))
    inputs, labels, test_inputs, test_labels = _tensors(data)

    def step() -> np.ndarray:
        loss = loss_of(model(inputs), labels)
        if test:
            with torch.set_grad_enabled(test == "graph"):
                loss_of(model(test_inputs), test_labels).item()
        loss.backward()
        optimizer.step()
        warmup.step()
        optimizer.zero_grad()
        return np.array([loss.item()])

    return Loop(step, 1)


def vmapped(params: Sequence[Params], data: Data, network=Transformer) -> Loop:
    """`torch.func`: gradients of all runs from one vmapped call, AdamW on the stacked tensors."""
    models = [network(one).to(device()) for one in params]
    weights, buffers = stack_module_state(models)
    weights = {name: x.detach() for name, x in weights.items()}
    inputs, labels, *_ = _tensors(data)

    def run_loss(weights, buffers, inputs, labels):
        return loss_of(functional_call(models[0], (weights, buffers), (inputs,)), labels)

    gradients = vmap(grad_and_value(run_loss))
    update = _stacked_adamw(weights)

    def step() -> np.ndarray:
        grads, losses = gradients(weights, buffers, inputs, labels)
        update(grads)
        return losses.cpu().numpy()

    return Loop(step, len(params))


def _stacked_adamw(weights: dict[str, torch.Tensor]) -> Callable:
    """update(grads): AdamW with warm-up, in place, with rates and decays of each run's own."""
    names, (beta1, beta2), count = list(weights), BETAS, 0
    runs = len(weights[names[0]])
    rates, decays = (torch.full((runs,), x, device=device()) for x in (RATE, DECAY))
    first, second = ([torch.zeros_like(weights[name]) for name in names] for _ in range(2))

    def update(grads: dict[str, torch.Tensor]) -> None:
        nonlocal count
        warm, count = min(count / WARMUP, 1), count + 1
        for name, m, v in zip(names, first, second, strict=True):
            x, g = weights[name], grads[name]
            of_run = lambda scale, x=x: scale.view(-1, *[1] * (x.ndim - 1))  # noqa: E731
            m.lerp_(g, 1 - beta1)
            v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
            moved = (m / (1 - beta1**count)) / ((v / (1 - beta2**count)).sqrt_().add_(EPSILON))
            x.mul_(1 - of_run(warm * rates * decays)).sub_(moved.mul_(of_run(warm * rates)))

    return update


def model_batch(params: Sequence[Params], data: Data) -> Loop:
    """The package ModelBatch, with its own optimiser.

    Raises:
        ImportError: it is not installed.
    """
    import modelbatch

    models = modelbatch.ModelBatch([Transformer(one) for one in params], shared_input=False)
    models = models.to(device())
    base = dict(lr=RATE, betas=BETAS, eps=EPSILON, weight_decay=DECAY)
    factory = modelbatch.OptimizerFactory(torch.optim.AdamW, base)
    optimizer = factory.create_optimizer(models, [{}] * len(params))
    warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: min(i / WARMUP, 1))
    inputs, labels, *_ = _tensors(data)

    def step() -> np.ndarray:
        optimizer.zero_grad()
        models.zero_grad()
        models.compute_loss(models(inputs), labels, loss_of, reduction="sum").backward()
        optimizer.step()
        warmup.step()
        return models.latest_losses.cpu().numpy()

    return Loop(step, len(params))


def product(size: int) -> Callable[[], None]:
    """A call that multiplies two float32 matrices and waits for the result."""
    x = torch.ones(size, size, device=device())

    def multiply() -> None:
        y = x @ x
        if y.is_cuda:
            torch.cuda.synchronize()

    return multiply


def _tensors(data: Data) -> list[torch.Tensor | None]:
    as_tensor = lambda x: torch.tensor(np.asarray(x, np.int64), device=device())  # noqa: E731
    return [None if x is None else as_tensor(x) for x in data]
