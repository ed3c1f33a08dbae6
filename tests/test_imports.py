import ast
from pathlib import Path

import pytest

import grokjax

PACKAGE = Path(grokjax.__file__).parent

LAYERS = [
    ["errors", "signals"],
    ["parts", "combine", "schedule"],
    ["types"],
    ["variants"],
    ["fourier", "losses", "optimizers", "tasks", "model", "perceptron", "networks"]
    + ["minibatches", "muon", "sgd", "stablemax", "wrappers"],
    ["products"],
    ["lookup"],
    ["deeper"],
    ["forward"],
    ["training"],
    ["measures"],
    ["buckets", "early"],
    ["files"],
    ["stopping"],
    ["builtin"],
    ["runs"],
    ["config"],
    ["table"],
    ["devices"],
    ["blocks"],
    ["holders", "stacks", "checkpoints", "recorded", "results", "lanes"],
    ["claims"],
    ["workdir", "measuring"],
    ["loop"],
    ["evaluate", "forecast", "logs", "plots", "usage", "prepare", "sharing"],
    ["several", "verify"],
    ["commandline", "page", "progress"],
    ["report"],
    ["runner"],
    ["sweep", "analyze", "interop", "session", "__main__"],
]
LAYER_OF = {name: layer for layer, names in enumerate(LAYERS) for name in names}
LAST_PURE_LAYER = LAYER_OF["measures"]
IMPURE = {"os", "time", "logging", "absl", "pathlib", "orbax", "xarray"}
WITH_FLAX = {"model.py", "networks.py", "perceptron.py"}

FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
each_file = pytest.mark.parametrize(
    "path", FILES, ids=[str(path.relative_to(PACKAGE)) for path in FILES]
)


def module_of(path):
    """The module of grokjax that a file is, or the package folder that it lies in."""
    if path.name == "__main__.py":
        return "__main__"
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_by(path):
    """Full dotted names of all that a file imports, at whatever depth of its code."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name grokjax in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@each_file
def test_every_module_has_a_layer(path):
    assert module_of(path) in LAYER_OF


@each_file
def test_imports_point_to_lower_layers_only(path):
    own = module_of(path)
    for name in imported_by(path):
        parts = name.split(".")
        if parts[0] == "grokjax":
            assert len(parts) > 1 and parts[1] in LAYER_OF, f"{name} is no module"
            within_folder = own == parts[1] and path.parent != PACKAGE
            assert within_folder or LAYER_OF[parts[1]] < LAYER_OF[own], f"{own} imports {name}"


@each_file
def test_pure_layers_import_nothing_that_touches_the_outside(path):
    if LAYER_OF[module_of(path)] <= LAST_PURE_LAYER:
        found = IMPURE & {name.split(".")[0] for name in imported_by(path)}
        assert not found or (path.name, found) == ("registry.py", {"os"})  # for names of files


def test_parts_touch_no_more_of_the_outside_than_names_of_files():
    tree = ast.parse((PACKAGE / "parts" / "registry.py").read_text())
    used = {
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("os.")
    }
    assert used <= {"os.path", "os.path.abspath", "os.path.dirname", "os.sep"}


@each_file
def test_only_networks_import_flax(path):
    uses_flax = "flax" in {name.split(".")[0] for name in imported_by(path)}
    assert uses_flax == (path.parent == PACKAGE and path.name in WITH_FLAX)
