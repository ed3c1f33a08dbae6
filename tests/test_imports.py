import ast
from pathlib import Path

import pytest

import grokjax

PACKAGE = Path(grokjax.__file__).parent
FOLDERS = "core config storage tasks networks training measures results plots runner cli".split()
MAY_IMPORT = {folder: set(FOLDERS[:i]) for i, folder in enumerate(FOLDERS)} | {
    "config": {"core"},
    "storage": {"core"},
    "tasks": {"core"},
    "networks": {"core"},
    "training": {"core", "config", "tasks", "networks"},
}
PURE = ("core", "config", "tasks", "networks", "training", "measures")
IMPURE = {"time", "logging", "absl", "pathlib", "orbax", "tensorstore", "xarray"}

FILES = sorted(PACKAGE.rglob("*/*.py"))
each_file = pytest.mark.parametrize("path", FILES, ids=[str(x.relative_to(PACKAGE)) for x in FILES])


def imported_by(path):
    """The full dotted names of a file's imports, at any depth of its code."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name grokjax in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def folder_of(path):
    return path.relative_to(PACKAGE).parts[0]


@each_file
def test_a_folder_imports_only_folders_above_it(path):
    own = folder_of(path)
    for name in imported_by(path):
        if name.split(".")[0] == "grokjax":
            other = name.split(".")[1]
            assert other == own or other in MAY_IMPORT[own], f"{own} imports {name}"


@each_file
def test_pure_folders_import_nothing_that_touches_the_outside(path):
    opens_files, runs_threads = "interop" in path.parts, path.name == "workers.py"
    if folder_of(path) in PURE and not (opens_files or runs_threads):
        assert not IMPURE & {name.split(".")[0] for name in imported_by(path)}


def test_no_file_imports_itself_through_others():
    edges = {}
    for path in FILES:
        module = ".".join(("grokjax", *path.relative_to(PACKAGE).with_suffix("").parts))
        edges[module.removesuffix(".__init__")] = set(imported_by(path))
    known = set(edges)
    graph = {
        module: {x if x in known else x.rpartition(".")[0] for x in names} & known - {module}
        for module, names in edges.items()
    }
    while leaves := [module for module, names in graph.items() if not names]:
        graph = {m: names - set(leaves) for m, names in graph.items() if m not in leaves}
    assert not graph, f"a cycle among {sorted(graph)}"
