"""Checks of what a decorator declares, when it runs."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from grokjax.core.errors import ConfigError, show, suggest

NEEDS = ("initial", "float64", "host")
"""What a measure may need."""

COSTS = ("every", "tenth", "demand")


class Rule(NamedTuple):
    """What a keyword of a decorator may be."""

    words: str
    allows: Callable[[Any], bool]


def _names(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(isinstance(x, str) and x for x in value)


def _dims(value: Any) -> bool:
    distinct = _names(value) and len({*value, "run", "step"}) == len(value) + 2
    return distinct and all(x.isidentifier() for x in value)


_TEXT = Rule("a string", lambda x: isinstance(x, str))
_BOOL = Rule("True or False", lambda x: isinstance(x, bool))
_FUNCTION = Rule("a function", lambda x: x is None or callable(x))
_MAYBE = Rule("a string", lambda x: x is None or isinstance(x, str))

RULES = {
    "uses": Rule("a tuple of names, as in uses=('modulus',)", lambda x: x is None or _names(x)),
    "dims": Rule("a tuple of names other than 'run' and 'step', as in dims=('head',)", _dims),
    "needs": Rule("a tuple of names, as in needs=('test_loss',)", _names),
    "family": Rule("a name or a tuple of names", lambda x: isinstance(x, str) or _names(x)),
    "defaults": Rule("a dict of fields", lambda x: isinstance(x, Mapping)),
    "sign": Rule("1 or -1", lambda x: x in (1, -1)),
    "at": Rule("'every' or 'end'", lambda x: x in ("every", "end")),
    "cost": Rule(f"one of {', '.join(map(repr, COSTS))}", lambda x: x in COSTS),
    "show": Rule("a grokjax.parts.Show", lambda x: type(x).__name__ == "Show"),
    "embedding": _TEXT,
    "unembedding": Rule("a name or a tuple of names", lambda x: isinstance(x, str) or _names(x)),
    "task": _MAYBE,
    "split": _MAYBE,
    **dict.fromkeys(("units", "source", "title"), _TEXT),
    **dict.fromkeys(("padded", "partial", "fourier", "curves", "variant"), _BOOL),
    **dict.fromkeys(("draw", "sizes", "check", "applies", "evaluation_params"), _FUNCTION),
}
# `pairs` is left to the tasks that have them.


def check(kind: str, where: str, keywords: Mapping[str, Any]) -> None:
    """Raise a ConfigError for a keyword with a wrong value; `where` names the part and its file."""
    for name, value in keywords.items():
        rule = RULES.get(name)
        if rule is None or rule.allows(value):
            continue
        hint = f"; write {(value,)!r}" if isinstance(value, str) and rule.allows((value,)) else ""
        raise ConfigError(f"{where}: {name} must be {rule.words}, got {show(value)}{hint}")
    needs = keywords.get("needs", ())
    if kind in ("summary", "view") and not needs:
        raise ConfigError(f"{where} names nothing that it reads: needs=('test_loss',)")
    wrong = [name for name in needs if kind == "measure" and name not in NEEDS]
    if wrong:
        raise ConfigError(f"{where} needs {wrong[0]!r}: {suggest(wrong[0], NEEDS)}")
