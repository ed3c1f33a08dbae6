"""Mistakes in custom parts: one line with part, file and line before training, and exit code 2.

A row is the kind of part, its decorated function "f", and words of the line.
"""

import pytest

from grokjax.cli.arguments import main, run_main
from tests.cli.mistakes import NETWORKS, OPERATION, OPERATIONS, TASKS

HEAD = """\
import grokjax, jax, jax.numpy as jnp, numpy as np, optax
from flax import nnx
from grokjax import Data, setting
"""
CONFIG = """
def get_config():
    config = grokjax.config.default()
    config.steps = 10
    for name, value in {fields}.items():
        config[name] = value
    return config
"""
SIZES = {"d_model": 4, "num_heads": 1, "d_mlp": 4}
PAIRS = {"modulus": 5, "train_fraction": 0.6}
SELECT = {"task": SIZES, "network": PAIRS, "measure": PAIRS | SIZES, "summary": PAIRS | SIZES}
"""Fields of the config by the kind of part; of other kinds all, and the part itself."""

LOSS = "@grokjax.loss{}\ndef f(logits, targets, num_classes{}):\n    return {}"
LOSSES = [
    (LOSS.format("", "", "logits.mean()"), "an array of shape [] (float32) for logits [6, 5]"),
    (LOSS.format("", "", "logits"), "[6, 5] (float32) for logits [6, 5] and targets [5]; expected"),
    (LOSS.format("", "", "targets"), "(int32) for logits [6, 5] and targets [5]; expected float32"),
    (LOSS.format("", "", "None"), "returned None for logits"),
    (LOSS.format("", "", "'low'"), "fails: TypeError"),
    (LOSS.format("", "", "logits[targets]"), "expected float32 losses of shape [5]"),
    (LOSS.format("", "", "logits[targets, jnp.arange(5)]"), "parts.py:6) fails: "),
    (LOSS.format("", "", "1 / 0"), "parts.py:6) fails: ZeroDivisionError"),
    (LOSS.format("", "", "logits.nothing"), "parts.py:6) fails: AttributeError"),
    (LOSS.format("", "", "logits[0] if num_classes > 3 else 0"), "parts.py:6) fails: Tracer"),
    (LOSS.replace(", num_classes", "").format("", "", "logits[0]"), "fails: TypeError"),
    (LOSS.format("(t=setting(1.0, 'x'))", "", "logits[0]"), "unexpected keyword argument 't'"),
    (LOSS.format("", ", t", "logits[0] * t"), "missing 1 required positional argument: 't'"),
    (
        LOSS.format("(t=setting(1.0, 'x'))", ", t", "logits[0] / t if t > 0 else logits[0]"),
        "needs f.t as a Python number, but it is traced",
    ),
    (
        LOSS.format("(t=setting(3, 'x', traced=True))", ", t", "logits[0] * np.ones(t)[0]"),
        "declare a static setting, as in t_of_mine=grokjax.setting(3, ..., static=True)",
    ),
    (LOSS.format("(t=setting(1.0, 'x', above=2))", ", t", "0"), "a number greater than 2"),
    (LOSS.format("(t=1.0)", ", t", "0"), "'t' is no keyword of grokjax.loss"),
    (LOSS.format("(unit='nats')", "", "0"), "did you mean 'units'?"),
]

