"""Damaged, mixed up or incomplete workdirs: trained again or refused, never silently wrong."""

import re
import shutil

import pytest

import grokjax
from grokjax.core.errors import DamagedError
from grokjax.runner import verify
from grokjax.runner.analysis import analyze
from grokjax.storage import checkpoints, datasets, files
from tests.small_sweeps import assert_same, contents, runs_of, small_sweep, train


def largest(folder, pattern="*"):
    return max((x for x in folder.rglob(pattern) if x.is_file()), key=lambda x: x.stat().st_size)


def flip(path, at=0.5):
    content = bytearray(path.read_bytes())
    content[int(len(content) * at)] ^= 16
    path.write_bytes(bytes(content))


# --- Lost files are made again --------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "lost",
    [
        "blocks/0/trajectory/20",
        "blocks/0/trajectory",
        "blocks/0/trajectory/40",
        "blocks/1/resume",
        "blocks/1/resume/40",
        "blocks/1",
        "blocks/0/metrics.jsonl",
        "measures.nc",
        "blocks",
    ],
)
def test_deleted_files_are_made_again_with_the_same_bits(whole, folder, lost):
    path = folder / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    text = train(small_sweep(), folder)
    assert "is finished" not in text
    if lost == "blocks/0/trajectory/20":
        assert "blocks/0 lacks the checkpoints of step 20: trained again" in text
    assert_same(contents(folder), whole[1])


def test_analyze_names_lost_checkpoints_and_measures_the_others(folder):
    shutil.rmtree(folder / "blocks/0/trajectory/20")
    with pytest.raises(DamagedError, match="blocks/0 lacks .* step 20: the others were measured"):
        analyze(folder, figures="none")
    measures = grokjax.open_sweep(folder).measures()
    assert measures["restricted_loss"].isnull().sum("run").values.tolist() == [0, 0, 2, 0, 0]


def test_gap_is_not_filled_from_another_trajectory(whole, folder, tmp_path):
    other = tmp_path / "other"
    train(small_sweep().replace(runs=runs_of(seed=(5, 6), weight_decay=(1.0, 0.0))), other)
    shutil.rmtree(folder / "blocks/0/trajectory/10")
    # As a machine that rounds in another way would have left it.
    wrong = checkpoints.read(other / "blocks/0", 20)
    shutil.rmtree(folder / "blocks/0/trajectory/20")
    identity = checkpoints.identity_of(folder / "blocks/0")
    with checkpoints.Writer(folder / "blocks/0", identity) as writer:
        writer.save_params(20, wrong)
    with pytest.raises(DamagedError, match="training it again leads elsewhere .at step 20"):
        train(small_sweep(), folder)
    assert (folder / "blocks/0/trajectory/30").is_dir()


def test_measures_of_other_checkpoints_are_not_current(whole, folder):
    path = folder / "blocks/0/metrics.jsonl"
    path.write_text(path.read_text())
    assert grokjax.open_sweep(folder).saved_measures() is not None
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    assert grokjax.open_sweep(folder).saved_measures() is None


@pytest.mark.parametrize("damage", ["swapped", "foreign", "dropped", "last dropped", "unsigned"])
def test_records_of_others_or_with_gaps_are_refused_and_recorded_again(
    whole, folder, damage, capsys
):
    path, other = (folder / "blocks" / i / "metrics.jsonl" for i in "01")
    text, lines = path.read_text(), path.read_text().splitlines(keepends=True)
    if damage == "swapped":
        path.write_text(other.read_text())
        other.write_text(text)
    else:
        foreign = re.sub(r"\d", "1", text)
        unsigned = re.sub(r', "sum": "\w+"', "", text)
        dropped = "".join(lines[:3] + lines[4:])
        last = "".join(lines[:-1])
        path.write_text(dict(foreign=foreign, dropped=dropped, unsigned=unsigned).get(damage, last))
    with pytest.raises(DamagedError, match="metrics.jsonl (is damaged|lacks lines up to step 40)"):
        grokjax.open_sweep(folder).curves()
    with pytest.raises(DamagedError, match=f"{1 + (damage == 'swapped')} faults"):
        verify.verify(folder)
    assert "blocks/0/metrics.jsonl" in capsys.readouterr().out
    if damage in ("swapped", "last dropped"):
        train(small_sweep(), folder)
        assert_same(contents(folder), whole[1])


