from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from grokjax import model, tasks, training
from grokjax.training import Program
from grokjax.types import Architecture, Hyperparameters

P = 7
ARCH = Architecture(d_model=16, num_heads=2, d_mlp=24)
TASK = jax.tree.map(jnp.asarray, tasks.modular(P, 0.6))
EXAMPLES = jax.tree.map(jnp.asarray, tasks.examples(tasks.modular(P, 0.6)))
PLAIN = Program(ARCH)


def hyperparameters(**changes):
    values = dict(
        learning_rate=1e-2,
        warmup_steps=10,
        weight_decay=1e-2,
        l1=0.0,
        dropout=0.0,
        steps=1000,
        seed=0,
    )
    assert changes.keys() <= values.keys()
    return Hyperparameters(
        **{
            name: jnp.asarray(value, jnp.int32 if name in ("steps", "seed") else jnp.float32)
            for name, value in {**values, **changes}.items()
        }
    )


def stacked(*runs):
    return jax.tree.map(lambda *x: jnp.stack(x), *runs)


def one_of(tree, i):
    return jax.tree.map(lambda x: x[i], tree)


def random_params(arch=ARCH):
    like = jax.eval_shape(lambda key: model.init(key, arch, P + 1), jax.random.key(0))
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(scale=0.3, size=x.shape), x.dtype), like)


def start(hyper, program=PLAIN):
    return training.initial_state(random_params(program.arch), hyper, program)


train = jax.jit(training.train, static_argnames="program")
scores = jax.jit(training.scores, static_argnames="program")


@jax.jit
def train_together(states, hypers, num_steps):
    return jax.vmap(lambda state, hyper: training.train(state, hyper, EXAMPLES, num_steps, PLAIN))(
        states, hypers
    )


def started_together(hypers):
    return jax.vmap(lambda hyper: start(hyper))(hypers)


def assert_equal(actual, expected):
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def first_gradient(program, params=None, examples=EXAMPLES, **changes):
    """The gradient of the first update, read from Adam's first moment."""
    hyper = hyperparameters(**changes)
    params = random_params(program.arch) if params is None else params
    state = training.initial_state(params, hyper, program)
    state = train(state, hyper, examples, 1, program=program)
    return jax.tree.map(lambda x: x / (1 - program.betas[0]), optax.tree.get(state.opt_state, "mu"))


def test_training_memorises_the_training_set():
    hyper = hyperparameters()
    before = start(hyper)
    after = train(before, hyper, EXAMPLES, 300, program=PLAIN)
    first, last = (scores(state.params, TASK, program=PLAIN) for state in (before, after))
    assert first.train_loss > 1.5 and last.train_loss < 1e-2
    assert last.train_accuracy == 1 and first.train_accuracy < 0.7
    assert after.step == 300 and after.diverged_at == -1


def test_scores_are_float64_cross_entropies_and_accuracies_of_the_plain_model():
    params = random_params()
    a, b = np.divmod(np.arange(P * P), P)
    tokens = jnp.asarray(np.stack([a, b, np.full_like(a, P)], -1))
    logits = np.asarray(model.forward(params, tokens, ARCH)["logits"][:, -1], np.float64)
    labels = (a + b) % P
    correct = logits[np.arange(P * P), labels]
    loss = np.log(np.exp(logits).sum(-1)) - correct
    hit = logits.argmax(-1) == labels
    is_train = np.ravel(tasks.shuffled_split(P, 0.6, 0))
    expected = [x[mask].mean() for x in (loss, hit) for mask in (is_train, ~is_train)]
    np.testing.assert_allclose(scores(params, TASK, program=PLAIN), expected, rtol=1e-5)


def test_a_padded_task_has_the_same_scores():
    params = random_params()
    padded_task = jax.tree.map(jnp.asarray, tasks.padded(tasks.modular(P, 0.6), 10))
    padded = scores(model.pad(params, 11), padded_task, program=PLAIN)
    np.testing.assert_allclose(padded, scores(params, TASK, program=PLAIN), rtol=1e-5)


