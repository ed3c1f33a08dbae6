"""The page as Markdown, from the registry: nothing in it is written twice."""

from collections.abc import Collection, Iterable, Mapping

from experiments.measures_page.formulas import FORMULAS
from grokjax.core import parts
from grokjax.core.parts import Part

SECTIONS = {
    "paper": "The paper's progress measures",
    "field": "The field's measures",
    "mechanism": "The evidence for the mechanism",
    "variants": "Variants of ablations",
    "general": "Of any task",
    "sequences": "Of tasks of sequences",
}
"""By family, in the order of the page; a measure stands in the first that it belongs to."""

COSTS = {
    "every": "every checkpoint",
    "tenth": "every tenth checkpoint",
    "demand": "on demand, by its name",
}


def sections(measures: Iterable[Part]) -> dict[str, list[Part]]:
    """By title. Those of no known family, such as one's own, stand last."""
    found: dict[str, list[Part]] = {title: [] for title in (*SECTIONS.values(), "Others")}
    for part in measures:
        title = next((SECTIONS[x] for x in SECTIONS if x in part.families), "Others")
        found[title].append(part)
    return {title: members for title, members in found.items() if members}


def page(
    drawn: Collection[str], milliseconds: Mapping[str, float], command: str, about: str, legend: str
) -> str:
    """`drawn`: the names that have a plot; `milliseconds`: for one checkpoint, where known."""
    every = sections(parts.all_of("measure"))
    lines = [
        "# All measures",
        "",
        f"*Written by `{command}`; do not edit.*",
        "",
        about,
        "",
        legend,
        "",
    ]
    for title in every:
        anchor = title.lower().replace(" ", "-").replace("'", "")
        lines.append(f"- [{title}](#{anchor}) ({len(every[title])})")
    lines += ["- [Of a whole run](#of-a-whole-run)", ""]
    for title, members in every.items():
        lines += [f"## {title}", "", "| | |", "|---|---|"]
        lines += [_row(part, drawn, milliseconds) for part in members]
        lines.append("")
    return "\n".join(lines + _summaries()) + "\n"


def _row(part: Part, drawn: Collection[str], milliseconds: Mapping[str, float]) -> str:
    of_task = "" if part.task in (None, "modular") else f" of `{part.task}`"
    dims = f" over ({', '.join(part.dims)})" if part.dims else ""
    cost = COSTS[part.options.get("cost", "every")]
    if part.name in milliseconds:
        cost += f", {milliseconds[part.name]:.3g} ms"
    text = [
        f"**`{part.name}`**{of_task}{dims}",
        escaped(part.definition),
        *([f"${FORMULAS[part.name]}$"] if part.name in FORMULAS and not of_task else []),
        f"*units* {part.units} · *cost* {cost}"
        + (f" · *source* {part.source}" if part.source else ""),
    ]
    has_plot = part.name in drawn and not of_task
    plot = f"![{part.name}](measures/{part.name}.png)" if has_plot else ""
    return f"| {plot} | {'<br>'.join(text)} |"


def _summaries() -> list[str]:
    lines = ["## Of a whole run", "", "Numbers of a run, from its curves or its measures.", ""]
    lines += ["| summary | definition | units | source |", "|---|---|---|---|"]
    for part in parts.all_of("summary"):
        cells = (f"`{part.name}`", escaped(part.definition), part.units, part.source)
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def escaped(text: str) -> str:
    """Bars would end a cell, and stars and underscores change the type of what is between them."""
    for sign in "\\|*_<>":
        text = text.replace(sign, f"\\{sign}")
    return text
