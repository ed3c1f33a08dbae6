import os
import urllib.request

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


@pytest.fixture(scope="session")
def s3():
    """A bucket of an emulator of S3. TensorStore uses it from here on, in child processes too."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url, name = f"http://{host}:{port}", "bucket"
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    os.environ.update(keys, AWS_ENDPOINT_URL=url, AWS_EC2_METADATA_DISABLED="true")
    urllib.request.urlopen(urllib.request.Request(f"{url}/{name}", method="PUT")).close()
    yield files.path(f"s3://{name}")
    server.stop()


@pytest.fixture(params=["disk", "bucket", "s3"])
def folder(request, tmp_path):
    """An empty folder on a disk, and one in a bucket of either kind."""
    if request.param == "disk":
        return files.path(tmp_path)
    if request.param == "s3":
        return request.getfixturevalue("s3") / "a folder" / tmp_path.name
    return request.getfixturevalue("bucket") / "a folder" / tmp_path.name
