import itertools

import numpy as np
import pytest
from configs import config_with, message_of

from grokjax.config.axes import axis, chain, check_axis, product, resolve, zipped
from grokjax.config.sweep import default


def test_axes_multiply_in_field_order_with_the_seed_fastest():
    config = config_with(axes_weight_decay=(0.1, 1), axes_seed=(3, 4), axes_modulus=(5, 7))
    sweep = resolve(config)
    assert sweep.axes == ("modulus", "weight_decay", "seed")
    rows = [(run.modulus, run.weight_decay, run.seed) for run in sweep.runs]
    assert rows == list(itertools.product((5, 7), (0.1, 1.0), (3, 4)))


def test_sweep_rows_apply_to_the_base_and_multiply_with_the_axes():
    def sweep(config):
        yield {"modulus": 5, "train_fraction": config.train_fraction / 2}
        yield {"modulus": 11}

    resolved = resolve(config_with(train_fraction=0.8, axes_seed=(0, 1)), sweep)
    assert resolved.axes == ("modulus", "train_fraction", "seed")
    rows = [(run.modulus, run.train_fraction, run.seed) for run in resolved.runs]
    assert rows == [(5, 0.4, 0), (5, 0.4, 1), (11, 0.8, 0), (11, 0.8, 1)]


def test_sweep_cannot_change_the_config_it_is_given():
    def sweep(config):
        config.steps = 3
        config.axes.seed = (0, 1)
        return [{}]

    config = config_with(axes_seed=(5,))
    (run,) = resolve(config, sweep).runs
    assert (run.steps, run.seed) == (40_000, 5)


def test_references_between_fields_follow():
    config = default()
    config.eval_every = config.get_ref("checkpoint_every")
    config.checkpoint_every = 7
    assert resolve(config).eval_every == 7


def test_numbers_become_plain_python_of_the_fields_type():
    config = config_with(weight_decay=2, axes_seed=(np.int64(3),))
    config.axes.train_fraction = tuple(np.linspace(0.25, 0.5, 2))
    for run in resolve(config).runs:
        assert type(run.weight_decay) is float and type(run.train_fraction) is float
        assert type(run.seed) is int


WRONG_AXES = [
    ("seed", (), "None to leave it unswept"),
    ("seed", 3, "write (3,)"),
    ("seed", np.zeros((2, 2), int), "write tuple(array("),
    ("operation", ("add", "ad"), "did you mean 'add'?"),
    ("init_seed", (0, -1), "or None: as seed"),
    ("operation", "subtract", "write ('subtract',)"),
    ("seed", (0, 1.5), "an integer"),
    ("weight_decay", (0.1, -1), "at least 0"),
    ("betas", (0.9, 0.98), "such as (0.9, 0.98)"),
    ("seed", (0, 1, 0), "list each combination once"),
    ("num_heads", (4, 5), "multiple of 5"),
]


@pytest.mark.parametrize("name, values, remedy", WRONG_AXES)
def test_a_wrong_axis_is_refused(name, values, remedy):
    message = message_of(resolve, config_with(**{f"axes_{name}": values}))
    assert name in message and remedy in message


@pytest.mark.parametrize(
    "name, values, stored",
    [
        ("seed", range(3), (0, 1, 2)),
        ("seed", [4, 5], (4, 5)),
        ("seed", np.arange(2), (0, 1)),
        ("weight_decay", np.array([0.5, 1]), (0.5, 1.0)),
        ("operation", ["add", "random"], ("add", "random")),
        ("betas", [[0.9, 0.98], (0, 0.5)], ((0.9, 0.98), (0.0, 0.5))),
    ],
)
def test_ranges_lists_and_arrays_are_axes_too(name, values, stored):
    assert check_axis(name, values) == stored
    assert [type(x) for x in check_axis(name, values)] == [type(x) for x in stored]
    sweep = resolve(config_with(**{f"axes_{name}": values}))
    assert sweep.column(name) == stored and sweep.axes == (name,)


def test_an_axis_that_no_run_uses_is_refused():
    message = message_of(resolve, config_with(axes_momentum=(0.5, 0.9)))
    assert "momentum=0.5 is not used by this run" in message
    message = message_of(resolve, config_with(axes_momentum=(0.9,)))
    assert "axes.momentum is swept, but no run uses momentum" in message


def test_parts_that_have_different_settings_are_swept_together():
    def sweep(config):
        yield from axis("betas", ((0.9, 0.98), (0.9, 0.99)))
        yield from product([{"optimizer": "sgd"}], axis("momentum", (0.0, 0.9)))

    swept = resolve(config_with(axes_seed=(0, 1)), sweep)
    assert swept.axes == ("betas", "optimizer", "momentum", "seed")
    assert swept.column("momentum") == (None,) * 4 + (0.0, 0.0, 0.9, 0.9)
    assert swept.column("betas")[2:5] == ((0.9, 0.99), (0.9, 0.99), None)


def test_unknown_and_missing_fields_of_a_config_are_named():
    config = default()
    config.stpes = 3
    message = message_of(resolve, config)
    assert "'stpes'" in message and "did you mean 'steps'?" in message

    message = message_of(resolve, config_with(axes_sed=(0, 1)))
    assert "'sed'" in message and "did you mean 'seed'?" in message

    message = message_of(resolve, config_with(axes_eval_every=(1, 2)))
    assert "eval_every" in message and "one value for the whole sweep" in message

    message = message_of(resolve, config_with(axes=(0, 1)))
    assert "axes" in message and "axes.seed" in message

    config = default()
    del config.l1
    message = message_of(resolve, config)
    assert "'l1'" in message and "config.default()" in message


WRONG_ROWS = [
    ([{"wieght_decay": 1.0}], "'wieght_decay'", "did you mean 'weight_decay'?"),
    ([{"eval_every": 5}], "eval_every", "set it in get_config()"),
    ([{"steps": 5.0}], "steps", "write 5"),
    ([{"seed": 1}], "seed", "remove one of the two"),
    ([{"steps": 5}, {"steps": 5}], "steps=5", "list each combination once"),
    ([], "sweep()", "yield at least one dict"),
    (None, "sweep()", "must yield dicts"),
]


@pytest.mark.parametrize("rows, name, remedy", WRONG_ROWS)
def test_wrong_rows_of_sweep_are_refused(rows, name, remedy):
    message = message_of(resolve, config_with(axes_seed=(7,)), lambda config: rows)
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
        (lambda: product(axis("seed", (1,)), axis("seed", (2,))), "'seed'", "remove one"),
        (lambda: zipped(axis("seed", (1,)), axis("seed", (2,))), "'seed'", "remove one"),
    ],
)
def test_wrong_combinations_are_refused(build, name, remedy):
    message = message_of(build)
    assert name in message and remedy in message