OPTIMIZER = "@grokjax.optimizer{}\ndef f(hyper):\n    return {}"
BARE = "optax.GradientTransformation(lambda params: {}, lambda updates, state, params=None: {})"
OPTIMIZERS = [
    (OPTIMIZER.format("", "3"), "returned 3; expected an optax.GradientTransformation"),
    (OPTIMIZER.format("", "None"), "expected an optax.GradientTransformation"),
    (OPTIMIZER.format("", "optax.adam"), "returned a function; expected an optax.Gradient"),
    (OPTIMIZER.format("", "(optax.adam(0.1), optax.sgd(0.1))"), "returned a tuple; expected"),
    (OPTIMIZER.format("", "optax.nothing"), "parts.py:6) fails: AttributeError"),
    (OPTIMIZER.format("", "optax.sgd(hyper.slowness)"), "slowness=grokjax.setting(...)"),
    (OPTIMIZER.format("", "optax.sgd(lambda i: hyper.slow)"), "slow=grokjax.setting(...)"),
    (OPTIMIZER.format("", "optax.sgd()"), "parts.py:6) fails: TypeError"),
    (OPTIMIZER.format("", "optax.lbfgs()"), "fails: TypeError"),
    (OPTIMIZER.replace("(hyper)", "()").format("", "optax.sgd(0.1)"), "fails: TypeError"),
    (OPTIMIZER.format("", "optax.sgd(hyper.learning_rate * 2)"), "parts.py:6) fails: TypeError"),
    (OPTIMIZER.format("", BARE.format("()", "(updates, ())")[:-30]), "invalid syntax"),
    (OPTIMIZER.format("", BARE.format("1 / 0", "(updates, state)")), "fails: ZeroDivisionError"),
    (OPTIMIZER.format("", BARE.format("()", "updates")), "fails: ValueError"),
    (OPTIMIZER.format("", BARE.format("()", "(updates, (1.0,))")), "a state after the update"),
    (
        OPTIMIZER.format("", BARE.format("()", "(jax.tree.map(lambda x: x[None], updates), ())")),
        "updated parameters of other shapes",
    ),
    (
        OPTIMIZER.format(
            "(peak=setting(1e-3, 'rate'))",
            "optax.adam(optax.warmup_cosine_decay_schedule(0.0, hyper.peak, 2, 10))",
        ),
        "needs f.peak as a Python number, but it is traced",
    ),
    (
        OPTIMIZER.format("", "optax.chain(optax.sgd(0.1)) if hyper.weight_decay else None"),
        "needs weight_decay as a Python number, but it is traced",
    ),
    (
        OPTIMIZER.format("(b=setting([0.9, 0.98], 'rates'))", "optax.sgd(0.1)"),
        "write a tuple, (0.9",
    ),
    (OPTIMIZER.format("(b=setting(None, 'rate'))", "optax.sgd(0.1)"), "may not be None"),
    (OPTIMIZER.format("(b=setting(2.0, 'r', high=1))", "optax.sgd(0.1)"), "of at most 1, got 2.0"),
    (
        OPTIMIZER.format("(b=setting({}, 'r'))", "optax.sgd(0.1)"),
        "default must be a number, a word",
    ),
    (OPTIMIZER.format("(b=setting('x', '', choices=('y',)))", "0"), "one of 'y', got 'x'"),
    (OPTIMIZER.format("(b=setting(float('nan'), ''))", "0"), "must be a number, got nan"),
    (OPTIMIZER.format("(uses='betas')", "0"), "write ('betas',)"),
    (OPTIMIZER.format("(padded=1)", "0"), "padded must be True or False, got 1"),
    (
        OPTIMIZER.format("(evaluation_params=lambda params, state: state)", "optax.sgd(0.1)"),
        "evaluation parameters of other shapes",
    ),
    (OPTIMIZER.format("(evaluation_params=3)", "0"), "evaluation_params must be a function, got 3"),
]

STOP = "@grokjax.stop\ndef f(run{}):\n    return {}"
STOPS = [
    (STOP.format("", "run['test_los'] < 1"), "asks for 'test_los', which is not recorded"),
    (
        STOP.format("", "run['test_loss'] < 1"),
        "an array of shape [3] (bool); expected True or False",
    ),
    (STOP.format("", "None"), "returned None; expected True or False"),
    (STOP.format("", "'yes'"), "returned 'yes'; expected True or False"),
    (STOP.format("", "run.test_loss[-1] < 1"), "fails: AttributeError"),
    (STOP.format(", below", "False"), "fails: TypeError: f() missing 1 required"),
    (
        STOP.format("", "False").replace("stop", "stop(below=setting(1.0, ''))", 1),
        "keyword argument",
    ),
]

MEASURE = "@grokjax.measure{}\ndef f(network):\n    return {}"
MEASURES = [
    (MEASURE.format("", "network.logits"), "but its dims are (): name one for each axis"),
    (
        MEASURE.format("(dims=('frequency',))", "jnp.zeros(77)"),
        "[77], but its dim 'frequency' has 2",
    ),
    (MEASURE.format("(dims='frequency')", "0"), "write ('frequency',)"),
    (MEASURE.format("(dims=('run',))", "0"), "dims must be a tuple of names other than 'run'"),
    (MEASURE.format("(dims=('a', 'a'))", "0"), "dims must be a tuple of names"),
    (MEASURE.format("(dims=('my head',))", "0"), "dims must be a tuple of names"),
    (MEASURE.format("", "None"), "fails: ValueError: None is not a valid value"),
    (MEASURE.format("", "'high'"), "fails: TypeError"),
    (MEASURE.format("", "network.nothing"), "parts.py:6) fails: AttributeError"),
    (MEASURE.format("", "network.params['embde']['W_E'].sum()"), "parts.py:6) fails: KeyError"),
    (MEASURE.format("", "float(network.logits.mean())"), "parts.py:6) fails: Concretization"),
    (
        MEASURE.format("", "np.asarray(network.logits).mean()"),
        "parts.py:6) fails: TracerArrayConversionError",
    ),
    (MEASURE.format("", "0.0 if network.logits[0, 0, 0] > 0 else 1.0"), "fails: TracerBool"),
    (MEASURE.format("", "network.params['embed']['W_E'][:network.p].sum()"), "parts.py:6) fails: "),
    (MEASURE.format("", "network.hyper.nothing"), "is not a hyperparameter here"),
    (MEASURE.format("", "network.program.nothing"), "'nothing' is not a static setting"),
    (MEASURE.replace("(network)", "()").format("", "0"), "fails: TypeError"),
    (MEASURE.format("(needs=('float46',))", "0"), "did you mean 'float64'?"),
    (MEASURE.format("(needs='initial')", "0"), "write ('initial',)"),
    (MEASURE.format("(unit='nats')", "0"), "did you mean 'units'?"),
    (MEASURE.format("(at='last')", "0"), "at must be 'every' or 'end', got 'last'"),
    (MEASURE.format("(cost='high')", "0"), "cost must be one of 'every', 'tenth', 'demand'"),
    (MEASURE.format("(show='panel')", "0"), "show must be a grokjax.parts.Show"),
    (MEASURE.format("(units=3)", "0"), "units must be a string, got 3"),
    (MEASURE.format("(task=('modular',))", "0"), "task must be a string"),
    (MEASURE.format("(applies='always')", "0"), "applies must be a function"),
    (MEASURE.replace("f(", "restricted_loss(").format("", "0"), "is registered twice"),
    (MEASURE.replace("f(", "modulus(").format("", "0"), "cannot name a measure"),
    ("grokjax.measure(3)", "a measure is a function or a class, not 3"),
]

