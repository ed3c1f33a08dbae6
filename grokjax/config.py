"""What a sweep is: defaults, sweep axes, validation. A ConfigDict in, frozen dataclasses out.

Longer than most files here because each field is written once, with its default, its meaning and
its limits side by side; the default config, the checks, the axes and `--help` are all read off that
table. A dataclass that exists is valid, however it was made.
"""

import dataclasses
import difflib
import itertools
import math
import numbers
import reprlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ml_collections import ConfigDict


class ConfigError(ValueError):
    """Something that the user must mend, told in one line."""


def train_size(p: int, train_fraction: float) -> int:
    """Number of training pairs: int(fraction p^2), as in the authors' code."""
    return int(train_fraction * p**2)


def _setting(default: Any, meaning: str, allowed: str, accepts: Callable[[Any], bool]) -> Any:
    metadata = {"meaning": meaning, "allowed": allowed, "accepts": accepts}
    return dataclasses.field(default=default, metadata=metadata)


_INT32_MAX = 2**31 - 1  # What a seed or a step counter can be in an array.


def _count(default: int, meaning: str, low: int = 1, high: int = _INT32_MAX) -> Any:
    bounds = f"of at least {low}" if high == _INT32_MAX else f"from {low} to {high}"
    return _setting(default, meaning, f"an integer {bounds}", lambda x: low <= x <= high)


def _choice(meaning: str, *names: str) -> Any:
    allowed = "one of " + ", ".join(map(repr, names))
    return _setting(names[0], meaning, allowed, lambda x: x in names)


def _at_least_0(default: float, meaning: str) -> Any:
    return _setting(default, meaning, "a number of at least 0", lambda x: x >= 0)


def _positive(default: float, meaning: str) -> Any:
    return _setting(default, meaning, "a number greater than 0", lambda x: x > 0)


PRECISIONS = {
    "float32": "float32",
    "bfloat16_3x": "BF16_BF16_F32_X3",  # three products of bfloat16
    "tensorfloat32": "tensorfloat32",  # one of TF32 on NVIDIA, three of bfloat16 on TPU
    "bfloat16": "BF16_BF16_F32",
}
"""How an accelerator multiplies matrices, and JAX's name for it; a CPU takes float32."""


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """One run. Every field can be a sweep axis; the defaults are the paper's mainline run."""

    seed: int = _count(0, "for initial weights, split and dropout", low=0)
    modulus: int = _count(113, "p: operands and answers are integers modulo p", low=3, high=1000)
    operation: str = _choice("what to compute", "add", "subtract", "x2_xy_y2", "random")
    train_fraction: float = _setting(
        0.3,
        "share of the p * p pairs that is trained on",
        "a number between 0 and 1, both excluded",
        lambda x: 0 < x < 1,
    )
    learning_rate: float = _positive(1e-3, "of AdamW, after warm-up")
    warmup_steps: int = _count(10, "steps of linear warm-up", low=0)
    betas: tuple[float, float] = _setting(
        (0.9, 0.98),
        "of AdamW",
        "a pair of numbers from 0 to below 1, such as (0.9, 0.98)",
        lambda pair: all(0 <= x < 1 for x in pair),
    )
    weight_decay: float = _at_least_0(1.0, "of AdamW, decoupled")
    init_scale: float = _positive(1.0, "factor on the initial weights")
    steps: int = _count(40_000, "optimiser updates")
    loss: str = _choice("arithmetic of the training loss", "exact", "low_precision")
    dropout: float = _setting(
        0.0,
        "probability of dropping a unit",
        "a number from 0 to below 1",
        lambda x: 0 <= x < 1,
    )
    l1: float = _at_least_0(0.0, "L1 penalty on the parameters")
    d_model: int = _count(128, "width of the residual stream")
    num_heads: int = _count(4, "attention heads; divides d_model")
    d_mlp: int = _count(512, "MLP neurons in a layer")
    num_layers: int = _count(1, "transformer layers")
    activation: str = _choice("of the MLP", "relu", "gelu")

    def __post_init__(self):
        _check_fields(self)
        if self.d_model % self.num_heads:
            raise ConfigError(
                f"num_heads={self.num_heads} does not divide d_model={self.d_model}: "
                f"make d_model a multiple of {self.num_heads} or change num_heads"
            )
        # A fraction below 1 always leaves a test pair, but a small one may leave no training pair.
        if int(self.train_fraction * self.modulus**2) == 0:
            raise ConfigError(
                f"train_fraction={self.train_fraction!r} leaves no training pair at "
                f"modulus={self.modulus}: raise either"
            )

    @property
    def num_train(self) -> int:
        return train_size(self.modulus, self.train_fraction)

    @property
    def d_head(self) -> int:
        return self.d_model // self.num_heads

    def to_dict(self) -> dict[str, Any]:
        return {name: _plain(getattr(self, name)) for name in RUN_FIELDS}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "RunConfig":
        return cls(**_from_plain(fields, RUN_FIELDS, "a run"))


