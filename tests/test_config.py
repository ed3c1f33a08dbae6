import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grokjax import config as config_lib
from grokjax.config import ConfigError, RunConfig, SweepConfig, axis, chain, product, zipped

SMALL = RunConfig(modulus=7, steps=10)


def config_with(**fields):
    """The default config with some fields, or entries of `axes` given as axes_NAME, replaced."""
    config = config_lib.default()
    for name, value in fields.items():
        if name.startswith("axes_"):
            config.axes[name.removeprefix("axes_")] = value
        else:
            config[name] = value
    return config


def message_of(function, *args, **kwargs) -> str:
    with pytest.raises(ConfigError) as caught:
        function(*args, **kwargs)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 300
    return message


def test_the_default_is_the_papers_mainline_run():
    sweep = config_lib.resolve(config_lib.default())
    assert sweep == SweepConfig(runs=(RunConfig(),))
    (run,) = sweep.runs
    assert (run.modulus, run.operation, run.train_fraction) == (113, "add", 0.3)
    assert (run.learning_rate, run.weight_decay, run.betas) == (1e-3, 1.0, (0.9, 0.98))
    assert (run.d_model, run.num_heads, run.d_head, run.d_mlp) == (128, 4, 32, 512)
    assert sweep.axes == () and sweep.precision == "float32"


def test_every_field_is_in_the_default_config_and_only_run_fields_are_axes():
    config = config_lib.default()
    assert set(config) == {*config_lib.RUN_FIELDS, *config_lib.SWEEP_FIELDS, "axes"}
    assert set(config.axes) == set(config_lib.RUN_FIELDS)
    assert set(config_lib.SWEEP_FIELDS) == {
        field.name for field in dataclasses.fields(SweepConfig)
    } - {"runs", "axes"}


def test_default_gives_independent_configs_that_can_be_locked():
    config = config_lib.default().lock()
    config.axes.seed = (1, 2)
    with pytest.raises(AttributeError):
        config.stpes = 3
    assert config_lib.default().axes.seed is None


def test_axes_multiply_in_field_order_with_the_seed_fastest():
    config = config_with(axes_weight_decay=(0.1, 1), axes_seed=(3, 4), axes_modulus=(5, 7))
    sweep = config_lib.resolve(config)
    assert sweep.axes == ("modulus", "weight_decay", "seed")
    rows = [(run.modulus, run.weight_decay, run.seed) for run in sweep.runs]
    assert rows == list(itertools.product((5, 7), (0.1, 1.0), (3, 4)))


def test_an_axis_of_one_value_is_an_axis():
    sweep = config_lib.resolve(config_with(axes_operation=("subtract",)))
    assert sweep.axes == ("operation",)
    assert [run.operation for run in sweep.runs] == ["subtract"]


def test_an_axis_of_betas_holds_pairs():
    sweep = config_lib.resolve(config_with(axes_betas=((0.9, 0.98), (0, 0.999))))
    assert [run.betas for run in sweep.runs] == [(0.9, 0.98), (0.0, 0.999)]


def test_sweep_rows_apply_to_the_base_and_multiply_with_the_axes():
    def sweep(config):
        yield {"modulus": 5, "train_fraction": config.train_fraction / 2}
        yield {"modulus": 11}

    resolved = config_lib.resolve(config_with(train_fraction=0.8, axes_seed=(0, 1)), sweep)
    assert resolved.axes == ("modulus", "train_fraction", "seed")
    rows = [(run.modulus, run.train_fraction, run.seed) for run in resolved.runs]
    assert rows == [(5, 0.4, 0), (5, 0.4, 1), (11, 0.8, 0), (11, 0.8, 1)]


def test_sweep_cannot_change_the_config_it_is_given():
    def sweep(config):
        config.steps = 3
        config.axes.seed = (0, 1)
        return [{}]

    config = config_with(axes_seed=(5,))
    (run,) = config_lib.resolve(config, sweep).runs
    assert (run.steps, run.seed) == (40_000, 5)


def test_references_between_fields_follow():
    config = config_lib.default()
    config.eval_every = config.get_ref("checkpoint_every")
    config.checkpoint_every = 7
    assert config_lib.resolve(config).eval_every == 7


def test_numbers_become_plain_python_of_the_fields_type():
    config = config_with(weight_decay=2, axes_seed=(np.int64(3),))
    config.axes.train_fraction = tuple(np.linspace(0.25, 0.5, 2))
    for run in config_lib.resolve(config).runs:
        assert type(run.weight_decay) is float and type(run.train_fraction) is float
        assert type(run.seed) is int


