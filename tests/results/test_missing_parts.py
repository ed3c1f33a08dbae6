"""A workdir moved to where its custom parts are not: what was measured is there all the same."""

import shutil

import jax
import numpy as np
import pytest
from configs import message_of

import grokjax
from grokjax import page
from grokjax.cli.arguments import main, run_main
from grokjax.core import registry
from grokjax.core.errors import ConfigError
from grokjax.results import custom
from grokjax.runner.analysis import analyze

pytestmark = pytest.mark.slow

FILE = """
import grokjax, jax.numpy as jnp, optax
from flax import nnx

@grokjax.operation
def cube(a, b, p):
    "a^3 + b"
    return a**3 + b

@grokjax.optimizer(nesterov=grokjax.setting(True, "look ahead"))
def my_sgd(hyper):
    return optax.sgd(hyper.learning_rate, hyper.momentum, hyper.nesterov)

@grokjax.network(width=grokjax.setting(6, "hidden units", low=1))
class Own(nnx.Module):
    def __init__(self, program, rngs):
        self.embed = nnx.Embed(program.vocabulary, program.width, rngs=rngs)
        self.out = nnx.Linear(program.width, program.num_classes, rngs=rngs)

    def __call__(self, tokens):
        return self.out(nnx.relu(self.embed(tokens).sum(1)))

@grokjax.measure
def largest(network):
    "The largest logit."
    return network.logits.max()

@grokjax.summary(needs=("largest",))
def largest_of_all(run):
    return run.largest.max()

def get_config():
    config = grokjax.config.default()
    config.modulus, config.train_fraction, config.steps = 7, 0.7, 40
    config.operation, config.optimizer, config.network = "cube", "my_sgd", "Own"
    config.checkpoint_every = config.eval_every = 20
    config.axes.seed = (0, 1)
    return config
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A workdir, what is in it, and the registry without the parts of its config file."""
    folder = tmp_path_factory.mktemp("custom")
    (folder / "own.py").write_text(FILE)
    kept = {kind: dict(known) for kind, known in registry._parts.items()}
    workdir = folder / "wd"
    argv = ["sweep", "--config", str(folder / "own.py"), "--workdir", str(workdir)]
    try:
        assert run_main(main, [*argv, "--figures", "none"]) == 0
        sweep = grokjax.open_sweep(workdir)
        there = sweep.measures(), sweep.curves(), sweep.params(1, 40)
    finally:
        for kind, known in kept.items():
            registry._parts[kind] = known
        registry._changes[0] += 1
    moved = tmp_path_factory.mktemp("elsewhere") / "wd"
    shutil.move(workdir, moved)
    (folder / "own.py").unlink()
    return moved, there


def test_everything_measured_is_read_without_the_parts(trained, tmp_path):
    workdir, (measures, curves, params) = trained
    sweep = grokjax.open_sweep(workdir)
    missing = {"network 'Own'", "optimizer 'my_sgd'", "operation 'cube'"}
    assert set(custom.lacking(sweep.config.runs, registry.KINDS)) == missing
    assert sweep.measures().equals(measures) and sweep.curves().equals(curves)
    jax.tree.map(np.testing.assert_array_equal, sweep.params(1, 40), params)
    assert set(sweep.measures("largest").data_vars) == {"largest"}
    assert "excluded_loss" in sweep.measures("paper")
    assert {"largest", "excluded_loss"} <= set(sweep.frame())
    assert set(sweep.runs["operation"]) == {"cube"} and "largest_of_all" in sweep.measures()
    assert measures["key_frequency"].attrs["rule"] == "logits"
    assert page.write(sweep, tmp_path / "page.html").stat().st_size > 10_000
    assert sweep.sel(seed=1).measures()["run"].values.tolist() == [1]


def test_what_must_compute_names_the_missing_part_and_the_remedies(trained):
    workdir, _ = trained
    sweep = grokjax.open_sweep(workdir)
    for call in (
        lambda: sweep.measures("mechanism"),
        lambda: sweep.measures(lambda network: network.logits.max()),
        lambda: sweep.data(0),
        lambda: analyze(workdir),
    ):
        with pytest.raises(ConfigError) as caught:
            print(call())
        message = str(caught.value)
        assert "'cube'" in message or "'Own'" in message
        assert "--config FILE" in message and "trust=True" in message and "\n" not in message


def test_copies_are_executed_on_request_alone(trained):
    workdir, (measures, *_) = trained
    assert [path.name for path in (workdir / "parts").iterdir()] == ["own.py"]
    assert not registry.is_registered("operation", "cube")
    sweep = grokjax.open_sweep(workdir, trust=True)
    assert registry.is_registered("operation", "cube")
    fresh = sweep.measures(lambda_named("again", lambda network: network.logits.max()))
    np.testing.assert_allclose(fresh["again"], measures["largest"], rtol=1e-5)


def lambda_named(name, function):
    function.__name__ = name
    return function


def test_trust_without_a_copy_says_what_to_do(trained, tmp_path):
    workdir, _ = trained
    bare = shutil.copytree(workdir, tmp_path / "wd")
    shutil.rmtree(bare / "parts")
    message = message_of(grokjax.open_sweep, bare, trust=True)
    assert "has no copy of a file that defines" in message and "--config FILE" in message


def test_a_copy_with_an_error_is_one_line(trained, tmp_path):
    workdir, _ = trained
    broken = shutil.copytree(workdir, tmp_path / "wd")
    (broken / "parts" / "own.py").write_text("1 / 0")
    message = message_of(grokjax.open_sweep, broken, trust=True)
    assert "own.py fails: ZeroDivisionError" in message
