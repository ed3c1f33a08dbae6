import json
import math
import pickle
import re

import pytest
from configs import SMALL, config_with, message_of
from hypothesis import given, settings
from hypothesis import strategies as st

from grokjax.config import runs
from grokjax.config.axes import resolve
from grokjax.config.sweep import (
    SWEEP_SETTINGS,
    RunConfig,
    SweepConfig,
    default,
    differing_fields,
    run_settings,
)
from grokjax.core.errors import ConfigError
from grokjax.networks.transformer import width_of_head
from grokjax.training.blocks import program_of


def test_the_default_is_the_papers_mainline_run():
    sweep = resolve(default())
    assert sweep == SweepConfig(runs=(RunConfig(),))
    (run,) = sweep.runs
    assert (run.modulus, run.operation, run.train_fraction) == (113, "add", 0.3)
    assert (run.learning_rate, run.weight_decay, run.betas) == (1e-3, 1.0, (0.9, 0.98))
    assert (run.task, run.network, run.optimizer) == ("modular", "transformer", "adamw")
    assert (run.d_model, run.num_heads, run.d_mlp) == (128, 4, 512)
    assert width_of_head(program_of(run)) == 32
    assert sweep.axes == () and sweep.precision == "float32"


def test_every_field_is_in_the_default_config_and_only_run_fields_are_axes():
    config = default()
    shared = [name for name in run_settings() if "." not in name]
    groups = {name.partition(".")[0] for name in run_settings()} - {*shared}
    assert set(config) == {*shared, *groups, *SWEEP_SETTINGS, "axes", "refine"}
    assert set(config.axes) == {*shared, *groups}
    for name in run_settings().keys() - {*shared}:
        group, _, short = name.partition(".")
        assert short in config[group] and short in config.axes[group]
    attributes = set(vars(SweepConfig(runs=(SMALL,))))
    assert set(SWEEP_SETTINGS) == attributes - {"runs", "axes", "names", "refine"}


def test_default_gives_independent_configs_that_can_be_locked():
    config = default().lock()
    config.axes.seed = (1, 2)
    with pytest.raises(AttributeError):
        config.stpes = 3
    assert default().axes.seed is None


WRONG_VALUES = [
    ("steps", 1.5, "an integer"),
    ("steps", 1e4, "write 10000"),
    ("steps", "500", "an integer"),
    ("steps", 0, "at least 1"),
    ("steps", 2**31, "the largest is 2147483647"),
    ("steps", (1, 2), "set axes.steps"),
    ("eval_every", 0, "at least 1"),
    ("precision", "float64", "'tensorfloat32'"),
    ("modulus", 2, "from 3 to 1000"),
    ("operation", "multipli", "did you mean 'multiply'?"),
    ("loss", "float16", "choose from exact, low_precision"),
    ("activation", "tanh", "'gelu'"),
    ("train_fraction", 1.0, "between 0 and 1"),
    ("train_fraction", 7e-5, "leaves no training pair at modulus=113: raise either"),
    ("learning_rate", 0.0, "greater than 0"),
    ("weight_decay", -0.1, "at least 0"),
    ("weight_decay", math.nan, "at least 0"),
    ("weight_decay", [0.1, 1.0], "set axes.weight_decay"),
    ("betas", 0.9, "a pair"),
    ("betas", (0.9, 1.0), "below 1"),
    ("num_heads", 3, "multiple of 3"),
    ("d_model", 130, "multiple of 4"),
    ("momentum", 1.0, "from 0 to below 1"),
    ("init_seed", -1, "at least 0, or None: as seed"),
    ("measures", ("paper", 3), "a tuple of names"),
    ("stop", "low_tset_loss", "did you mean 'low_test_loss'"),
    ("task", "modula", "did you mean 'modular'"),
]


@pytest.mark.parametrize("name, value, remedy", WRONG_VALUES)
def test_a_wrong_value_is_refused_from_a_config_and_from_its_class(name, value, remedy):
    message = message_of(resolve, config_with(**{name: value}))
    assert name in message and remedy in message
    kind = RunConfig if name in run_settings() else SweepConfig
    fields = {"runs": (SMALL,)} if kind is SweepConfig else {}
    message = message_of(kind, **fields, **{name: value})
    assert name in message and remedy in message


