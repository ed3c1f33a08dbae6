import json

import numpy as np
import pytest

from grokjax.core.errors import DamagedError
from grokjax.storage import files, metrics_log

STEPS = (0, 10, 20, 30)
LOSSES = np.exp(20 * np.random.default_rng(0).normal(size=(4, 3))).astype(np.float32)


def log_of(folder):
    return files.Appended(metrics_log.path_of(folder))


@pytest.fixture
def folder(tmp_path):
    for step, losses in zip(STEPS, LOSSES, strict=True):
        scores = {"test_loss": losses, "train_loss": np.float32([1e-9, np.nan, np.inf])}
        ends = ({2: "diverged"}, {2: 17}) if step == 20 else ({}, {})
        metrics_log.append(log_of(tmp_path), step, scores, *ends)
    return tmp_path


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
    metrics_log.rewind(folder, 20)
    assert metrics_log.read(folder).steps == (0, 10, 20)
    scores = {"test_loss": np.ones(3), "train_loss": np.ones(3)}
    metrics_log.append(log_of(folder), 30, scores, {}, {})
    assert metrics_log.read(folder).scores["test_loss"][0, -1] == 1
    metrics_log.rewind(folder, -1)
    assert metrics_log.read(folder).steps == ()


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
    metrics_log.rewind(tmp_path, 0)
    assert metrics_log.lines_from(tmp_path, 0) == ([], 0)