WRONG_VALUES = [
    ("steps", 1.5, "an integer"),
    ("steps", 1e4, "write 10000"),
    ("steps", True, "an integer"),
    ("steps", "500", "an integer"),
    ("steps", None, "an integer"),
    ("steps", 0, "at least 1"),
    ("steps", 2**31, "the largest is 2147483647"),
    ("steps", (1, 2), "set axes.steps"),
    ("eval_every", 0, "at least 1"),
    ("eval_every", (1, 2), "an integer"),
    ("checkpoint_every", -5, "at least 1"),
    ("checkpoint_log_steps", -1, "from 0 to 10000"),
    ("resume_every", 0, "at least 1"),
    ("max_block", -1, "at least 0"),
    ("precision", "float64", "'tensorfloat32'"),
    ("seed", -1, "at least 0"),
    ("modulus", 2, "from 3 to 1000"),
    ("modulus", 1001, "from 3 to 1000"),
    ("operation", "multiply", "'x2_xy_y2'"),
    ("operation", 3, "'subtract'"),
    ("loss", "float16", "'low_precision'"),
    ("activation", "tanh", "'gelu'"),
    ("train_fraction", 0, "between 0 and 1"),
    ("train_fraction", 1.0, "between 0 and 1"),
    ("train_fraction", 30, "between 0 and 1"),
    ("train_fraction", 7e-5, "leaves no training pair at modulus=113: raise either"),
    ("learning_rate", 0.0, "greater than 0"),
    ("learning_rate", math.inf, "greater than 0"),
    ("weight_decay", -0.1, "at least 0"),
    ("weight_decay", math.nan, "at least 0"),
    ("weight_decay", "1.0", "a number"),
    ("weight_decay", [0.1, 1.0], "set axes.weight_decay"),
    ("weight_decay", 1j, "a number"),
    ("dropout", 1.0, "below 1"),
    ("l1", -1, "at least 0"),
    ("init_scale", 0.0, "greater than 0"),
    ("warmup_steps", -1, "at least 0"),
    ("betas", 0.9, "a pair"),
    ("betas", (0.9,), "a pair"),
    ("betas", (0.9, 1.0), "below 1"),
    ("betas", (0.9, math.nan), "below 1"),
    ("betas", (0.9, True), "a pair"),
    ("num_heads", 3, "multiple of 3"),
    ("num_heads", 0, "at least 1"),
    ("d_model", 130, "multiple of 4"),
    ("num_layers", 0, "at least 1"),
]


@pytest.mark.parametrize("name, value, remedy", WRONG_VALUES)
def test_a_wrong_value_is_refused_from_a_config_and_from_a_dataclass(name, value, remedy):
    message = message_of(config_lib.resolve, config_with(**{name: value}))
    assert name in message and remedy in message
    kind = RunConfig if name in config_lib.RUN_FIELDS else SweepConfig
    fields = {"runs": (SMALL,)} if kind is SweepConfig else {}
    message = message_of(kind, **fields, **{name: value})
    assert name in message and remedy in message


@pytest.mark.parametrize("value", [True, False, np.bool_(True), 10**400, [0.5]], ids=repr)
def test_a_number_that_is_none_is_refused(value):
    # ml_collections itself turns a bool for a float into a float, so not by way of a ConfigDict.
    message = message_of(RunConfig, weight_decay=value)
    assert "weight_decay must be a number of at least 0" in message


@pytest.mark.parametrize("modulus", [3, 4, 16, 113, 1000])
def test_any_fraction_leaves_a_test_pair(modulus):
    run = RunConfig(modulus=modulus, train_fraction=math.nextafter(1, 0))
    assert int(run.train_fraction * modulus**2) < modulus**2


WRONG_AXES = [
    ("seed", (), "None to leave it unswept"),
    ("seed", 3, "write (3,)"),
    ("seed", [0, 1], "write tuple([0, 1])"),
    ("seed", range(2), "write tuple(range(0, 2))"),
    ("seed", np.arange(2), "write tuple(array([0, 1]))"),
    ("operation", "subtract", "write ('subtract',)"),
    ("seed", (0, 1.5), "an integer"),
    ("weight_decay", (0.1, -1), "at least 0"),
    ("weight_decay", (0.1, "x"), "a number"),
    ("betas", (0.9, 0.98), "such as (0.9, 0.98)"),
    ("seed", (0, 1, 0), "list each combination once"),
    ("num_heads", (4, 5), "multiple of 5"),
]


@pytest.mark.parametrize("name, values, remedy", WRONG_AXES)
def test_a_wrong_axis_is_refused(name, values, remedy):
    message = message_of(config_lib.resolve, config_with(**{f"axes_{name}": values}))
    assert name in message and remedy in message


