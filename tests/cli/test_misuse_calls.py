"""Mistakes in Python calls: each is one ConfigError, in one line, that says what is allowed."""

import jax
import numpy as np
import pytest
from configs import config_with
from programs import program
from small_sweeps import TINY

import grokjax
from grokjax import interop, page, plots
from grokjax.config import axis, chain, product, zipped
from grokjax.config.runs import RunConfig
from grokjax.config.sweep import SweepConfig
from grokjax.core.errors import UserError
from grokjax.networks import by_name
from grokjax.tasks.modular import modular

P7 = jax.device_get(by_name.init(jax.random.key(0), program(p=7)))
DATA = modular(7, 0.5)
measure, setting = grokjax.measure, grokjax.setting


def line_of(call) -> str:
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500
    return message


CALLS = [
    # Opening
    (lambda: grokjax.open_sweep(3), "a sweep is named by its folder, got 3"),
    (lambda: grokjax.open_sweep(None), "a sweep is named by its folder, got None"),
    (lambda: grokjax.open_sweep([]), "no workdir is named"),
    (lambda: grokjax.open_sweep(["nowhere"]), "holds no sweep"),
    (lambda: grokjax.open_sweep([3]), "a sweep is named by its folder, got 3"),
    (lambda: grokjax.open_sweep("nowhere"), "holds no sweep"),
    (lambda: grokjax.open_sweep(""), "holds no sweep"),
    # Measures from parameters
    (lambda: grokjax.progress_measures(P7, None), "data must be a grokjax.Data, got None"),
    (lambda: grokjax.progress_measures(P7, 113), "data must be a grokjax.Data, got 113"),
    (lambda: grokjax.progress_measures(None, DATA), "embed.W_E is missing"),
    (lambda: grokjax.progress_measures({}, DATA), "embed.W_E is missing"),
    (lambda: grokjax.progress_measures(DATA, P7), "embed.W_E is missing"),
    (lambda: grokjax.progress_measures(P7, modular(11, 0.5)), "has 8 tokens, but the task"),
    (lambda: grokjax.progress_measures(P7, DATA, activation="tanh"), "one of 'relu', 'gelu'"),
    (lambda: grokjax.progress_measures(P7, DATA, precision="float16"), "one of 'float32'"),
    (lambda: grokjax.progress_measures(P7, DATA, [4]), "numbers from 1 to 3"),
    (lambda: grokjax.progress_measures(P7, DATA, [0.5]), "numbers from 1 to 3"),
    (lambda: grokjax.progress_measures(P7, DATA, "all"), "numbers from 1 to 3"),
    (lambda: grokjax.progress_measures(P7, DATA, np.ones(5, bool)), "has 3 entries"),
    (lambda: grokjax.mechanism(P7, None), "data must be a grokjax.Data"),
    (lambda: grokjax.measures_of(P7, DATA, "restricted_los"), "did you mean 'restricted_loss'"),
    (lambda: grokjax.measures_of(P7, DATA, 3), "name a measure, a family or a function, got 3"),
    (lambda: grokjax.measures_of(P7, DATA, lambda network: network.nothing), "fails: Attribute"),
    # Networks on disk
    (lambda: interop.save_network(None, "x.npz"), "params are not a transformer's"),
    (lambda: interop.save_network({}, "x.npz"), "params are not a transformer's"),
    (lambda: interop.save_network(P7, 3), "a file is named by its path, got 3"),
    (lambda: interop.save_network(P7, "nowhere/x.npz"), "nowhere"),
    (lambda: interop.load_network(3), "a file is named by its path, got 3"),
    (lambda: interop.load_network("nowhere.npz"), "nowhere.npz"),
    (lambda: interop.from_state_dict(None), "a dict of arrays by name, got None"),
    (lambda: interop.from_state_dict({}), "no"),
    (lambda: interop.to_transformer_lens({}), "params are not a transformer's"),
    # Training
    (lambda: grokjax.train({}, "wd"), "config must be a ConfigDict from grokjax.config.default()"),
    (lambda: grokjax.train(None, "wd"), "config must be a ConfigDict"),
    (lambda: grokjax.train(config_with(), 3), "a sweep is named by its folder, got 3"),
    (lambda: grokjax.train(config_with(), "wd", figures="al"), "did you mean 'all'?"),
    (lambda: grokjax.train(config_with(), "wd", log="wndb"), "did you mean 'wandb'?"),
    (lambda: grokjax.train(config_with(), "wd", sweep=3), "sweep must be a function"),
    (lambda: grokjax.train(config_with(), "wd", sweep=lambda config: 3), "must yield dicts"),
    (lambda: grokjax.train(config_with(steps=0), "wd"), "at least 1"),
    (lambda: grokjax.train(config_with(axes_seed=3), "wd"), "write (3,)"),
    (lambda: grokjax.train(config_with(cores_per_run=999), "wd"), "cores_per_run=999, but"),
    (lambda: grokjax.train(config_with(), "wd", executor=3), "the executor has no submit"),
    # Configs
    (lambda: grokjax.config.default("modula"), "did you mean 'modular'"),
    (lambda: grokjax.config.default(3), "no task 3 is registered"),
    (lambda: axis("seed", 3), "needs several values"),
    (lambda: axis("seed", ()), "is empty"),
    (lambda: axis("seed", "123"), "needs several values"),
    (lambda: zipped(axis("seed", (1, 2)), axis("steps", (1,))), "equal lengths, got 2, 1"),
    (lambda: product(axis("seed", (1,)), axis("seed", (2,))), "set by two combined axes"),
    (lambda: product({"seed": 1}), "combine lists of dicts"),
    (lambda: chain(3), "combine lists of dicts"),
    (lambda: RunConfig(sed=3), "did you mean 'seed'?"),
    (lambda: RunConfig(modulus=1), "from 3 to 1000"),
    (lambda: SweepConfig([]), "at least one run"),
    (lambda: SweepConfig([RunConfig(), RunConfig()]), "runs 0 and 1 are the same"),
    (lambda: SweepConfig([RunConfig()], stpes=3), "unknown field 'stpes' in a sweep"),
    # Tasks
    (lambda: modular(2), "from 3 to 1000"),
    (lambda: modular(7, 1.5), "between 0 and 1"),
    (lambda: modular(7, 0.5, operation="ad"), "did you mean 'add'"),
    (lambda: modular(6, 0.5, operation="divide"), "use a prime modulus"),
    # Parts
    (lambda: grokjax.parts.get("mesure", "x"), "did you mean 'measure'?"),
    (lambda: grokjax.parts.get("measure", "restricted_los"), "did you mean 'restricted_loss'"),
    (lambda: measure(unit="nats"), "did you mean 'units'?"),
    (lambda: measure(3), "a measure is a function or a class, not 3"),
    (lambda: setting([1], "x"), "write a tuple, (1,)"),
    (lambda: setting(3, "x", high=2), "of at most 2, got 3"),
    (lambda: setting(None, "x"), "may not be None"),
    # Pages and figures
    (lambda: page.write("nowhere", "x.html"), "holds no sweep"),
    (lambda: page.write(3, "x.html"), "a sweep is named by its folder, got 3"),
    (lambda: page.write([], "x.html"), "no sweep is named"),
    (lambda: plots.figure("rum"), "did you mean 'run'?"),
    (
        lambda: plots.curves_figure(3),
        "ds must be an xarray.Dataset, as sweep.measures()",
    ),
    (lambda: plots.overview(None), "returns, got None"),
    (lambda: plots.all_figures(P7), "returns, got a dict"),
    (lambda: plots.progress_figure("runs"), "returns, got 'runs'"),
    (
        lambda: plots.save_all(3, "out"),
        "ds must be an xarray.Dataset, as sweep.measures()",
    ),
]