@dataclasses.dataclass(frozen=True)
class SweepConfig:
    """A table of runs, and what is the same for all of them.

    `axes` names the run fields that were declared as axes, outermost first; any other field in
    which the runs differ is appended.
    """

    runs: tuple[RunConfig, ...]
    axes: tuple[str, ...] = ()
    eval_every: int = _count(100, "steps between recorded losses")
    checkpoint_every: int = _count(100, "steps between checkpoints of the parameters")
    checkpoint_log_steps: int = _count(
        0, "additional checkpoints, logarithmically spaced from step 1", low=0, high=10_000
    )
    resume_every: int = _count(1000, "steps between states to resume from")
    precision: str = _choice("of matrix products", *PRECISIONS)
    stop_test_loss: float = _at_least_0(
        0.0, "end a block once each of its runs has had a test loss below this; 0: never"
    )
    max_block: int = _count(0, "largest number of runs in a block; 0: what fits in memory", low=0)

    def __post_init__(self):
        _check_fields(self)
        object.__setattr__(self, "runs", tuple(self.runs))
        if not self.runs:
            raise ConfigError("runs is empty: a sweep needs at least one run")
        for name in self.axes:
            _check_name(name, RUN_FIELDS, "an axis")
        differing = (name for name in RUN_FIELDS if len(set(_column(self, name))) > 1)
        object.__setattr__(self, "axes", tuple(dict.fromkeys((*self.axes, *differing))))
        _refuse_duplicates(self.runs, self.axes)

    def to_dict(self) -> dict[str, Any]:
        fields = {name: getattr(self, name) for name in SWEEP_FIELDS}
        return {**fields, "axes": list(self.axes), "runs": [run.to_dict() for run in self.runs]}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "SweepConfig":
        fields = _from_plain(fields, (*SWEEP_FIELDS, "axes", "runs"), "a sweep")
        return cls(**{**fields, "runs": tuple(map(RunConfig.from_dict, fields["runs"]))})


SETTINGS: dict[str, dataclasses.Field] = {
    field.name: field
    for cls in (RunConfig, SweepConfig)
    for field in dataclasses.fields(cls)
    if field.metadata
}
RUN_FIELDS: tuple[str, ...] = tuple(field.name for field in dataclasses.fields(RunConfig))
SWEEP_FIELDS: tuple[str, ...] = tuple(name for name in SETTINGS if name not in RUN_FIELDS)


# --- Checking one value ---------------------------------------------------------------------------


def check(name: str, value: Any) -> Any:
    """The value as field `name` stores it: an int becomes a float where a float is wanted."""
    field = SETTINGS[name]
    converted = _convert(field.default, value)
    if converted is not None and field.metadata["accepts"](converted):
        return converted
    hint = ""
    if isinstance(value, tuple | list) and not isinstance(field.default, tuple):
        hint = f"; to sweep over several values, set axes.{name}" if name in RUN_FIELDS else ""
    elif isinstance(value, list):
        hint = f"; write a tuple, {_show(tuple(value))}"
    elif isinstance(value, float) and isinstance(field.default, int) and value.is_integer():
        hint = f"; write {int(value)}"
    elif converted is not None and isinstance(converted, int) and converted > _INT32_MAX:
        hint = f"; the largest is {_INT32_MAX}"
    raise ConfigError(f"{name} must be {field.metadata['allowed']}, got {_show(value)}{hint}")


def check_axis(name: str, values: Any) -> tuple[Any, ...]:
    """The values of the axis over run field `name`, as the field stores them."""
    if not isinstance(values, tuple):
        scalar = isinstance(values, str | numbers.Number)
        example = _show((values,)) if scalar else f"tuple({_show(values)})"
        raise ConfigError(
            f"axes.{name} must be a tuple of values, got {_show(values)}; write {example}"
        )
    if not values:
        raise ConfigError(f"axes.{name} is empty: give it a value, or None to leave it unswept")
    try:
        return tuple(check(name, value) for value in values)
    except ConfigError as error:
        raise ConfigError(f"axes.{name} holds a wrong value: {error}") from None


