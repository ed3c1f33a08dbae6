"""Inputs that were once taken in silence, or refused with bad advice."""

import numpy as np
import pytest
from programs import program

import grokjax
from grokjax.cli.arguments import read_sweep
from grokjax.core.errors import ConfigError
from grokjax.measures import from_params
from grokjax.networks import by_name, interop
from grokjax.tasks.modular import modular

CONFIG = """
import sys
import grokjax.config

def get_config():
    {body}
    return grokjax.config.default()

{more}
"""


@pytest.mark.parametrize(
    ("body", "more", "words"),
    [
        ("", "sweep = [{'seed': 1}]", "sweep is a list; make it a function"),
        ("sys.exit(0)", "", "SystemExit"),
        ("sys.exit()", "", "SystemExit"),
        ("", "def sweep(config):\n    while True:\n        yield {}", "more than 50 rows"),
    ],
)
def test_config_files_that_were_ignored_or_never_ended(tmp_path, monkeypatch, body, more, words):
    monkeypatch.setattr("grokjax.cli.arguments.MOST_ROWS", 50)
    path = tmp_path / "x.py"
    path.write_text(CONFIG.format(body=body, more=more))
    with pytest.raises(ConfigError, match=words):
        read_sweep(["--config", str(path)])


@pytest.mark.parametrize(
    ("argument", "name"),
    [
        ("--config.lr=0.1", "learning_rate"),
        ("--config.axes.wd=(1.0,)", "weight_decay"),
        ("--config.p=59", "modulus"),
        ("--config.frac_train=0.4", "train_fraction"),
    ],
)
def test_other_peoples_names_lead_to_ours(tmp_path, argument, name):
    path = tmp_path / "x.py"
    path.write_text(CONFIG.format(body="", more=""))
    with pytest.raises(ConfigError, match=f"did you mean '{name}'"):
        read_sweep(["--config", str(path), argument])


@pytest.fixture(scope="module")
def params():
    import jax

    return jax.device_get(by_name.init(jax.random.key(0), program(p=7)))


@pytest.mark.parametrize("fraction", [0.0, 1.0, 1.5, -0.1])
def test_a_split_of_no_share_is_refused(fraction):
    with pytest.raises(ConfigError, match="train_fraction must be a number between 0 and 1"):
        modular(59, fraction)


def test_networks_at_hand_are_looked_at_before_they_are_measured(params):
    data = modular(7, 0.5)
    with pytest.raises(ValueError, match="numbers from 1 to 3"):
        from_params._key_mask([2.5], 7, ())
    with pytest.raises(ConfigError, match="activation must be one of 'relu', 'gelu'"):
        from_params.progress_measures(params, data, activation="tanh")
    for broken in ({}, {"embed": {}}, {"embed": 3}):
        with pytest.raises(ConfigError, match="no transformer's: they lack embed.W_E"):
            from_params.progress_measures(broken, data)


def test_a_file_of_objects_is_refused_without_advice_to_run_them(tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(b"junk that is no archive")
    objects = tmp_path / "y.npz"
    np.savez(objects, a=np.array([{"a": 1}], dtype=object))
    for file in (path, objects):
        with pytest.raises(ConfigError, match="save plain arrays") as refused:
            interop.load_network(file)
        assert "allow_pickle" not in str(refused.value)


def test_a_file_is_no_workdir(tmp_path):
    (tmp_path / "x").touch()
    with pytest.raises(ConfigError, match="is a file: name a sweep's workdir"):
        grokjax.open_sweep(tmp_path / "x")
