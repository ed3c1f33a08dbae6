import os
import subprocess
import sys
import tarfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import grokjax
from grokjax import plots
from grokjax.config.sweep import RunConfig, SweepConfig
from grokjax.core import parts
from grokjax.core.errors import ConfigError
from grokjax.measures import spectra
from grokjax.measures.network import Network
from grokjax.measures.paper import steps
from grokjax.results import dataset
from grokjax.results import sweep as evaluate
from grokjax.results.workdir import FORMAT, measures_path
from grokjax.runner import loop
from grokjax.runner import run as runner
from grokjax.training import blocks
from grokjax.training import update as training
from tests.runner.test_runner import TINY, run
from tests.training.test_blocks import by_hand

FIXTURES = Path(__file__).parents[1] / "fixtures"

KINDS = (
    {"operation": "subtract", "dropout": 0.2},
    {"operation": "x2_xy_y2", "activation": "gelu", "loss": "low_precision", "l1": 1e-4},
)


def interleaved():
    """Two programs whose runs take turns in the table, two moduli in each."""
    runs = [RunConfig(**{**TINY, **kind, "modulus": p}) for p in (11, 12) for kind in KINDS]
    return SweepConfig(tuple(runs), eval_every=5, checkpoint_every=20, resume_every=15)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "interleaved"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner.plots, "save_all", lambda *args, **kwargs: [])
        run(interleaved(), folder)
    return folder


@pytest.fixture
def sweep(folder):
    return grokjax.open_sweep(folder)


def scores_of(config, params):
    hyper, data, _ = jax.tree.map(lambda x: jnp.asarray(x)[0], blocks.own_data([config]))
    return scores(params, hyper, data, blocks.program_of(config))


scores = jax.jit(training.scores, static_argnames="program")


def test_each_row_of_interleaved_programs_is_that_run_trained_by_hand(sweep, assert_trees_close):
    assert [block.indices for block in sweep.blocks] == [(0, 2), (1, 3)]
    assert [block.program.loss.name for block in sweep.blocks] == ["exact", "low_precision"]
    assert [block.program.on for block in sweep.blocks] == [{"dropout"}, {"l1"}]
    curves = sweep.curves()
    for number, config in enumerate(sweep.config.runs):
        params = by_hand(config, 20).params
        assert_trees_close(sweep.params(number, 20), params, 3e-5)
        for name, value in scores_of(config, params).items():
            at_20 = curves[name].sel(run=number, step=20)
            np.testing.assert_allclose(at_20, value, rtol=1e-4, err_msg=f"{name} of {number}")


def test_curves_are_the_scores_of_the_checkpointed_parameters(sweep):
    curves = sweep.curves()
    for number, config in enumerate(sweep.config.runs):
        for step in sweep.steps:
            for name, value in scores_of(config, sweep.params(number, step)).items():
                seen = curves[name].sel(run=number, step=step)
                np.testing.assert_allclose(seen, value, rtol=1e-5, atol=1e-7, err_msg=name)


# --- Measures of one's own ------------------------------------------------------------------------


def mean_logit(network):
    "The mean of all logits: wrong by a factor if padding is in it."
    return network.logits.mean()


def test_a_measure_of_ones_own_sees_the_sizes_of_its_own_run(sweep):
    measured = sweep.measures(mean_logit)
    assert set(np.unique(measured["modulus"])) == {11, 12}
    for number, config in enumerate(sweep.config.runs):
        params, data, program = (
            sweep.params(number, 40),
            sweep.data(number),
            blocks.program_of(config),
        )
        network = Network(params, data, program)
        assert network.logits.shape == (config.modulus + 1, config.modulus, config.modulus)
        expected = float(np.asarray(network.logits, np.float64).mean())
        found = float(measured["mean_logit"].sel(run=number, step=40))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_measures_are_asked_for_by_name_family_and_function(sweep):
    assert set(sweep.measures("gini_embedding").data_vars) >= {"gini_embedding"}
    assert "restricted_loss" not in sweep.measures("gini_embedding")
    both = sweep.measures("gini_embedding", mean_logit)
    assert {"gini_embedding", "mean_logit"} <= set(both.data_vars)
    assert both["mean_logit"].attrs["definition"].startswith("The mean of all logits")
    xr.testing.assert_equal(
        sweep.measures("paper")["restricted_loss"], sweep.measures()["restricted_loss"]
    )


