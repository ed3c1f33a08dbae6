"""Parts by name: tasks, networks, losses, optimisers, measures, rules and more.

A part is a function (a network may be a Flax module) that a config or a call asks for by its name.
Parts of one's own are made with the same decorators as the built-in ones, in the config file or in
a notebook; the rest of the program handles parts without knowing any of them.

    @grokjax.task(bits=grokjax.setting(20, "length of the input", low=2))
    def sparse_parity(run): ...           # run.bits; in a config: config.sparse_parity.bits

A part's docstring is its definition. Settings that it alone has are keywords of its decorator;
settings that parts share (`common`) are named in `uses`.
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
)
from grokjax.core.registry import (
    FROM_A_FILE,
    KINDS,
    SECTIONS,
    Part,
    all_of,
    check_value,
    common,
    common_settings,
    get,
    is_registered,
    load_on_lookup,
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
    "check_value",
    "common",
    "common_settings",
    "get",
    "is_registered",
    "load_on_lookup",
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
]
