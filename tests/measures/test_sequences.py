import jax
import jax.numpy as jnp
import numpy as np
from sequence_runs import COPIES, KEYS, RUNS, SUMS, own

from grokjax.core import parts
from grokjax.measures import select
from grokjax.measures.network import Network
from grokjax.networks.by_name import functions, init
from grokjax.tasks.data import data_of
from grokjax.training.blocks import program_of


def measured(run):
    program, data = program_of(run), data_of(run)
    chosen = select.select(["sequences"], program, data.splits)

    @jax.jit
    def compute(data):
        params = init(jax.random.key(1), program, 2.0)
        network = Network(params, data, program)
        values = {part.name: part.function(network) for part in chosen}
        return values, functions(program)[1](params, data.tokens)

    return *jax.device_get(compute(jax.tree.map(jnp.asarray, data))), data


def test_losses_by_digit_and_carry():
    result, out, data = measured(own(SUMS, num_sequences=40))
    logits = np.float64(out["logits"])[40:, -6:]
    answers, carried = data.targets[40:], data.extra["carried"][40:] > 0
    picked = np.take_along_axis(logits, answers[..., None], -1)[..., 0]
    losses = np.log(np.exp(logits).sum(-1)) - picked
    np.testing.assert_allclose(result["loss_by_digit"], losses.mean(0), rtol=1e-4)
    for name, among in (("with", carried), ("without", ~carried)):
        means = [
            row[of].mean() if of.any() else np.nan
            for row, of in zip(losses.T, among.T, strict=True)
        ]
        np.testing.assert_allclose(result[f"loss_by_digit_{name}_carry"], means, rtol=1e-4)
    assert np.isnan(result["loss_by_digit_with_carry"][-1])  # nothing is carried into the units
    whole = np.all(logits.argmax(-1) == answers, -1).mean()
    np.testing.assert_allclose(result["sum_accuracy"], whole, rtol=1e-5)


def test_prefix_matching_and_previous_token_scores():
    result, out, data = measured(COPIES)
    rows, patterns = data.tokens[-128:], np.float64(out["patterns"])[:, -128:]
    assert patterns.shape == (2, 128, 2, 24, 24)
    score, count = 0, 0
    for b, starts in enumerate(data.extra["starts"][-128:]):
        for c in range(1, 3):
            for j in range(3):  # within a copy of four tokens, but for its last
                here = starts[c] + j
                after = [starts[e] + j + 1 for e in range(c)]
                assert all(rows[b, place - 1] == rows[b, here] for place in after)
                score += patterns[:, b, :, here][:, :, after].sum(-1)
                count += 1
    np.testing.assert_allclose(result["prefix_matching_score"], score / count, rtol=1e-4)
    before = np.mean([patterns[:, :, :, i, i - 1] for i in range(1, 24)], 0).mean(1)
    np.testing.assert_allclose(result["previous_token_score"], before, rtol=1e-4)


def test_attention_to_the_key():
    result, out, data = measured(own(KEYS, num_sequences=32))
    last = np.float64(out["patterns"])[-1, 32:, :, -1]
    place = (data.tokens[32:] >= 12).argmax(1)
    expected = np.take_along_axis(last, place[:, None, None], -1)[..., 0].mean(0)
    np.testing.assert_allclose(result["attention_to_key"], expected, rtol=1e-4)


def test_measures_of_one_task_are_not_those_of_another():
    for run in RUNS.values():
        chosen = select.select((), program_of(run), data_of(run).splits)
        own_measures = [x for x in chosen if "sequences" in x.families]
        assert own_measures and all(x.task == run.task for x in own_measures)
    assert not [x for x in parts.all_of("measure") if "sequences" in x.families and not x.task]