def test_the_test_set_is_all_that_is_neither_trained_on_nor_padding():
    task = tasks.padded(tasks.modular(P, 0.6), 10)
    test = np.asarray(training.test_set(jax.tree.map(jnp.asarray, task)))
    assert test.sum() == P * P - task.train.sum()
    assert not np.any(test & task.train) and not test[P:].any() and not test[:, P:].any()


def test_the_first_update_has_rate_zero():
    hyper = hyperparameters()
    before = start(hyper)
    once = train(before, hyper, EXAMPLES, 1, program=PLAIN)
    twice = train(before, hyper, EXAMPLES, 2, program=PLAIN)
    assert once.step == 1
    assert_equal(once.params, before.params)
    assert all(
        np.any(x != y)
        for x, y in zip(*map(jax.tree.leaves, (twice.params, once.params)), strict=True)
    )


def test_stretches_of_any_length_give_the_same_bits():
    hyper = hyperparameters()
    whole = train(start(hyper), hyper, EXAMPLES, 10, program=PLAIN)
    state = start(hyper)
    for num_steps in (3, 0, 7):
        state = train(state, hyper, EXAMPLES, num_steps, program=PLAIN)
    assert_equal(state, whole)


def test_a_run_stops_at_its_own_number_of_steps():
    hypers = [hyperparameters(steps=steps) for steps in (4, 9, 0)]
    states = train_together(started_together(stacked(*hypers)), stacked(*hypers), 9)
    np.testing.assert_array_equal(states.step, [4, 9, 0])
    np.testing.assert_array_equal(states.diverged_at, [-1, -1, -1])
    long = hyperparameters()
    fellows = train_together(
        started_together(stacked(*[long] * 3)), stacked(*[long] * 3), 4
    )  # the same program, stopped from outside
    assert_equal(one_of(states, 0), one_of(fellows, 0))


@pytest.mark.parametrize("learning_rate", [1e30, np.inf])
def test_a_diverging_run_is_marked_and_frozen_while_the_others_go_on(learning_rate):
    calm, wild = hyperparameters(), hyperparameters(learning_rate=learning_rate)
    hypers = stacked(calm, wild, calm)
    states = started_together(hypers)
    ten = train_together(states, hypers, 10)
    twenty = train_together(ten, hypers, 10)
    marked = int(ten.diverged_at[1])
    assert 1 <= marked <= 3 and ten.step[1] == marked
    np.testing.assert_array_equal(twenty.diverged_at, [-1, marked, -1])
    np.testing.assert_array_equal(twenty.step, [20, marked, 20])
    assert_equal(one_of(twenty, 1), one_of(ten, 1))

    undisturbed = train_together(states, stacked(calm, calm, calm), 20)
    for i in (0, 2):
        assert_equal(one_of(twenty, i), one_of(undisturbed, i))


def test_a_diverged_run_keeps_finite_parameters():
    hyper = hyperparameters(learning_rate=1e30)
    state = train(start(hyper), hyper, EXAMPLES, 10, program=PLAIN)
    assert state.diverged_at >= 0
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(state))


def test_a_run_whose_first_loss_is_not_finite_is_marked_at_step_zero():
    hyper = hyperparameters()
    state = start(hyper)
    state.params["unembed"]["W_U"] = state.params["unembed"]["W_U"].at[0, 0].set(jnp.nan)
    state = train(state, hyper, EXAMPLES, 5, program=PLAIN)
    assert state.diverged_at == 0 and state.step == 0


def test_padded_examples_change_nothing(assert_trees_close):
    hyper = hyperparameters()
    padded = jax.tree.map(jnp.asarray, tasks.examples(tasks.modular(P, 0.6), 40))
    own = train(start(hyper), hyper, EXAMPLES, 20, program=PLAIN)
    assert_trees_close(
        train(start(hyper), hyper, padded, 20, program=PLAIN).params, own.params, 1e-5
    )


def test_an_l1_penalty_adds_the_sign_of_every_parameter_to_the_gradient():
    """The sign of zero is zero: weights that are only padding must stay zero."""
    program, l1, params = Program(ARCH, l1=True), 0.25, random_params()
    params["blocks"]["0"]["mlp"]["b_in"] *= 0
    with_penalty = first_gradient(program, params, l1=l1)
    without = first_gradient(program, params)
    jax.tree.map(
        lambda x, y, p: np.testing.assert_allclose((x - y) / l1, np.sign(p), atol=1e-5),
        with_penalty,
        without,
        params,
    )


