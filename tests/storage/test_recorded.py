import json

import numpy as np
import pytest

from grokjax.core.errors import DamagedError
from grokjax.storage import files, metrics_log


def appended(folder):
    return files.Appended(metrics_log.path_of(folder))


@pytest.fixture
def folder(tmp_path):
    rng, records = np.random.default_rng(0), appended(tmp_path)
    for step in (0, 10, 20, 30):
        scores = {"test_loss": np.exp(20 * rng.normal(size=3)).astype(np.float32)}
        scores["train_loss"] = np.float32([1e-9, np.nan, np.inf])
        ended = {2: "diverged"} if step == 20 else {}
        metrics_log.append(records, step, scores, ended, {2: 17} if step == 20 else {})
    return tmp_path


def test_what_is_appended_is_read_to_the_bit(folder):
    rng = np.random.default_rng(0)
    expected = np.exp(20 * rng.normal(size=(4, 3))).astype(np.float32).T
    found = metrics_log.read(folder)
    assert found.steps == (0, 10, 20, 30)
    np.testing.assert_array_equal(found.scores["test_loss"], expected)
    assert found.scores["train_loss"].dtype == np.float32
    np.testing.assert_array_equal(
        found.scores["train_loss"][:, 0], [np.float32(1e-9), np.nan, np.nan]
    )
    assert found.ended == {2: (20, "diverged")} and found.diverged_at == {2: 17}


def test_float32_survives_its_shortest_digits():
    bits = np.random.default_rng(1).integers(0, 2**32, 5000, dtype=np.uint64).astype(np.uint32)
    values = bits.view(np.float32)
    values = values[np.isfinite(values)]
    again = np.float32([metrics_log._number(x) for x in values])
    np.testing.assert_array_equal(again, values)


def test_it_is_json_that_any_reader_takes(folder):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    lines = metrics_log.path_of(folder).read_text().splitlines()
    assert [json.loads(x, parse_constant=refuse)["step"] for x in lines] == [0, 10, 20, 30]


def test_it_is_read_up_to_a_step_and_goes_on_from_there(folder):
    assert (
        metrics_log.read(folder, upto=10).steps == (0, 10)
        and not metrics_log.read(folder, 10).ended
    )
    metrics_log.rewind(folder, 20)
    assert metrics_log.read(folder).steps == (0, 10, 20)
    metrics_log.append(
        appended(folder), 30, {"test_loss": np.ones(3), "train_loss": np.ones(3)}, {}, {}
    )
    assert metrics_log.read(folder).scores["test_loss"][0, -1] == 1
    metrics_log.rewind(folder, -1)
    assert metrics_log.read(folder).steps == ()


def test_a_line_that_was_cut_off_is_left_out(folder):
    path = metrics_log.path_of(folder)
    path.write_text(path.read_text() + '{"step": 40, "test_l')
    assert metrics_log.read(folder).steps == (0, 10, 20, 30)


@pytest.mark.parametrize("line", ["{]", "[]", "{}", '{"step": 40, "test_loss": 3}'])
def test_a_line_that_is_none_names_the_file(folder, line):
    path = metrics_log.path_of(folder)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(DamagedError, match="metrics.jsonl is damaged"):
        metrics_log.read(folder)


def test_a_folder_without_records_has_none(tmp_path):
    assert metrics_log.read(tmp_path) is None
    metrics_log.rewind(tmp_path, 0)