def test_a_run_has_no_more_components_than_its_modulus(sweep):
    norms = sweep.measures("ov_norms")["ov_norms"].isel(step=-1, head=0)
    for number, config in enumerate(sweep.config.runs):
        own = norms.sel(run=number).notnull().values
        np.testing.assert_array_equal(own, np.arange(12) < config.modulus)


def test_a_selection_is_a_sweep_of_some_of_its_runs(sweep):
    some = sweep.sel(operation="subtract")
    assert list(some.runs.index) == [0, 2] and "2 runs of Sweep" in repr(some)
    whole = sweep.measures()
    xr.testing.assert_identical(some.measures(), whole.sel(run=[0, 2]))
    xr.testing.assert_identical(some.curves(), sweep.curves().sel(run=[0, 2]))
    one = some.sel(modulus=[12, 13])
    assert list(one.runs.index) == [2] and list(sweep.sel(run=range(2)).runs.index) == [0, 1]
    step = sweep.steps[-1]
    jax.tree.map(np.testing.assert_array_equal, one.params(2, step), sweep.params(2, step))
    with pytest.raises(ValueError, match=r"no run 0 in this selection: it has \[2\]"):
        one.params(0, step)
    with pytest.raises(
        ConfigError, match="no field 'modlus' in this sweep: did you mean 'modulus'"
    ):
        sweep.sel(modlus=11)
    with pytest.raises(ConfigError, match="no run with modulus=13 is left: modulus is 11, 12"):
        sweep.sel(modulus=13)


def test_a_frame_has_a_row_for_every_run_and_step_with_a_number(sweep):
    table, ds = sweep.frame(), sweep.measures()
    assert list(table.columns[:4]) == ["run", "step", *ds.attrs["axes"].split(",")[:2]]
    assert len(table) == len(sweep.runs) * len(sweep.steps)
    for _, row in table.iloc[::5].iterrows():
        there = ds.sel(run=row["run"], step=row["step"])
        assert row["test_loss"] == there["test_loss"] and row["modulus"] == there["modulus"]
    assert "cos_coefficient" not in table and "steps_to_grok" not in table
    assert list(sweep.sel(run=1).frame("gini_embedding")["run"].unique()) == [1]


def test_fields_of_runs_say_what_they_are(sweep):
    for ds in (sweep.measures(), sweep.curves()):
        assert ds["steps"].attrs["units"] == "steps" and ds["modulus"].attrs["units"] == "1"
        assert ds["weight_decay"].attrs["definition"] == "decoupled, times the learning rate"


def test_an_unknown_measure_is_refused_with_the_nearest(sweep):
    with pytest.raises(
        ConfigError, match="'gini_embeding'.*did you mean 'gini_embedding'.*--config"
    ):
        sweep.measures("gini_embeding")


def test_a_measure_of_another_shape_than_its_dims_is_refused_by_name(sweep):
    with pytest.raises(ConfigError, match="per_class.*shape.*dims"):
        sweep.measures(lambda_named("per_class", lambda network: network.logits.mean((1, 2))))


def test_a_measure_that_fails_is_named_with_its_error(sweep):
    with pytest.raises(ConfigError, match="broken.*AttributeError"):
        sweep.measures(lambda_named("broken", lambda network: network.nothing))


def lambda_named(name, function):
    function.__name__ = name
    return function


