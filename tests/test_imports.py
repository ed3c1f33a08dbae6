import ast
from pathlib import Path

import pytest

import grokjax

PACKAGE = Path(grokjax.__file__).parent

LAYERS = [
    ["types", "config"],
    ["fourier", "tasks", "model", "losses", "optimizers"],
    ["lookup"],
    ["forward"],
    ["training"],
    ["measures"],
    ["blocks"],
    ["checkpoints", "results"],
    ["evaluate", "plots"],
    ["runner", "commandline"],
    ["sweep", "analyze", "interop"],
]
LAYER_OF = {name: layer for layer, names in enumerate(LAYERS) for name in names}
LAST_PURE_LAYER = LAYER_OF["measures"]
IMPURE = {"os", "time", "logging", "absl", "pathlib", "orbax", "xarray"}

FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
each_file = pytest.mark.parametrize(
    "path", FILES, ids=[str(path.relative_to(PACKAGE)) for path in FILES]
)


def module_of(path):
    """The module of grokjax that a file is, or for a file of `measures/` belongs to."""
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
            within_measures = own == parts[1] == "measures"
            assert within_measures or LAYER_OF[parts[1]] < LAYER_OF[own], f"{own} imports {name}"


@each_file
def test_pure_layers_import_nothing_that_touches_the_outside(path):
    if LAYER_OF[module_of(path)] <= LAST_PURE_LAYER:
        assert not IMPURE & {name.split(".")[0] for name in imported_by(path)}


@each_file
def test_only_the_model_imports_flax(path):
    uses_flax = "flax" in {name.split(".")[0] for name in imported_by(path)}
    assert uses_flax == (path == PACKAGE / "model.py")
