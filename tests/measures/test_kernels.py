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
    result = measured(kernels.drift, RUN, now, initial=start)
    np.testing.assert_allclose(result, expected, rtol=1e-5)
    assert measured(kernels.drift, RUN, start, initial=start) == 0


def jacobian(run, params, rows):
    """Jacobian [b c P] of the logits at some rows with respect to all parameters, in float64."""
    data, program = network(run).data, program_of(run)
    tokens = np.asarray(data.tokens).reshape(-1, 3)[rows]
    with jax.enable_x64(True):
        flat, tree_of = ravel_pytree(jax.tree.map(lambda x: np.asarray(x, np.float64), params))
        logits = lambda w: by_name.logits(tree_of(w), jnp.asarray(tokens), 1, program).T  # noqa: E731
        return jax.device_get(jax.jit(jax.jacobian(logits))(flat))


@pytest.mark.slow
@pytest.mark.parametrize("run", [MLP, RUN.replace(d_mlp=6)], ids=["mlp", "transformer"])
def test_kernels_alignments_and_distance_are_those_of_a_float64_jacobian(run, monkeypatch):
    """With the signs that the measure draws."""
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


def test_where_the_test_set_is_smaller_only_its_rows_count():
    run = MLP.replace(train_fraction=0.95)
    seen = network(run)
    rows, exists = kernels._test_rows(seen)
    test = np.asarray(seen.data.splits["test"]).reshape(-1)
    assert len(rows) == 49 and exists.sum() == test.sum() == 3
    now, then, *_ = kernels._kernels(network(run, initial=weights(run, seed=1)))
    assert np.count_nonzero(now) == np.count_nonzero(then) == 9
