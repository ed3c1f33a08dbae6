"""The cache of compiled programs."""

import math
import os
import platform
from contextlib import suppress

import jax

from grokjax.storage import user_cache


def set_up_jax(writing: bool = True) -> None:
    """Have JAX keep compiled programs, in the user's cache directory unless it has another.

    There is a folder for each machine, because a program for one CPU may not run on another. The
    programs are code, so the cache belongs to the user alone.

    Args:
        writing: False to use the programs that are there and add none.
    """
    if jax.config.jax_compilation_cache_dir is None:
        cache = user_cache.folder()
        with suppress(OSError):
            if writing:
                cache.mkdir(mode=0o700, parents=True, exist_ok=True)
            if cache.stat().st_uid == os.getuid():
                cache.chmod(0o700)
                jax.config.update("jax_compilation_cache_dir", str(cache / platform.node()))
                # By default JAX keeps programs that take over a second; short ones add up.
                jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    if not writing:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", math.inf)