@pytest.mark.parametrize("call, words", CALLS, ids=[f"{i}-{x[1]}" for i, x in enumerate(CALLS)])
def test_mistake_in_a_call_is_one_line(call, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert words in line_of(call)
    assert not list(tmp_path.iterdir())


# --- Of an opened sweep ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    config = config_with(**TINY, axes_seed=(0, 1), checkpoint_every=20, eval_every=20)
    return grokjax.train(config, tmp_path_factory.mktemp("misuse") / "wd")


OF_A_SWEEP = [
    (lambda s: s.params(9, 0), "no run 9: the sweep has runs 0 to 1"),
    (lambda s: s.params("a", 0), "no run 'a'"),
    (lambda s: s.params(0, 7), "step 7"),
    (lambda s: s.data(9), "no run 9"),
    (lambda s: s.program(None), "no run None"),
    (lambda s: s.measures("restricted_los"), "did you mean 'restricted_loss'"),
    (lambda s: s.measures(3), "name a measure, a family or a function, got 3"),
    (lambda s: s.measures(["paper"]), "name a measure, a family or a function, got ['paper']"),
    (lambda s: s.measures(lambda network: network.nothing), "fails: AttributeError"),
    (lambda s: s.measures(lambda network: network.logits), "name one for each axis"),
    (lambda s: s.measures("paper", executor=3), "executor has no submit"),
    (lambda s: s.frame("embedding_norm"), "embedding_norm is over frequency, part"),
    (lambda s: s.frame(3), "name a measure, a family or a function, got 3"),
    (lambda s: s.sel(sed=1), "did you mean 'seed'?"),
    (lambda s: s.sel(seed=9), "seed is 0, 1"),
    (lambda s: s.sel(run=9), "no run with run=9 is left"),
    (lambda s: grokjax.progress_measures(s, s.data(0)), "embed.W_E is missing"),
    (lambda s: grokjax.progress_measures(s.params(0, 0), s), "data must be a grokjax.Data"),
    (lambda s: plots.curves_figure(s), "returns, got a Sweep"),
    (lambda s: plots.phase_diagram_figure(s.measures(), "sed", "seed"), "did you mean 'seed'?"),
    (lambda s: plots.steps_to_grok_figure(s.measures(), "sed"), "did you mean 'seed'?"),
    (lambda s: plots.progress_figure(s.measures()), "one run: select it, as in ds.isel(run=0)"),
    (lambda s: plots.spectra_figure(s.measures()), "one run: select it, as in ds.isel(run=0)"),
    (lambda s: plots.save_all(s.measures(), "out", "al"), "did you mean 'all'?"),
]


@pytest.mark.slow
def test_mistake_with_an_opened_sweep_is_one_line(sweep):
    for call, words in OF_A_SWEEP:
        assert words in line_of(lambda call=call: call(sweep))
