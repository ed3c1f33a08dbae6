"""An attempt that is suspended while another one trains its block writes nothing afterwards."""

import pytest

from grokjax.storage import files
from tests.pauses import SWEEP, check_schedule
from tests.small_sweeps import contents, train


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "sweep"
    train(SWEEP, folder)
    return contents(folder)


@pytest.fixture(params=["disk", "bucket"])
def workdir(request, tmp_path):
    if request.param == "disk":
        return files.path(tmp_path / "sweep")
    emulator = pytest.importorskip("tests.emulator")
    emulator.running().clear()
    return files.path(f"gs://{emulator.BUCKET}/sweep")


@pytest.mark.parametrize("at", [0, 9, 20, 31])
def test_suspended_attempt_writes_nothing_after_its_successor(whole, workdir, monkeypatch, at):
    assert check_schedule(monkeypatch, workdir, whole, at, successor_ends=at != 20)
