import importlib
import os
from pathlib import Path

# Most of the time of the tests is compilation: processes and later sessions share all programs.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "programs")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

if "PYTEST_XDIST_WORKER" in os.environ and hasattr(os, "sched_setaffinity"):
    # A core to each process of tests, or their programs' threads would wait for each other.
    cores = sorted(os.sched_getaffinity(0))
    number = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))
    os.sched_setaffinity(0, {cores[number % len(cores)]})

import jax
import numpy as np
import pytest
from jaxtyping import install_import_hook

# Shapes and types of everything that handles arrays are checked. What reads users' input checks it
# itself, and its tests hand it wrong types on purpose.
CHECKED = (
    "core.hyperparameters tasks training.losses training.optimizers "
    "training.optimizer_wrappers training.update"
).split()
for folder in ("measures", "networks", "networks/interop"):
    for path in (Path(__file__).parents[1] / "grokjax" / folder).iterdir():
        if path.stem not in ("interop", "from_params", "loading", "reading", "layouts"):
            CHECKED.append(f"{folder.replace('/', '.')}.{path.stem}")
install_import_hook(
    [f"grokjax.{module}" for module in CHECKED],
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",
)

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # test processes share a GPU
jax.config.update("jax_default_matmul_precision", "highest")


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Parts that a test registers are gone when it ends."""
    parts = importlib.import_module("grokjax.core.registry")
    parts.all_of("task")  # loads the built-in parts
    kept = {kind: dict(known) for kind, known in parts._parts.items()}
    monkeypatch.setattr(parts, "_parts", kept)
    yield
    parts._changes[0] += 1  # what was cached of its parts is out of date


@pytest.fixture(autouse=True, scope="module")
def registry_of_a_file():
    """Parts that the fixtures of a file register are gone when it ends."""
    parts = importlib.import_module("grokjax.core.registry")
    parts.all_of("task")
    before, parts._parts = parts._parts, {kind: dict(x) for kind, x in parts._parts.items()}
    yield
    parts._parts = before
    parts._changes[0] += 1


@pytest.fixture(autouse=True, scope="module")
def few_programs():
    """Drop compiled programs before a process has more memory maps than Linux allows (65,530),
    which ends it with a segmentation fault, or a quarter of the memory of a small machine."""
    yield
    maps, memory = Path("/proc/self/maps"), Path("/proc/self/statm")
    if not maps.exists():
        return
    resident = int(memory.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    if maps.read_bytes().count(b"\n") > 25_000 or resident > 6e9:
        jax.clear_caches()


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder with a network that the paper's authors published."""
    beside_the_repository = Path(__file__).parents[2] / "shared" / "reference"
    folder = Path(os.environ.get("GROKJAX_REFERENCE", beside_the_repository))
    if not folder.is_dir():
        pytest.skip(f"no published network in {folder}; set GROKJAX_REFERENCE")
    return folder


@pytest.fixture(scope="session")
def assert_trees_close():
    """Compares leaf by leaf; errors are relative to the largest entry of the expected leaf."""

    def check(actual, expected, tolerance: float):
        expected = dict(jax.tree.leaves_with_path(expected))
        actual = dict(jax.tree.leaves_with_path(actual))
        assert actual.keys() == expected.keys()
        for path, leaf in expected.items():
            scale = np.max(np.abs(leaf), initial=0.0)
            np.testing.assert_allclose(
                actual[path],
                leaf,
                rtol=0,
                atol=tolerance * scale,
                err_msg=jax.tree_util.keystr(path),
            )

    return check
