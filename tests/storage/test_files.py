"""What is asked of a file of a workdir, on a disk and in a bucket alike."""

import pickle
import threading

import pytest

from grokjax.core.errors import ConfigError
from grokjax.storage import bucket as buckets
from grokjax.storage import files, holders


@pytest.fixture(scope="module")
def store():
    return pytest.importorskip("tests.emulator").running()


@pytest.fixture(params=["disk", "bucket"])
def folder(request, tmp_path):
    if request.param == "disk":
        return files.path(tmp_path)
    store = request.getfixturevalue("store")
    store.clear()
    return files.path(f"gs://{store.bucket}/a folder/{tmp_path.name}")


@pytest.fixture
def bucket(store, tmp_path):
    store.clear()
    return files.path(f"gs://{store.bucket}/x")


def test_what_is_written_is_read(folder):
    path = folder / "x.txt"
    assert not path.exists() and not path.is_file()
    for content in ("one", b"t\0wo", "drei \N{SNOWMAN}", b""):
        files.write(path, content)
        wanted = content if isinstance(content, bytes) else content.encode()
        assert path.read_bytes() == wanted and path.exists() and path.is_file()
    files.write(path, "\N{SNOWMAN}")
    assert path.read_text(encoding="utf-8") == "\N{SNOWMAN}"
    assert files.size(path) == 3
    assert files.read_from(path, 1) == "\N{SNOWMAN}".encode()[1:]
    assert files.names(folder) == ["x.txt"]
    path.unlink()
    path.unlink(missing_ok=True)
    assert not path.exists()
    for use in (path.read_bytes, path.read_text, path.unlink, lambda: files.read_from(path, 0)):
        with pytest.raises(FileNotFoundError, match="x.txt"):
            use()


