"""The metrics that a block records while it trains, one line of JSON an evaluation.

    <block>/metrics.jsonl
    {"step": 200, "train_loss": [4.74, null], ..., "ended": {"1": "diverged"}, ..., "crc32": "..."}

- A list has one number a run of the block, and null for a run that has ended before or a number
  that is not finite.
- `ended` names the runs that end at this step, and the rule that ended them.
- `diverged_at` gives the step at which the loss of such a run was not finite.
- `crc32` covers the line without this field.

The file can be followed while training. Readers ignore a last line that a kill has cut off. In a
bucket the file is rewritten at each checkpoint.
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

_CRC = ', "crc32": "{}"}}'


class Recorded(NamedTuple):
    """The metrics of a block up to some step; runs are numbered by their index in the block."""

    steps: tuple[int, ...]
    scores: dict[str, np.ndarray]  # [r t], NaN where a run has ended
    ended: dict[int, tuple[int, str]]  # the step, and the rule that ended the run
    diverged_at: dict[int, int]


def path_of(directory: str | os.PathLike) -> AnyPath:
    return files.path(directory) / "metrics.jsonl"


def read(directory: str | os.PathLike, upto: int | None = None) -> Recorded | None:
    """The metrics on disk, up to a step; None if nothing was ever recorded.

    Raises:
        DamagedError: a line is not what was written; names the file.
    """
    path = path_of(directory)
    try:
        lines = [_checked(text) for text in _whole_lines(path)]
        return _joined([line for line in lines if upto is None or line["step"] <= upto])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise DamagedError(f"{path} is damaged ({reason}): restore it from a copy") from error


def lines_from(directory: str | os.PathLike, offset: int) -> tuple[list[dict[str, Any]], int]:
    """The whole lines after an offset in bytes, not checked, and the offset of their end."""
    try:
        content = path_of(directory).read_from(offset)
    except FileNotFoundError:
        return [], offset
    whole = content[: content.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines()], offset + len(whole)


def append(
    log: files.Appended,
    step: int,
    scores: Mapping[str, np.ndarray],
    ended: Mapping[int, str],
    diverged_at: Mapping[int, int],
) -> None:
    """Add the line of one step.

    Args:
        log: of `path_of` the block.
        step: of the evaluation.
        scores: arrays [r] of all runs of the block.
        ended: the rule that ended a run, for the runs that end here.
        diverged_at: the step at which the loss was not finite, for the runs that end here.
    """
    line: dict[str, Any] = {"step": step}
    line |= {name: [_number(x) for x in values] for name, values in scores.items()}
    line |= {"ended": dict(ended)} if ended else {}
    line |= {"diverged_at": dict(diverged_at)} if diverged_at else {}
    text = json.dumps(line)
    log.append(text[:-1] + _CRC.format(_crc(text)) + "\n")


def fingerprint(directory: str | os.PathLike) -> str:
    """A hash of the file; "" if nothing was recorded."""
    try:
        return hashlib.sha256(path_of(directory).read_bytes()).hexdigest()
    except FileNotFoundError:
        return ""


def set_aside(directory: str | os.PathLike) -> None:
    """Rename a damaged file."""
    path = path_of(directory)
    path.rename(path.with_name(f"{path.name}.damaged-{os.getpid()}"))


def rewind(directory: str | os.PathLike, step: int) -> None:
    """Remove the lines after a step, for a block that continues from there."""
    path = path_of(directory)
    if path.exists():
        lines = [line for line in _whole_lines(path) if json.loads(line)["step"] <= step]
        path.write("".join(line + "\n" for line in lines))


def _whole_lines(path: AnyPath) -> list[str]:
    return path.read_text().split("\n")[:-1]  # behind the last line end is nothing, or a cut line


def _checked(text: str) -> dict[str, Any]:
    line = json.loads(text)
    if line.get("crc32") != _crc(text[: -len(_CRC.format("")) - 8] + "}"):
        raise ValueError(f"the line of step {line['step']} is not what was written")
    return line


def _crc(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def _joined(lines: Sequence[Mapping[str, Any]]) -> Recorded:
    ended, diverged_at = {}, {}
    for line in lines:
        ended |= {int(run): (line["step"], rule) for run, rule in line.get("ended", {}).items()}
        diverged_at |= {int(run): step for run, step in line.get("diverged_at", {}).items()}
    names = [name for name in (lines[0] if lines else {}) if isinstance(lines[0][name], list)]
    scores = {name: np.array([line[name] for line in lines], np.float32).T for name in names}
    return Recorded(tuple(line["step"] for line in lines), scores, ended, diverged_at)


def _number(x: np.floating) -> float | None:
    """The shortest decimal that is the same float32; None if it is not finite."""
    return float(str(np.float32(x))) if np.isfinite(x) else None
