"""Parts that a config file defines."""

import pytest

from grokjax.cli.config_file import run_file
from grokjax.core import parts
from tests.cli.config_files import error_of, read

WITH_A_TASK = """
import grokjax
import grokjax.config

@grokjax.task(bits=grokjax.setting(20, "length of the input", low=2))
def sparse_parity(run):
    "The parity of the first three bits."

def get_config():
    config = grokjax.config.default()
    config.task = "sparse_parity"
    config.network = "attention_only"
    return config
"""


def test_settings_of_a_custom_part_are_overridden_and_swept(write):
    file = write(WITH_A_TASK)
    (run,) = read(file, "--config.sparse_parity.bits=24").runs
    assert run.task == "sparse_parity" and run["sparse_parity.bits"] == 24
    swept = read(file, "--config.axes.sparse_parity.bits", "(4, 8)")
    assert swept.axes == ("sparse_parity.bits",)
    assert swept.column("sparse_parity.bits") == (4, 8)
    (run,) = read(file, "--config.axes.sparse_parity.bits=None").runs
    assert run["sparse_parity.bits"] == 20


@pytest.mark.parametrize(
    "options, name, remedy",
    [
        (["sparse_parity.bits=1"], "sparse_parity.bits", "an integer of at least 2"),
        (["sparse_parity.bitz=8"], "'sparse_parity.bitz'", "'sparse_parity.bits'?"),
        (["axes.sparse_parity.bits=8"], "axes.sparse_parity.bits", "write (8,)"),
        (["axes.sparse_parity.bits=(8, 1)"], "sparse_parity.bits", "at least 2"),
        (["modulus=7"], "modulus=7", "task sparse_parity"),
        (["task=modular", "sparse_parity.bits=8"], "sparse_parity.bits", "sparse_parity alone"),
        (
            ["sparse_parity.bits=8", "axes.sparse_parity.bits=(8, 9)"],
            "sparse_parity.bits=8",
            'write --config.axes.sparse_parity.bits="(8,)"',
        ),
    ],
)
def test_invalid_setting_of_a_custom_part_raises_config_error(write, options, name, remedy):
    message = error_of(write(WITH_A_TASK), *(f"--config.{option}" for option in options))
    assert name in message and remedy in message


def test_a_file_may_be_read_twice_but_two_files_may_not_share_a_name(write):
    first, second = write(WITH_A_TASK, "first.py"), write(WITH_A_TASK, "second.py")
    for _ in range(2):
        run_file(first)
    message = error_of(second)
    assert f"registered twice, in {first} and in {second}" in message
    assert message.startswith(f"{second}:") and "rename one of them" in message


def test_a_changed_file_redefines_its_parts(write):
    run_file(write(WITH_A_TASK))
    before = parts.get("task", "sparse_parity")
    run_file(write(WITH_A_TASK.replace("three bits", "four bits")))
    after = parts.get("task", "sparse_parity")
    assert after.definition == "The parity of the first four bits."
    assert after.fingerprint != before.fingerprint


def test_a_config_made_before_the_part_can_be_overridden_too(write):
    before, after = WITH_A_TASK.split("@grokjax.task")
    early = before + "config = grokjax.config.default()\n\n@grokjax.task" + after
    early = early.replace("    config = grokjax.config.default()\n", "")
    (run,) = read(write(early), "--config.sparse_parity.bits=24").runs
    assert run["sparse_parity.bits"] == 24