SUMMARY = "@grokjax.summary{}\ndef f(run):\n    return {}"
SUMMARIES = [
    (
        SUMMARY.format("(needs=('test_loss',))", "run.test_loss"),
        "[50] (float64); expected a number",
    ),
    (SUMMARY.format("(needs=('test_loss',))", "run.test_los.min()"), "fails: AttributeError"),
    (SUMMARY.format("(needs=('test_loss',))", "None"), "returned None; expected a number"),
    (SUMMARY.format("(needs=('test_loss',))", "'low'"), "returned 'low'; expected a number"),
    (SUMMARY.format("(needs=('test_loss',))", "1 / 0"), "parts.py:6) fails: ZeroDivisionError"),
    (SUMMARY.format("(needs=('test_los',))", "0"), "did you mean 'test_loss'"),
    (
        SUMMARY.format("(needs=('restricted_loss',), curves=True)", "0"),
        "nothing measures or records",
    ),
    (SUMMARY.format("", "0"), "needs=('test_loss',)"),
    (SUMMARY.format("(needs='test_loss')", "0"), "write ('test_loss',)"),
    (SUMMARY.format("(needs=('test_loss',), curves=1)", "0"), "curves must be True or False"),
    (SUMMARY.format("(need=('test_loss',))", "0"), "did you mean 'needs'?"),
    (SUMMARY.replace("(run)", "()").format("(needs=('test_loss',))", "0"), "fails: TypeError"),
]

ROWS = [
    (kind, text, words)
    for kind, rows in {
        "task": TASKS,
        "operation": OPERATIONS,
        "network": NETWORKS,
        "loss": LOSSES,
        "optimizer": OPTIMIZERS,
        "stop": STOPS,
        "measure": MEASURES,
        "summary": SUMMARIES,
    }.items()
    for text, words in rows
]


def error_of(argv, capsys) -> str:
    """The line with which a command ends; nothing else is printed."""
    assert run_main(main, argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1, err
    assert "Traceback" not in err and len(err) < 700
    return err


@pytest.mark.parametrize(
    "kind, text, words", ROWS, ids=[f"{kind}-{i}" for i, (kind, *_) in enumerate(ROWS)]
)
def test_mistake_in_a_part_is_one_line(kind, text, words, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("grokjax.runner.run.set_up_jax", lambda **options: None)
    path = tmp_path / "parts.py"
    chosen = {} if kind in ("measure", "summary") else {kind: "f"}
    fields = SELECT.get(kind, PAIRS | SIZES) | chosen
    path.write_text(HEAD + text + "\n" + CONFIG.format(fields=fields))
    argv = ["sweep", "--config", str(path), "--workdir", str(tmp_path / "wd"), "--dry-run"]
    err = error_of(argv, capsys)
    assert words in err and (str(path) in err or not {"fails", "returned"} & {*words.split()})


def test_a_variable_shows_the_whole_traceback(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("grokjax.runner.run.set_up_jax", lambda **options: None)
    monkeypatch.setenv("GROKJAX_TRACEBACK", "1")
    path = tmp_path / "parts.py"
    text = OPERATION.format("a.nothing")
    path.write_text(HEAD + text + CONFIG.format(fields=PAIRS | {"operation": "f"}))
    assert run_main(main, ["sweep", "--config", str(path), "--dry-run"]) == 2
    err = capsys.readouterr().err
    assert f'File "{path}", line 6, in f' in err and "return a.nothing" in err
    assert err.splitlines()[-1].startswith("error: operation 'f' (")
