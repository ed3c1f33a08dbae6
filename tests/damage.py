"""Damage to the files of a workdir, for tests.torture."""

import itertools
import json
import os
import random
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from grokjax.storage import datasets, files, metrics_log


def flipped(path: Path) -> None:
    if content := bytearray(path.read_bytes()):
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
        path.write_bytes(bytes(content))


def cut(path: Path) -> None:
    os.truncate(path, random.randrange(max(path.stat().st_size, 1)))


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def overwritten(path: Path) -> None:
    path.write_bytes(random.randbytes(100))


def removed(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def swapped(path: Path) -> None:
    other = random.choice([x for x in path.parent.iterdir() if x.is_dir() and x != path])
    aside = path.with_name("aside")
    path.rename(aside)
    other.rename(path)
    aside.rename(other)


FILES = {
    "a trajectory": "blocks/*/trajectory/*/**/*",
    "a state": "blocks/*/resume/*/**/*",
    "config.json": "config.json",
    "metrics.jsonl": "blocks/*/metrics.jsonl",
    "measures.nc": "measures.nc",
    "curves.nc": "curves.nc",
    "config.copy.json": "config.copy.json",
    "identity": "blocks/*/identity",
}
RECORDS = "metrics.jsonl"


def records_swapped(path: Path) -> None:
    texts = [x.read_text() for x in (path, path.parents[1] / "1" / RECORDS)]
    path.write_text(texts[1])
    (path.parents[1] / "1" / RECORDS).write_text(texts[0])


def edited(change) -> Callable[[Path], None]:
    """Damage that changes the lines of a record."""

    def edit(path: Path) -> None:
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(change(lines)))

    return edit


def foreign(lines: list[str]) -> list[str]:
    """Lines of another sweep: other numbers, with a checksum for each."""
    others = []
    previous = ""
    for line in lines:
        text = json.dumps({**json.loads(line), "test_loss": [1.0, 2.0], "sum": None})
        text = text.replace(', "sum": null', "")
        previous = metrics_log._sum("another identity", previous, text)
        others.append(f'{text[:-1]}, "sum": "{previous}"}}\n')
    return others


EDITS = {
    "lines dropped": edited(lambda lines: lines[:3] + lines[4:]),
    "last line dropped": edited(lambda lines: lines[:-1]),
    "lines repeated": edited(lambda lines: lines[:3] + lines[2:] + lines[-2:]),
    "lines swapped": edited(lambda lines: [lines[0], lines[2], lines[1], *lines[3:]]),
    "unsigned": edited(lambda lines: [re.sub(r', "sum": "\w+"', "", x) for x in lines]),
    "foreign": edited(foreign),
    "records swapped": records_swapped,
}


def stray(path: Path) -> None:
    shutil.copytree(path, path.with_name("9"))


def stale(path: Path) -> None:
    ds = datasets.load(files.path(path))
    path.unlink()
    datasets.save((ds + 1).assign_attrs(ds.attrs), files.path(path))


FOLDERS = {
    "a checkpoint": "blocks/*/trajectory/*",
    "a resume state": "blocks/*/resume/*",
    "a folder of checkpoints": "blocks/*/trajectory",
    "a folder of states": "blocks/*/resume",
    "a block": "blocks/*",
    "all blocks": "blocks",
}
SWAPPED = ("a checkpoint", "a block")


def damages() -> Iterator[tuple]:
    """(name, function) of every kind of damage, in an endless cycle."""
    every = list(itertools.product(FILES, (flipped, flipped, cut, emptied, overwritten, removed)))
    every += [*itertools.product(FOLDERS, [removed]), *itertools.product(SWAPPED, [swapped])]
    every += [("metrics.jsonl", how) for how in EDITS.values()]
    every += [("a block", stray), ("curves.nc", stale), ("config.copy.json", flipped)]
    return itertools.cycle(every)