def test_lost_and_stray_blocks_are_named(folder, capsys):
    shutil.copytree(folder / "blocks/0", folder / "blocks/7")
    with pytest.raises(DamagedError, match="1 faults"):
        verify.verify(folder)
    assert "blocks/7 is no block of this sweep" in capsys.readouterr().out
    shutil.rmtree(folder / "blocks/0")
    opened = grokjax.open_sweep(folder)
    for read in (opened.measures, opened.curves, lambda: analyze(folder, figures="none")):
        with pytest.raises(DamagedError, match="blocks/0 has lost its state of step 40"):
            read()
    with pytest.raises(DamagedError, match="2 faults"):
        verify.verify(folder)


@pytest.mark.parametrize("name", ["curves.nc", "measures.nc", "runs.csv"])
def test_stale_results_are_found(folder, tmp_path, name, capsys):
    ds = folder / name
    if name == "runs.csv":
        ds.write_text(ds.read_text().replace("1.0", "2.0"))
    else:
        stale = datasets.load(files.path(ds))
        changed = stale.assign_attrs(made_from="x") if name[0] == "m" else stale + 1
        datasets.save(changed, files.path(ds))
    with pytest.raises(DamagedError, match="1 faults"):
        verify.verify(folder)
    assert f"{name} " in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["file", "dangling link"])
def test_step_that_is_no_folder_is_refused_in_one_line(folder, kind):
    step = folder / "blocks/0/trajectory/20"
    shutil.rmtree(step)
    step.symlink_to(folder / "nothing") if kind != "file" else step.write_text("x")
    for use in (lambda: grokjax.open_sweep(folder).steps, lambda: train(small_sweep(), folder)):
        with pytest.raises(DamagedError, match="trajectory/20 is damaged .no folder.: delete it"):
            use()


# --- Damage is named ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["trajectory", "resume"])
@pytest.mark.parametrize("at", [0.2, 0.5, 0.8])
def test_flipped_bit_is_found(folder, kind, at, capsys):
    flip(largest(folder / "blocks/1" / kind / "40", "*/d/*"), at)
    with pytest.raises(DamagedError, match="1 faults in 14 checkpoints"):
        verify.verify(folder)
    assert f"{kind}: the checkpoint of step 40 is damaged" in capsys.readouterr().out
    if kind == "trajectory":
        (folder / "measures.nc").unlink()
        with pytest.raises(DamagedError, match="step 40 is damaged.*delete"):
            train(small_sweep(), folder)


def test_intact_workdir_verifies(folder, capsys):
    verify.verify(folder)
    assert "all 14 checkpoints in 2 blocks are intact" in capsys.readouterr().out


def test_checkpoint_under_another_step_or_block_is_damaged(folder):
    for there, here in (
        ("0/trajectory/10", "0/trajectory/20"),
        ("1/trajectory/30", "0/trajectory/30"),
    ):
        shutil.rmtree(folder / "blocks" / here)
        shutil.copytree(folder / "blocks" / there, folder / "blocks" / here)
    for step in (20, 30):
        with pytest.raises(DamagedError, match="not what was written"):
            checkpoints.read(folder / "blocks/0", step, 0)


def test_damaged_measures_are_made_anew(whole, folder):
    for at in (0.3, 0.6, 0.9):
        flip(folder / "measures.nc", at)
        assert_same(contents(folder), whole[1])
    (folder / "measures.nc").write_text("junk")
    train(small_sweep(), folder)
    assert_same(contents(folder), whole[1])


@pytest.mark.parametrize("damage", ["digit", "cut", "junk"])
def test_damaged_records_are_recorded_again(whole, folder, damage):
    path = folder / "blocks/0/metrics.jsonl"
    text = path.read_text()
    lines = {"cut": text[: len(text) // 2], "junk": text + "{]\n"}
    at = text.index(".") + 1
    digit = text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :]
    path.write_text(lines.get(damage, digit))
    if damage != "cut":  # as a kill leaves it
        with pytest.raises(DamagedError, match="metrics.jsonl is damaged"):
            grokjax.open_sweep(folder).curves()
    train(small_sweep(), folder)
    assert_same(contents(folder), whole[1])
