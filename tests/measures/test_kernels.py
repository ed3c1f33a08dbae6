import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from measured import MLP, RUN, measured, network, weights

from grokjax.measures.field import kernels
from grokjax.networks import by_name
from grokjax.training.blocks import program_of


def test_drift_is_a_relative_distance():
    start, now = weights(RUN), weights(RUN, seed=1)
    flat = lambda tree: np.asarray(ravel_pytree(tree)[0], np.float64)  # noqa: E731
    expected = np.linalg.norm(flat(now) - flat(start)) / np.linalg.norm(flat(start))
    found = measured(kernels.drift, RUN, now, initial=start)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert measured(kernels.drift, RUN, start, initial=start) == 0


def test_the_kernel_of_a_linear_model_is_that_of_its_inputs():
    """logits = W x: the sum over classes of <grad, grad> is c x'x, whatever the signs."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 4)).astype(np.float32)
    signs = rng.choice([-1.0, 1.0], size=(3, 5)).astype(np.float32)
    W = {"W": jnp.asarray(rng.normal(size=(5, 4)), jnp.float32)}
    kernel = kernels.tangent_kernel(W, lambda p, x: p["W"] @ x, x, signs)
    np.testing.assert_allclose(kernel, 5 * x @ x.T, rtol=1e-5, atol=1e-5)


def jacobian(run, params, rows):
    """Of the logits at some rows by all parameters, [b c P], in float64."""
    data, program = network(run).data, program_of(run)
    tokens = np.asarray(data.tokens).reshape(-1, 3)[rows]
    with jax.enable_x64(True):
        flat, tree_of = ravel_pytree(jax.tree.map(lambda x: np.asarray(x, np.float64), params))
        logits = lambda w: by_name.logits(tree_of(w), jnp.asarray(tokens), 1, program).T  # noqa: E731
        return jax.device_get(jax.jit(jax.jacobian(logits))(flat))


@pytest.mark.parametrize("run", [MLP, RUN.replace(d_mlp=6)], ids=["mlp", "transformer"])
def test_kernels_alignments_and_distance_are_those_of_a_float64_jacobian(run, monkeypatch):
    """With the signs that the measure draws; and their mean over all signs is the sum of classes,
    to which few of them come as near as independent signs do."""
    monkeypatch.setattr(kernels, "INPUTS", 12)
    start, now = weights(run, seed=1), weights(run, 1.5)
    seen = network(run, now, initial=start)
    rows, exists = kernels._test_rows(seen)
    test = np.asarray(seen.data.splits["test"]).reshape(-1)
    assert exists.all() and test[np.asarray(rows)].all() and len(set(np.asarray(rows))) == 12
    functions = (kernels.ntk_alignment, kernels.ntk_alignment_centred, kernels.kernel_distance)
    alignment, centred, distance = measured(functions, run, now, initial=start)

    key = jax.random.fold_in(seen.key, 1)
    signs = np.asarray(jax.random.rademacher(key, (kernels.COMBINATIONS, 8)), np.float64)
    made = []
    for params in (now, start):
        J = jacobian(run, params, np.asarray(rows))
        projected = np.einsum("rc,bcp->rbp", signs, J)
        made.append(np.einsum("rbp,rdp->bd", projected, projected) / len(signs))
    cosine = lambda x, y: np.sum(x * y) / np.linalg.norm(x) / np.linalg.norm(y)  # noqa: E731
    answers = np.asarray(seen.targets).reshape(-1)[np.asarray(rows)]
    same = (answers[:, None] == answers).astype(float)
    centre = np.eye(12) - 1 / 12
    np.testing.assert_allclose(alignment, cosine(made[0], same), rtol=1e-4)
    expected = cosine(centre @ made[0] @ centre, centre @ same @ centre)
    np.testing.assert_allclose(centred, expected, rtol=1e-3)
    np.testing.assert_allclose(distance, 1 - cosine(*made), atol=1e-5)
    assert distance > 0.01


def test_the_mean_over_signs_is_the_sum_over_classes():
    params = weights(MLP)
    rows = np.arange(10)
    J = jacobian(MLP, params, rows)
    exact = np.einsum("bcp,dcp->bd", J, J)
    tokens = np.asarray(network(MLP).data.tokens).reshape(-1, 3)[rows]
    logits = lambda p, x: by_name.logits(p, x[None], 1, program_of(MLP))[:, 0]  # noqa: E731
    every = 1 - 2 * ((np.arange(256)[:, None] >> np.arange(8)) & 1).astype(np.float32)
    kernel = jax.jit(lambda p: kernels.tangent_kernel(p, logits, tokens, every))(params)
    np.testing.assert_allclose(kernel, exact, atol=1e-4 * exact.max())


def test_a_kernel_does_not_move_while_the_weights_do_not_and_a_lazy_one_hardly():
    start = weights(MLP)
    near = {name: x * 1.001 for name, x in start.items()}
    assert abs(measured(kernels.kernel_distance, MLP, start, initial=start)) < 1e-6
    assert measured(kernels.kernel_distance, MLP, near, initial=start) < 1e-5


def test_where_the_test_set_is_smaller_only_its_rows_count():
    run = MLP.replace(train_fraction=0.95)
    seen = network(run)
    rows, exists = kernels._test_rows(seen)
    test = np.asarray(seen.data.splits["test"]).reshape(-1)
    assert len(rows) == 49 and exists.sum() == test.sum() == 3
    now, then, *_ = kernels._kernels(network(run, initial=weights(run, seed=1)))
    assert np.count_nonzero(now) == np.count_nonzero(then) == 9
