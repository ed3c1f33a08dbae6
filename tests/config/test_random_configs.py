"""Random configurations: those that are sound plan, all others end with one line and exit code 2.

GROKJAX_EXAMPLES says how many of each are tried.
"""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grokjax.cli.arguments import parse, run_main
from grokjax.cli.config_file import read_sweep
from grokjax.config import axes as table
from grokjax.config.fields import run_settings
from grokjax.config.sweep import SWEEP_SETTINGS, check, default
from grokjax.core import parts
from grokjax.core.errors import ConfigError
from grokjax.training.packing import MAX_RUNS, MAX_WASTE, pack

EXAMPLES = int(os.environ.get("GROKJAX_EXAMPLES", 25))
many = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None
)

SMALL = {
    "modulus": st.integers(3, 40),
    "d_model": st.sampled_from([4, 8, 16]),
    "num_heads": st.sampled_from([1, 2, 4]),
    "d_mlp": st.integers(1, 64),
    "num_layers": st.integers(1, 3),
    "steps": st.integers(1, 10**9),
    "eval_every": st.integers(1, 10**6),
    "checkpoint_every": st.integers(1, 10**6),
    "train_fraction": st.floats(0.2, 0.9),
}
NUMBERS = st.one_of(
    st.integers(-3, 300), st.floats(-2.0, 3.0), st.floats(allow_nan=True), st.just(2**40)
)
VALUES = st.one_of(NUMBERS, st.booleans(), st.text(max_size=5), st.none(), st.tuples(NUMBERS))


def is_valid(name, value):
    try:
        check(name, value)
        return True
    except ConfigError:
        return False


def value_of(name):
    """Values that a field takes by itself; together they may still not fit."""
    found = (run_settings() | SWEEP_SETTINGS)[name]
    if name in SMALL:
        return SMALL[name]
    if found.part:
        return st.sampled_from([part.name for part in parts.all_of(found.part)])
    if isinstance(found.default, bool | str | tuple) or found.default is None:
        return st.just(found.default)
    near = [found.default, 0, 1, 2, 3, 5, 0.0, 0.1, 0.5, 1.0, 2.0, 10.0]
    return st.sampled_from([x for x in near if is_valid(name, x)])


NAMES = sorted(set(run_settings()) - {"task"} | set(SWEEP_SETTINGS))
FIELDS = st.lists(st.sampled_from(NAMES), max_size=4, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: value_of(name) for name in names})
)
AXES = st.dictionaries(
    st.sampled_from(["seed", "weight_decay", "learning_rate", "init_scale"]),
    st.lists(st.integers(1, 50), min_size=1, max_size=4, unique=True),
    max_size=2,
)


@many
@given(st.sampled_from(sorted(part.name for part in parts.all_of("task"))), FIELDS, AXES)
def test_what_resolves_plans_every_run_once(task, fields, axes):
    config = default(task)
    with config.unlocked():
        for name, value in {**fields, **axes}.items():
            group, dot, short = name.partition(".")
            place = config.axes if name in axes else config
            (place[group] if dot else place)[short if dot else name] = (
                tuple(value) if name in axes else value
            )
    try:
        sweep = table.resolve(config)
        planned = pack(sweep.runs, sweep.max_block)
    except ConfigError as error:  # what is sound by itself need not be so together
        assert "\n" not in str(error) and len(str(error)) < 600
        return
    indices = [i for block in planned for i in block.indices]
    assert sorted(indices) == list(range(len(sweep.runs)))
    limit = sweep.max_block or MAX_RUNS
    assert all(len(block.runs) <= limit for block in planned)
    assert all(block.load.waste <= MAX_WASTE + 1e-9 for block in planned)
    again = type(sweep).from_dict(sweep.to_dict())
    assert again.runs == sweep.runs


BROKEN = st.one_of(
    st.tuples(st.sampled_from(NAMES), VALUES),
    st.tuples(st.text("abcdefgh_.", min_size=1, max_size=12), VALUES),
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("configs") / "config.py"
    path.write_text("import grokjax\ndef get_config():\n    return grokjax.config.default()\n")
    return str(path)


def test_what_is_broken_ends_with_one_line_and_code_2(file, capsys):
    codes = set()

    def read(argv):
        options = parse(["sweep", *argv])
        read_sweep(options.config, options.overrides)

    @many
    @given(BROKEN, st.booleans())
    def each(field, swept):
        (name, value), arguments = field, []
        if name in run_settings() and is_valid(name, value):
            value = object.__name__  # no field takes a word that is none of its choices
        text = f"({value!r},)" if swept else repr(value)
        arguments = ["--config", file, f"--config.{'axes.' * swept}{name}={text}"]
        codes.add(run_main(read, arguments))
        told = capsys.readouterr().err
        assert codes <= {0, 2}
        assert told == "" or (told.startswith("error: ") and told.count("\n") == 1), told

    each()
    assert 2 in codes