def test_measures_see_gradients_initial_weights_and_hyperparameters(sweep):
    @grokjax.measure(needs=("initial",))
    def moved(network):
        "Squared distance from the initial weights."
        moved = jax.tree.map(lambda a, b: jnp.sum((a - b) ** 2), network.params, network.initial)
        return sum(jax.tree.leaves(moved))

    @grokjax.measure
    def gradient_norm(network):
        "Norm of the gradient of the training loss."
        return jnp.sqrt(sum(jnp.sum(x**2) for x in jax.tree.leaves(network.gradient)))

    @grokjax.measure
    def decay(network):
        "The run's weight decay."
        return network.hyper.weight_decay

    measured = sweep.measures(moved, gradient_norm, decay)
    assert (measured["moved"].sel(step=0) == 0).all() and (measured["moved"].sel(step=40) > 0).all()
    assert (measured["decay"] == 1.0).all()
    # Of the first program training drops neurons, of the second it adds an L1 penalty.
    config, params = sweep.config.runs[1], sweep.params(1, 20)
    grads = jax.grad(lambda params: scores_of(config, params)["train_loss"])(params)
    grads = jax.tree.map(lambda g, x: g + config.l1 * np.sign(x), grads, params)
    expected = jnp.sqrt(sum(jnp.sum(x**2) for x in jax.tree.leaves(grads)))
    np.testing.assert_allclose(measured["gradient_norm"].sel(run=1, step=20), expected, rtol=1e-4)


def test_a_measure_may_ask_for_float64_or_for_the_host(sweep):
    @grokjax.measure(needs=("float64",))
    def in_float64(network):
        "1 + 1e-12 - 1, which float32 does not hold."
        return (jnp.sum(network.params["embed"]["W_E"][:1, :1] * 0 + 1.0) + 1e-12) - 1.0

    @grokjax.measure(needs=("host",))
    def on_the_host(network):
        "A sum that NumPy takes."
        assert isinstance(network.params["embed"]["W_E"], np.ndarray)
        return float(network.params["embed"]["W_E"].sum())

    measured = sweep.measures(in_float64, on_the_host)
    np.testing.assert_allclose(measured["in_float64"], 1e-12, rtol=1e-3)
    expected = sweep.params(3, 20)["embed"]["W_E"].sum()
    np.testing.assert_allclose(measured["on_the_host"].sel(run=3, step=20), expected, rtol=1e-5)


# --- What is on disk ------------------------------------------------------------------------------


def test_only_what_is_missing_is_computed(sweep, monkeypatch):
    computed = []
    original = evaluate.measure_block
    monkeypatch.setattr(
        evaluate,
        "measure_block",
        lambda block, directory, steps, measures, *more: (
            computed.append([part.name for part in measures])
            or original(block, directory, steps, measures, *more)
        ),
    )
    sweep.measures()
    sweep.measures("gini_embedding")
    assert computed == []
    sweep.measures("gini_embedding", mean_logit)
    assert computed == [["mean_logit"]] * 2


@pytest.fixture
def copy(folder, tmp_path):
    import shutil

    shutil.copytree(folder, tmp_path / "copy")
    return tmp_path / "copy"


def test_measures_of_other_checkpoints_or_definitions_are_not_taken_for_current(copy):
    path = measures_path(copy)
    saved = dataset.load(path)
    tampered = saved.copy(deep=True)
    tampered["gini_embedding"][:] = 7.0
    dataset.save(tampered, path)
    assert (grokjax.open_sweep(copy).measures()["gini_embedding"] == 7.0).all()  # it is believed
    for change in ("made_from", "made_by", "steps"):
        stale = tampered.copy(deep=True)
        if change == "made_from":
            stale.attrs["made_from"] = "0123456789abcdef"
        elif change == "made_by":
            stale["gini_embedding"].attrs["made_by"] = "gini_embedding 0123456789abcdef"
        else:
            stale = stale.isel(step=slice(0, -1))
        dataset.save(stale, path)
        fresh = grokjax.open_sweep(copy).measures()
        xr.testing.assert_allclose(fresh["gini_embedding"], saved["gini_embedding"], rtol=1e-6)


