import jax
import jax.numpy as jnp
import numpy as np
from configs import message_of

from grokjax.config.sweep import RunConfig
from grokjax.tasks.data import data_of, sizes_of
from grokjax.tasks.skip_trigram import sequences
from grokjax.training import update
from grokjax.training.blocks import own_data, program_of

FINITE = RunConfig(**{"task": "skip_trigram", "skip_trigram.num_sequences": 32, "seed": 4})


def test_every_sequence_holds_one_key_in_noise_and_its_number_is_the_answer():
    tokens, answers, weights = jax.device_get(sequences(jax.random.key(0), 500, 40))
    assert tokens.shape == (500, 42) and np.all(tokens[:, 0] == 0) and np.all(tokens[:, -1] == 1)
    middle = tokens[:, 1:-1]
    is_key = middle >= 12
    np.testing.assert_array_equal(is_key.sum(1), 1)
    np.testing.assert_array_equal(middle[is_key] - 12, answers[:, 0])
    assert set(middle[~is_key]) == set(range(2, 12)) and set(answers[:, 0]) == set(range(10))
    assert set(is_key.argmax(1)) == set(range(40))
    np.testing.assert_allclose(weights, 1 / 500)


def test_a_finite_set_is_the_batch_of_every_update_and_is_not_scored_on_as_a_test():
    data = data_of(FINITE)
    assert data.splits["train"].sum() == 32 and data.splits["test"].sum() == 2048
    assert not (data.splits["train"] & data.splits["test"]).any()
    hyper, placed, batch = jax.tree.map(lambda x: jnp.asarray(x)[0], own_data([FINITE]))
    assert batch is None
    for step in (0, 7):
        drawn = update.draw(step, hyper, placed, program_of(FINITE))
        np.testing.assert_array_equal(drawn.tokens, data.tokens[data.splits["train"][:, 0]])
        np.testing.assert_array_equal(drawn.targets, data.targets[:32])
        np.testing.assert_allclose(drawn.weights, 1 / 32)


def test_its_data_follow_the_split_seed_and_its_sizes_the_noise():
    again = FINITE.replace(seed=9, split_seed=4, **{"learning_rate": 0.1})
    np.testing.assert_array_equal(data_of(again).tokens, data_of(FINITE).tokens)
    other = data_of(FINITE.replace(split_seed=5)).tokens
    assert not np.array_equal(other, data_of(FINITE).tokens)
    shorter = FINITE.replace(**{"skip_trigram.noise": 7})
    assert sizes_of(shorter) == (22, 10, 9, 0)
    assert "at least 1" in message_of(FINITE.replace, **{"skip_trigram.batch_size": 0})
