"""What the results say of the paper's tasks of sequences (D.3), in words and a table."""

from collections.abc import Sequence
from typing import Any

from experiments.paper_page.judged import in_short, number
from experiments.paper_page.recorded import Run
from experiments.paper_page.tables import Known, over, table
from experiments.repeated_subsequence import DOUBLED

THEIRS = ((9, 288), (490, 1_818), (1_582, 2_180), (1_542, 2_056), (1_029, 1_963), (1_635, 1_761))
"""By digit of the sum, the first step of a loss below 1 and below 0.1 in the run that the authors
saved with a loss for each."""


def skip_trigram(known: Known) -> str:
    """When the losses fall, and on fresh data the attention to the key beside them."""
    by_count = by_size(known, "skip_trigram")
    lines = [_keys(runs) if count == 0 else _finite(count, runs) for count, runs in by_count]
    return "\n".join(f"- {line}" for line in lines) or "Not run here."


def _finite(count: int, runs: Sequence[Run]) -> str:
    train, test = (_steps(runs, "1.0", split) for split in ("train", "test"))
    ends = listed([run.numbers["last"]["test_loss"] for run in runs])
    return (
        f"on {count} sequences for {_trained(runs)} the training loss is below 1 from step "
        f"{train}, the test loss from {test}, and {ends} at the end"
    )


def _keys(runs: Sequence[Run]) -> str:
    attention = [at_steps(run, "attention_to_key", (100, 200)) for run in runs]
    steps, values = attention[0][0], list(zip(*(x for _, x in attention), strict=True))
    ends = [run.numbers["last"]["test_loss"] for run in runs]
    first, tenth = (_steps(runs, level) for level in ("1.0", "0.1"))
    return (
        f"on fresh data for {_trained(runs)} the test loss is below 1 from step {first}, "
        f"below 0.1 from {tenth}, and {listed(ends)} at the end; meanwhile the head's "
        f"attention to the key rises from {listed([x[0] for x in values[0]])} at step {steps[0]} "
        f"to {listed([x[0] for x in values[1]])} at step {steps[1]}"
    )


def repeated_subsequence(known: Known) -> str:
    """When the loss falls on fresh data, and the best head's prefix matching beside it."""
    runs = fresh(known, "repeated_subsequence")
    kinds = {
        "each layer added to the stream": False,
        "the stream doubled at each layer, as the authors' code has it": True,
    }
    lines = []
    for words, doubled in kinds.items():
        if alike := [run for run in runs if run.fields.get(DOUBLED) == doubled]:
            lines.append(f"- {words}: {_copies(alike)}")
    return "\n".join(lines) or "Not run here."


def _copies(runs: Sequence[Run]) -> str:
    two, one = (_steps(runs, level) for level in ("2.0", "1.0"))
    ends = [run.numbers["last"]["test_loss"] for run in runs]
    scores = [at_steps(run, "prefix_matching_score", (500, 1_000, 2_000)) for run in runs]
    steps, every = scores[0][0], list(zip(*(x for _, x in scores), strict=True))
    best = [[max(map(max, layers)) for layers in at_step] for at_step in every]
    said = (f"{listed(x)} at step {number(step)}" for step, x in zip(steps, best, strict=True))
    return (
        f"on fresh data for {_trained(runs)} the test loss is below 2 from step {two}, "
        f"below 1 from {one}, and {listed(ends)} at the end; meanwhile the largest "
        f"prefix-matching score of a head is {', '.join(said)}"
    )


def five_digit_addition(known: Known) -> str:
    """By digit, the first checkpoint at which the loss on fresh data is below 1 and below 0.1."""
    runs = fresh(known, "five_digit_addition")
    if not runs:
        return "Not run here."
    head = ("digit of the sum", "below 1", "theirs", "below 0.1", "theirs")
    head += ("below 0.1 with a carry into it", "without")
    rows = []
    for digit, theirs in enumerate(THEIRS):
        cells = [f"{digit}{' (the carry)' * (digit == 0)}{' (units)' * (digit == 5)}"]
        for level, their in zip((1.0, 0.1), theirs, strict=True):
            cells += [_first(runs, "loss_by_digit", digit, level), number(their)]
        for which in ("with", "without"):
            name = f"loss_by_digit_{which}_carry"
            cells.append(_first(runs, name, digit, 0.1))
        rows.append(cells)
    ends = [run.numbers["last"]["test_loss"] for run in runs]
    return (
        f"First checkpoints, of one every {_every(runs[0])} steps, on fresh data for "
        f"{_trained(runs)}, median (range); the mean loss of all digits is {listed(ends)} at the "
        f"end.\n\n{table(head, rows)}"
    )


def by_size(known: Known, task: str) -> list[tuple[int, list[Run]]]:
    """The runs on sets of each size: 0, fresh data, then from the largest to the smallest."""
    groups: dict[int, list[Run]] = {}
    for run in known[task].runs if known[task] else ():
        groups.setdefault(run.fields[f"{task}.num_sequences"], []).append(run)
    return sorted(groups.items(), key=lambda group: (group[0] > 0, -group[0]))


def fresh(known: Known, task: str) -> list[Run]:
    return dict(by_size(known, task)).get(0, [])


def at_steps(run: Run, name: str, wanted: Sequence[int]) -> tuple[list[int], list[Any]]:
    """What a run measured at the checkpoints nearest to some steps, and their steps."""
    measured = run.numbers["over_training"]
    steps = measured["step"]
    places = [min(range(len(steps)), key=lambda i: abs(steps[i] - at)) for at in wanted]
    return [steps[i] for i in places], [measured[name][i] for i in places]


def _first(runs: Sequence[Run], name: str, digit: int, level: float) -> str:
    """Median and range of the first checkpoints at which a digit's loss is below a level."""
    firsts = []
    for run in runs:
        measured = run.numbers["over_training"]
        losses = [x[digit] for x in measured[name]]
        if all(x is None for x in losses):
            return ""
        pairs = zip(measured["step"], losses, strict=True)
        firsts.append(next((step for step, x in pairs if x is not None and x < level), None))
    return in_short(firsts, [run.numbers["trained"] for run in runs])


def _steps(runs: Sequence[Run], level: str, split: str = "test") -> str:
    """First recorded steps with a loss below a level, by seed."""
    firsts = [run.numbers[f"steps_to_{split}_loss_below"][level] for run in runs]
    ends = [run.numbers["trained"] for run in runs]
    texts = [f"> {end:,}" if x is None else number(x) for x, end in zip(firsts, ends, strict=True)]
    return joined(texts)


def _every(run: Run) -> int:
    first, second = run.numbers["over_training"]["step"][:2]
    return second - first


def _trained(runs: Sequence[Run]) -> str:
    return f"{over([run.numbers['trained'] for run in runs])} steps ({len(runs)} seeds)"


def listed(values: Sequence[float]) -> str:
    return joined([number(x) for x in values])


def joined(texts: Sequence[str]) -> str:
    *first, last = texts
    return f"{', '.join(first)} and {last}" if first else last