def test_a_sweep_config_made_by_hand_keeps_the_same_promises():
    runs = [SMALL, SMALL.replace(seed=1)]
    assert SweepConfig(runs=runs).axes == ("seed",)
    assert hash(SweepConfig(runs=runs, axes=("l1",))) and isinstance(SweepConfig(runs).runs, tuple)
    assert SweepConfig(runs=runs, axes=("l1",)).axes == ("l1", "seed")
    assert "at least one run" in message_of(SweepConfig, runs=())
    assert "did you mean 'seed'?" in message_of(SweepConfig, runs=runs, axes=("sed",))


run_configs = st.builds(
    RunConfig,
    seed=st.integers(0, 2**31 - 1),
    modulus=st.integers(3, 1000),
    init_seed=st.none() | st.integers(0, 2**31 - 1),
    operation=st.sampled_from(["add", "subtract", "x2_xy_y2", "random", "multiply"]),
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


def test_differing_fields_say_what_changed():
    old = resolve(config_with(axes_weight_decay=(0.1, 1.0)))
    new = resolve(
        config_with(axes_weight_decay=(0.1, 3.0), steps=5, eval_every=7, axes_seed=(0, 1))
    )
    assert differing_fields(old, old) == ()
    assert differing_fields(old, new) == (
        "eval_every: 100 -> 7",
        "number of runs: 2 -> 4",
        "seed: 0 -> (0, 1)",
        "weight_decay: (0.1, 1.0) -> (0.1, 3.0)",
        "steps: 40000 -> 5",
    )


def test_differing_fields_see_a_regrouping_but_not_a_relabelling():
    def runs(*pairs):
        return tuple(SMALL.replace(seed=s, weight_decay=w) for s, w in pairs)

    a = SweepConfig(runs=runs((0, 1.0), (1, 2.0), (0, 3.0)))
    b = SweepConfig(runs=runs((0, 1.0), (1, 2.0), (1, 3.0)))
    assert differing_fields(a, b) == ("runs: the same values, combined or ordered differently",)
    relabelled = a.replace(axes=("weight_decay", "seed"))
    assert differing_fields(a, relabelled) == ()


# --- Runs of a sweep together ---------------------------------------------------------------------


def test_runs_made_together_are_those_made_one_by_one():
    shared = {"modulus": 7, "train_fraction": 0.5}
    rows = [
        *({"seed": seed, "weight_decay": 0.1 * seed} for seed in range(4)),
        {"seed": 4},
        {"seed": 5, "network": "mlp"},
        {"seed": 6, "network": "mlp", "modulus": 11},
    ]
    alone = [RunConfig(**{**shared, **row}) for row in rows]
    together = runs.runs_of(shared, rows)
    assert list(together) == alone and list(map(hash, together)) == list(map(hash, alone))
    for a, b in zip(together, alone, strict=True):
        assert a.to_dict() == b.to_dict() and repr(a) == repr(b)
        assert pickle.loads(pickle.dumps(a)) == b
    for part in (together, together[1:3], together[5:]):  # without the first of their kind, too
        values = runs.values_by_field(part)
        assert values == {k: {run._fields[k] for run in part if k in run} for k in values}
        assert {*values} == {name for run in part for name in run}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"seed": -1}, "seed must be an integer of at least 0"),
        ({"seed": 1.5}, "seed must be an integer"),
        ({"modulus": (3, 5)}, "to sweep over several values, set axes.modulus"),
        ({"network": "mlp", "num_heads": 2}, "num_heads=2 is not used by this run"),
        ({"novel": 1}, "unknown field 'novel'"),
        ({"num_heads": 3}, "num_heads"),
    ],
)
def test_each_row_of_runs_is_validated(row, message):
    first = dict.fromkeys(row, None) | {name: getattr(RunConfig(), name, 0) for name in row}
    first = {name: x for name, x in first.items() if name != "novel"}
    with pytest.raises(ConfigError, match=re.escape(message)):
        runs.runs_of({"modulus": 7}, [first, row])


def test_a_sweep_is_saved_as_what_its_runs_share_and_what_each_has_of_its_own():
    sweep = SweepConfig(runs.runs_of({"modulus": 7}, [{"seed": 0}, {"seed": 1}]))
    saved = json.loads(json.dumps(sweep.to_dict()))
    assert saved["runs"] == [{"seed": 0}, {"seed": 1}] and saved["all_runs"]["modulus"] == 7
    whole = {**saved, "all_runs": {}, "runs": [run.to_dict() for run in sweep.runs]}
    for form in (saved, whole, {k: x for k, x in whole.items() if k != "all_runs"}):
        assert SweepConfig.from_dict(form) == sweep
