"""Mistakes in custom parts: one line with part, file and line before training, and exit code 2.

A row is the kind of part, its decorated function "f", and words of the line.
"""

import pytest

from grokjax.cli.arguments import main, run_main

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

TASK = """@grokjax.task
def f(run):
    x = np.arange(8).reshape(4, 2)
    half = np.array([[1], [1], [0], [0]], bool)
    return {}"""
DATA = "Data({}, 8, x, x[:, :1], {{'train': half, 'test': ~half}})"
DRAWN = """@grokjax.task(draw=lambda program, data, key: {})
def f(run):
    x = np.arange(8).reshape(4, 2)
    return Data(8, 8, x, x[:, :1], {{'test': np.ones((4, 1), bool)}})"""

TASKS = [
    ("@grokjax.task\ndef f(run):\n    return 3", "returned 3; expected a grokjax.Data"),
    ("@grokjax.task\ndef f(run):\n    pass", "returned None; expected a grokjax.Data"),
    ("@grokjax.task\ndef f(run):\n    return run.nothing", "reads 'nothing', which it does not"),
    ("@grokjax.task\ndef f(run):\n    return run.modulus", "reads 'modulus', which it does not"),
    ("@grokjax.task\ndef f(run):\n    return 1 / 0", "parts.py:6) fails: ZeroDivisionError"),
    ("@grokjax.task\ndef f():\n    pass", "fails: TypeError: f() takes 0 positional arguments"),
    (
        TASK.format("Data(8, 8, x * 1.0, x[:, :1], {'train': half, 'test': ~half})"),
        "tokens must be",
    ),
    (TASK.format("Data(8, 8, x, x[:, :1] / 2, {'train': half, 'test': ~half})"), "targets must be"),
    (TASK.format("Data(8, 8, x, x[:, 0], {'train': half, 'test': ~half})"), "must have the rows"),
    (TASK.format("Data(8, 8, x, x[:2, :1], {'train': half, 'test': ~half})"), "must have the rows"),
    (TASK.format("Data(8, 8, x[0], x[0], {'train': half})"), "tokens need rows and positions"),
    (TASK.format("Data(8, 8, x, x[:, :1], {})"), "splits are empty"),
    (TASK.format("Data(8, 8, x, x[:, :1], [half, ~half])"), "splits must be a dict"),
    (TASK.format("Data(8, 8, x, x[:, :1], {'train': half[:, 0], 'test': ~half})"), "the shape of"),
    (TASK.format("Data(8, 8, x, x[:, :1], {'train': half * 3, 'test': ~half})"), "must be a mask"),
    (TASK.format("Data(8, 8, x, x[:, :1], {'train': half & False, 'test': ~half})"), "is empty"),
    (TASK.format("Data(8, 8, x, x[:, :1], {'test': half})"), "it needs a split"),
    (TASK.format("Data(8, 8, x, x[:, :1], {'my train': half, 'train': half})"), "not a valid name"),
    (TASK.format("Data(8, 8, x, x[:, :1], {3: half, 'train': half})"), "3 is not a valid name"),
    (TASK.format("Data(8, 8, x, np.c_[x, x], {'train': half})"), "more answers than positions"),
    (TASK.format(DATA.format(7)), "tokens from 0 to 7, not below 7"),
    (TASK.format(DATA.format(8.0)), "vocabulary must be a number of at least 1"),
    (TASK.format(DATA.format(0)), "vocabulary must be a number of at least 1"),
    (TASK.format(DATA.format("None")), "vocabulary must be a number of at least 1"),
    (TASK.format("Data(8, 3, x, x[:, :1], {'train': half, 'test': ~half})"), "not below 3"),
    (TASK.format("Data(8, 8, x - 1, x[:, :1], {'train': half})"), "tokens from -1"),
    (TASK.format("Data(8, 8, 'abc', x[:, :1], {'train': half})"), "tokens must be an array"),
    (TASK.format("Data(8, 8, x)"), "fails: TypeError"),
    (TASK.format("Data(8, 8, x, x[:, :1], {'train': half}, extra=[1])"), "extra must be a dict"),
    (TASK.format(DATA.format(8)).replace("task", "task(sizes=lambda run: 3)"), "3 from sizes"),
    (
        TASK.format(DATA.format(8)).replace(
            "task", "task(sizes=lambda run: grokjax.Sizes(8, 8, 2, 4))", 1
        ),
        "num_examples=4) from sizes; expected",
    ),
    (TASK.format(DATA.format(8)).replace("task", "task(check=lambda run: run.x)", 1), "reads 'x'"),
    (
        TASK.format(DATA.format(8)).replace("task", "task(check=lambda run: 1 / 0)", 1),
        "fails: Zero",
    ),
    (TASK.format(DATA.format(8)).replace("task", "task(uses=('modulos',))", 1), "'modulus'?"),
    (DRAWN.format("data"), "returned a Data from draw; expected a grokjax.Batch"),
    (DRAWN.format("None"), "None from draw; expected a grokjax.Batch"),
    (DRAWN.format("data.tokens.nothing"), "fails: AttributeError"),
    (
        DRAWN.format("grokjax.Batch(data.tokens, data.targets[:, 0], jnp.ones((4, 1)) / 4)"),
        "targets, an array of shape [4] (int32), from draw; expected integers of shape [4, 1]",
    ),
    (
        DRAWN.format("grokjax.Batch(data.tokens * 1.0, data.targets, jnp.ones((4, 1)) / 4)"),
        "tokens, an array of shape [4, 2] (float32), from draw; expected integers",
    ),
]

