"""Train sweeps of small transformers side by side and measure how each of them groks.

sweep = grokjax.open_sweep("runs/weight_decay")   # a running or finished sweep, read only
sweep.runs, sweep.steps                           # the table of runs, the checkpointed steps
sweep.params(run=3, step=10_000)                  # one run's parameters
sweep.measures()                                  # xarray.Dataset over (run, step)
grokjax.progress_measures(params, task)           # any stack of networks, in one call
grokjax.mechanism(params, task)                   # likewise, all evidence for the mechanism
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grokjax.evaluate import Sweep, mechanism, open_sweep, progress_measures

__all__ = ["Sweep", "mechanism", "open_sweep", "progress_measures"]


def __getattr__(name: str):
    # On first use: config files import this package, and jax takes a second to import.
    if name in __all__:
        from grokjax import evaluate

        return getattr(evaluate, name)
    raise AttributeError(f"module 'grokjax' has no attribute {name!r}")
