"""Mistakes in tasks, operations and networks: the decorated function "f", and words of the line."""

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
