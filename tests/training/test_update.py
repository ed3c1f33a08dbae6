from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from programs import all_pairs, hyper, program, random_params

from grokjax.config.sweep import RunConfig
from grokjax.networks import by_name, transformer
from grokjax.networks.forward import form
from grokjax.tasks.data import examples
from grokjax.tasks.modular import modular, shuffled_split
from grokjax.training import update
from grokjax.training.blocks import own_data, program_of
from tests.training.test_optimizers import DECAY, RATE, heavy_ball

P = 7
PLAIN = program(p=P)
HYPER = hyper()
DATA = jax.tree.map(jnp.asarray, modular(P, 0.6))
EXAMPLES = jax.tree.map(jnp.asarray, examples(modular(P, 0.6)))


def stacked(*runs):
    return jax.tree.map(lambda *x: jnp.stack(x), *runs)


def one_of(tree, i):
    return jax.tree.map(lambda x: x[i], tree)


def start(hyper, program=PLAIN):
    return update.initial_state(random_params(program), hyper, program)


@partial(jax.jit, static_argnames="program")
def train(state, hyper, batch, num_steps, program):
    return update.train(state, hyper, DATA, batch, num_steps, program)


@partial(jax.jit, static_argnames="program")
def scores(params, data, program):
    return update.scores(params, HYPER, data, program)


@jax.jit
def train_together(states, hypers, num_steps):
    one = lambda *run: update.train(*run, DATA, EXAMPLES, num_steps, PLAIN)  # noqa: E731
    return jax.vmap(one)(states, hypers)


def started_together(hypers):
    return jax.vmap(lambda hyper: start(hyper))(hypers)


def assert_equal(actual, expected):
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def first_gradient(program, params=None, batch=EXAMPLES, **changes):
    """The gradient of the first update, read from Adam's first moment."""
    rates = hyper(**changes)
    params = random_params(program) if params is None else params
    state = update.initial_state(params, rates, program)
    state = train(state, rates, batch, 1, program=program)
    return jax.tree.map(lambda x: x / (1 - program.betas[0]), optax.tree.get(state.opt_state, "mu"))


def test_scores_are_float64_cross_entropies_and_accuracies_of_the_plain_model():
    params = random_params(PLAIN)
    a, b = np.divmod(np.arange(P * P), P)
    logits = np.asarray(
        transformer.forward(params, all_pairs(P), PLAIN)["logits"][:, -1], np.float64
    )
    labels = (a + b) % P
    correct = logits[np.arange(P * P), labels]
    loss = np.log(np.exp(logits).sum(-1)) - correct
    hit = logits.argmax(-1) == labels
    is_train = np.ravel(shuffled_split(P, 0.6, 0))
    found = scores(params, DATA, program=PLAIN)
    assert tuple(sorted(found)) == update.score_names(["train", "test"])
    for name, values in (("loss", loss), ("accuracy", hit)):
        for split, mask in (("train", is_train), ("test", ~is_train)):
            expected = values[mask].mean()
            np.testing.assert_allclose(found[f"{split}_{name}"], expected, rtol=1e-5)


def test_the_first_update_has_rate_zero():
    rates = hyper()
    before = start(rates)
    once = train(before, rates, EXAMPLES, 1, program=PLAIN)
    twice = train(before, rates, EXAMPLES, 2, program=PLAIN)
    assert once.step == 1
    assert_equal(once.params, before.params)
    assert all(
        np.any(x != y)
        for x, y in zip(*map(jax.tree.leaves, (twice.params, once.params)), strict=True)
    )


def test_stretches_of_any_length_give_the_same_bits():
    rates = hyper()
    whole = train(start(rates), rates, EXAMPLES, 10, program=PLAIN)
    state = start(rates)
    for num_steps in (3, 0, 7):
        state = train(state, rates, EXAMPLES, num_steps, program=PLAIN)
    assert_equal(state, whole)


@pytest.mark.slow
@pytest.mark.parametrize("num_steps", [0, 8, 9])
def test_an_inner_loop_makes_as_many_updates_as_none(num_steps, assert_trees_close):
    """Also where it would go beyond the last of the call, beyond a run's end or a divergence."""
    hypers = [hyper(steps=steps) for steps in (4, 100, 0)] + [hyper(learning_rate=1e30)]
    hypers = stacked(*hypers)

    @partial(jax.jit, static_argnums=2)
    def after(states, num_steps, inner):
        one = lambda *run: update.train(*run, DATA, EXAMPLES, num_steps, PLAIN, inner)  # noqa: E731
        return jax.vmap(one)(states, hypers)

    plain, nested = (after(started_together(hypers), num_steps, inner) for inner in (1, 3))
    np.testing.assert_array_equal(nested.step, plain.step)
    np.testing.assert_array_equal(nested.diverged_at, plain.diverged_at)
    np.testing.assert_array_equal(plain.step[:3], [min(4, num_steps), num_steps, 0])
    assert_trees_close(one_of(nested.params, slice(3)), one_of(plain.params, slice(3)), 1e-5)


