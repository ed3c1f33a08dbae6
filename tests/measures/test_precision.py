import jax
import jax.numpy as jnp
import numpy as np
import pytest
from measured import MLP, in_float64, measured, network, weights

from grokjax.core import parts
from grokjax.measures.compute import measure_networks
from grokjax.measures.field import precision
from grokjax.training import blocks
from grokjax.training.blocks import block_of, program_of

LOW = MLP.replace(loss="low_precision")


def logits_of(run, params):
    """[n c] of the training batch in float64, by hand, and the answers."""
    seen = network(run, params)
    one_hot = np.eye(8)[seen.batch.tokens]
    W_in, b_in, W_out = (np.asarray(params[name], np.float64) for name in ("W_in", "b_in", "W_out"))
    neurons = np.maximum(np.einsum("bsv,svm->bm", one_hot, W_in) + b_in, 0)
    return neurons @ W_out, np.asarray(seen.batch.targets)[:, 0]


def test_margins_are_those_of_a_float64_forward_pass():
    params = weights(MLP, 3.0)
    logits, answers = logits_of(MLP, params)
    rows = np.arange(len(answers))
    others = logits.copy()
    others[rows, answers] = -np.inf
    margins = logits[rows, answers] - others.max(1)
    functions = (precision.mean_margin, precision.least_margin, precision.largest_logit)
    expected = (margins.mean(), margins.min(), logits.max())
    np.testing.assert_allclose(measured(functions, MLP, params), expected, rtol=2e-5)


@pytest.mark.parametrize("scale", [0.1, 3.0, 30.0, 300.0])
def test_collapse_is_a_sum_of_exactly_one(scale):
    """As NumPy says in each dtype, whose sums of seven terms round alike."""
    params = weights(MLP, 2.0)
    params["W_out"] *= scale
    seen = network(MLP, params)
    z = np.asarray(jax.jit(lambda p: network(MLP, p).once(precision._trained)[0])(seen.params))
    found = measured(precision.softmax_collapse_by_dtype, MLP, params)
    for share, dtype in zip(found, (np.float16, jnp.bfloat16, np.float32), strict=True):
        with np.errstate(over="ignore", under="ignore"):
            e = np.exp((z.astype(dtype) - z.astype(dtype).max(0)).astype(np.float32)).astype(dtype)
        sums = e.astype(np.float32).sum(0).astype(dtype)
        np.testing.assert_allclose(share, (sums == 1).mean(), rtol=1e-6)
    whole = measured(precision.softmax_collapse, MLP, params)
    assert whole == found[2] and (scale > 1 or whole == 0) and (scale < 100 or whole > 0.7)


@pytest.mark.parametrize("z, collapsed, exactly_zero", [(16, 0, 0), (19, 1, 0), (110, 1, 1)])
def test_a_collapsed_softmax_has_no_loss_left_but_by_the_exact_formula(z, collapsed, exactly_zero):
    """Logits (z, 0, ..., 0): a sum of 1 + 7 exp(-z), of which float32 keeps 1 from z = 18.6 on."""
    for run, zero in ((LOW, collapsed), (MLP, exactly_zero)):
        seen = network(run)
        answers = seen.batch.targets[:, 0]
        logits = jnp.where(jnp.arange(8)[:, None] == answers, float(z), 0.0)
        seen._made[precision._trained] = logits, answers, seen.batch.weights[:, 0]
        assert precision.softmax_collapse(seen) == pytest.approx(collapsed, abs=1e-6)
        assert precision.zero_loss(seen) == pytest.approx(zero, abs=1e-6)
        assert precision.least_margin(seen) == z


def test_collapse_in_float64_is_later():
    params = weights(MLP, 2.0)
    params["W_out"] *= 60
    block = block_of([MLP], [0])
    stack = {"params": jax.tree.map(lambda x: x[None], params), "step": np.full(1, 3, np.int32)}
    stack |= blocks.block_data(block)._asdict()
    found = []
    for name in ("softmax_collapse", "softmax_collapse_float64"):
        measures = (parts.get("measure", name),)
        found.append(measure_networks(program_of(MLP), measures, stack)[name][0])
    logits, _ = logits_of(MLP, params)
    total = np.exp(logits - logits.max(1, keepdims=True)).sum(1)
    np.testing.assert_allclose(found[1], (total == 1).mean(), rtol=1e-6)
    assert 0 < found[1] < found[0] < 1


def test_zero_loss_is_by_the_runs_own_loss():
    params = weights(MLP, 2.0)
    params["W_out"] *= 40
    z, answers = (np.asarray(x) for x in logits_of(MLP, params))
    by_hand = -jax.nn.log_softmax(jnp.asarray(z, jnp.float32), axis=1)[np.arange(len(z)), answers]
    low, exact = (measured(precision.zero_loss, run, params) for run in (LOW, MLP))
    np.testing.assert_allclose(low, np.mean(np.asarray(by_hand) == 0))
    assert 0 < low < 1 and exact == 0


def test_the_cosine_is_of_minus_the_gradient_and_the_weights():
    """By the derivative of a float64 loss along the weights of each matrix."""
    params, eps = weights(MLP), 1e-4
    cosines, total = measured((precision.nlm_cosine, precision.total_nlm_cosine), MLP, params)
    with jax.enable_x64(True):
        seen = network(MLP, in_float64(params))
        seen.hyper, seen._batch = in_float64(seen.hyper), in_float64(seen.batch)
        loss = jax.jit(seen.loss)
        gradient = jax.device_get(jax.jit(jax.grad(seen.loss))(seen.params))
        names = sorted(params)
        for name, cosine in zip(names, cosines, strict=True):
            x = seen.params[name]
            ends = [float(loss(seen.params | {name: x * factor})) for factor in (1 + eps, 1 - eps)]
            slope = (ends[0] - ends[1]) / (2 * eps)
            norms = np.linalg.norm(x) * np.linalg.norm(gradient[name])
            np.testing.assert_allclose(cosine, -slope / norms, atol=2e-5)
    flat = lambda tree: np.concatenate([np.ravel(tree[name]) for name in names])  # noqa: E731
    g, w = flat(gradient), flat(seen.params)
    np.testing.assert_allclose(total, -(g @ w) / np.linalg.norm(g) / np.linalg.norm(w), atol=1e-5)
