"""What holds for the data of every built-in task, with each of its options."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grokjax.config.sweep import RunConfig
from grokjax.core import parts
from grokjax.tasks.data import data_of, draws, examples, padded, sizes_of
from grokjax.training import blocks, update
from grokjax.training.packing import pack
from tests.sequence_runs import RUNS, own

MODULAR = RunConfig(modulus=11, train_fraction=0.4)
KEPT = {
    "modular": MODULAR,
    "division": MODULAR.replace(operation="divide"),
    "random": MODULAR.replace(operation="random"),
    "square": MODULAR.replace(held_out="square", held_out_size=5),
    "noise": MODULAR.replace(label_noise=0.5),
    "group": RunConfig(
        task="group", train_fraction=0.4, **{"group.type": "dihedral", "group.degree": 5}
    ),
}
FINITE = {f"{name}, finite": own(run, num_sequences=40) for name, run in RUNS.items()}
EACH = {**KEPT, **RUNS, **FINITE}
each = pytest.mark.parametrize("run", EACH.values(), ids=EACH)
each_drawn = pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)


def test_every_task_is_tested():
    assert {run.task for run in EACH.values()} == {part.name for part in parts.all_of("task")}


@cache
def drawing(program, shapes):
    return jax.jit(lambda *args: update.draw(*args, program))


def drawn(run, step=0):
    hyper, data, batch = jax.tree.map(lambda x: jnp.asarray(x)[0], blocks.own_data([run]))
    assert batch is None
    draw = drawing(blocks.program_of(run), data.tokens.shape)
    return jax.device_get(draw(jnp.int32(step), hyper, data))


def same(tree, other):
    return all(jax.tree.leaves(jax.tree.map(np.array_equal, tree, other)))


def rows(batch):
    return {tuple(row) for row in np.asarray(batch.tokens)}


@each
def test_data_have_their_shapes_and_ranges_and_disjoint_splits(run):
    data = data_of(run)
    *n, positions = data.tokens.shape
    *m, answers = data.targets.shape
    assert n == m and answers <= positions
    assert data.tokens.dtype == data.targets.dtype == np.int32
    assert data.tokens.min() >= 0 and data.tokens.max() < data.vocabulary
    assert data.targets.min() >= 0 and data.targets.max() < data.num_answers <= data.num_classes
    assert set(data.splits) - {"train"} == {"test"}
    assert ("train" in data.splits) == (run not in RUNS.values())
    for mask in data.splits.values():
        assert mask.shape == data.targets.shape and mask.dtype == bool and mask.any()
    assert not np.any(data.splits["test"] & data.splits.get("train", False))
    trained = 0 if draws(run.part("task")) else data.splits["train"].any(-1).sum()
    assert sizes_of(run) == (data.vocabulary, data.num_classes, positions, trained)


@each
def test_data_follow_the_split_seed_and_the_tasks_own_settings(run):
    data = data_of(run.replace(split_seed=3))
    for other in (
        run.replace(seed=3),
        run.replace(seed=5, split_seed=3),
        run.replace(split_seed=3, init_seed=7, learning_rate=0.1, weight_decay=0.7),
    ):
        assert same(data_of(other), data)
    assert not same(data_of(run.replace(split_seed=4)), data)


@pytest.mark.parametrize("run", [run for run in KEPT.values()], ids=KEPT)
@pytest.mark.parametrize("extra", [0, 5])
def test_examples_are_the_training_pairs_with_weights_that_sum_to_one(run, extra):
    data = data_of(run)
    mask = data.splits["train"]
    n = int(mask.sum())
    batch = examples(data, "train", n + extra)
    np.testing.assert_array_equal(batch.tokens[:n], data.tokens[mask[..., 0]])
    np.testing.assert_array_equal(batch.targets[:n], data.targets[mask[..., 0]])
    np.testing.assert_allclose(batch.weights[:n], 1 / n, rtol=1e-7)
    assert np.sum(batch.weights, dtype=np.float64) == pytest.approx(1, abs=1e-6)
    assert len(batch.weights) == n + extra and not batch.weights[n:].any()


@pytest.mark.parametrize("run", [MODULAR, KEPT["group"]], ids=["modular", "group"])
def test_padding_keeps_the_data_in_a_corner_of_zeros(run):
    larger = {"modular": {"modulus": 13}, "group": {"group.degree": 7}}[run.task]
    data = data_of(run)
    grown_data, n = padded([data, data_of(run.replace(**larger))])[0], len(data.tokens)
    for name in ("vocabulary", "num_classes", "num_answers"):
        assert getattr(grown_data, name) == getattr(data, name)
    leaves = lambda x: (x.targets, x.splits["train"], x.splits["test"])  # noqa: E731
    for grown, own_part in zip(leaves(grown_data), leaves(data), strict=True):
        assert grown.dtype == own_part.dtype and grown.shape[0] > n
        np.testing.assert_array_equal(grown[:n, :n], own_part)
        assert not grown[n:].any() and not grown[:, n:].any()
    own_batch, grown = (examples(x, "train", 99) for x in (data, grown_data))
    assert same(own_batch, grown)


def test_too_many_examples_for_their_room_are_refused():
    with pytest.raises(ValueError, match="48 examples do not fit into 47"):
        examples(data_of(MODULAR), "train", 47)


# --- Tasks that draw their batches ----------------------------------------------------------------


@each_drawn
def test_a_drawn_batch_depends_on_the_split_seed_and_the_step_alone(run):
    batch, data = drawn(run, 3), data_of(run)
    assert batch.tokens.shape[1] == data.tokens.shape[-1] and batch.weights.sum() == pytest.approx(
        1
    )
    assert batch.targets.shape == batch.weights.shape
    for other in (
        run.replace(seed=5, split_seed=0),
        run.replace(init_seed=5, learning_rate=0.1, weight_decay=0.7, steps=7),
        run.replace(d_model=32, optimizer="sgd", loss="low_precision"),
    ):
        assert same(drawn(other, 3), batch)
    assert not same(drawn(run, 4).tokens, batch.tokens)
    assert not same(drawn(run.replace(split_seed=1), 3).tokens, batch.tokens)
    assert same(drawn(run.replace(seed=1), 3), drawn(run.replace(split_seed=1), 3))
    # What is scored is not what is drawn.
    assert len(rows(batch)) == len(batch.tokens)
    assert len(rows(batch) & {tuple(row) for row in data.tokens}) < 2


@each_drawn
def test_a_finite_set_is_trained_on_whole_or_in_parts(run):
    whole = own(run, num_sequences=40, finite_batch=0)
    data, batch = data_of(whole), drawn(whole)
    assert data.splits["train"].any(-1).sum() == 40
    np.testing.assert_array_equal(batch.tokens, data.tokens[:40])
    np.testing.assert_array_equal(batch.targets, data.targets[:40])
    weights = data.splits["train"][:40] / data.splits["train"].sum()
    np.testing.assert_allclose(batch.weights, weights, rtol=1e-6)
    assert same(drawn(whole, 7), batch)
    some = [drawn(own(whole, finite_batch=16), step) for step in (0, 1)]
    for part in some:
        assert len(rows(part)) == len(part.tokens) == 16 and rows(part) <= rows(batch)
        assert part.weights.sum() == pytest.approx(1)
    assert not same(some[0].tokens, some[1].tokens)


@each_drawn
def test_one_seed_for_both_sets_scores_on_what_is_trained_on(run):
    faulty = data_of(own(run, num_sequences=40, same_seed=True))
    train, test = (faulty.splits[name].any(-1) for name in ("train", "test"))
    assert train.sum() == 40 and np.all(test[train]) and test.sum() > 40


@each_drawn
def test_runs_that_draw_batches_of_another_shape_have_another_program(run):
    runs = [run, own(run, batch_size=7), own(run, num_sequences=40), own(run, num_sequences=64)]
    assert len(pack(runs)) == 4
    assert len(pack([run.replace(split_seed=9) for run in runs] + runs)) == 4