@pytest.mark.parametrize("learning_rate", [1e30, np.inf])
def test_a_diverging_run_is_marked_and_frozen_while_the_others_go_on(learning_rate):
    calm, wild = hyper(), hyper(learning_rate=learning_rate)
    hypers = stacked(calm, wild, calm)
    states = started_together(hypers)
    ten = train_together(states, hypers, 10)
    twenty = train_together(ten, hypers, 10)
    marked = int(ten.diverged_at[1])
    assert 1 <= marked <= 3 and ten.step[1] == marked
    np.testing.assert_array_equal(twenty.diverged_at, [-1, marked, -1])
    np.testing.assert_array_equal(twenty.step, [20, marked, 20])
    assert_equal(one_of(twenty, 1), one_of(ten, 1))
    finite = [np.isfinite(x).all() for x in jax.tree.leaves(one_of(twenty, 1))]
    assert all(finite) or learning_rate == np.inf

    undisturbed = train_together(states, stacked(calm, calm, calm), 20)
    for i in (0, 2):
        assert_equal(one_of(twenty, i), one_of(undisturbed, i))


def test_a_run_whose_first_loss_is_not_finite_is_marked_at_step_zero_and_trains_no_further():
    rates = hyper()
    state = start(rates)
    state.params["unembed"]["W_U"] = state.params["unembed"]["W_U"].at[0, 0].set(jnp.nan)
    state = train(state, rates, EXAMPLES, 5, program=PLAIN)
    assert state.diverged_at == 0 and state.step == 0
    marked = start(rates)._replace(diverged_at=jnp.int32(0))
    assert_equal(train(marked, rates, EXAMPLES, 5, program=PLAIN), marked)


def test_padded_examples_change_nothing(assert_trees_close):
    rates = hyper()
    padded = jax.tree.map(jnp.asarray, examples(modular(P, 0.6), "train", 40))
    own = train(start(rates), rates, EXAMPLES, 20, program=PLAIN)
    assert_trees_close(
        train(start(rates), rates, padded, 20, program=PLAIN).params, own.params, 1e-5
    )


@pytest.mark.slow
def test_an_l1_penalty_adds_the_sign_of_every_parameter_to_the_gradient():
    """The sign of zero is zero: weights that are only padding must stay zero."""
    penalized, l1, params = program(p=P, on=["l1"]), 0.25, random_params(PLAIN)
    params["blocks"]["0"]["mlp"]["b_in"] *= 0
    with_penalty = first_gradient(penalized, params, l1=l1)
    without = first_gradient(penalized, params)
    jax.tree.map(
        lambda x, y, p: np.testing.assert_allclose((x - y) / l1, np.sign(p), atol=1e-5),
        with_penalty,
        without,
        params,
    )


def test_an_l1_penalty_or_dropout_of_zero_changes_nothing(assert_trees_close):
    expected = first_gradient(PLAIN)
    assert_trees_close(first_gradient(program(p=P, on=["l1"])), expected, 1e-5)
    assert_trees_close(first_gradient(program(p=P, on=["dropout"])), expected, 1e-5)


@pytest.mark.slow
def test_dropout_leaves_the_neurons_unchanged_on_average():
    """With W_out at zero the gradient of W_out is linear in the neurons, so it shows them."""
    smooth = program(p=P, activation="gelu", on=["dropout"])  # no neuron is off
    count = 2000
    params = random_params(PLAIN)
    params["blocks"]["0"]["mlp"]["W_out"] *= 0

    @jax.jit
    @partial(jax.vmap, in_axes=(0, None))
    def gradient_of_W_out(seed, dropout):
        gradient = first_gradient(smooth, params, seed=seed, dropout=dropout)
        return gradient["blocks"]["0"]["mlp"]["W_out"]

    dropped = np.asarray(gradient_of_W_out(jnp.arange(count), jnp.float32(0.4)))
    expected = np.asarray(gradient_of_W_out(jnp.arange(count), jnp.float32(0)))[0]
    z = (dropped.mean(0) - expected) / (dropped.std(0) / np.sqrt(count))
    assert np.max(np.abs(z)) < 5 and 0.8 < np.std(z) < 1.2


