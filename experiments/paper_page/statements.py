"""What the paper says of its runs, and within which tolerance a run here agrees with it.

What it says of a trained network stands in `experiments.paper_tables.definitions`, and is read here
off the mainline runs. Numbers of saved curves are the authors', first recorded step below a loss.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from experiments.paper_tables import definitions
from experiments.paper_tables.agreement import (
    Check,
    at_least,
    below,
    between,
    groks,
    never_groks,
    within,
)
from experiments.repeated_subsequence import DOUBLED

WHOLE = 40_000
"""Steps of the paper's runs on modular addition."""

UNIFORM = 4.727
"""Loss of a uniform guess of 113 classes, in nats."""


class Statement(NamedTuple):
    """Of every run with these values of fields; `place` is a path in the run's numbers."""

    says: str
    paper: str
    place: str
    check: Check
    runs: Mapping[str, Any] = {}
    of: tuple[str, ...] = ()
    claim: str = ""


class Order(NamedTuple):
    """Of groups of runs, one for each value of a field: each groks later than the next."""

    says: str
    paper: str
    field: str
    values: tuple[float, ...]


def _near(steps: int, by: float = 0.25) -> Check:
    return Check(
        f"{steps:,} +- {by:.0%}", lambda x, _: abs(x - steps) <= by * steps
    )  # relative() is of losses by split


def _late(factor: float) -> Check:
    """Of a step at which the test loss is below 1, beside that of the training loss."""

    def accepts(x: int, numbers: Mapping[str, Any]) -> bool:
        trained = numbers["steps_to_train_loss_below"]["1.0"]
        return trained is not None and x >= factor * trained

    return Check(f">= {factor:g}x that of the training loss", accepts)


def mainline() -> Iterator[Statement]:
    grok = "steps_to_grok"
    yield Statement("groks", "all five seeds", "grokked", groks(WHOLE))
    yield Statement("test accuracy 0.99", "about 10,000", grok, within(10_000, 1.5))
    yield Statement("memorization ends", "1,400 by eye", "memorization_end", _near(1_400))
    phases = (("circuit formation ends", 9_400), ("cleanup ends", 14_000))
    for says, step in phases:
        place = says.replace(" ends", "_end").replace(" ", "_")
        yield Statement(says, f"{step:,} by eye (seed 0)", place, within(step, 1.5))
    yield Statement(
        "loss without the key frequencies, training pairs (`excluded_loss`)",
        "6.5 to 11 (Table 4)",
        "mechanism/excluded_loss/train",
        between(6.5, 11),
    )
    for row in definitions.TABLE:
        if row.check:
            name = f"`{row.place.split('.')[-1]}`"
            yield Statement(
                f"{row.claim}: {name}" if row.claim and row.claim not in name else name,
                row.paper_text,
                f"mechanism/{row.place.replace('.', '/')}",
                row.check,
                of=row.of,
                claim=row.claim,
            )


def _saved(who: str, runs: Mapping[str, Any], level: str, step: int, factor: float) -> Statement:
    """The first step of a test loss below a level in a run that the authors saved."""
    return Statement(
        f"{who}: test loss below {float(level):g}",
        f"{step:,} (saved run)",
        f"steps_to_test_loss_below/{level}",
        within(step, factor),
        runs,
    )


FVE = ("0.91 to 0.99 (Table 5)", "mechanism/logit_fve", between(0.91, 0.99))
"""Of every model with weight decay, whose algorithm is the same."""


def _grokking(who: str, runs: Mapping[str, Any], paper: str = "groks") -> Iterator[Statement]:
    """It groks, and by the paper's algorithm."""
    yield Statement(f"{who}: groks", paper, "grokked", groks(WHOLE), runs)
    yield Statement(f"{who}: `logit_fve`", *FVE, runs)


def _never(who: str, runs: Mapping[str, Any], paper: str = "does not grok") -> Statement:
    return Statement(f"{who}: groks", paper, "grokked", never_groks(WHOLE), runs)


def _data_fraction() -> Iterator[Statement | Order]:
    for fraction in (0.1, 0.2):
        yield _never(f"fraction {fraction}", {"train_fraction": fraction}, "never")
    for fraction in (0.3, 0.4, 0.5):
        yield from _grokking(f"fraction {fraction}", {"train_fraction": fraction})
    yield Order("less data groks later", "slower with less data", "train_fraction", (0.3, 0.4, 0.5))
    first = {0.3: 7_583, 0.4: 2_615, 0.5: 744, 0.6: 270, 0.7: 129, 0.8: 177, 0.9: 156}
    for fraction, step in first.items():
        runs = {"train_fraction": fraction}
        yield _saved(f"fraction {fraction:g}", runs, "1.0", step, 2)
    for fraction in (0.6, 0.7, 0.8, 0.9):
        yield Statement(
            f"fraction {fraction}: largest test loss",
            "5.6 or less (saved runs): at once",
            "max_test_loss",
            below(5.6),
            {"train_fraction": fraction},
        )


