"""Train sweeps of small networks side by side and measure how each of them groks.

sweep = grokjax.open_sweep("runs/weight_decay")   # a running or finished sweep, read only
sweep.runs, sweep.steps                           # the table of runs, the checkpointed steps
sweep.params(run=3, step=10_000)                  # one run's parameters
sweep.measures()                                  # xarray.Dataset over (run, step)
sweep.measures("mechanism"), sweep.measures(my_function)
sweep.frame(), sweep.sel(weight_decay=1.0)        # a tidy table; some of the runs, as a sweep
grokjax.progress_measures(params, data)           # any stack of networks, in one call
grokjax.mechanism(params, data)                   # likewise, all evidence for the mechanism
grokjax.train(config, "runs/mine")                # from a notebook or a script

Parts of one's own: @grokjax.task, @grokjax.operation, @grokjax.network, @grokjax.loss,
@grokjax.optimizer, @grokjax.stop, @grokjax.measure, @grokjax.summary; settings: grokjax.setting.
"""

import importlib
import importlib.metadata

from grokjax.core import registry

_PLACES = {
    "core.parts": "task operation network loss optimizer stop measure summary setting",
    "core.types": "Data Batch Sizes",
    "results.sweep": "Sweep",
    "results.several": "open_sweep",
    "runner.session": "train",
    "measures.from_params": "progress_measures mechanism measures_of",
}
_HOME = {name: module for module, names in _PLACES.items() for name in names.split()}

_MODULES = {
    "config": "config",
    "interop": "networks.interop",
    "page": "plots.page",
    "parts": "core.parts",
    "plots": "plots",
    "results": "results",
    "tasks": "tasks",
}

registry.load_on_lookup(lambda: importlib.import_module("grokjax.builtin"))

__all__ = sorted([*_HOME, *_MODULES, "__version__"])


def __dir__() -> list[str]:
    return [*globals(), *__all__]


def __getattr__(name: str):
    # On first use: jax takes a second to import.
    if name == "__version__":
        return importlib.metadata.version("grokjax")
    if name in _MODULES:
        return importlib.import_module(f"grokjax.{_MODULES[name]}")
    if name in _HOME:
        return getattr(importlib.import_module(f"grokjax.{_HOME[name]}"), name)
    raise AttributeError(f"module 'grokjax' has no attribute {name!r}")