OPERATION = "@grokjax.operation\ndef f(a, b, p):\n    return {}"
OPERATIONS = [
    (OPERATION.format("a / 2"), "(float64); expected integers for all pairs"),
    (OPERATION.format("None"), "expected integers for all pairs"),
    (OPERATION.format("3"), "expected integers for all pairs, an array of shape [5, 5]"),
    (OPERATION.format("a[0]"), "an array of shape [5] (int64); expected integers"),
    (OPERATION.format("a.nothing"), "parts.py:6) fails: AttributeError"),
    (OPERATION.format("1 // 0"), "parts.py:6) fails: ZeroDivisionError"),
    (OPERATION.replace("a, b, p", "a, b").format("a + b"), "fails: TypeError: f() takes 2"),
    (
        OPERATION.format("a + b").replace("operation", "operation(sign=2)", 1),
        "sign must be 1 or -1",
    ),
    (
        OPERATION.format("a + b").replace("operation", "operation(sing=1)", 1),
        "did you mean 'sign'?",
    ),
    (
        OPERATION.format("np.where(b > -1, -1, a)").replace(
            "operation", "operation(partial=True)", 1
        ),
        "leaves no training pair",
    ),
]

MODULE = """@grokjax.network
class f(nnx.Module):
    def __init__(self, program, rngs):
        self.out = nnx.Linear(3, program.num_classes, rngs=rngs)

    def __call__(self, tokens):
        return {}"""
PAIR = """@grokjax.network
def f(program):
    init = lambda key: {}
    return init, lambda params, tokens: {}"""
ZEROS = '{"w": jnp.zeros((program.positions, program.num_classes))}'
LOGITS = 'tokens @ params["w"]'
NETWORKS = [
    (MODULE.format("tokens"), "returned logits, an array of shape [2, 3] (int32)"),
    (MODULE.format("self.out(tokens * 1.0)[:, :2]"), "expected floats of [2, 6] or [2, 3, 6]"),
    (MODULE.format("self.out(tokens * 1.0)[0]"), "expected floats of [2, 6]"),
    (MODULE.format("self.out(tokens)[..., None].nothing"), "parts.py:10) fails: "),
    (MODULE.format("None"), "returned None; expected logits, a dict"),
    (MODULE.format("'high'"), "fails: TypeError"),
    (MODULE.format("self.out"), "returned a Linear; expected logits, a dict"),
    (MODULE.format('{"logit": self.out(tokens * 1.0)}'), "the keys ('logit',); expected logits"),
    (
        MODULE.format('{"logits": self.out(tokens * 1.0), "neuron": tokens}'),
        "returned 'neuron'; expected fields of a Trace: did you mean 'neurons'?",
    ),
    (
        MODULE.format('{"logits": self.out(tokens * 1.0), "neurons": jnp.ones(3)}'),
        "returned neurons, an array of shape [3]",
    ),
    (MODULE.format("self.out(tokens @ jnp.ones((3, 2)))"), "parts.py:10) fails: "),
    (
        MODULE.format("self.out(tokens * 1.0)").replace("program.num_classes", "9"),
        "floats of [2, 6]",
    ),
    (MODULE.format("self.nothing"), "parts.py:10) fails: AttributeError"),
    (MODULE.format("0").replace("(nnx.Module)", ""), "is no flax.nnx.Module"),
    (MODULE.format("0").replace(", rngs)", ")"), "fails: TypeError"),
    (MODULE.format("0").replace("program.num_classes", "program.widht"), "'widht' is not a static"),
    (
        MODULE.format("0").replace(
            "nnx.Linear(3,", "nnx.BatchNorm(3, rngs=rngs) if True else print("
        ),
        "has state besides",
    ),
    (MODULE.format("int(tokens[0, 0])"), "parts.py:10) fails: "),
    ("@grokjax.network\ndef f(program):\n    return 3", "returned 3; expected two functions"),
    ("@grokjax.network\ndef f(program):\n    pass", "returned None; expected two functions"),
    ("@grokjax.network\ndef f():\n    pass", "fails: TypeError"),
    ("@grokjax.network\ndef f(program):\n    return (1, 2)", "expected two functions"),
    (PAIR.format("[jnp.zeros(3)]", "tokens"), "from init; expected parameters, a nested dict"),
    (PAIR.format("{}", "tokens"), "from init; expected parameters, a nested dict"),
    (PAIR.format('{"w": jnp.zeros(3, int)}', "tokens"), "expected parameters, a nested dict of"),
    (PAIR.format('{"w": "zero"}', "tokens"), "expected parameters, a nested dict of arrays"),
    (PAIR.format('{"w": None}', "tokens"), "expected parameters, a nested dict of arrays"),
    (PAIR.format("None", "tokens"), "None from init; expected parameters"),
    (PAIR.format("1 / 0", "tokens"), "parts.py:6) fails: ZeroDivisionError"),
    (PAIR.format(ZEROS, 'tokens @ params["v"]'), "parts.py:7) fails: KeyError: 'v'"),
    (PAIR.format(ZEROS, LOGITS + "[..., 0]"), "expected floats of [2, 6] or [2, 3, 6]"),
    (PAIR.format(ZEROS, f"({LOGITS}, tokens)"), "expected logits, a dict of logits and neurons"),
    (PAIR.format(ZEROS, f"np.asarray({LOGITS})"), "parts.py:7) fails: TracerArrayConversionError"),
    (
        PAIR.format(ZEROS, LOGITS).replace("network", "network(width=setting(4, '', low=8))", 1),
        "a setting's default must be an integer of at least 8, got 4",
    ),
    (PAIR.format(ZEROS, LOGITS).replace("network", "network(width=8)", 1), "grokjax.setting(...)"),
]

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
