"""The metrics that a block records while it trains, one line of JSON an evaluation.

    <block>/metrics.jsonl
    {"step": 200, "train_loss": [4.74, null], ..., "ended": {"1": "diverged"}, ..., "sum": "..."}

- A list has one number a run of the block, and null for a run that has ended before or a number
  that is not finite.
- `ended` names the runs that end at this step, and the rule that ended them.
- `diverged_at` gives the step at which the loss of such a run was not finite.
- `sum` is a checksum of the line without this field, of the `sum` before it, and of the block's
  identity. So lines cannot be changed, dropped, reordered or taken from another block unnoticed.

The file can be followed while training. Readers ignore a last line that a kill has cut off, and
repeated lines. In a bucket the file is rewritten at each checkpoint.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from grokjax.core.errors import DAMAGE, DamagedError
from grokjax.storage import checkpoints, files
from grokjax.storage.files import AnyPath

_SUM = ', "sum": "{}"}}'
_DIGITS = 16


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
        lines = [line for line, *_ in _chain(path, checkpoints.identity_of(directory) or "")]
        return _joined([line for line in lines if upto is None or line["step"] <= upto])
    except FileNotFoundError:
        return None
    except DAMAGE as error:
        reason = str(error).splitlines()[0]
        remedy = "run the command that trained it again, or restore it from a copy"
        raise DamagedError(f"{path} is damaged ({reason}): {remedy}") from error


def lines_from(directory: str | os.PathLike, offset: int) -> tuple[list[dict[str, Any]], int]:
    """The whole lines after an offset in bytes, not checked, and the offset of their end."""
    try:
        content = path_of(directory).read_from(offset)
    except FileNotFoundError:
        return [], offset
    whole = content[: content.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines()], offset + len(whole)


class Writer:
    """Continues the record of a block after a step; later lines are removed.

    Opening a second writer ends the first: see `files.Appended`, also for `check`.
    """

    def __init__(
        self,
        directory: str | os.PathLike,
        identity: str,
        step: int = -1,
        check: Callable[[], Any] = lambda: None,
    ):
        path = path_of(directory)
        kept, self._identity, self._sum = [], identity, ""
        if path.exists():
            for line, text, checksum in _chain(path, identity):
                if line["step"] <= step:
                    kept.append(text + "\n")
                    self._sum = checksum
        self._file = files.Appended(path, "".join(kept).encode(), check)

    def append(
        self,
        step: int,
        scores: Mapping[str, np.ndarray],
        ended: Mapping[int, str],
        diverged_at: Mapping[int, int],
    ) -> None:
        """Add the line of one step.

        Args:
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
        self._sum = _sum(self._identity, self._sum, text)
        self._file.append(text[:-1] + _SUM.format(self._sum) + "\n")

    def flush(self) -> None:
        """Make all lines durable; raises a LostError if another process writes the record."""
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def fingerprint(directory: str | os.PathLike) -> str:
    """A hash of the file; "" if nothing was recorded."""
    try:
        return hashlib.sha256(path_of(directory).read_bytes()).hexdigest()
    except FileNotFoundError:
        return ""


def set_aside(directory: str | os.PathLike) -> None:
    """Rename a damaged file."""
    path = path_of(directory)
    path.rename(path.with_name(f"{path.name}.damaged-{uuid.uuid4().hex[:8]}"))


def _chain(path: AnyPath, identity: str) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Every line as an object, as text and with its checksum, without repetitions.

    Raises:
        ValueError: a line does not continue the chain.
    """
    previous, seen = "", set()
    # Behind the last line end is nothing, or a line that was cut off.
    for text in path.read_text().split("\n")[:-1]:
        if text in seen:
            continue
        line, unsigned = json.loads(text), text[: -len(_SUM.format("")) - _DIGITS] + "}"
        if line.get("sum") != (checksum := _sum(identity, previous, unsigned)):
            step = f"the line of step {line['step']}"
            raise ValueError(f"{step} is not what was written after the line before it")
        previous = checksum
        seen.add(text)
        yield line, text, checksum


def _sum(identity: str, previous: str, text: str) -> str:
    whole = f"{identity}\n{previous}\n{text}".encode()
    return hashlib.blake2b(whole, digest_size=_DIGITS // 2).hexdigest()


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