def _weight_decay() -> Iterator[Statement | Order]:
    yield _never("decay 0", {"weight_decay": 0.0})
    yield Statement(
        "decay 0: excluded loss at the end",
        "never rises",
        "last/excluded_loss",
        below(UNIFORM),
        {"weight_decay": 0.0},
    )
    numbers = ((0.3, "3,000", within(3_000, 1.5)), (1.0, "5,000 to 10,000", between(5e3, 1e4)))
    for decay, paper, check in (*numbers, (3.0, "20,000", within(20_000, 1.5))):
        runs = {"weight_decay": decay}
        yield from _grokking(f"decay {decay:g}", runs)
        says = f"decay {decay:g}: test accuracy 0.99"
        yield Statement(says, f"{paper} (text)", "steps_to_grok", check, runs)
    says, decays = "less decay groks later", (0.3, 1.0, 3.0)
    yield Order(says, "the sentence beside these numbers", "weight_decay", decays)


def _moduli() -> Iterator[Statement]:
    yield _never("p = 53, decay 1", {"modulus": 53, "weight_decay": 1.0}, "never generalizes")
    yield from _grokking("p = 53, decay 5", {"modulus": 53, "weight_decay": 5.0})
    yield from _grokking("p = 109, decay 1", {"modulus": 109, "weight_decay": 1.0}, "as p = 113")


def _large_modulus() -> Iterator[Statement]:
    at_once = ("at once", "steps_to_test_loss_below/1.0", below(1_000))
    for decay in (0.3, 0.5, 1.0, 3.0, 5.0, 8.0):
        runs = {"modulus": 401, "weight_decay": decay, "train_fraction": 0.3}
        yield Statement(f"p = 401, decay {decay:g}: test loss below 1", *at_once, runs)
    for fraction in (0.05, 0.1):
        yield _never(f"p = 401, fraction {fraction:g}", {"train_fraction": fraction}, "never")
    says = "p = 401, fraction 0.2: test loss below 1"
    yield Statement(says, *at_once, {"train_fraction": 0.2})


def _two_layers() -> Iterator[Statement]:
    yield from _grokking("two layers", {}, "some do")
    yield Statement("two layers: slingshots", "strong", "slingshots", at_least(1))


def _regularizers() -> Iterator[Statement]:
    plain = {"dropout": 0.0, "l1": 0.0}
    yield _never("neither dropout nor L1 nor decay", plain)
    for rate in (0.2, 0.5):
        runs = {"dropout": rate}
        yield Statement(f"dropout {rate}: groks", "groks", "grokked", groks(WHOLE), runs)
        says = f"dropout {rate}: test accuracy at the end"
        yield Statement(says, "groks", "last/test_accuracy", at_least(0.99), runs)
        fve = ("0.71 to 0.89 (Table 5)", "mechanism/logit_fve", between(0.71, 0.89))
        yield Statement(f"dropout {rate}: `logit_fve`", *fve, runs)
    for strength in (1e-6, 1e-5, 1e-4):
        yield _never(f"L1 {strength:g}", {"l1": strength}, "never groks (strengths not given)")


def _low_precision() -> Iterator[Statement]:
    for decay in (0.1, 1.0):
        runs = {"loss": "low_precision", "weight_decay": decay}
        says = f"low-precision loss, decay {decay:g}: slingshots"
        yield Statement(says, "induced", "slingshots", at_least(1), runs)
        exact = {"loss": "exact", "weight_decay": decay}
        says = f"exact loss, decay {decay:g}: slingshots"
        yield Statement(says, "not needed to grok", "slingshots", below(1), exact)
    for loss in ("exact", "low_precision"):
        runs = {"loss": loss, "weight_decay": 1.0}
        says = f"{loss.replace('_', '-')} loss, decay 1: groks"
        yield Statement(says, "groks", "grokked", groks(WHOLE), runs)


def _sequences(
    task: str,
    fresh: Mapping[str, int],
    counts: Mapping[int, str],
    kinds: Mapping[str, Mapping[str, Any]] = {"": {}},
) -> Iterator[Statement]:
    """The saved curve on fresh data; on finite sets the training loss falls long before.

    `counts` says of each size of a set who names it, `kinds` in words which runs are compared.
    """
    size = f"{task}.num_sequences"
    for words, runs in kinds.items():
        for level, step in fresh.items():
            yield _saved(f"fresh data{words}", {size: 0, **runs}, level, step, 1.5)
    for words, runs in kinds.items():
        for count, whose in counts.items():
            says = f"{count} sequences{words}: test loss below 1"
            place = "steps_to_test_loss_below/1.0"
            yield Statement(says, f"groks{whose}", place, _late(2), {size: count, **runs})


EXPERIMENTS: dict[str, tuple[Statement | Order, ...]] = {
    "data_fraction": tuple(_data_fraction()),
    "weight_decay": tuple(_weight_decay()),
    "moduli": tuple(_moduli()),
    "large_modulus": tuple(_large_modulus()),
    "two_layers": tuple(_two_layers()),
    "regularizers": tuple(_regularizers()),
    "low_precision": tuple(_low_precision()),
    "skip_trigram": tuple(
        _sequences(
            "skip_trigram",
            {"1.0": 237},
            {512: " (text)", 100: " (their notebook's size)", 50: " (the figure's title)"},
        )
    ),
    "five_digit_addition": tuple(
        _sequences("five_digit_addition", {"1.0": 1_517, "0.1": 2_077}, {700: ""})
    ),
    "repeated_subsequence": tuple(
        _sequences(
            "repeated_subsequence",
            {"2.0": 900},
            {512: ""},
            {
                "": {DOUBLED: False},
                ", doubled residual": {DOUBLED: True},
            },
        )
    ),
}
