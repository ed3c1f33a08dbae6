"""One interface for files on a disk and in a bucket."""

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from grokjax.core.errors import ConfigError, DamagedError, LostError
from grokjax.storage import files

MARK = "commit_success.txt"


def test_written_content_is_read_back(folder):
    path = folder / "x.txt"
    assert not path.exists() and not path.is_file()
    for content in ("one", b"t\0wo", "drei \N{SNOWMAN}", b"", "\N{SNOWMAN}"):
        path.write(content)
        expected = content if isinstance(content, bytes) else content.encode()
        assert path.read_bytes() == expected and path.exists() and path.is_file()
    assert path.read_text(encoding="utf-8") == "\N{SNOWMAN}"
    assert path.read_from(1) == "\N{SNOWMAN}".encode()[1:]
    assert folder.names() == ["x.txt"] and folder.free() > 0
    path.check_listed()
    path.unlink()
    path.unlink(missing_ok=True)
    assert not path.exists()
    for use in (path.read_bytes, path.read_text, path.unlink, lambda: path.read_from(0)):
        with pytest.raises(FileNotFoundError, match="x.txt"):
            use()


def test_a_failed_write_leaves_the_old_file_alone(tmp_path, monkeypatch):
    def fail(path, content):
        Path(path).write_bytes(b"ha")
        raise OSError("disk full")

    path = files.path(tmp_path) / "x"
    path.write("old")
    for method in ("write_bytes", "replace"):
        with monkeypatch.context() as patch, pytest.raises(OSError, match="disk full"):
            patch.setattr(files.DiskPath, method, fail)
            path.write("new")
        assert path.read_text() == "old" and path.parent.names() == ["x"]


