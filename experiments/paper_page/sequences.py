"""Results of the paper's sequence tasks (appendix D.3), in words and a table."""

from collections.abc import Sequence
from typing import Any

from experiments.paper_page.judged import in_short, number, over
from experiments.paper_page.recorded import Results, Run, grouped
from experiments.paper_page.tables import table
from experiments.repeated_subsequence import DOUBLED

THEIRS = ((9, 288), (490, 1_818), (1_582, 2_180), (1_542, 2_056), (1_029, 1_963), (1_635, 1_761))
"""First step of a loss below 1 and below 0.1 in the run that the authors saved, by digit."""

NOT_RUN = "Not run here."


def skip_trigram(results: Results) -> str:
    """When the losses fall, and on fresh data the attention to the key."""
    lines = []
    for count, runs in by_size(results, "skip_trigram"):
        if count:
            train, test = (_steps(runs, "1.0", split) for split in ("train", "test"))
            lines.append(
                f"- on {count} sequences for {_trained(runs)} the training loss is below 1 from "
                f"step {train}, the test loss from {test}, and {_ends(runs)} at the end"
            )
            continue
        steps, values = at_steps(runs, "attention_to_key", (100, 200))
        pairs = zip(steps, values, strict=True)
        first, second = (f"{_list([x[0] for x in heads])} at step {at}" for at, heads in pairs)
        lines.append(
            f"- {_fresh(runs, '1.0', '0.1')}; meanwhile the head's attention to the key rises from "
            f"{first} to {second}"
        )
    return "\n".join(lines) or NOT_RUN


def repeated_subsequence(results: Results) -> str:
    """When the loss falls on fresh data, and the prefix-matching score of the best head."""
    kinds = {
        "each layer added to the stream": False,
        "the stream doubled at each layer, as the authors' code has it": True,
    }
    lines = []
    for words, doubled in kinds.items():
        runs = fresh(results, "repeated_subsequence")
        if runs := [run for run in runs if run.fields.get(DOUBLED) == doubled]:
            steps, scores = at_steps(runs, "prefix_matching_score", (500, 1_000, 2_000))
            best = ", ".join(
                f"{_list([max(map(max, layers)) for layers in x])} at step {number(step)}"
                for step, x in zip(steps, scores, strict=True)
            )
            lines.append(
                f"- {words}: {_fresh(runs, '2.0', '1.0')}; meanwhile the largest prefix-matching "
                f"score of a head is {best}"
            )
    return "\n".join(lines) or NOT_RUN


def five_digit_addition(results: Results) -> str:
    """For each digit, the first checkpoint with a loss below 1 and below 0.1 on fresh data."""
    runs = fresh(results, "five_digit_addition")
    if not runs:
        return NOT_RUN
    head = ("digit of the sum", "below 1", "theirs", "below 0.1", "theirs")
    head += ("below 0.1 with a carry into it", "without")
    notes = {0: " (the carry)", 5: " (units)"}
    rows = []
    for digit, (one, tenth) in enumerate(THEIRS):
        first = lambda level, which="", digit=digit: _first(  # noqa: E731
            runs, f"loss_by_digit{which}", digit, level
        )
        cells = [f"{digit}{notes.get(digit, '')}", first(1.0), number(one), first(0.1)]
        cells += [number(tenth), first(0.1, "_with_carry"), first(0.1, "_without_carry")]
        rows.append(cells)
    start, second = runs[0].numbers["over_training"]["step"][:2]
    return (
        f"First checkpoints, of one every {second - start} steps, on fresh data for "
        f"{_trained(runs)}, median (range); the mean loss of all digits is {_ends(runs)} at the "
        f"end.\n\n{table(head, rows)}"
    )


def by_size(results: Results, task: str) -> list[tuple[int, list[Run]]]:
    """The runs by the number of their sequences: fresh data (0), then from the largest set."""
    runs = results[task].runs if results[task] else ()
    groups = grouped(runs, lambda run: run.fields[f"{task}.num_sequences"])
    return sorted(groups.items(), key=lambda group: (group[0] > 0, -group[0]))


def fresh(results: Results, task: str) -> list[Run]:
    return dict(by_size(results, task)).get(0, [])


def at_steps(
    runs: Sequence[Run], name: str, steps: Sequence[int]
) -> tuple[list[int], list[list[Any]]]:
    """The checkpoints nearest to some steps, and the measures of all runs at each."""
    recorded = [run.numbers["over_training"] for run in runs]
    there = recorded[0]["step"]
    nearest = [min(range(len(there)), key=lambda i: abs(there[i] - step)) for step in steps]
    return [there[i] for i in nearest], [[x[name][i] for x in recorded] for i in nearest]


def _first(runs: Sequence[Run], name: str, digit: int, level: float) -> str:
    """Median and range of the first checkpoints at which a digit's loss is below a level."""
    firsts = []
    for run in runs:
        recorded = run.numbers["over_training"]
        pairs = zip(recorded["step"], recorded[name], strict=True)
        losses = [(step, x[digit]) for step, x in pairs if x[digit] is not None]
        if not losses:
            return ""
        firsts.append(next((step for step, x in losses if x < level), None))
    return in_short(firsts, [run.numbers["trained"] for run in runs])


def _fresh(runs: Sequence[Run], first: str, second: str) -> str:
    """When the test loss falls below two levels, and its last value, by seed."""
    return (
        f"on fresh data for {_trained(runs)} the test loss is below {float(first):g} from step "
        f"{_steps(runs, first)}, below {float(second):g} from {_steps(runs, second)}, and "
        f"{_ends(runs)} at the end"
    )


def _steps(runs: Sequence[Run], level: str, split: str = "test") -> str:
    """First recorded steps with a loss below a level, by seed."""
    firsts = [run.numbers[f"steps_to_{split}_loss_below"][level] for run in runs]
    late = [f"> {run.numbers['trained']:,}" for run in runs]
    return _join([b if a is None else number(a) for a, b in zip(firsts, late, strict=True)])


def _trained(runs: Sequence[Run]) -> str:
    return f"{over([run.numbers['trained'] for run in runs])} steps ({len(runs)} seeds)"


def _ends(runs: Sequence[Run]) -> str:
    return _list([run.numbers["last"]["test_loss"] for run in runs])


def _list(values: Sequence[float]) -> str:
    return _join([number(x) for x in values])


def _join(texts: Sequence[str]) -> str:
    *first, last = texts
    return f"{', '.join(first)} and {last}" if first else last