@pytest.mark.parametrize("rate", [0.0, 1e-5, 0.2, 0.5, 0.9])
def test_so_many_neurons_are_dropped_each_by_itself(rate):
    features, rows = 25, 8000  # two features share a random word, the last has one of its own
    neurons = jnp.ones((rows, features))
    left = np.asarray(update.dropout(hyper(dropout=rate, seed=3), 7)(neurons, 0), np.float64)
    kept = left > 0
    np.testing.assert_allclose(left[kept], 1 / (1 - rate), rtol=2**-17 / (1 - rate))
    deviation = np.sqrt(rate * (1 - rate) / kept.size)
    assert abs(1 - kept.mean() - rate) <= 4 * deviation + 2**-17
    if rate > 0.1:
        between = np.corrcoef(kept.T) - np.eye(features)
        assert np.max(np.abs(between)) < 5 / np.sqrt(rows)
        assert abs(np.corrcoef(kept[1:].ravel(), kept[:-1].ravel())[0, 1]) < 4 / np.sqrt(kept.size)


def test_a_rows_dropout_depends_on_no_other_row_and_on_no_layout():
    drop = jax.jit(update.dropout(hyper(dropout=0.3, seed=3), 7), static_argnums=(1, 2))
    neurons = jnp.linspace(1, 2, 30 * 24).reshape(30, 24)
    left = drop(neurons, 1)
    np.testing.assert_array_equal(drop(neurons.T, 1, 0).T, left)
    np.testing.assert_array_equal(drop(neurons[:11], 1), left[:11])
    assert np.any(drop(neurons, 0) != left)


def test_dropout_depends_on_the_seed_and_on_the_step():
    dropping = program(p=P, on=["dropout"])
    jump = lambda step: start(hyper())._replace(step=jnp.int32(step))  # noqa: E731
    gradients = []
    for seed, step in ((0, 0), (1, 0), (0, 1), (0, 0)):
        rates = hyper(dropout=0.5, seed=seed)
        state = train(jump(step), rates, EXAMPLES, 1, program=dropping)
        gradients.append(optax.tree.get(state.opt_state, "mu")["blocks"]["0"]["mlp"]["W_in"])
    assert np.any(gradients[0] != gradients[1]) and np.any(gradients[0] != gradients[2])
    np.testing.assert_array_equal(gradients[0], gradients[3])


def test_scores_are_taken_without_dropout():
    params = random_params(PLAIN)
    assert_equal(
        scores(params, DATA, program=program(p=P, on=["dropout"])),
        scores(params, DATA, program=PLAIN),
    )


def test_a_low_precision_run_no_longer_sees_the_correct_class_at_small_losses():
    params = jax.tree.map(lambda x: 0.1 * x, random_params(PLAIN))
    params["blocks"]["0"]["mlp"]["b_out"] = jnp.ones(16)
    params["unembed"]["W_U"] = jnp.zeros((16, P + 1)).at[:, 0].set(1.5)  # a margin of about 24
    batch = EXAMPLES._replace(targets=jnp.zeros_like(EXAMPLES.targets))
    exact, rounded = (
        first_gradient(program(p=P, loss=loss), params, batch)["unembed"]["W_U"]
        for loss in ("exact", "low_precision")
    )
    np.testing.assert_allclose(exact.sum(1) / np.abs(exact).sum(1), 0, atol=1e-5)
    assert np.all(exact[:, 0] != 0) and np.all(rounded[:, 0] == 0)
    np.testing.assert_allclose(rounded[:, 1:], exact[:, 1:], rtol=1e-3)


def test_training_is_that_by_hand():
    """SGD on the gradient of the objective, in float64."""
    run = RunConfig(network="mlp", operation="multiply", modulus=7, train_fraction=0.5, d_mlp=8)
    run = run.replace(optimizer="sgd", learning_rate=RATE, warmup_steps=2, momentum=0.5)
    run = run.replace(weight_decay=DECAY)
    program = program_of(run)
    with jax.enable_x64(True):
        hyper, data, batch = jax.tree.map(lambda x: jnp.asarray(x)[0], own_data([run]))
        prepared = form(program).prepare(batch.tokens)

        @jax.jit
        def gradient(params):
            loss = lambda p: update.objective(p, 0, hyper, prepared, batch, data, program)  # noqa: E731
            return jax.grad(loss)(params)

        @jax.jit
        def trained(params):
            state = update.initial_state(params, hyper, program)
            return update.train(state, hyper, data, batch, 5, program)

        params = jax.device_get(jax.jit(by_name.init, static_argnums=1)(jax.random.key(0), program))
        state = jax.device_get(trained(params))
        expected, moves = params, {name: heavy_ball(name) for name in params}
        for step in range(5):
            grads, now = jax.device_get(gradient(expected)), RATE * min(step / 2, 1)
            expected = {n: w - now * moves[n](grads[n], w) for n, w in expected.items()}
    assert state.step == 5
    for name, x in expected.items():
        np.testing.assert_allclose(state.params[name], x, rtol=1e-9, atol=1e-12)
        assert np.abs(x - params[name]).max() > 1e-3
