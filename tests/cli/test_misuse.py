"""Invalid inputs of public functions: each raises a one-line error that says what is allowed."""

import jax
import numpy as np
import pytest
from programs import program

import grokjax
from grokjax.core.errors import ConfigError
from grokjax.measures import from_params
from grokjax.networks import by_name, interop
from grokjax.tasks.modular import modular


@pytest.fixture(scope="module")
def params():
    return jax.device_get(by_name.init(jax.random.key(0), program(p=7)))


@pytest.mark.parametrize("fraction", [0.0, 1.0, 1.5, -0.1])
def test_an_empty_split_raises_config_error(fraction):
    with pytest.raises(ConfigError, match="train_fraction must be a number between 0 and 1"):
        modular(59, fraction)


@pytest.mark.parametrize("broken", [{}, {"embed": {}}, {"embed": 3}])
def test_params_without_a_transformers_arrays_raise_config_error(broken):
    with pytest.raises(ConfigError, match="embed.W_E is missing"):
        grokjax.progress_measures(broken, modular(7, 0.5))


@pytest.mark.parametrize("frequencies", [[2.5], [0], [4], 2])
def test_invalid_key_frequencies_raise_value_error(frequencies):
    with pytest.raises(ValueError, match="numbers from 1 to 3"):
        from_params._key_mask(frequencies, 7, ())


def test_an_unknown_activation_raises_config_error(params):
    with pytest.raises(ConfigError, match="activation must be one of 'relu', 'gelu'"):
        grokjax.progress_measures(params, modular(7, 0.5), activation="tanh")


def test_a_file_of_objects_raises_without_advice_to_run_them(tmp_path):
    junk, objects = tmp_path / "x.npz", tmp_path / "y.npz"
    junk.write_bytes(b"junk that is no archive")
    np.savez(objects, a=np.array([{"a": 1}], dtype=object))
    for file in (junk, objects):
        with pytest.raises(ConfigError, match="save plain arrays") as caught:
            interop.load_network(file)
        assert "allow_pickle" not in str(caught.value)


def test_a_file_opened_as_a_sweep_raises_config_error(tmp_path):
    (tmp_path / "x").touch()
    with pytest.raises(ConfigError, match="is a file: name a sweep's workdir"):
        grokjax.open_sweep(tmp_path / "x")
