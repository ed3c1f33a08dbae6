"""Settings of a run's parts: who has them, who may set them, what they default to."""

import json
import pickle

import pytest
from configs import SMALL, config_with, message_of

from grokjax.config.axes import resolve
from grokjax.config.fields import ALWAYS
from grokjax.config.sweep import (
    RunConfig,
    SweepConfig,
    default,
    run_settings,
)
from grokjax.core import parts
from grokjax.core import registry as registry_module
from grokjax.tasks.data import data_of


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


def test_a_run_whose_operation_alone_is_not_registered_can_be_read(registry):
    parts.operation("cube")(lambda a, b, p: a**3 + b)
    sweep = SweepConfig(runs=(RunConfig(operation="cube", modulus=7),))
    saved = json.loads(json.dumps(sweep.to_dict()))
    del registry_module._parts["operation"]["cube"]
    read = SweepConfig.from_dict(saved)
    assert read.runs[0].operation == "cube" and json.loads(json.dumps(read.to_dict())) == saved
    message = message_of(data_of, read.runs[0])
    assert "no operation 'cube' is registered" in message and "--config FILE" in message


def test_equal_runs_are_equal_however_they_were_made():
    plain = RunConfig(seed=1, steps=7).to_dict()
    backwards = RunConfig.from_dict(dict(reversed(plain.items())))
    assert backwards == RunConfig(steps=7, seed=1) == pickle.loads(pickle.dumps(backwards))
    assert len({backwards, RunConfig(steps=7, seed=1)}) == 1
