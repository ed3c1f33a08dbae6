import json
import re

import numpy as np
import pytest

from grokjax.core.errors import DamagedError
from grokjax.storage import metrics_log

STEPS = (0, 10, 20, 30)
LOSSES = np.exp(20 * np.random.default_rng(0).normal(size=(4, 3))).astype(np.float32)


def record(folder, identity="mine", losses=LOSSES):
    (folder / "identity").write_text(identity + "\n")
    writer = metrics_log.Writer(folder, identity)
    for step, values in zip(STEPS, losses, strict=True):
        scores = {"test_loss": values, "train_loss": np.float32([1e-9, np.nan, np.inf])}
        ends = ({2: "diverged"}, {2: 17}) if step == 20 else ({}, {})
        writer.append(step, scores, *ends)
    writer.close()
    return folder


@pytest.fixture
def folder(tmp_path):
    return record(tmp_path)


def test_appended_lines_are_read_to_the_bit(folder):
    log = metrics_log.read(folder)
    assert log.steps == STEPS
    np.testing.assert_array_equal(log.scores["test_loss"], LOSSES.T)
    assert log.scores["train_loss"].dtype == np.float32
    np.testing.assert_array_equal(
        log.scores["train_loss"][:, 0], [np.float32(1e-9), np.nan, np.nan]
    )
    assert log.ended == {2: (20, "diverged")} and log.diverged_at == {2: 17}


def test_float32_survives_its_shortest_digits():
    bits = np.random.default_rng(1).integers(0, 2**32, 5000, dtype=np.uint64).astype(np.uint32)
    values = bits.view(np.float32)[np.isfinite(bits.view(np.float32))]
    again = np.float32([metrics_log._number(x) for x in values])
    np.testing.assert_array_equal(again, values)


def test_lines_are_json_that_any_reader_accepts(folder):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    lines = metrics_log.path_of(folder).read_text().splitlines()
    assert [json.loads(x, parse_constant=refuse)["step"] for x in lines] == [*STEPS]


def test_lines_after_a_step_are_ignored_or_removed(folder):
    assert metrics_log.read(folder, upto=10).steps == (0, 10)
    assert not metrics_log.read(folder, upto=10).ended
    writer = metrics_log.Writer(folder, "mine", 20)
    assert metrics_log.read(folder).steps == (0, 10, 20)
    scores = {"test_loss": np.ones(3), "train_loss": np.ones(3)}
    writer.append(30, scores, {}, {})
    writer.close()
    assert metrics_log.read(folder).scores["test_loss"][0, -1] == 1
    metrics_log.Writer(folder, "mine").close()
    assert metrics_log.read(folder).steps == ()


def test_second_writer_fences_off_the_first(folder):
    first = metrics_log.Writer(folder, "mine", 10)
    second = metrics_log.Writer(folder, "mine", 10)
    for writer in (second, first):  # the first one wakes up later and records another trajectory
        scores = {"test_loss": np.full(3, writer is first), "train_loss": np.ones(3)}
        writer.append(20, scores, {}, {})
        writer.close()
    log = metrics_log.read(folder)
    assert log.steps == (0, 10, 20) and not log.scores["test_loss"][:, -1].any()


def test_a_line_that_was_cut_off_is_ignored(folder):
    path = metrics_log.path_of(folder)
    lines, end = metrics_log.lines_from(folder, 0)
    path.write_text(path.read_text() + '{"step": 40, "test_l')
    assert metrics_log.read(folder).steps == STEPS == tuple(line["step"] for line in lines)
    assert metrics_log.lines_from(folder, end) == ([], end)


@pytest.mark.parametrize(
    "change",
    [
        *(lambda text, line=line: text + line + "\n" for line in ("{]", "[]", "{}")),
        lambda text: text + '{"step": 40, "test_loss": 3}\n',  # without a checksum
        lambda text: text + "[" * 100_000 + "\n",
        lambda text: "".join(text.splitlines(keepends=True)[i] for i in (0, 2, 3)),  # dropped
        lambda text: "".join(text.splitlines(keepends=True)[i] for i in (0, 2, 1, 3)),  # swapped
        lambda text: re.sub(r', "sum": "\w+"', "", text),
        lambda text: text.replace('"step": 20', '"step": 21'),
        lambda text: text.replace("1e-09", "2e-09", 1),
    ],
)
def test_a_line_that_was_changed_names_the_file(folder, change):
    path = metrics_log.path_of(folder)
    text = path.read_text()
    path.write_text(change(text))
    assert path.read_text() != text
    with pytest.raises(DamagedError, match="metrics.jsonl is damaged"):
        metrics_log.read(folder)


def test_a_folder_without_a_log_has_none(tmp_path):
    assert metrics_log.read(tmp_path) is None and metrics_log.fingerprint(tmp_path) == ""
    assert metrics_log.lines_from(tmp_path, 0) == ([], 0)


def test_repeated_lines_are_ignored(folder):
    path, expected = metrics_log.path_of(folder), metrics_log.read(folder)
    lines = path.read_text().splitlines(keepends=True)
    for repeated in ((0, 1, 1, 2, 3), (0, 1, 2, 3, 2, 3)):
        path.write_text("".join(lines[i] for i in repeated))
        assert metrics_log.read(folder).steps == expected.steps
        metrics_log.Writer(folder, "mine", 30).close()
        assert path.read_text() == "".join(lines)


def test_records_of_another_block_are_damage(folder, tmp_path_factory):
    other = record(tmp_path_factory.mktemp("other"), "yours", LOSSES + 1)
    metrics_log.path_of(folder).write_text(metrics_log.path_of(other).read_text())
    with pytest.raises(DamagedError, match="step 0 is not what was written"):
        metrics_log.read(folder)
    metrics_log.path_of(folder).unlink()
    lines = metrics_log.path_of(record(folder)).read_text().splitlines(keepends=True)
    metrics_log.path_of(other).unlink()
    of_other = metrics_log.path_of(record(other, "mine", LOSSES + 1)).read_text()
    metrics_log.path_of(folder).write_text("".join(lines[:2]) + "".join(of_other.splitlines(1)[2:]))
    with pytest.raises(DamagedError, match="step 20 is not what was written"):
        metrics_log.read(folder)
