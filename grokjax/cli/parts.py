"""All parts, with definition, units, settings and source: python -m grokjax.parts [WORD ...]"""

import sys
import textwrap
from collections.abc import Iterator, Sequence

from grokjax.cli.arguments import find_file, run_file, run_main
from grokjax.cli.help import CommandParser
from grokjax.config.runs import uses_of
from grokjax.core import parts
from grokjax.core.errors import ConfigError, suggest
from grokjax.core.parts import Part
from grokjax.measures.select import families

_ABOUT = """Tell what each part is: its definition, units, settings and source.

WORD is a kind (task, network, measure, ...), a family of measures, or a name."""


def main(argv: list[str]) -> int:
    parser = CommandParser(
        "parts", _ABOUT, ["", "measure", "adamw", "--config parity sparse_parity"]
    )
    parser.add_argument("words", metavar="WORD", nargs="*", help="default: all kinds")
    parser.add_argument("--config", metavar="FILE", help="a file that defines parts of one's own")
    options = parser.parse_args(argv)
    if options.config:
        run_file(find_file(options.config))
    every = [part for kind in parts.KINDS for part in parts.all_of(kind)]
    known = {*parts.KINDS, *families(), *(part.name for part in every)}
    for word in options.words:
        if word not in known:
            raise ConfigError(f"there is no part {word!r}: {suggest(word, sorted(known), 3)}")
    asked = [part for part in every if not options.words or _matches(part, options.words)]
    print("\n".join(listing(asked)))
    return 0


def _matches(part: Part, words: Sequence[str]) -> bool:
    return bool({part.kind, part.name, *part.families} & set(words))


def listing(asked: Sequence[Part], width: int = 80) -> Iterator[str]:
    """The lines that describe parts, by kind."""
    common = parts.common_settings()
    for kind in parts.KINDS:
        of_kind = [part for part in asked if part.kind == kind]
        if of_kind:
            plural = kind.upper().removesuffix("Y") + ("IES" if kind.endswith("y") else "S")
            yield f"{plural} ({len(of_kind)})"
        for part in of_kind:
            yield ""
            heading = {"initial_indent": "  ", "subsequent_indent": "    "}
            yield from textwrap.wrap(f"{part.name}{_about(part)}", width, **heading)
            indent = {"initial_indent": "    ", "subsequent_indent": "    "}
            yield from textwrap.wrap(part.definition or "(no definition)", width, **indent)
            for name, setting in ({x: common[x] for x in uses_of(part)} | part.own).items():
                text = f"{name}={setting.default!r}: {setting.meaning} ({setting.allowed})"
                yield from textwrap.wrap(
                    text, width, initial_indent="      ", subsequent_indent="        "
                )
            where = part.source if part.builtin else part.file
            if where:
                yield from textwrap.wrap(f"source: {where}", width, **indent)
        if of_kind:
            yield ""


def _about(part: Part) -> str:
    """What stands behind the name of a part: units, dims, family, task."""
    if part.kind not in ("measure", "summary"):
        return ""
    over = f" over {', '.join(part.dims)}" if part.dims else ""
    family = f"; family {', '.join(part.families)}" if any(part.families) else ""
    task = f"; task {part.task}" if part.task else ""
    return f" [{part.units}{over}{family}{task}]"


if __name__ == "__main__":
    sys.exit(run_main(main))