def test_a_changed_function_of_ones_own_is_computed_again(copy, monkeypatch):
    monkeypatch.setattr(runner.plots, "save_all", lambda *args, **kwargs: [])
    exec_in(copy, "def twice(network):\n    'Two.'\n    return 2.0 + 0 * network.logits.mean()\n")
    runner.analyze(copy, lambda text: None, wanted=("twice",))
    assert (dataset.load(measures_path(copy))["twice"] == 2.0).all()
    assert "restricted_loss" in dataset.load(measures_path(copy))
    exec_in(copy, "def twice(network):\n    'Two.'\n    return 3.0 + 0 * network.logits.mean()\n")
    assert (grokjax.open_sweep(copy).measures("twice")["twice"] == 3.0).all()


def exec_in(folder, source):
    """Registers the measure of a file, as a config file does."""
    import linecache

    from grokjax.cli.arguments import run_file

    path = folder / "own.py"
    path.write_text(f"import grokjax\n\n\n@grokjax.measure\n{source}")
    linecache.clearcache()
    run_file(str(path))


def test_a_workdir_of_the_first_format_opens_with_all_its_numbers(tmp_path):
    with tarfile.open(FIXTURES / "workdir_format_1.tar.xz") as files:
        files.extractall(tmp_path, filter="data")
    folder = tmp_path / "format_1"
    sweep = grokjax.open_sweep(folder)
    before = dataset.load(measures_path(folder))
    now = sweep.measures()
    by_part = ("embedding_norm", "neuron_logit_map_norm")  # a sine of k = p/2 was 0, is NaN today
    phases = [x for x in before.data_vars if str(x).endswith("_end")]  # by another rule today
    for name, variable in before.data_vars.items():
        np.testing.assert_array_equal(now[name].values, variable.values, err_msg=name)
    anew = evaluate.evaluate(sweep)
    assert set(anew.data_vars) == set(now.data_vars) > set(before.data_vars)
    for name, variable in before.data_vars.items():
        kept = {"made_by"} | ({"definition"} if name in (*phases, *by_part) else set())
        attrs, wanted = (
            {k: v for k, v in x.attrs.items() if k not in kept} for x in (anew[name], variable)
        )
        assert attrs == wanted, name
        found, wanted = (x.values.astype(float) for x in (anew[name], variable))
        found = np.where(np.isnan(found) & (wanted == 0), 0.0, found) if name in by_part else found
        np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-5, err_msg=name)
    for name in before.coords:
        if before[name].dtype.kind in "fiu":
            np.testing.assert_allclose(anew[name].values, before[name].values)
    assert sweep.params(2, 40)["embed"]["W_E"].shape == (13, 8)
    curves = dataset.load(folder / "curves.nc")
    for name in curves.data_vars:
        np.testing.assert_array_equal(sweep.curves()[name], curves[name])
    block = sweep.blocks[0]
    state = blocks.initial_states(block)
    assert loop.trained_steps(sweep.directory(0)) == 40
    assert jax.tree.leaves(state.params)[0].shape[0] == 2


def test_a_later_format_is_refused(copy):
    path = copy / "config.json"
    path.write_text(path.read_text().replace(f'"format": {FORMAT}', '"format": 99'))
    with pytest.raises(ConfigError, match="format 99.*later"):
        grokjax.open_sweep(copy)