def suggest(name: str, names: Iterable[str]) -> str:
    """A question naming the nearest of `names`, or else all of them."""
    names = tuple(names)
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(names)}"


def _convert(like: Any, value: Any) -> Any:
    """The value in the type of `like`; None where nothing of that type says the same."""
    if isinstance(like, tuple):
        if not isinstance(value, tuple) or len(value) != len(like):
            return None
        parts = tuple(map(_convert, like, value))
        return None if None in parts else parts
    if isinstance(like, str):
        return str(value) if isinstance(value, str) else None
    # To Python a bool is an integer; numpy's scalars count as numbers, its bools do not.
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return None
    if isinstance(like, int):
        return int(value) if isinstance(value, numbers.Integral) else None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _check_fields(config: RunConfig | SweepConfig) -> None:
    for field in dataclasses.fields(config):
        if field.metadata:
            value = check(field.name, getattr(config, field.name))
            object.__setattr__(config, field.name, value)


def _check_name(name: Any, names: tuple[str, ...], what: str) -> None:
    if name not in names:
        known = f"unknown field {_show(name)} in {what}"
        raise ConfigError(f"{known}: {suggest(str(name), names)}")


def _show(value: Any) -> str:
    short = reprlib.Repr()
    short.maxtuple, short.maxother = 20, 80
    return " ".join(short.repr(value).split())


# --- Combinators for sweep(config) ----------------------------------------------------------------

Fields = dict[str, Any]


def axis(name: str, values: Iterable[Any]) -> list[Fields]:
    """One dict for each value, to be combined by `product`, `zipped` or `chain`."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ConfigError(f"axis {name!r} needs several values, got {_show(values)}; write a tuple")
    fields = [{name: value} for value in values]
    if not fields:
        raise ConfigError(f"axis {name!r} is empty: give it at least one value")
    return fields


def product(*parts: Iterable[Fields]) -> list[Fields]:
    """Every combination of one dict from each part; the last part varies fastest."""
    return [_merge(combination) for combination in itertools.product(*parts)]


def zipped(*parts: Iterable[Fields]) -> list[Fields]:
    """The first dicts of all parts together, then the second, and so on."""
    lists = [list(part) for part in parts]
    if len({len(part) for part in lists}) > 1:
        sizes = ", ".join(str(len(part)) for part in lists)
        raise ConfigError(f"zipped needs parts of equal length, got {sizes}; use product or trim")
    return [_merge(combination) for combination in zip(*lists, strict=True)]


def chain(*parts: Iterable[Fields]) -> list[Fields]:
    """The dicts of the first part, then those of the second, and so on."""
    return list(itertools.chain(*parts))


def _merge(parts: Iterable[Fields]) -> Fields:
    merged: Fields = {}
    for part in parts:
        for name in part:
            if name in merged:
                raise ConfigError(f"{name!r} is set by two parts that are combined: keep one")
        merged.update(part)
    return merged


# --- From a ConfigDict to a sweep -----------------------------------------------------------------


def default() -> ConfigDict:
    """The paper's mainline run. An entry of `axes` that is None is not swept."""
    fields = {name: field.default for name, field in SETTINGS.items()}
    # Not type-safe: types are checked once, by `resolve`, which can say how to mend them.
    axes = ConfigDict(dict.fromkeys(RUN_FIELDS), type_safe=False)
    return ConfigDict({**fields, "axes": axes}, type_safe=False)


def resolve(
    config: ConfigDict, sweep: Callable[[ConfigDict], Iterable[Mapping[str, Any]]] | None = None
) -> SweepConfig:
    """The runs of a config, checked.

    The rows that `sweep(config)` yields are multiplied by the axes. Rows vary slowest, then the
    axes in the order of the fields of `RunConfig`, and the seed fastest.

    Raises:
        ConfigError: what is wrong, what is allowed and how to mend it, in one line.
    """
    _check_all_present(config, (*SETTINGS, "axes"), "config")
    axes = _declared_axes(config)
    rows = [{}] if sweep is None else _rows(sweep, config)
    set_by_rows = dict.fromkeys(itertools.chain.from_iterable(rows))
    for name in axes:
        if name in set_by_rows:
            raise ConfigError(
                f"{name} is set by sweep() and swept by axes.{name}: remove one of the two"
            )
    base = {name: config[name] for name in RUN_FIELDS}
    combinations = product(rows, *(axis(name, values) for name, values in axes.items()))
    return SweepConfig(
        runs=tuple(RunConfig(**{**base, **fields}) for fields in combinations),
        axes=(*set_by_rows, *axes),
        **{name: config[name] for name in SWEEP_FIELDS},
    )


