import shutil

import pytest

from tests.small_sweeps import contents, small_sweep, train


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "sweep"
    train(small_sweep(), folder)
    return folder, contents(folder)


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole[0], tmp_path / "copy")
