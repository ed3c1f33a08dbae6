import jax
import numpy as np
import pytest
from measured import MLP, measured, network, weights

from grokjax.config.sweep import RunConfig
from grokjax.measures.field import noise as measures
from grokjax.tasks.data import data_of
from grokjax.tasks.noise import with_noise

RUN = RunConfig(modulus=23, train_fraction=0.5, steps=5)


def test_a_share_of_the_training_answers_is_drawn_uniformly_and_no_others():
    clean, noisy = data_of(RUN), data_of(RUN.replace(label_noise=0.4))
    train = clean.splits["train"]
    changed = noisy.targets != clean.targets
    count = int(0.4 * train.sum())
    assert not changed[~train].any()
    # One in 23 of those drawn is right by chance.
    assert abs(changed.sum() - count * 22 / 23) < 4 * np.sqrt(count / 23)
    np.testing.assert_array_equal(noisy.extra["right_answers"], clean.targets)
    np.testing.assert_array_equal(clean.extra["right_answers"], clean.targets)
    for name in clean.splits:
        np.testing.assert_array_equal(noisy.splits[name], clean.splits[name])
    assert noisy.targets.max() < 23


def test_all_of_them_are_uniform_and_a_seed_has_its_own():
    made = data_of(RUN)._replace(num_classes=24, num_answers=23)
    whole = [with_noise(made, 1.0, seed).targets for seed in range(20)]
    counts = np.bincount(np.concatenate([x[made.splits["train"]] for x in whole]), minlength=23)
    expected = counts.sum() / 23
    assert len(counts) == 23 and np.sum((counts - expected) ** 2 / expected) < 55  # chi2, p 1e-4
    assert (whole[0] != whole[1]).any()
    np.testing.assert_array_equal(whole[3], with_noise(made, 1.0, 3).targets)


def test_shares_of_noise_that_is_memorized_and_corrected():
    run = MLP.replace(label_noise=0.5)
    seen = network(run)
    told, right = np.asarray(seen.data.targets), np.asarray(seen.data.extra["right_answers"])
    wrong = np.asarray(seen.data.splits["train"]) & (told != right)
    params = weights(run, 2.0)
    given = np.asarray(jax.jit(lambda p: network(run, p).logits)(params))[:7].argmax(0)[..., None]
    found = measured((measures.noise_memorized, measures.noise_corrected), run, params)
    expected = [np.mean(given[wrong] == x[wrong]) for x in (told, right)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    one_hot = lambda x: 9.0 * np.moveaxis(np.eye(8)[x[..., 0]], -1, 0)  # noqa: E731
    for answers, shares in ((told, (1, 0)), (right, (0, 1))):
        seen = network(run)
        seen.logits = jax.numpy.asarray(one_hot(answers))
        np.testing.assert_allclose(measures.noise_memorized(seen), shares[0], atol=1e-6)
        np.testing.assert_allclose(measures.noise_corrected(seen), shares[1], atol=1e-6)


def test_without_noise_there_is_no_share():
    assert np.isnan(measured(measures.noise_memorized, MLP))


@pytest.mark.parametrize("noise", [-0.1, 1.5])
def test_a_share_is_from_0_to_1(noise):
    with pytest.raises(Exception, match="label_noise"):
        RUN.replace(label_noise=noise)
