"""Memory: what is refused before it runs, and what fits instead."""

import numpy as np
import pytest

from grokjax.cli.arguments import main
from grokjax.config.sweep import RunConfig, SweepConfig
from grokjax.core.errors import ConfigError
from grokjax.runner import memory
from grokjax.runner.memory import Memory, TooLarge
from grokjax.training import devices
from grokjax.training.lanes import bytes_needed, lanes
from grokjax.training.packing import pack

TINY = dict(modulus=7, d_model=8, num_heads=2, d_mlp=16, steps=10)
OPTIONS = [f"--config.{name}={value}" for name, value in TINY.items()]


def sweep_of(*fields, **whole):
    return SweepConfig([RunConfig(**{**TINY, **x}) for x in fields], cores_per_run=1, **whole)


def room_of(monkeypatch, size):
    monkeypatch.setattr(memory, "free", lambda: size / 0.9)


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(devices, "num_cores", lambda: 2)


def test_bytes_are_those_of_the_compiled_programs():
    sweep = sweep_of({}, measures=("test_loss",))
    (block,) = pack(sweep.runs)
    with devices.at(devices.places(1)[0]):
        train = bytes_needed(lanes(block)[0])
    found = memory.needed(sweep, [block])
    assert found.train == train
    pairs, sizes = 7 * 7, 7 * 7 * 4 * 4  # three tokens and an answer of each pair
    assert found.measure > sizes and pairs * 16 * 4 < found.train < 1e6


def test_a_run_that_does_not_fit_is_refused_with_a_value_that_does(monkeypatch):
    small, large = (sweep_of(x, measures=("test_loss",)) for x in ({}, {"d_mlp": 4096}))
    (block,) = pack(large.runs)
    room_of(monkeypatch, memory.needed(large, [block]).train / 2)
    with pytest.raises(TooLarge, match=r"training a run needs .* of memory, .*: d_mlp=\d+ fits"):
        memory.needed(large, [block])
    assert memory.needed(small, pack(small.runs)).measure


def test_the_largest_run_of_all_blocks_counts(monkeypatch):
    sweep = sweep_of({}, {"d_mlp": 2048}, measures=("test_loss",))
    whole = pack(sweep.runs)
    assert [run.d_mlp for block in whole for run in block.runs] == [16, 2048]
    largest = memory.needed(sweep, whole[1:]).train
    room_of(monkeypatch, 1.5 * largest)
    assert memory.needed(sweep, whole).train == largest


def test_devices_share_the_memory_of_a_machine(monkeypatch):
    assert Memory(10, 30, 35.0).at_once(1) == (2, 1)
    assert Memory(10, 0, 35.0).at_once(1) == (2, 2)
    assert Memory(30, 10, 35.0).at_once(1) == (1, 2)
    with devices.at_most(1):
        assert len(devices.places(1)) == 1
    assert len(devices.places(1)) == 2
    monkeypatch.setattr(devices, "on_cpu", lambda: False)
    monkeypatch.setattr(devices, "places", lambda cores: (None,) * 4)
    assert Memory(30, 30, 35.0).at_once(1) == (4, 4)


def test_free_memory_is_that_of_the_container(tmp_path):
    machine = memory.free(tmp_path)
    for name, text in (("max", "3000"), ("current", "1000"), ("stat", "inactive_file 500\nx 1")):
        (tmp_path / f"memory.{name}").write_text(text)
    assert memory.free(tmp_path) == 2500 < machine
    (tmp_path / "memory.max").write_text("max")
    np.testing.assert_allclose(memory.free(tmp_path), machine, rtol=0.5)


def test_data_that_do_not_fit_are_not_made(monkeypatch):
    room_of(monkeypatch, 10_000)
    memory.check_data(pack([RunConfig(**TINY)]))
    with pytest.raises(ConfigError, match=r"the data of a run needs .*: modulus=\d+ fits"):
        memory.check_data(pack([RunConfig(**{**TINY, "modulus": 101})]))


def test_the_command_refuses(monkeypatch, tmp_path):
    room_of(monkeypatch, 900)
    for more in ([], ["--dry-run"]):
        argv = ["sweep", "--config", "mainline", *OPTIONS, "--workdir", str(tmp_path / "x"), *more]
        with pytest.raises(ConfigError, match="900 bytes can be used"):
            main(argv)
    assert not (tmp_path / "x").exists()
