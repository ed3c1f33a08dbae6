"""Text in 80 columns about parts and fields, read off their declarations."""

import textwrap
from collections.abc import Iterator, Mapping

from grokjax.cli.help import COLUMN, WIDTH
from grokjax.config.fields import run_settings, uses_of
from grokjax.config.refine import REFINE_SETTINGS
from grokjax.config.sweep import SWEEP_SETTINGS
from grokjax.core import parts
from grokjax.core.parts import Part, Setting


def of_part(part: Part) -> Iterator[str]:
    """The lines that describe a part."""
    yield from _wrap(f"{part.name}{_details(part)}", 2, 4)
    yield from _wrap(part.definition or "(no definition)", 4, 4)
    common = parts.common_settings()
    for name, setting in ({x: common[x] for x in uses_of(part)} | part.own).items():
        text = f"{name}={setting.default!r}: {setting.meaning} ({setting.allowed})"
        yield from _wrap(text, 6, 8)
    if source := part.source if part.builtin else part.file:
        yield from _wrap(f"source: {source}", 4, 4)


def _details(part: Part) -> str:
    """Units, dims, family and task of a measure or summary."""
    if part.kind not in ("measure", "summary"):
        return ""
    dims = f" over {', '.join(part.dims)}" if part.dims else ""
    family = f"; family {', '.join(part.families)}" if any(part.families) else ""
    task = f"; task {part.task}" if part.task else ""
    return f" [{part.units}{dims}{family}{task}]"


def _wrap(text: str, first: int, others: int) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=" " * first, subsequent_indent=" " * others)


def fields() -> str:
    """Every field of a config with its default, meaning and limits, by what it belongs to."""
    common = parts.common_settings()
    groups: dict[str, dict[str, Setting]] = {}
    for section in parts.SECTIONS:
        heading = f"fields of a run, {'seeds' if section == 'run' else section}:"
        groups[heading] = {x: y for x, y in common.items() if parts.section_of(x) == section}
    for name, setting in run_settings().items():
        if name not in common:
            groups.setdefault(f"fields of {name.partition('.')[0]}:", {})[name] = setting
    groups["fields of the whole sweep:"] = SWEEP_SETTINGS
    groups["how a sweep chooses its own points:"] = {
        f"refine.{name}": x for name, x in REFINE_SETTINGS.items()
    }
    texts = ["\n".join([heading, *_of_fields(x)]) for heading, x in groups.items() if x]
    return "\n\n".join(texts)


def _of_fields(settings: Mapping[str, Setting]) -> Iterator[str]:
    for name, setting in settings.items():
        allowed = setting.allowed
        if setting.part:
            allowed = "one of " + ", ".join(part.name for part in parts.all_of(setting.part))
        head = f"  --config.{name}={setting.default!r}"
        lines = textwrap.wrap(f"{setting.meaning} ({allowed})", WIDTH - COLUMN)
        if len(head) < COLUMN - 1:
            head = f"{head:<{COLUMN}}{lines.pop(0)}"
        yield head
        yield from (" " * COLUMN + line for line in lines)
