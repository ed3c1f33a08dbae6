"""Results of the paper's sequence tasks (appendix D.3) as Markdown tables, by seed."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from experiments.paper_page.judged import in_short, number, over
from experiments.paper_page.recorded import Results, Run, grouped
from experiments.paper_page.tables import table
from experiments.repeated_subsequence import DOUBLED

THEIRS = ((9, 288), (490, 1_818), (1_582, 2_180), (1_542, 2_056), (1_029, 1_963), (1_635, 1_761))
"""First step of a loss below 1 and below 0.1 in the run that the authors saved, by digit."""

NOT_RUN = "Not run here."


class Measure(NamedTuple):
    """A measure of heads at some steps, next to the losses on fresh data."""

    name: str
    words: str
    steps: tuple[int, ...]
    of_heads: Callable[[Any], float]


TASKS = {
    "skip_trigram": (
        ("1.0", "0.1"),
        Measure("attention_to_key", "the head's attention to the key", (100, 200), lambda x: x[0]),
    ),
    "repeated_subsequence": (
        ("2.0", "1.0"),
        Measure(
            "prefix_matching_score",
            "largest prefix-matching score of a head",
            (500, 1_000, 2_000),
            lambda layers: max(map(max, layers)),
        ),
    ),
}
"""By task: levels of the test loss, and the measure."""


def losses_table(task: str) -> Callable[[Results], str]:
    """A function that makes the table of a task: when its losses fall, with the measure."""
    levels, measure = TASKS[task]

    def make(results: Results) -> str:
        below = [f"test loss below {float(level):g}, from step" for level in levels]
        at = [f"{measure.words} at step {step:,}" for step in measure.steps]
        head = ("runs", "steps", "training loss below 1, from step", *below, "test loss at the end")
        rows = []
        for (count, doubled), runs in _kinds(results, task):
            words = f"{count} sequences" if count else "fresh data"
            cells = [words + ", doubled stream" * bool(doubled), _trained(runs)]
            cells.append(_steps(runs, "train", "1.0") if count else "")
            cells += [_steps(runs, "test", level) for level in levels]
            cells.append(_by_seed([run.numbers["last"]["test_loss"] for run in runs]))
            scores = [_heads_by_seed(runs, measure, step) for step in measure.steps]
            rows.append(cells + ([""] * len(scores) if count else scores))
        return table((*head, *at), rows) if rows else NOT_RUN

    return make


def five_digit_addition(results: Results) -> str:
    """For each digit, the first checkpoint with a loss below 1 and below 0.1 on fresh data."""
    kinds = _kinds(results, "five_digit_addition")
    runs = [run for (count, _), alike in kinds if count == 0 for run in alike]
    if not runs:
        return NOT_RUN
    head = ("digit of the sum", "below 1", "theirs", "below 0.1", "theirs")
    head += ("below 0.1 with a carry into it", "without")
    notes = {0: " (the carry)", 5: " (units)"}
    rows = []
    for digit, (one, tenth) in enumerate(THEIRS):
        levels = ((1.0, ""), (0.1, ""), (0.1, "_with_carry"), (0.1, "_without_carry"))
        first = [_first(runs, f"loss_by_digit{which}", digit, x) for x, which in levels]
        cells = [f"{digit}{notes.get(digit, '')}", first[0], number(one), first[1], number(tenth)]
        rows.append([*cells, *first[2:]])
    start, second = runs[0].numbers["over_training"]["step"][:2]
    ends = _by_seed([run.numbers["last"]["test_loss"] for run in runs])
    return (
        f"First checkpoints, of one every {second - start} steps, on fresh data for "
        f"{_trained(runs)}, median (range). The mean loss of all digits is {ends} at the end.\n\n"
        f"{table(head, rows)}"
    )


def _kinds(results: Results, task: str) -> list[tuple[tuple[int, bool | None], list[Run]]]:
    """Runs by the number of sequences and the doubling: fresh data (0), then the largest set."""
    runs = results[task].runs if results[task] else ()
    kind = lambda run: (run.fields[f"{task}.num_sequences"], run.fields.get(DOUBLED))  # noqa: E731
    groups = grouped(runs, kind).items()
    return sorted(groups, key=lambda group: (group[0][0] > 0, -group[0][0], bool(group[0][1])))


def _heads_by_seed(runs: Sequence[Run], measure: Measure, step: int) -> str:
    """The measure of each run at a step; empty if it was not recorded there."""
    values = []
    for run in runs:
        recorded = run.numbers["over_training"]
        if step not in recorded["step"]:
            return ""
        heads = recorded[measure.name][recorded["step"].index(step)]
        values.append(measure.of_heads(heads))
    return _by_seed(values)


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


def _steps(runs: Sequence[Run], split: str, level: str) -> str:
    """First recorded steps with a loss below a level, by seed."""
    firsts = [run.numbers[f"steps_to_{split}_loss_below"][level] for run in runs]
    late = [f"> {run.numbers['trained']:,}" for run in runs]
    return "; ".join(b if a is None else number(a) for a, b in zip(firsts, late, strict=True))


def _trained(runs: Sequence[Run]) -> str:
    return f"{over([run.numbers['trained'] for run in runs])} steps ({len(runs)} seeds)"


def _by_seed(values: Sequence[float]) -> str:
    return "; ".join(map(number, values))
