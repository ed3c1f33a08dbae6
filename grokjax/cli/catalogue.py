"""A catalogue of the registered parts, kept on disk so that listing them needs no JAX."""

import hashlib
import json
import os
import textwrap
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from grokjax.cli.help import WIDTH
from grokjax.core import registry
from grokjax.storage import user_cache


class Entry(NamedTuple):
    """What is listed of a part."""

    kind: str
    name: str
    families: tuple[str, ...]
    definition: str
    source: str
    text: str  # its full description


def entries() -> list[Entry]:
    """The built-in parts, or all parts once custom ones may be registered."""
    if registry.is_loaded():
        return _made()
    return [
        Entry(kind, name, tuple(families), *texts)
        for kind, name, families, *texts in json.loads(kept("parts", lambda: json.dumps(_made())))
    ]


def _made() -> list[Entry]:
    from grokjax.cli import listing  # slow

    return [
        Entry(kind, x.name, tuple(filter(None, x.families)), x.definition, x.source,
              "\n".join(listing.of_part(x)))
        for kind in registry.KINDS
        for x in registry.all_of(kind)
    ]  # fmt: skip


def kept(name: str, make: Callable[[], str]) -> str:
    """A text that depends on the package alone, from the cache of an earlier call."""
    cache = user_cache.folder()
    path = cache / f"{name}-{_state_of_package()}.txt"
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text()
    text = make()
    with suppress(OSError):
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in cache.glob(f"{name}-*.txt"):
            old.unlink()
        part = path.with_suffix(f".{os.getpid()}")
        part.write_text(text)
        part.replace(path)
    return text


def _state_of_package() -> str:
    """Changes when a file of the package does."""
    package = Path(__file__).parents[1]
    paths = sorted([*package.rglob("*.py"), *(package.parent / "sweeps").glob("*.py")])
    states = [(str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in paths]
    return hashlib.sha256(repr(states).encode()).hexdigest()[:16]


# --- Texts ----------------------------------------------------------------------------------------


def index(every: Sequence[Entry]) -> str:
    """The names of all parts by kind, measures and summaries by family: a screen."""
    lines = []
    for kind, group in groupby(every, lambda one: one.kind):
        group = list(group)
        lines.append(f"{kind.upper()} ({len({one.name for one in group})})")
        if kind != "measure":
            lines += _wrapped(", ".join(dict.fromkeys(one.name for one in group)))
            continue
        families = dict.fromkeys(x for one in group for x in (one.families or ("others",)))
        for family in families:
            of_family = [x for x in group if family in (x.families or ("others",))]
            names = list(dict.fromkeys(one.name for one in of_family))
            line = f"  {family} ({len(names)}): "
            while names and len(line) + len(names[0]) < WIDTH - 6:
                line += names.pop(0) + ", "
            lines.append(line.removesuffix(", ") + (", ..." if names else ""))
    lines.append("\ngrokjax parts WORD: a kind, a family, a name, or any text to search for")
    return "\n".join(lines)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ")


def find(every: Sequence[Entry], word: str) -> list[Entry]:
    """The parts of that name; else of that kind or family; else those that mention the word."""
    by_name = [one for one in every if one.name == word]
    by_group = [one for one in every if word == one.kind or word in one.families]
    text = word.lower()
    mention = (" ".join((x.name, x.definition, x.source)).lower() for x in every)
    return by_name or by_group or [x for x, y in zip(every, mention, strict=True) if text in y]


def shown(found: Sequence[Entry], word: str) -> str:
    """Full descriptions of parts of this name, or of a single part; else a line for each."""
    full = len(found) == 1 or all(one.name == word for one in found)
    blocks = []
    for kind, group in groupby(found, lambda one: one.kind):
        blocks += [f"{kind.upper()}\n", *(f"{x.text}\n" if full else _line(x) for x in group)]
        blocks += [] if full else [""]
    return "\n".join(blocks)


def _line(one: Entry) -> str:
    text = f"{one.name}: {one.definition}"
    return "  " + textwrap.shorten(text, WIDTH - 2, placeholder=" ...")
