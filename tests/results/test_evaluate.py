import linecache
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import grokjax
from grokjax import plots
from grokjax.cli.config_file import run_file
from grokjax.core import parts
from grokjax.core.errors import ConfigError
from grokjax.measures import spectra
from grokjax.measures.network import Network
from grokjax.measures.paper.phases import first_step
from grokjax.results import evaluate
from grokjax.results.workdir import measures_path
from grokjax.runner.analysis import analyze
from grokjax.storage import datasets
from grokjax.training import blocks
from tests.results.test_open_sweep import scores_of

pytestmark = pytest.mark.slow

# --- Custom measures ------------------------------------------------------------------------------


def mean_logit(network):
    "The mean of all logits: wrong by a factor if padding is in it."
    return network.logits.mean()


def test_a_custom_measure_gets_arrays_of_its_runs_sizes(sweep):
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

    @grokjax.measure(needs=("host", "float64"))
    def both(network):
        "The same sum in float64."
        assert network.params["embed"]["W_E"].dtype == np.float64
        return network.params["embed"]["W_E"].sum()

    measured = sweep.measures(in_float64, on_the_host, both)
    np.testing.assert_allclose(measured["in_float64"], 1e-12, rtol=1e-3)
    expected = sweep.params(3, 20)["embed"]["W_E"].sum()
    np.testing.assert_allclose(measured["on_the_host"].sel(run=3, step=20), expected, rtol=1e-5)
    np.testing.assert_allclose(measured["both"].sel(run=3, step=20), expected, rtol=1e-5)


def test_an_array_of_another_size_than_its_dim_is_refused(sweep):
    @grokjax.measure(dims=("frequency",))
    def too_long(network):
        "One value for each logit."
        return jnp.zeros(77)

    with pytest.raises(ConfigError, match="'frequency' has .* entries"):
        sweep.measures(too_long)


# --- What is on disk ------------------------------------------------------------------------------


def test_only_what_is_missing_is_computed(sweep, monkeypatch):
    computed, original = [], evaluate.measure_block

    def measure_block(block, directory, steps, measures, *more):
        computed.append([part.name for part in measures])
        return original(block, directory, steps, measures, *more)

    monkeypatch.setattr(evaluate, "measure_block", measure_block)
    sweep.measures()
    sweep.measures("gini_embedding")
    assert computed == []
    sweep.measures("gini_embedding", mean_logit)
    assert computed == [["mean_logit"]] * 2


def test_measures_of_other_checkpoints_or_definitions_are_not_taken_for_current(copy):
    path = measures_path(copy)
    saved = datasets.load(path)
    tampered = saved.copy(deep=True)
    tampered["gini_embedding"][:] = 7.0
    datasets.save(tampered, path)
    assert (grokjax.open_sweep(copy).measures()["gini_embedding"] == 7.0).all()  # it is believed
    for change in ("made_from", "made_by", "steps"):
        stale = tampered.copy(deep=True)
        if change == "made_from":
            stale.attrs["made_from"] = "0123456789abcdef"
        elif change == "made_by":
            stale["gini_embedding"].attrs["made_by"] = "gini_embedding 0123456789abcdef"
        else:
            stale = stale.isel(step=slice(0, -1))
        datasets.save(stale, path)
        fresh = grokjax.open_sweep(copy).measures()
        xr.testing.assert_allclose(fresh["gini_embedding"], saved["gini_embedding"], rtol=1e-6)


def test_a_changed_custom_function_is_computed_again(copy):
    register_from_file(
        copy, "def twice(network):\n    'Two.'\n    return 2.0 + 0 * network.logits.mean()\n"
    )
    analyze(copy, wanted=("twice",), figures="none")
    assert (datasets.load(measures_path(copy))["twice"] == 2.0).all()
    assert "restricted_loss" in datasets.load(measures_path(copy))
    register_from_file(
        copy, "def twice(network):\n    'Two.'\n    return 3.0 + 0 * network.logits.mean()\n"
    )
    assert (grokjax.open_sweep(copy).measures("twice")["twice"] == 3.0).all()


def register_from_file(folder, source):
    """Register the measure of a file, as a config file does."""
    path = folder / "own.py"
    path.write_text(f"import grokjax\n\n\n@grokjax.measure\n{source}")
    linecache.clearcache()
    run_file(str(path))


def test_measures_of_changed_code_at_any_depth_are_not_taken_for_current(tmp_path):
    folders = ("core", "tasks", "networks", "training", "measures", "measures/field")
    files = [tmp_path / folder / "x.py" for folder in folders]
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x = 1\n")
    before = evaluate.hash_of_code(tmp_path)
    for path in files:
        path.write_text("x = 2\n")
        assert evaluate.hash_of_code(tmp_path) != before, path
        path.write_text("x = 1\n")
    (tmp_path / "measures" / "field" / "deeper").mkdir()
    (tmp_path / "measures" / "field" / "deeper" / "y.py").write_text("y = 1\n")
    assert evaluate.hash_of_code(tmp_path) != before


def test_the_hash_of_the_package_is_in_force(sweep):
    package = os.path.dirname(grokjax.__file__)
    made_by = sweep.measures()["gini_embedding"].attrs["made_by"]
    assert made_by == f"gini_embedding {evaluate.hash_of_code(evaluate.Path(package))}"


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
    np.testing.assert_array_equal(first_step(recorded, rows), [5.0, 15.0, np.nan])


def test_figures_are_drawn_from_a_real_file(folder, tmp_path):
    ds = datasets.load(measures_path(folder))
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
from grokjax.results.sweep import evaluate
sweep = grokjax.open_sweep(sys.argv[1])
assert jax.local_device_count() == 4 and len(sweep.steps) == 3
ds = evaluate(sweep)
np.savez(sys.argv[2], **{name: ds[name].values for name in ("restricted_loss", "excluded_loss")})
"""


@pytest.mark.slow
def test_four_devices_and_an_odd_number_of_checkpoints(sweep, folder, tmp_path):
    out = tmp_path / "found.npz"
    arguments = [sys.executable, "-c", FOUR_DEVICES, str(folder), str(out)]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.getcwd()}
    subprocess.run(arguments, check=True, env=environment, timeout=300)
    with np.load(out) as found:
        for name in found.files:
            np.testing.assert_allclose(found[name], sweep.measures()[name], rtol=1e-4, atol=1e-6)