def test_folders_list_rename_and_differ_from_files(folder):
    assert (folder / "none").names() == [] and not (folder / "none").is_dir()
    for name in ("b/c", "b/d", "bb", "a.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write(name)
    assert sorted(folder.names()) == ["a.txt", "b", "bb"]
    assert sorted(folder.names("b")) == ["b", "bb"] and sorted((folder / "b").names()) == ["c", "d"]
    assert (folder / "b").is_dir() and (folder / "b").exists() and not (folder / "b").is_file()
    assert not (folder / "bb").is_dir() and not (folder / "c").exists()
    (folder / "b").rename(folder / "e")
    assert sorted(folder.names()) == ["a.txt", "bb", "e"]
    assert (folder / "e" / "d").read_text() == "b/d"
    (folder / "bb").rename(folder / "f")
    assert (folder / "f").read_text() == "bb" and sorted(folder.names()) == ["a.txt", "e", "f"]


def test_a_path_survives_text_pickle_and_relatives(folder):
    path = files.path(str(folder)) / "a" / "b.nc"
    assert path == folder / "a/b.nc" and hash(path) == hash(folder / "a/b.nc")
    assert files.path(path) == files.path(str(path)) == path.absolute() == path.resolve() == path
    assert path.name == "b.nc" and path.parents[1] == folder and str(path).endswith("/a/b.nc")
    assert path.with_name("c").parent == path.parent
    assert pickle.loads(pickle.dumps(path)) == path
    assert files.common([folder / "a" / "b", folder / "a" / "c"]) == folder / "a"
    assert type(folder / "a") is type(files.common([folder / "b", folder / "c"])) is type(folder)
    assert files.is_remote(path) == bool(path.bucket) == str(path).startswith(("gs://", "s3://"))


def test_paths_of_different_stores_share_the_root():
    paths = files.path("gs://one/x"), files.path("gs://two/x"), files.path("/one/x")
    for i in range(3):
        assert str(files.common([paths[i], paths[i - 1]])) == "/"


def test_appended_lines_are_there_after_a_flush(folder):
    path = folder / "lines"
    path.write("0\n")
    lines = files.Appended(path, b"0\n")
    for i in range(1, 5):
        lines.append(f"{i}\n")
        if i % 2 or not path.bucket:
            lines.flush()
            assert path.read_text().rstrip(" \t") == "".join(f"{j}\n" for j in range(i + 1))
        else:
            assert path.read_text().rstrip(" \t") == "".join(f"{j}\n" for j in range(i))
    lines.close()
    assert path.read_text().rstrip(" \t") == "0\n1\n2\n3\n4\n"


def test_second_process_that_appends_fences_off_the_first(folder):
    path = folder / "lines"
    first, second = (files.Appended(path, b"0\n") for _ in range(2))
    for lines in (first, second, first):
        lines.append("later\n" if lines is first else "1\n")
        try:
            lines.flush()
        except LostError:
            assert lines is first and path.bucket
    assert path.read_text().rstrip(" \t") == "0\n1\n"
    first.close()
    second.close()
    assert path.read_text() == "0\n1\n"


def test_appended_lines_are_there_if_the_answer_to_a_write_is_lost(bucket, store):
    lines = files.Appended(bucket / "lines", b"0\n")
    for i in (1, 2):
        store.losing.append("x/lines")
        lines.append(f"{i}\n")
        lines.flush()
    assert (bucket / "lines").read_text() == "0\n1\n2\n"


class Saving:
    """A save in progress of a folder on a disk, which may fail."""

    def __init__(self, path, fails=False):
        self.path, self.fails = path, fails
        path.mkdir(parents=True)
        (path / "part").write_text("1")
        (path / MARK).write_text("as Orbax does")

    def result(self):
        if self.fails:
            raise ValueError("no room")
        (self.path / "d").mkdir()
        (self.path / "d" / "rest").write_text("2")


TOKENS = [letter * 32 for letter in "abc"]


def saved(folder, step, token=TOKENS[0], check=lambda: None):
    """Save and commit a step."""
    waiting = folder / f"{step}.{token}"
    waiting.save(Saving).result()
    waiting.commit(folder / str(step), check)


def refuse():
    raise LostError("lost")


def test_a_saved_folder_is_whole_until_it_is_removed(folder):
    saved(folder, 10)
    assert (folder / "10").is_whole()
    assert ((folder / "10").content() / "d/rest").read_text() == "2"
    assert folder.whole_folders() == ["10"] and not (folder / "20").is_whole()
    (folder / f"20{files.UNFINISHED}").mkdir(parents=True)
    (folder / f"30.{TOKENS[0]}").save(Saving).result()  # never committed
    if not folder.bucket:
        (folder / f"40.{TOKENS[0]}{files.UNFINISHED}").mkdir()
    folder.remove_unfinished()
    assert folder.whole_folders() == ["10"]
    assert len(folder.names()) == (2 if folder.bucket else 1)
    (folder / "10").remove()
    assert not (folder / "10").is_whole() and folder.names() == []


def test_a_lost_block_commits_no_folder(folder):
    with pytest.raises(LostError):
        saved(folder, 10, check=refuse)
    assert folder.whole_folders() == []
    saved(folder, 10, TOKENS[1])
    with pytest.raises(LostError):
        (folder / f"10.{TOKENS[0]}").commit(folder / "10", refuse)
    saved(folder, 10, TOKENS[2])  # as its successor replaces what it has just committed
    folder.remove_unfinished()
    assert folder.whole_folders() == ["10"]
    assert ((folder / "10").content() / "part").read_text() == "1"


def test_a_block_lost_while_the_mark_is_written_has_none(bucket):
    checks = []

    def check():  # lost between the first look and the write
        checks.append(1)
        if len(checks) > 1:
            refuse()

    with pytest.raises(LostError):
        saved(bucket, 10, check=check)
    assert len(checks) == 2 and bucket.whole_folders() == []


def test_a_mark_written_by_a_successor_is_not_replaced(bucket):
    checks = []

    def check():  # the successor begins and commits just after the first look
        checks.append(1)
        saved(bucket, 10, TOKENS[1]) if len(checks) == 1 else refuse()

    with pytest.raises(LostError):
        saved(bucket, 10, check=check)
    assert (bucket / "10").is_whole() and (bucket / "10").content().name == f"10.{TOKENS[1]}"


def test_a_folder_set_aside_is_kept_but_not_whole(folder):
    saved(folder, 10)
    (folder / "10").set_aside(".damaged-1")
    assert not (folder / "10").is_whole() and folder.whole_folders() == []
    folder.remove_unfinished()
    assert (folder / "10.damaged-1" / "part").read_text() == "1"


@pytest.mark.parametrize("kind", ["file", "dangling link"])
def test_a_step_that_is_no_folder_is_damage(tmp_path, kind):
    step = tmp_path / "20"
    step.symlink_to(tmp_path / "nothing") if kind != "file" else step.write_text("x")
    with pytest.raises(DamagedError, match="20 is damaged .no folder.: delete it"):
        files.path(tmp_path).whole_folders()


@pytest.mark.parametrize("name", ["x" * 300, "x/" * 3000])
def test_a_path_that_is_too_long_raises_config_error(name):
    with pytest.raises(ConfigError, match="is too long for a path: name a shorter one"):
        files.path(name)


WRITES = """
import sys
from grokjax.storage import files
path = files.path(sys.argv[1])
for _ in range(300):
    path.write(sys.argv[2] * 100_000)
"""


@pytest.mark.slow
def test_readers_see_whole_files_while_two_processes_write(tmp_path):
    path = files.path(tmp_path / "x")
    path.write("c")
    script = [sys.executable, "-c", WRITES, path]
    both = [subprocess.Popen([*script, letter]) for letter in "ab"]
    while any(process.poll() is None for process in both):
        assert path.read_text() in ("c", "a" * 100_000, "b" * 100_000)
    assert [process.returncode for process in both] == [0, 0] and path.parent.names() == ["x"]


def test_a_folder_in_a_bucket_without_its_mark_is_unfinished(bucket):
    with pytest.raises(ValueError, match="no room"):
        (bucket / "20").save(lambda path: Saving(path, fails=True)).result()
    assert bucket.keys() == []
    saved(bucket, 10)
    (bucket / f"20.{TOKENS[0]}" / "part").write("1")  # as a kill leaves it
    assert bucket.whole_folders() == ["10"] and not (bucket / "20").is_whole()
    bucket.remove_unfinished()
    assert sorted(bucket.names()) == ["10", f"10.{TOKENS[0]}"] and (bucket / "10").is_whole()


def test_the_mark_is_written_last_and_removed_first(bucket, store):
    saved(bucket, 10)
    written = [name for method, name in store.asked if method == "POST"]
    assert len(written) == 3 and written[-1] == f"x/10/{MARK}"
    store.asked.clear()
    (bucket / "10").remove()
    removed = [name for method, name in store.asked if method == "DELETE"]
    assert removed[0] == f"x/10/{MARK}" and len(removed) == 3


def test_of_many_that_create_an_object_one_succeeds(bucket):
    with ThreadPoolExecutor(8) as pool:
        wins = list(pool.map(lambda i: bool((bucket / "y").swap(b"%d" % i)), range(8)))
    assert wins.count(True) == 1 and (bucket / "y").read_bytes() == b"%d" % wins.index(True)


def test_a_changed_object_is_not_overwritten(bucket):
    assert bucket.swap(b"1") and not bucket.swap(b"2")
    old = bucket.read().generation
    assert bucket.swap(b"3", old)
    assert not bucket.swap(b"4", old) and not bucket.swap(None, old)
    assert bucket.read_bytes() == b"3"
    assert bucket.swap(None, bucket.read().generation) and bucket.read() is None
    assert not bucket.swap(b"5", old) and bucket.read() is None


def test_an_error_of_the_store_is_one_line_that_names_the_object(bucket, store):
    store.refusing.append("x/secret")
    with pytest.raises(PermissionError) as error:
        (bucket / "secret").read_bytes()
    assert "secret" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["gs://", "gs:///x", "gs://B_d/x"])
def test_a_name_without_a_bucket_raises_config_error(name):
    with pytest.raises(ConfigError, match="names no bucket: write gs://BUCKET/PATH"):
        files.path(name)
