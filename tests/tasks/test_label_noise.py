import numpy as np
import pytest

from grokjax.config.sweep import RunConfig
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


@pytest.mark.parametrize("noise", [-0.1, 1.5])
def test_a_share_is_from_0_to_1(noise):
    with pytest.raises(Exception, match="label_noise"):
        RUN.replace(label_noise=noise)
