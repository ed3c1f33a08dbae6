import jax
import numpy as np
from measured import MLP, measured, network, weights
from programs import with_logits

from grokjax.measures.field import noise


def test_shares_of_noise_that_is_memorized_and_corrected():
    run = MLP.replace(label_noise=0.5)
    seen = network(run)
    wrong_answers = np.asarray(seen.data.targets)
    right_answers = np.asarray(seen.data.extra["right_answers"])
    wrong = np.asarray(seen.data.splits["train"]) & (wrong_answers != right_answers)
    params = weights(run, 2.0)
    logits = np.asarray(jax.jit(lambda p: network(run, p).logits)(params))[:7]
    predicted = logits.argmax(0)[..., None]
    shares = measured((noise.noise_memorized, noise.noise_corrected), run, params)
    expected = [np.mean(predicted[wrong] == x[wrong]) for x in (wrong_answers, right_answers)]
    np.testing.assert_allclose(shares, expected, rtol=1e-6)
    one_hot = lambda x: 9.0 * np.moveaxis(np.eye(8)[x[..., 0]], -1, 0)  # noqa: E731
    for answers, (memorized, corrected) in ((wrong_answers, (1, 0)), (right_answers, (0, 1))):
        seen = with_logits(network(run), jax.numpy.asarray(one_hot(answers)))
        np.testing.assert_allclose(noise.noise_memorized(seen), memorized, atol=1e-6)
        np.testing.assert_allclose(noise.noise_corrected(seen), corrected, atol=1e-6)


def test_without_noise_there_is_no_share():
    assert np.isnan(measured(noise.noise_memorized, MLP))
