import numpy as np
import pytest

from experiments import clauw, gu, lab
from grokjax.config.axes import resolve
from grokjax.measures.field import information_phases
from grokjax.tasks.modular import modular
from grokjax.training import blocks


@pytest.mark.parametrize(("kind", "size"), [("random", 0), ("square", 9), ("strip", 6)])
def test_share_outside_of_a_region_is_that_of_the_data(kind, size):
    data = modular(17, 0.4, held_out=kind, held_out_size=size)
    a, b = np.indices((17, 17))
    inside = {"random": a < 0, "square": (a < size) & (b < size), "strip": a < size}[kind]
    test = data.splits["test"][..., 0]
    expected = (test & ~inside).sum() / test.sum()
    assert gu.outside(17, kind, size, 0.4) == pytest.approx(expected)


def test_share_outside_of_published_regions():
    # Less than 30 % of the pairs lie outside of the widest strip, so none of them is tested.
    assert gu.outside(97, "strip", 68, 0.3) == 0
    assert gu.outside(97, "square", 61, 0.3) == pytest.approx(1 - 61**2 / (9409 - 2822))


def test_regions_are_published_ones():
    short, rows = gu.laptop()
    whole, every = gu.paper()
    for row in rows:
        if row["held_out"] != "random":
            assert row["held_out_size"] - 1 in gu.PUBLISHED[row["held_out"]]
    assert {row["held_out_size"] - 1 for row in every if row["held_out"] == "strip"} == set(
        gu.PUBLISHED["strip"]
    )
    for config in (short, whole):
        assert (config.modulus, config.d_mlp, config.weight_decay) == (97, 512, 1.0)


STEPS = np.arange(0, 60, 2)


def test_early_peak_rises_and_falls_before_the_end():
    bump = np.exp(-(((STEPS - 20) / 5) ** 2)) + np.linspace(0, 3, 30) * (STEPS > 40)
    assert clauw.early_peak(STEPS, bump, 40.0) == 20
    assert np.isnan(clauw.early_peak(STEPS, bump, 12.0))  # it has not fallen again
    assert np.isnan(clauw.early_peak(STEPS, STEPS * 1.0, 40.0))
    assert np.isnan(clauw.early_peak(STEPS, -STEPS * 1.0, 40.0))


def test_published_orders_use_known_phases():
    for order in clauw.ORDER.values():
        assert set(order) <= set(information_phases.PHASES)
    names = [information_phases.PHASES.index(x) for x in ("emergence", "decoupling", "finalising")]
    phases = np.array([0, 0, names[0], names[1], names[0], names[2]])
    assert clauw.phase_order(phases) == ["emergence", "decoupling", "finalising"]


def test_paper_preset_is_the_published_network():
    config, rows = clauw.paper()
    assert (config.network, config.modulus, config.d_mlp) == ("mlp", 97, 250)
    assert len(rows) == 7 * 5
    assert {clauw.name_of({"optimizer": "adamw"} | row) for row in rows} >= set(clauw.ORDER)


@pytest.mark.slow
def test_removed_neurons_stay_out_while_others_train(tmp_path):
    config, _ = clauw.paper()
    config.modulus, config.d_mlp, config.steps = 7, 12, 40
    config.train_fraction, config.measures = 0.6, ("train_loss", "synergy", "synergy_set")
    config.eval_every = config.checkpoint_every = 20
    config.weight_decay = 0.1
    sweep = lab.trained(resolve(config), tmp_path)
    whole = clauw.retrained(sweep, 0, np.ones(12, bool))
    last = sweep.curves()["test_accuracy"].values[0, -1]
    assert whole["last_test_accuracy"] == pytest.approx(last, abs=1e-6)
    kept = np.arange(12) % 3 == 0
    block = blocks.block_of(sweep.config.runs, (0,))
    state = blocks.initial_states(block)
    state = state._replace(params=clauw.without(state.params, kept))
    before = np.array(state.params["W_out"][0])  # a copy: training takes its buffers
    trained = blocks.trainer(block, "float32").train(state, blocks.block_data(block), np.int32(30))
    W_in, b_in, W_out = (np.asarray(trained.params[x][0]) for x in ("W_in", "b_in", "W_out"))
    assert not W_in[..., ~kept].any() and not b_in[~kept].any() and not W_out[~kept].any()
    assert np.abs(W_out[kept] - before[kept]).max() > 0.1
