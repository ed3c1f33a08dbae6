"""The API reference, from the docstrings: python docs/reference.py OUT"""

import importlib
import sys
from pathlib import Path

import pdoc

import grokjax

MODULES = (
    *("config", "evaluate", "session", "parts", "tasks", "types"),
    *("measures", "stacks", "plots", "page"),
    *("interop", "workdir", "results", "fourier", "losses"),
)


def main(folder: Path) -> None:
    for name in grokjax.__all__:  # else found only when asked for, which pdoc does not
        setattr(grokjax, name, getattr(grokjax, name))
    for name in MODULES:
        importlib.import_module(f"grokjax.{name}")
    pdoc.render.configure(
        docformat="google", show_source=False, footer_text=f"grokjax {grokjax.__version__}"
    )
    # Submodules are listed by name: the others are how it is built, not what it is used by.
    pdoc.pdoc("grokjax", "!grokjax.", *(f"grokjax.{x}" for x in MODULES), output_directory=folder)
    undocumented = [name for name in grokjax.__all__ if f'id="{name}"' not in _page(folder)]
    if missing := set(undocumented) - set(grokjax._MODULES):
        sys.exit(f"not in the reference: {', '.join(sorted(missing))}")


def _page(folder: Path) -> str:
    return (folder / "grokjax.html").read_text(encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
