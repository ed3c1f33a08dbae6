"""What a user must mend, told in one line: what was wrong, what is allowed, how to mend it."""

import difflib
import reprlib
from collections.abc import Iterable
from typing import Any


class UserError(ValueError):
    """Something that the user must mend; commands print it in one line and exit with 2."""


class ConfigError(UserError):
    """A configuration, an argument or a part that cannot be used as it is."""


class MissingError(ConfigError):
    """A measure asks for what a network or a run does not have."""


class DamagedError(UserError):
    """A file of a workdir that is not what was written."""


USUAL = {
    "lr": "learning_rate",
    "wd": "weight_decay",
    "p": "modulus",
    "mod": "modulus",
    "frac": "train_fraction",
    "frac_train": "train_fraction",
    "epochs": "steps",
    "warmup": "warmup_steps",
}
"""Other people's names of settings, which no likeness of letters leads to."""


def suggest(name: str, names: Iterable[str], at_most: int = 1) -> str:
    """A question naming the nearest of `names`, or else the first dozen of them."""
    names = tuple(names)
    close = difflib.get_close_matches(name, names, n=at_most)
    if USUAL.get(name) in names:
        close = [USUAL[name]]
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return f"choose from {', '.join(names[:12])}{more}"


def show(value: Any) -> str:
    """A value for an error message, shortened, on one line."""
    short = reprlib.Repr()
    short.maxtuple, short.maxother = 20, 80
    return " ".join(short.repr(value).split())
