from itertools import permutations

import numpy as np
import pytest
from configs import message_of

from grokjax.config.sweep import RunConfig
from grokjax.tasks import groups
from grokjax.tasks.data import data_of, sizes_of
from grokjax.tasks.modular import shuffled_split
from grokjax.training import blocks
from grokjax.training.packing import pack


def test_products_of_permutations_are_compositions():
    every = list(permutations(range(4)))
    even = [x for x in every if np.linalg.det(np.eye(4)[list(x)]) > 0]
    for table, elements in ((groups.symmetric(4), every), (groups.alternating(4), even)):
        assert table.shape == (len(elements), len(elements))
        for x, y in np.ndindex(table.shape):
            assert elements[table[x, y]] == tuple(elements[x][i] for i in elements[y])


def test_a_dihedral_group_is_that_of_its_matrices():
    n = 5
    cos, sin = np.cos(2 * np.pi * np.arange(n) / n), np.sin(2 * np.pi * np.arange(n) / n)
    turn = lambda k: np.array([[cos[k], -sin[k]], [sin[k], cos[k]]])  # noqa: E731
    flip = np.diag([1.0, -1.0])
    elements = [turn(k) @ (flip if f else np.eye(2)) for f in (0, 1) for k in range(n)]
    table = groups.dihedral(n)
    for x, y in np.ndindex(2 * n, 2 * n):
        np.testing.assert_allclose(elements[x] @ elements[y], elements[table[x, y]], atol=1e-12)


def test_words():
    table = groups.dihedral(4)
    inverse = [int(np.flatnonzero(row == 0)[0]) for row in table]
    for x, y in np.ndindex(8, 8):
        assert groups.answers(table, "xyx")[x, y] == table[table[x, y], x]
        assert groups.answers(table, "xyX")[x, y] == table[table[x, y], inverse[x]]


def test_the_task_has_all_pairs_of_elements_and_the_split_of_a_seed():
    run = RunConfig(task="group", train_fraction=0.4, steps=5)
    data, table = data_of(run), groups.symmetric(5)
    assert (data.vocabulary, data.num_classes, data.num_answers) == (121, 120, 120)
    assert sizes_of(run) == (121, 120, 3, data.splits["train"].sum()) == (121, 120, 3, 5760)
    np.testing.assert_array_equal(data.targets[..., 0], table)
    np.testing.assert_array_equal(data.tokens[3, 7], [3, 7, 120])
    np.testing.assert_array_equal(data.splits["train"][..., 0], shuffled_split(120, 0.4, 0))


@pytest.mark.slow
def test_groups_of_two_orders_share_a_program_and_learn():
    base = RunConfig(
        task="group", train_fraction=0.8, steps=150, d_model=16, num_heads=2, d_mlp=32
    ).replace(**{"group.type": "dihedral", "learning_rate": 0.01})
    runs = [base.replace(**{"group.degree": n}) for n in (4, 5)]
    assert len(pack(runs)) == 1
    block = blocks.block_of(runs, [0, 1])
    trainer, data = blocks.trainer(block), blocks.block_data(block)
    state = trainer.train(blocks.initial_states(block), data, 150)
    assert (np.asarray(trainer.scores(state.params, data)["train_accuracy"]) > 0.9).all()


def test_what_is_too_large_or_empty_is_refused():
    large = message_of(RunConfig, task="group", **{"group.degree": 8})
    assert "40320 elements" in large and "group.degree" in large
    small = {"group.type": "dihedral", "group.degree": 2}
    assert "train_fraction" in message_of(RunConfig, task="group", train_fraction=0.01, **small)
    assert "modulus" in message_of(RunConfig, task="group", modulus=7)
