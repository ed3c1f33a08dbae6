"""Parts: tasks, operations, networks, losses, optimisers, stopping rules, measures and the like.

A part is a function (a network may be a Flax module) that a config or a call requests by name.
Custom parts are registered with the same decorators as built-in ones, in a config file or in a
notebook::

    @grokjax.task(bits=grokjax.setting(20, "length of the input", low=2))
    def sparse_parity(run): ...           # run.bits; in a config: config.sparse_parity.bits

A part's docstring is its definition. Its own settings are keywords of the decorator; settings that
parts share (`common`) are listed in `uses`.
"""

from grokjax.core.decorators import (
    Show,
    loss,
    measure,
    network,
    operation,
    optimizer,
    stop,
    summary,
    task,
    view,
)
from grokjax.core.registry import (
    FROM_A_FILE,
    KINDS,
    SECTIONS,
    Part,
    all_of,
    changes,
    check_value,
    common,
    common_settings,
    get,
    is_registered,
    load_on_lookup,
    look_up,
    part_of,
    register,
    reserve,
    section_of,
)
from grokjax.core.settings import Setting, setting

__all__ = [
    "FROM_A_FILE",
    "KINDS",
    "SECTIONS",
    "Part",
    "Setting",
    "Show",
    "all_of",
    "changes",
    "check_value",
    "common",
    "common_settings",
    "get",
    "is_registered",
    "load_on_lookup",
    "look_up",
    "loss",
    "measure",
    "network",
    "operation",
    "optimizer",
    "part_of",
    "register",
    "reserve",
    "section_of",
    "setting",
    "stop",
    "summary",
    "task",
    "view",
]