def _declared_axes(config: ConfigDict) -> dict[str, tuple[Any, ...]]:
    axes = config["axes"]
    if not isinstance(axes, ConfigDict):
        raise ConfigError(f"axes was replaced by {_show(axes)}: set its entries, as in axes.seed")
    for name in axes:
        if name in SWEEP_FIELDS:
            raise ConfigError(f"{name} cannot be an axis: it has one value for the whole sweep")
    _check_all_present(axes, RUN_FIELDS, "axes")
    names = sorted(RUN_FIELDS, key=lambda name: name == "seed")
    return {name: check_axis(name, axes[name]) for name in names if axes[name] is not None}


def _rows(sweep: Callable, config: ConfigDict) -> list[dict[str, Any]]:
    rows = sweep(config.copy_and_resolve_references())
    if not isinstance(rows, Iterable):
        raise ConfigError(f"sweep() must yield dicts of fields, got {_show(rows)}")
    rows = list(rows)
    if not rows:
        raise ConfigError("sweep() yields no runs: yield at least one dict, which may be empty")
    for row in rows:
        if not isinstance(row, Mapping):
            raise ConfigError(f"sweep() must yield dicts of fields, got {_show(row)}")
        for name in row:
            if name in SWEEP_FIELDS:
                raise ConfigError(
                    f"sweep() sets {name}, which has one value for the whole sweep: "
                    "set it in get_config()"
                )
            _check_name(name, RUN_FIELDS, "sweep()")
    return [dict(row) for row in rows]


def _check_all_present(fields: Mapping[str, Any], names: tuple[str, ...], what: str) -> None:
    for name in fields:
        _check_name(name, names, what)
    for name in names:
        if name not in fields:
            raise ConfigError(f"{what} lacks the field {name!r}: start from config.default()")


def _refuse_duplicates(runs: tuple[RunConfig, ...], axes: tuple[str, ...]) -> None:
    seen: dict[RunConfig, int] = {}
    for index, run in enumerate(runs):
        first = seen.setdefault(run, index)
        if first != index:
            values = ", ".join(f"{name}={getattr(run, name)!r}" for name in axes)
            same = f"runs {first} and {index} are the same ({values or 'no axis'})"
            raise ConfigError(f"{same}: list each combination once")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _from_plain(fields: Mapping[str, Any], names: tuple[str, ...], what: str) -> dict[str, Any]:
    for name in fields:  # one that is absent, in a sweep of an older version, has its default
        _check_name(name, names, what)
    return {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}


# --- What follows from a sweep --------------------------------------------------------------------


def checkpoint_steps(sweep: SweepConfig) -> tuple[int, ...]:
    """Steps at which parameters are kept, including 0 and the last step of every run."""
    ends = set(_column(sweep, "steps"))
    last, count = max(ends), sweep.checkpoint_log_steps
    spaced = (round(last ** (i / count)) for i in range(count))
    return tuple(sorted({*range(0, last, sweep.checkpoint_every), *spaced, *ends}))


def eval_steps(sweep: SweepConfig) -> tuple[int, ...]:
    """Steps at which losses are recorded, including every step with a checkpoint."""
    last = max(_column(sweep, "steps"))
    return tuple(sorted({*range(0, last, sweep.eval_every), *checkpoint_steps(sweep)}))


def differing_fields(a: SweepConfig, b: SweepConfig) -> tuple[str, ...]:
    """One line, `field: old -> new`, for each difference; empty if both give the same results.

    Which of the fields were declared as axes makes no difference.
    """
    lines = [
        f"{name}: {getattr(a, name)!r} -> {getattr(b, name)!r}"
        for name in SWEEP_FIELDS
        if getattr(a, name) != getattr(b, name)
    ]
    if len(a.runs) != len(b.runs):
        lines.append(f"number of runs: {len(a.runs)} -> {len(b.runs)}")
    for name in RUN_FIELDS:
        old, new = (tuple(dict.fromkeys(_column(sweep, name))) for sweep in (a, b))
        if old != new:
            lines.append(f"{name}: {_values(old)} -> {_values(new)}")
    if not lines and a.runs != b.runs:
        lines.append("runs: the same values -> combined or ordered in another way")
    return tuple(lines)


def _column(sweep: SweepConfig, name: str) -> tuple[Any, ...]:
    return tuple(getattr(run, name) for run in sweep.runs)


def _values(values: tuple[Any, ...]) -> str:
    return repr(values[0]) if len(values) == 1 else _show(values)
