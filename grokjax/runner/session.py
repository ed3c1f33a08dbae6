"""Training from a notebook or a script, with what the commands set up."""

import os
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from grokjax.config import axes as table
from grokjax.results.several import open_sweep
from grokjax.results.sweep import Sweep
from grokjax.runner import run as runner


def train(
    config: ConfigDict,
    workdir: str | os.PathLike,
    sweep: Callable[[ConfigDict], Any] | None = None,
    figures: str = "none",
    log: str = "none",
) -> Sweep:
    """Train the sweep of a config, or go on with it, measure it, and open it.

    The same as `grokjax sweep` with a file of that config and `sweep`, and its options: what was
    trained is on disk and is found again by the same call. Compiled programs are kept between
    sessions, where JAX is not yet told otherwise. Interrupting the kernel stops it; the same call
    goes on.

    Raises:
        ConfigError: what is wrong with the config, or with the folder, in one line.
    """
    runner.set_up_jax()
    runner.run_sweep(table.resolve(config, sweep), workdir, figures=figures, log=log)
    return open_sweep(workdir)