def test_an_l1_penalty_or_dropout_of_zero_changes_nothing(assert_trees_close):
    expected = first_gradient(PLAIN)
    assert_trees_close(first_gradient(Program(ARCH, l1=True)), expected, 1e-5)
    assert_trees_close(first_gradient(Program(ARCH, dropout=True)), expected, 1e-5)


def test_dropout_leaves_the_neurons_unchanged_on_average():
    """With W_out at zero the gradient of W_out is linear in the neurons, so it shows them."""
    arch = Architecture(d_model=16, num_heads=2, d_mlp=24, activation="gelu")  # no neuron is off
    program, count = Program(arch, dropout=True), 2000
    params = random_params()
    params["blocks"]["0"]["mlp"]["W_out"] *= 0

    @jax.jit
    @partial(jax.vmap, in_axes=(0, None))
    def gradient_of_W_out(seed, dropout):
        hyper = hyperparameters()._replace(seed=seed, dropout=dropout)
        gradient = first_gradient(program, params, **hyper._asdict())
        return gradient["blocks"]["0"]["mlp"]["W_out"]

    dropped = np.asarray(gradient_of_W_out(jnp.arange(count), jnp.float32(0.4)))
    expected = np.asarray(gradient_of_W_out(jnp.arange(count), jnp.float32(0)))[0]
    z = (dropped.mean(0) - expected) / (dropped.std(0) / np.sqrt(count))
    assert np.max(np.abs(z)) < 5 and 0.8 < np.std(z) < 1.2


def test_dropout_depends_on_the_seed_and_on_the_step():
    program = Program(ARCH, dropout=True)
    jump = lambda step: start(hyperparameters())._replace(step=jnp.int32(step))  # noqa: E731
    gradients = []
    for seed, step in ((0, 0), (1, 0), (0, 1), (0, 0)):
        hyper = hyperparameters(dropout=0.5, seed=seed)
        state = train(jump(step), hyper, EXAMPLES, 1, program=program)
        gradients.append(optax.tree.get(state.opt_state, "mu")["blocks"]["0"]["mlp"]["W_in"])
    assert np.any(gradients[0] != gradients[1]) and np.any(gradients[0] != gradients[2])
    np.testing.assert_array_equal(gradients[0], gradients[3])


def test_scores_are_taken_without_dropout():
    params = random_params()
    np.testing.assert_array_equal(
        scores(params, TASK, program=Program(ARCH, dropout=True)),
        scores(params, TASK, program=PLAIN),
    )


def test_a_low_precision_run_no_longer_sees_the_correct_class_at_small_losses():
    params = jax.tree.map(lambda x: 0.1 * x, random_params())
    params["blocks"]["0"]["mlp"]["b_out"] = jnp.ones(16)
    params["unembed"]["W_U"] = jnp.zeros((16, P + 1)).at[:, 0].set(1.5)  # a margin of about 24
    examples = EXAMPLES._replace(labels=jnp.zeros_like(EXAMPLES.labels))
    exact, rounded = (
        first_gradient(Program(ARCH, loss=loss), params, examples)["unembed"]["W_U"]
        for loss in ("exact", "low_precision")
    )
    np.testing.assert_allclose(exact.sum(1) / np.abs(exact).sum(1), 0, atol=1e-5)
    assert np.all(exact[:, 0] != 0) and np.all(rounded[:, 0] == 0)
    np.testing.assert_allclose(rounded[:, 1:], exact[:, 1:], rtol=1e-3)


def test_two_layers_train_in_the_same_trainer():
    program = Program(Architecture(d_model=16, num_heads=2, d_mlp=24, num_layers=2))
    hyper = hyperparameters()
    before = start(hyper, program)
    after = train(before, hyper, EXAMPLES, 100, program=program)
    first, last = (scores(state.params, TASK, program=program) for state in (before, after))
    assert last.train_loss < 0.3 * first.train_loss
