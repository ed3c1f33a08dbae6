"""Train sweeps of small networks side by side and measure how each of them groks.

sweep = grokjax.open_sweep("runs/weight_decay")   # a running or finished sweep, read only
sweep.runs, sweep.steps                           # the table of runs, the checkpointed steps
sweep.params(run=3, step=10_000)                  # one run's parameters
sweep.measures()                                  # xarray.Dataset over (run, step)
sweep.measures("mechanism"), sweep.measures(my_function)
sweep.frame(), sweep.sel(weight_decay=1.0)        # a tidy table; a sweep of some of the runs
grokjax.progress_measures(params, data)           # one network or a batch of them, in one call
grokjax.mechanism(params, data)                   # likewise, all evidence for the mechanism
grokjax.train(config, "runs/mine")                # from a notebook or a script

Custom parts: @grokjax.task, @grokjax.operation, @grokjax.network, @grokjax.loss,
@grokjax.optimizer, @grokjax.stop, @grokjax.measure, @grokjax.summary, @grokjax.view; settings:
grokjax.setting.
"""

import importlib

from grokjax.core import registry

_PUBLIC = {
    "core.parts": "task operation network loss optimizer stop measure summary view setting",
    "core.types": "Data Batch Sizes Trace",
    "results.sweep": "Sweep open_sweep",
    "runner.run": "train",
    "measures.from_params": "progress_measures mechanism measures_of",
}
_MODULE_OF = {name: module for module, names in _PUBLIC.items() for name in names.split()}

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

__all__ = sorted([*_MODULE_OF, *_MODULES, "__version__"])


def __dir__() -> list[str]:
    return [*globals(), *__all__]


def __getattr__(name: str):
    # Import on first use: JAX takes a second.
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("grokjax")
    if name in _MODULES:
        return importlib.import_module(f"grokjax.{_MODULES[name]}")
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"grokjax.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module 'grokjax' has no attribute {name!r}")
