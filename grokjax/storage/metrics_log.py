"""What a block records while it trains: a line of JSON for each evaluation, appended.

    <block>/metrics.jsonl
    {"step": 200, "train_loss": [4.74, null], ..., "ended": {"1": "diverged"}, ..., "crc32": "..."}

Lists have the runs of the block in its order; null where a run has ended before, or where a number
is not finite. `ended` says which runs end with this line, and by which rule; `diverged_at` at which
step a loss of theirs was not finite; `crc32` is of the line before it was added. The file can be
followed while training; a line that a kill has cut off is left out. In a bucket it is written anew
at each checkpoint.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from grokjax.core.errors import DamagedError
from grokjax.storage import files
from grokjax.storage.files import AnyPath


class Recorded(NamedTuple):
    """What a block has recorded up to some step."""

    steps: tuple[int, ...]
    scores: dict[str, np.ndarray]  # [r t], NaN where a run has ended
    ended: dict[int, tuple[int, str]]  # by place in the block: the step, and by which rule
    diverged_at: dict[int, int]  # by place in the block


def path_of(directory: str | os.PathLike) -> AnyPath:
    return files.path(directory) / "metrics.jsonl"


def read(directory: str | os.PathLike, upto: int | None = None) -> Recorded | None:
    """What is on disk, up to a step; None where nothing was ever recorded.

    Raises:
        DamagedError: a line is not what was written; names the file.
    """
    path = path_of(directory)
    try:
        lines = _checked(_whole_lines(path))
        lines = [line for line in lines if upto is None or line["step"] <= upto]
        return _of_lines(lines)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise DamagedError(f"{path} is damaged ({reason}): restore it from a copy") from error


def lines_from(directory: str | os.PathLike, offset: int) -> tuple[list[dict[str, Any]], int]:
    """The whole lines after an offset in bytes, and the offset after these."""
    try:
        read = files.read_from(path_of(directory), offset)
    except FileNotFoundError:
        return [], offset
    whole = read[: read.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines()], offset + len(whole)


def _whole_lines(path: AnyPath) -> list[str]:
    lines = path.read_text().split("\n")
    return lines[:-1]  # what stands behind the last line end is nothing, or was cut off


def _checked(texts: Sequence[str]) -> list[dict[str, Any]]:
    lines = [json.loads(text) for text in texts]
    if any("crc32" in line for line in lines):  # format 3 has none
        for text, line in zip(texts, lines, strict=True):
            if line["crc32"] != _crc(text[: -len(_SUM.format("")) - 8] + "}"):
                raise ValueError(f"the line of step {line['step']} is not what was written")
    return lines


_SUM = ', "crc32": "{}"}}'


def _crc(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def _of_lines(lines: Sequence[Mapping[str, Any]]) -> Recorded:
    ended, diverged_at = {}, {}
    names = [name for name in (lines[0] if lines else {}) if isinstance(lines[0][name], list)]
    for line in lines:
        ended |= {int(place): (line["step"], by) for place, by in line.get("ended", {}).items()}
        diverged_at |= {int(place): at for place, at in line.get("diverged_at", {}).items()}
    scores = {name: np.array([x[name] for x in lines], np.float32).T for name in names}
    return Recorded(tuple(line["step"] for line in lines), scores, ended, diverged_at)


def append(
    records: files.Appended,
    step: int,
    scores: Mapping[str, np.ndarray],
    ended: Mapping[int, str],
    diverged_at: Mapping[int, int],
) -> None:
    """One line: scores [r] of all runs, and those that end here. `records` are of `path_of`."""
    line: dict[str, Any] = {"step": step}
    line |= {name: [_number(x) for x in values] for name, values in scores.items()}
    line |= {"ended": dict(ended)} if ended else {}
    line |= {"diverged_at": dict(diverged_at)} if diverged_at else {}
    text = json.dumps(line)
    records.append(text[:-1] + _SUM.format(_crc(text)) + "\n")


def fingerprint(directory: str | os.PathLike) -> str:
    """A hash of all that is recorded; "" where nothing is."""
    try:
        return hashlib.sha256(path_of(directory).read_bytes()).hexdigest()
    except FileNotFoundError:
        return ""


def set_aside(directory: str | os.PathLike) -> None:
    """Renames records that are damaged."""
    path = path_of(directory)
    path.rename(path.with_name(f"{path.name}.damaged-{os.getpid()}"))


def rewind(directory: str | os.PathLike, step: int) -> None:
    """Removes the lines after a step, for a block that goes on from there."""
    path = path_of(directory)
    if not path.exists():
        return
    lines = [line for line in _whole_lines(path) if json.loads(line)["step"] <= step]
    files.write(path, "".join(line + "\n" for line in lines))


def _number(x: np.floating) -> float | None:
    """As few digits as tell it from all other float32 numbers."""
    return float(str(np.float32(x))) if np.isfinite(x) else None
