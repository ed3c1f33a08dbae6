import pytest

from grokjax.storage import files


@pytest.fixture(scope="session")
def store():
    """The emulator of the store."""
    return pytest.importorskip("tests.emulator").running()


@pytest.fixture
def bucket(store):
    """A path in an empty bucket."""
    store.clear()
    return files.path(f"gs://{store.bucket}/x")


@pytest.fixture(params=["disk", "bucket"])
def folder(request, tmp_path):
    """An empty folder on a disk, and one in a bucket."""
    if request.param == "disk":
        return files.path(tmp_path)
    return request.getfixturevalue("bucket") / "a folder" / tmp_path.name