def test_a_sweep_over_tasks_is_one_dataset(tmp_path, monkeypatch):
    monkeypatch.setattr(runner.plots, "save_all", lambda *args, **kwargs: [])
    small = {"d_model": 8, "num_heads": 2, "steps": 20}
    runs = (
        RunConfig(**TINY | {"modulus": 7, "steps": 20}),
        RunConfig(task="skip_trigram", network="attention_only", **small),
        RunConfig(modulus=7, train_fraction=0.5, network="mlp", optimizer="sgd", steps=20),
    )
    sweep = SweepConfig(runs, eval_every=10, checkpoint_every=10)
    assert sweep.axes == ("train_fraction", "task", "optimizer", "d_mlp", "network")
    said = run(sweep, tmp_path)
    ds = grokjax.open_sweep(tmp_path).measures()
    assert list(ds["task"].values) == ["modular", "skip_trigram", "modular"]
    assert list(ds["test_loss"].notnull().all("step")) == [True] * 3
    assert list(ds["train_loss"].notnull().all("step")) == [True, False, True]
    assert list(ds["restricted_loss"].notnull().all("step")) == [True, False, False]
    assert ds["memorization_end"].isnull().all() and "skip_trigram" in said


# --- Rules ----------------------------------------------------------------------------------------


def test_the_threshold_of_key_frequencies_is_a_quarter():
    norms = jnp.array([1.0, 0.45, 0.26, 0.24, 0.05])
    np.testing.assert_array_equal(spectra.key_frequencies(norms), [True, True, True, False, False])


def test_steps_to_memorize_and_to_grok_are_of_the_right_curves(sweep):
    recorded = np.array([0, 5, 10, 15])
    train, test = np.array([0.1, 0.99, 1.0, 1.0]), np.array([0.0, 0.1, 0.989, 0.99])
    ds = xr.Dataset(
        {"train_accuracy": ("step", train), "test_accuracy": ("step", test)}, {"step": recorded}
    )
    found = {
        name: parts.get("summary", name).function(ds)
        for name in ("steps_to_memorize", "steps_to_grok")
    }
    assert found == {"steps_to_memorize": 5.0, "steps_to_grok": 15.0}
    rows = np.stack([train, test, np.zeros(4)])
    np.testing.assert_array_equal(steps.first_step(recorded, rows), [5.0, 15.0, np.nan])


def test_figures_are_drawn_from_a_real_file(folder, tmp_path):
    ds = dataset.load(measures_path(folder))
    figures = dict(plots.all_figures(ds, limit=1))
    assert {"curves", "progress_run_0000", "spectra_run_0000", "frequencies_run_0000"} <= set(
        figures
    )
    for stem, figure in figures.items():
        for axes in figure.axes:
            empty = [text for text in axes.texts if text.get_text() == "no data"]
            drawn = axes.lines or axes.patches or axes.collections
            assert drawn and not empty, f"{stem}: {axes.get_title()}"
    spectra = figures["spectra_run_0000"].axes
    norms = ds["neuron_logit_map_norm"].sel(run=0).isel(step=-1)
    heights = sorted(bar.get_height() for bar in spectra[1].patches)
    np.testing.assert_allclose(heights, np.sort(norms.values[:5].ravel()), rtol=1e-6)
    paths = plots.save_all(ds, tmp_path, limit=1)
    assert all(path.stat().st_size > 5_000 for path in paths)


FOUR_DEVICES = """
import jax, sys
jax.config.update("jax_num_cpu_devices", 4)
import numpy as np, grokjax
from grokjax import evaluate
sweep = grokjax.open_sweep(sys.argv[1])
assert jax.local_device_count() == 4 and len(sweep.steps) == 3
ds = evaluate.evaluate(sweep)
np.savez(sys.argv[2], **{name: ds[name].values for name in ("restricted_loss", "excluded_loss")})
"""


def test_four_devices_and_an_odd_number_of_checkpoints(sweep, folder, tmp_path):
    out = tmp_path / "found.npz"
    arguments = [sys.executable, "-c", FOUR_DEVICES, str(folder), str(out)]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.getcwd()}
    subprocess.run(arguments, check=True, env=environment, timeout=300)
    with np.load(out) as found:
        for name in found.files:
            np.testing.assert_allclose(found[name], sweep.measures()[name], rtol=1e-4, atol=1e-6)
