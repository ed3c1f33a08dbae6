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
from grokjax.config.fields import ALWAYS
from grokjax.config.sweep import (
    SWEEP_SETTINGS,
    RunConfig,
    SweepConfig,
    default,
    differing_fields,
    run_settings,
)
from grokjax.core import parts
from grokjax.core import registry as registry_module
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


# --- Settings of the chosen parts -----------------------------------------------------------------


@pytest.mark.parametrize(
    "fields, name, owner",
    [
        (
            {"optimizer": "sgd", "betas": (0.5, 0.5)},
            "betas",
            "used by optimizer adamw and optimizer adam",
        ),
        ({"task": "skip_trigram", "modulus": 7}, "modulus", "used by task modular)"),
        (
            {"network": "mlp", "num_heads": 2},
            "num_heads",
            "and network induction_transformer)",
        ),
        ({"network": "attention_only", "d_mlp": 8}, "d_mlp", "used by network transformer and"),
        ({"momentum": 0.5}, "momentum", "used by optimizer sgd)"),
        ({"skip_trigram.noise": 3}, "skip_trigram.noise", "skip_trigram alone uses it)"),
    ],
)
def test_a_setting_that_the_chosen_parts_do_not_use_is_refused_when_set(fields, name, owner):
    message = message_of(RunConfig, **fields)
    assert message.startswith(f"{name}={fields[name]!r} is not used by this run")
    assert owner in message and message.endswith("leave it out")
    run = RunConfig(**{**fields, name: run_settings()[name].default})  # as in a default config
    assert name not in run
    with pytest.raises(AttributeError, match="have no"):
        getattr(run, name)


def test_a_run_has_the_settings_of_its_parts_and_no_others():
    run = RunConfig(task="skip_trigram", network="mlp", optimizer="sgd")
    own = ("noise", "batch_size", "num_sequences", "finite_batch", "same_seed")
    of_parts = {f"skip_trigram.{name}" for name in own}
    of_parts |= {"d_mlp", "learning_rate", "warmup_steps", "weight_decay", "momentum"}
    of_parts |= {"activation", "output_scale", "output_scale_power"}
    assert set(run) == {*ALWAYS, *of_parts}
    with pytest.raises(AttributeError, match="replace"):
        run.seed = 3
    with pytest.raises(AttributeError, match="replace"):
        SweepConfig(runs=(run,)).max_block = 3


def test_a_part_sees_what_it_declares_and_nothing_else():
    run = RunConfig(**{"task": "skip_trigram", "skip_trigram.noise": 5, "seed": 2})
    view = run.view(run.part("task"))
    assert (view.noise, view.seed, view.split_seed) == (5, 2, 2)
    for name in ("steps", "modulus", "nois"):
        with pytest.raises(AttributeError, match=f"task 'skip_trigram' reads '{name}'"):
            getattr(view, name)


@pytest.fixture
def sparse_parity(registry):
    @parts.task(bits=parts.setting(20, "length of the input", low=2, high=99))
    def sparse_parity(run):
        "The parity of the first three bits."

    return sparse_parity


def test_settings_of_a_part_stand_in_a_group_of_its_name(sparse_parity):
    config = default("sparse_parity")
    assert config.task == "sparse_parity" and config.sparse_parity.bits == 20
    assert config.axes.sparse_parity.bits is None
    config.sparse_parity.bits = 24
    (run,) = resolve(config).runs
    assert run["sparse_parity.bits"] == 24 and run.view(run.part("task")).bits == 24
    config.axes.sparse_parity.bits = [4, 8]
    config.axes.seed = range(2)
    sweep = resolve(config)
    assert sweep.axes == ("sparse_parity.bits", "seed")
    assert sweep.column("sparse_parity.bits") == (4, 4, 8, 8)
    assert sweep.column("modulus") == (None,) * 4 and "modulus" not in sweep.names

    config.axes.sparse_parity.bits = (4, 1)
    assert "from 2 to 99" in message_of(resolve, config)
    config.axes.sparse_parity.bits = None
    config.sparse_parity.bits = 100
    message = message_of(resolve, config)
    assert "sparse_parity.bits must be an integer from 2 to 99, got 100" in message
    config.sparse_parity.bitz = 3
    message = message_of(resolve, config)
    assert "'sparse_parity.bitz'" in message and "did you mean 'sparse_parity.bits'?" in message
    assert "--config FILE" in message


def test_init_seed_and_split_seed_follow_the_seed_unless_set():
    run = RunConfig(seed=3)
    assert (run.init_seed, run.split_seed) == (3, 3)
    assert run.to_dict()["init_seed"] is None
    assert run.replace(seed=4).split_seed == 4
    apart = run.replace(split_seed=0)
    assert (apart.seed, apart.init_seed, apart.split_seed) == (3, 3, 0)
    assert apart.replace(seed=5).split_seed == 0
    config = config_with(axes_init_seed=(None, 1), axes_seed=(0, 1))
    found = [(run.seed, run.init_seed, run.split_seed) for run in resolve(config).runs]
    assert found == [(0, 0, 0), (1, 1, 1), (0, 1, 0), (1, 1, 1)]


def test_the_default_of_another_task_is_what_its_paper_trains():
    (run,) = resolve(default("skip_trigram")).runs
    assert (run.network, run.d_model, run.num_heads, run.d_head) == ("attention_only", 32, 1, 8)
    assert (run.learning_rate, run.weight_decay, run.steps) == (1e-3, 0.1, 3_000)
    assert (run["skip_trigram.noise"], run["skip_trigram.num_sequences"]) == (40, 0)
    (run,) = resolve(default("five_digit_addition")).runs
    assert (run.d_model, run.num_heads, run.d_mlp, run.steps) == (512, 4, 2048, 3_000)
    assert (run.learning_rate, run.weight_decay, run.betas) == (1e-4, 0.1, (0.9, 0.98))
    (run,) = resolve(default("repeated_subsequence")).runs
    assert (run.network, run.d_model, run.num_layers) == ("induction_transformer", 48, 2)
    assert (run.warmup_steps, run.betas, run.weight_decay) == (100, (0.9, 0.999), 1.0)
    assert "did you mean 'skip_trigram'" in message_of(default, "skip_trigrams")


def test_a_run_whose_task_is_not_registered_can_be_read(sparse_parity):
    run = RunConfig(**{"task": "sparse_parity", "sparse_parity.bits": 8, "seed": 5, "steps": 3})
    sweep = SweepConfig(runs=(SMALL, run), axes=("task", "sparse_parity.bits"))
    saved = json.loads(json.dumps(sweep.to_dict()))
    del registry_module._parts["task"]["sparse_parity"]
    read = SweepConfig.from_dict(saved)
    found = read.runs[1]
    assert (found.task, found["sparse_parity.bits"], found.steps) == ("sparse_parity", 8, 3)
    assert found.split_seed == 5 and found.betas == (0.9, 0.98)
    assert read.axes[:2] == ("task", "sparse_parity.bits")
    assert read.column("sparse_parity.bits") == (None, 8)
    assert json.loads(json.dumps(read.to_dict())) == saved
    assert found == run and hash(found) == hash(run)
    message = message_of(found.part("task").function)
    assert "task 'sparse_parity' is not registered here" in message and "--config FILE" in message


def test_equal_runs_are_equal_however_they_were_made():
    plain = RunConfig(seed=1, steps=7).to_dict()
    backwards = RunConfig.from_dict(dict(reversed(plain.items())))
    assert backwards == RunConfig(steps=7, seed=1) == pickle.loads(pickle.dumps(backwards))
    assert len({backwards, RunConfig(steps=7, seed=1)}) == 1


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