def test_duplicates_are_named():
    config = config_with(axes_weight_decay=(1, 2, 1.0), axes_seed=(0, 5))
    message = message_of(config_lib.resolve, config)
    assert "runs 0 and 4" in message and "weight_decay=1.0, seed=0" in message


def test_unknown_and_missing_fields_of_a_config_are_named():
    config = config_lib.default()
    config.stpes = 3
    message = message_of(config_lib.resolve, config)
    assert "'stpes'" in message and "did you mean 'steps'?" in message

    message = message_of(config_lib.resolve, config_with(axes_sed=(0, 1)))
    assert "'sed'" in message and "did you mean 'seed'?" in message

    message = message_of(config_lib.resolve, config_with(axes_eval_every=(1, 2)))
    assert "eval_every" in message and "one value for the whole sweep" in message

    message = message_of(config_lib.resolve, config_with(axes=(0, 1)))
    assert "axes" in message and "axes.seed" in message

    config = config_lib.default()
    del config.l1
    message = message_of(config_lib.resolve, config)
    assert "'l1'" in message and "config.default()" in message


WRONG_ROWS = [
    ([{"wieght_decay": 1.0}], "'wieght_decay'", "did you mean 'weight_decay'?"),
    ([{"config.seed": 1}], "'config.seed'", "choose from seed"),
    ([{"zzz": 1}], "'zzz'", "choose from seed, modulus"),
    ([{"eval_every": 5}], "eval_every", "set it in get_config()"),
    ([{"steps": 5.0}], "steps", "write 5"),
    ([{"seed": 1}], "seed", "remove one of the two"),
    ([{"steps": 5}, {"steps": 5}], "steps=5", "list each combination once"),
    ([], "sweep()", "yield at least one dict"),
    (["seed"], "sweep()", "must yield dicts"),
    ({"modulus": 5}, "sweep()", "must yield dicts"),
    (None, "sweep()", "must yield dicts"),
]


@pytest.mark.parametrize("rows, name, remedy", WRONG_ROWS)
def test_wrong_rows_of_sweep_are_refused(rows, name, remedy):
    message = message_of(config_lib.resolve, config_with(axes_seed=(7,)), lambda config: rows)
    assert name in message and remedy in message


def test_combinators():
    a, b = axis("seed", range(2)), axis("steps", (5, 6))
    assert product(a, b) == [
        {"seed": 0, "steps": 5},
        {"seed": 0, "steps": 6},
        {"seed": 1, "steps": 5},
        {"seed": 1, "steps": 6},
    ]
    assert zipped(a, b) == [{"seed": 0, "steps": 5}, {"seed": 1, "steps": 6}]
    assert chain(a, b) == [{"seed": 0}, {"seed": 1}, {"steps": 5}, {"steps": 6}]
    assert product(iter(a), chain(iter(b))) == product(a, b)
    assert product() == [{}]


@pytest.mark.parametrize(
    "build, name, remedy",
    [
        (lambda: axis("seed", 3), "'seed'", "write a tuple"),
        (lambda: axis("operation", "add"), "'operation'", "write a tuple"),
        (lambda: axis("seed", ()), "'seed'", "at least one value"),
        (lambda: zipped(axis("seed", (1,)), axis("l1", (0.0, 1.0))), "1, 2", "use product"),
        (lambda: product(axis("seed", (1,)), axis("seed", (2,))), "'seed'", "keep one"),
        (lambda: zipped(axis("seed", (1,)), axis("seed", (2,))), "'seed'", "keep one"),
    ],
)
def test_wrong_combinations_are_refused(build, name, remedy):
    message = message_of(build)
    assert name in message and remedy in message


def test_a_sweep_config_made_by_hand_keeps_the_same_promises():
    runs = [SMALL, dataclasses.replace(SMALL, seed=1)]
    assert SweepConfig(runs=runs).axes == ("seed",)
    assert hash(SweepConfig(runs=runs, axes=("l1",))) and isinstance(SweepConfig(runs).runs, tuple)
    assert SweepConfig(runs=runs, axes=("l1",)).axes == ("l1", "seed")
    assert "at least one run" in message_of(SweepConfig, runs=())
    assert "did you mean 'seed'?" in message_of(SweepConfig, runs=runs, axes=("sed",))


def test_a_sweep_survives_json():
    config = config_with(axes_betas=((0.9, 0.98), (0.1 + 0.2, 1 / 3)), axes_l1=(1e-300, 5e-324))
    sweep = config_lib.resolve(config)
    plain = sweep.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert SweepConfig.from_dict(json.loads(json.dumps(plain))) == sweep


