"""Files that do not belong together, or that no sweep wrote, are refused in one line."""

import json

import pytest

import grokjax
from grokjax.core.errors import ConfigError, DamagedError
from grokjax.results import saved_config
from grokjax.runner import verify
from grokjax.storage import arrays, checkpoints
from tests.small_sweeps import assert_same, contents, runs_of, small_sweep, train


def test_changed_digit_of_the_config_is_refused(folder):
    text = (folder / "config.json").read_text().replace('"d_mlp": 16', '"d_mlp": 17')
    for name in ("config.json", "config.copy.json"):
        (folder / name).write_text(text)
    with pytest.raises(DamagedError, match="changed after it was written: restore it from a copy"):
        grokjax.open_sweep(folder)
    with pytest.raises(DamagedError, match="changed after it was written"):
        train(small_sweep(), folder)


def test_config_of_another_sweep_is_refused(folder, tmp_path):
    sweep = small_sweep().replace(runs=runs_of(seed=(0, 1), weight_decay=(1.0, 0.5)))
    blocks = [block.indices for block in grokjax.open_sweep(folder).blocks]
    saved_config.write_config(folder, sweep, blocks, {})
    with pytest.raises(DamagedError, match="checkpoints of other runs than config.json names"):
        grokjax.open_sweep(folder)
    with pytest.raises(DamagedError, match="checkpoints of other runs"):
        train(sweep, folder)


@pytest.mark.parametrize("text", [None, "3", "[" * 100_000])
def test_lost_config_is_read_from_its_copy_and_written_again(folder, text, caplog, capsys):
    path, before = folder / "config.json", (folder / "config.json").read_text()
    path.unlink() if text is None else path.write_text(text)
    assert len(grokjax.open_sweep(folder).runs) == 4
    assert "its copy config.copy.json is read" in caplog.text
    with pytest.raises(DamagedError, match="1 faults"):
        verify.verify(folder)
    assert "config.copy.json is missing, or is no copy" in capsys.readouterr().out
    assert "is finished" in train(small_sweep(), folder)
    assert path.read_text() == before
    verify.verify(folder)


def test_blocks_without_their_config_are_refused(folder):
    (folder / "config.json").unlink()
    (folder / "config.copy.json").unlink()
    for use in (grokjax.open_sweep, lambda folder: train(small_sweep(), folder)):
        with pytest.raises(DamagedError, match="has blocks but no config.json"):
            use(folder)


def test_swapped_blocks_are_refused(folder):
    blocks = folder / "blocks"
    (blocks / "0").rename(blocks / "2")
    (blocks / "1").rename(blocks / "0")
    (blocks / "2").rename(blocks / "1")
    with pytest.raises(DamagedError, match="checkpoints of other runs"):
        grokjax.open_sweep(folder)


TEXTS = ("{}", "[]", "3", "", '{"format": 4}', '{"format": 99}', "[" * 100_000)


@pytest.mark.parametrize("text", TEXTS)
def test_unreadable_config_raises_a_one_line_error(folder, text):
    for name in ("config.json", "config.copy.json"):
        (folder / name).write_text(text)
    with pytest.raises((DamagedError, ConfigError)) as error:
        grokjax.open_sweep(folder)
    assert "\n" not in str(error.value)


def test_blocks_with_other_runs_than_the_config_are_refused(folder):
    saved = json.loads((folder / "config.json").read_text())
    del saved["checksum"]
    saved["blocks"] = [[0, 1], [1, 2]]
    saved["checksum"] = saved_config._checksum(saved)
    for name in ("config.json", "config.copy.json"):
        (folder / name).write_text(json.dumps(saved))
    with pytest.raises(DamagedError, match="its blocks are not those of its runs"):
        grokjax.open_sweep(folder)


def test_folders_that_are_no_steps_are_ignored(whole, folder):
    (folder / "blocks/0/trajectory/0020").mkdir()
    (folder / "blocks/0/trajectory/³").mkdir()
    assert_same(contents(folder), whole[1])


def test_opened_workdir_stays_valid_after_chdir(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder.parent)
    opened = grokjax.open_sweep(folder.name)
    monkeypatch.chdir("/")
    assert opened.params(0, 20)


def test_failing_machine_is_not_called_damage(folder, monkeypatch):
    def refuse(*args, **kwargs):
        raise ValueError("RESOURCE_EXHAUSTED: Failed to open: Too many open files")

    monkeypatch.setattr(arrays.ts, "open", refuse)
    with pytest.raises(OSError, match="could not be read: RESOURCE_EXHAUSTED"):
        checkpoints.read(folder / "blocks/0", 20)


@pytest.mark.parametrize(
    "name",
    [
        "gs://",
        "gs:///x",
        "gs://bucket/a[0]",
        "gs://b",
        "s3:///x",
        "a[0]",
        "a\\b",
        "a\nb",
        "x" * 300,
    ],
)
def test_unusable_workdir_name_raises_config_error(tmp_path, name):
    with pytest.raises(ConfigError, match="--workdir"):
        train(small_sweep(), name if "://" in name else tmp_path / name)
    assert not list(tmp_path.iterdir())
