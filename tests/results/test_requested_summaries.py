"""Summaries on request, and parameters that an optimiser evaluates instead of those it trains."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from configs import config_with
from small_sweeps import TINY

import grokjax
from grokjax.core.errors import ConfigError
from grokjax.storage import checkpoints
from grokjax.training import blocks

pytestmark = pytest.mark.slow


@pytest.fixture
def sweep(tmp_path):
    @grokjax.optimizer(
        decay=grokjax.setting(0.9, "of the average"),
        evaluation_params=lambda params, state: state[1].ema,
    )
    def averaged(hyper):
        "Adam, with an exponential moving average of its parameters."

        def init(params):
            return optax.EmaState(count=jnp.int32(0), ema=params)

        def update(updates, state, params):
            moved = optax.apply_updates(params, updates)
            keep = lambda old, new: hyper.decay * old + (1 - hyper.decay) * new  # noqa: E731
            return updates, state._replace(ema=jax.tree.map(keep, state.ema, moved))

        return optax.chain(
            optax.adam(hyper.learning_rate), optax.GradientTransformation(init, update)
        )

    fields = {**TINY, "optimizer": "averaged", "checkpoint_every": 20, "eval_every": 20}
    return grokjax.train(config_with(**fields), tmp_path / "wd")


def test_the_evaluated_parameters_are_saved_scored_and_measured(sweep):
    state = checkpoints.restore(sweep.directory(0), 40, like=blocks.state_shapes(sweep.blocks[0]))
    average, saved = state.opt_state[1].ema, sweep.params(0, 40)
    for trained, mean, there in zip(*map(jax.tree.leaves, (state.params, average, saved))):  # noqa: B905
        np.testing.assert_array_equal(there, np.asarray(mean)[0])
        assert not np.array_equal(there, np.asarray(trained)[0])
    curve = sweep.curves()["total_sum_squared_weights"].sel(run=0, step=40)
    squares = sum(np.sum(np.square(x, dtype=float)) for x in jax.tree.leaves(saved))
    np.testing.assert_allclose(curve, squares, rtol=1e-5)


def test_summaries_are_requested_by_name_and_by_function_on_a_finished_sweep(sweep):
    @grokjax.summary(needs=("restricted_loss",), units="nats")
    def lowest_restricted_loss(run):
        "Lowest restricted loss."
        return run.restricted_loss.min()

    @grokjax.summary(needs=("test_loss",), curves=True)
    def last_test_loss(run):
        "Last recorded test loss."
        return run.test_loss[-1]

    ds = sweep.measures("lowest_restricted_loss")
    expected = sweep.measures()["restricted_loss"].min("step")
    np.testing.assert_allclose(ds["lowest_restricted_loss"], expected)
    assert ds["lowest_restricted_loss"].attrs["definition"] == "Lowest restricted loss."
    ds = sweep.measures(last_test_loss)
    assert "restricted_loss" not in ds
    np.testing.assert_allclose(ds["last_test_loss"], sweep.curves()["test_loss"][:, -1])

    @grokjax.summary(needs=("test_perplexity",))
    def of_nothing(run):
        return 0.0

    with pytest.raises(ConfigError, match="test_perplexity"):
        sweep.measures("of_nothing")