run_configs = st.builds(
    RunConfig,
    seed=st.integers(0, 2**31 - 1),
    modulus=st.integers(3, 1000),
    operation=st.sampled_from(["add", "subtract", "x2_xy_y2", "random"]),
    train_fraction=st.floats(0.12, 0.99),
    learning_rate=st.floats(0, 1e3, exclude_min=True),
    weight_decay=st.floats(0, 1e308),
    betas=st.tuples(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True)),
    steps=st.integers(1, 2**31 - 1),
)


@settings(max_examples=50, deadline=None)
@given(run_configs)
def test_any_run_survives_json(run):
    assert RunConfig.from_dict(json.loads(json.dumps(run.to_dict()))) == run


def test_plain_fields_of_another_version_have_their_default_or_are_refused():
    plain = RunConfig(steps=7).to_dict()
    older = {name: value for name, value in plain.items() if name != "l1"}
    assert RunConfig.from_dict(older) == RunConfig(steps=7)
    assert "'novel'" in message_of(RunConfig.from_dict, {**plain, "novel": 1})


def test_checkpoint_steps_are_the_first_the_multiples_the_spaced_and_the_last():
    sweep = SweepConfig(runs=(SMALL,), checkpoint_every=4)
    assert config_lib.checkpoint_steps(sweep) == (0, 4, 8, 10)
    assert config_lib.checkpoint_steps(dataclasses.replace(sweep, checkpoint_every=99)) == (0, 10)
    run = dataclasses.replace(SMALL, steps=1000)
    sweep = SweepConfig(runs=(run,), checkpoint_every=5000, checkpoint_log_steps=3)
    assert config_lib.checkpoint_steps(sweep) == (0, 1, 10, 100, 1000)


def test_every_run_keeps_its_last_step():
    runs = tuple(dataclasses.replace(SMALL, steps=steps) for steps in (7, 25))
    sweep = SweepConfig(runs=runs, checkpoint_every=10, eval_every=20)
    assert config_lib.checkpoint_steps(sweep) == (0, 7, 10, 20, 25)
    assert config_lib.eval_steps(sweep) == (0, 7, 10, 20, 25)


@settings(max_examples=100, deadline=None)
@given(
    steps=st.integers(1, 3000),
    eval_every=st.integers(1, 4000),
    checkpoint_every=st.integers(1, 4000),
    log_steps=st.integers(0, 50),
)
def test_steps_are_sorted_unique_and_within_the_run(steps, eval_every, checkpoint_every, log_steps):
    sweep = SweepConfig(
        runs=(dataclasses.replace(SMALL, steps=steps),),
        eval_every=eval_every,
        checkpoint_every=checkpoint_every,
        checkpoint_log_steps=log_steps,
    )
    saved, recorded = config_lib.checkpoint_steps(sweep), config_lib.eval_steps(sweep)
    for found, every in ((saved, checkpoint_every), (recorded, eval_every)):
        assert found[0] == 0 and found[-1] == steps
        assert list(found) == sorted(set(found)) and all(type(step) is int for step in found)
        assert set(range(0, steps, every)) <= set(found)
    assert set(saved) <= set(recorded)
    assert len(saved) <= 2 + steps // checkpoint_every + log_steps


def test_differing_fields_say_what_changed():
    old = config_lib.resolve(config_with(axes_weight_decay=(0.1, 1.0)))
    new = config_lib.resolve(
        config_with(axes_weight_decay=(0.1, 3.0), steps=5, eval_every=7, axes_seed=(0, 1))
    )
    assert config_lib.differing_fields(old, old) == ()
    assert config_lib.differing_fields(old, new) == (
        "eval_every: 100 -> 7",
        "number of runs: 2 -> 4",
        "seed: 0 -> (0, 1)",
        "weight_decay: (0.1, 1.0) -> (0.1, 3.0)",
        "steps: 40000 -> 5",
    )


def test_differing_fields_see_a_regrouping_but_not_a_relabelling():
    def runs(*pairs):
        return tuple(dataclasses.replace(SMALL, seed=s, weight_decay=w) for s, w in pairs)

    a = SweepConfig(runs=runs((0, 1.0), (1, 2.0), (0, 3.0)))
    b = SweepConfig(runs=runs((0, 1.0), (1, 2.0), (1, 3.0)))
    assert config_lib.differing_fields(a, b) == (
        "runs: the same values -> combined or ordered in another way",
    )
    relabelled = dataclasses.replace(a, axes=("weight_decay", "seed"))
    assert config_lib.differing_fields(a, relabelled) == ()