def test_a_folder_is_what_its_files_have_in_common(folder):
    assert files.names(folder / "none") == [] and not (folder / "none").is_dir()
    for name in ("b/c", "b/d", "bb", "a.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        files.write(folder / name, name)
    assert sorted(files.names(folder)) == ["a.txt", "b", "bb"]
    assert sorted(files.names(folder, "b")) == ["b", "bb"]
    assert sorted(files.names(folder / "b")) == ["c", "d"]
    assert (folder / "b").is_dir() and (folder / "b").exists() and not (folder / "b").is_file()
    assert not (folder / "bb").is_dir() and not (folder / "c").exists()
    (folder / "b").rename(folder / "e")
    assert sorted(files.names(folder)) == ["a.txt", "bb", "e"]
    assert (folder / "e" / "d").read_text() == "b/d"
    (folder / "bb").rename(folder / "f")
    assert (folder / "f").read_text() == "bb" and sorted(files.names(folder)) == ["a.txt", "e", "f"]


def test_a_path_is_one_wherever_it_is(folder):
    path = files.path(str(folder)) / "a" / "b.nc"
    assert path == folder / "a/b.nc" and hash(path) == hash(folder / "a/b.nc")
    assert files.path(path) == path and files.path(str(path)) == path
    assert path.absolute() == path and path.name == "b.nc" and path.parents[1] == folder
    assert path.with_name("c").parent == path.parent and str(path).endswith("/a/b.nc")
    assert pickle.loads(pickle.dumps(path)) == path
    assert files.common([folder / "a" / "b", folder / "a" / "c"]) == folder / "a"
    assert files.is_remote(path) == isinstance(path, buckets.BucketPath)


def test_lines_are_appended_and_there_when_they_are_flushed(folder):
    path = folder / "lines"
    files.write(path, "0\n")
    lines = files.Appended(path)
    for i in range(1, 5):
        lines.append(f"{i}\n")
        if i % 2:
            lines.flush()
            assert path.read_text() == "".join(f"{j}\n" for j in range(i + 1))
    lines.flush()
    assert path.read_text() == "0\n1\n2\n3\n4\n"
    files.Appended(folder / "none").flush()
    assert not (folder / "none").exists()


def test_what_only_writes_to_a_disk_writes_to_a_bucket_too(folder):
    with files.written_here(folder / "figures") as here:
        (here / "a.png").write_bytes(b"\x89")
        assert here.is_dir()
    assert (folder / "figures/a.png").read_bytes() == b"\x89"
    assert files.names(folder / "figures") == ["a.png"]
    assert isinstance(folder, buckets.BucketPath) != here.exists()


class Saving:
    """What writes a folder to a disk, and may fail at it."""

    def __init__(self, path, fails=False):
        self.path, self.fails = path, fails
        path.mkdir(parents=True)
        (path / "part").write_text("1")
        (path / "commit_success.txt").write_text("as Orbax does")

    def result(self):
        if self.fails:
            raise ValueError("no room")
        (self.path / "d").mkdir()
        (self.path / "d" / "rest").write_text("2")


def test_a_folder_that_is_saved_is_there_when_it_is_whole(folder):
    files.save(folder / "10", Saving).result()
    assert files.is_whole(folder / "10") and (folder / "10/d/rest").read_text() == "2"
    assert files.whole_folders(folder) == ["10"] and not files.is_whole(folder / "20")
    files.remove(folder / "10", ".gone")
    assert not files.is_whole(folder / "10") and files.names(folder) == []


def test_a_folder_in_a_bucket_without_its_mark_is_none(bucket):
    with pytest.raises(ValueError, match="no room"):
        files.save(bucket / "20", lambda path: Saving(path, fails=True)).result()
    assert bucket.keys() == []
    files.save(bucket / "10", Saving).result()
    files.write(bucket / "20" / "part", "1")  # as a kill leaves it
    assert files.whole_folders(bucket) == ["10"] and not files.is_whole(bucket / "20")
    files.remove_unfinished(bucket, ".tmp")
    assert files.names(bucket) == ["10"] and files.is_whole(bucket / "10")


def test_the_mark_is_written_last_and_removed_first(bucket, store, monkeypatch):
    files.save(bucket / "10", Saving).result()
    assert store.asked[-1] == ("POST", "x/10/commit_success.txt")
    assert len(store.asked) == 3 and store.asked.index(store.asked[-1]) == 2
    store.asked.clear()
    files.remove(bucket / "10", ".gone")
    removed = [name for method, name in store.asked if method == "DELETE"]
    assert removed[0] == "x/10/commit_success.txt" and len(removed) == 3


def test_of_many_that_write_what_is_not_there_one_does(bucket):
    wins, threads = [], []
    for i in range(8):
        take = lambda i=i: (bucket / "y").swap(b"%d" % i) and wins.append(i)  # noqa: E731
        threads.append(threading.Thread(target=take))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wins) == 1 and (bucket / "y").read_bytes() == b"%d" % wins[0]


def test_what_has_changed_since_it_was_read_is_left_as_it_is(bucket):
    assert bucket.swap(b"1") and not bucket.swap(b"2")
    read = bucket.read()
    assert bucket.swap(b"3", read.generation)
    assert not bucket.swap(b"4", read.generation) and not bucket.swap(None, read.generation)
    assert bucket.read_bytes() == b"3"
    assert bucket.swap(None, bucket.read().generation) and bucket.read() is None
    assert not bucket.swap(b"5", read.generation) and bucket.read() is None


def test_an_answer_that_is_lost_is_no_claim_that_is(bucket, store):
    store.losing.append("x/claim")
    assert holders.create(bucket / "claim", "mine")
    assert not holders.create(bucket / "claim", "yours")
    assert holders.read(bucket / "claim").token == "mine"


def test_an_error_of_the_store_is_one_line_that_names_the_object(bucket, store):
    store.refusing.append("x/secret")
    with pytest.raises(PermissionError) as error:
        (bucket / "secret").read_bytes()
    assert "secret" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["gs://", "gs:///x", "gs://B_d/x"])
def test_names_without_a_bucket_are_refused(name):
    with pytest.raises(ConfigError, match="names no bucket: write gs://BUCKET/PATH"):
        files.path(name)
