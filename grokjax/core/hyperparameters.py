"""The settings that an optimiser function reads."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp

from grokjax.core import registry
from grokjax.core.calls import call, named
from grokjax.core.errors import ConfigError
from grokjax.core.registry import Part


class Settings:
    """The argument of an optimiser: hyperparameters and static settings as attributes."""

    def __init__(self, part: Part, values: Callable[[str], Any]):
        self._part, self._values = part, values

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        own = name in self._part.settings
        value = self._values(f"{self._part.name}.{name}" if own else name)
        if name != "learning_rate" or own:
            return value
        return warmed_up(value, self._values("warmup_steps"))


def warmed_up(learning_rate, warmup_steps) -> Callable:
    """The schedule learning_rate * min(i / warmup_steps, 1) of update i = 0, 1, ...

    The first update has rate 0, as in the authors' code; without warm-up the rate is constant.
    """

    def rate(count):
        warmup = jnp.maximum(warmup_steps, 1e-9)
        return learning_rate * jnp.minimum(jnp.where(warmup_steps > 0, count, 1) / warmup, 1.0)

    return rate


@cache
def used(part: Part) -> tuple[str, ...]:
    """The common settings that an optimiser declares, and those it reads while one is built."""
    common, seen = registry.common_settings(), dict.fromkeys(part.uses or (), True)

    def look_up(name: str) -> Any:
        if name not in common | part.own:
            raise ConfigError(
                f"{named(part)} reads {name}, which is not a setting: declare it in its "
                f"decorator, {name}=grokjax.setting(...)"
            )
        seen[name] = True
        return (common | part.own)[name].default

    made = call(part, Settings(part, look_up))
    if not part.builtin:  # functions that it makes, such as schedules, read when they are called
        params = {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}
        try:
            jax.eval_shape(lambda: made.update(params, made.init(params), params))
        except ConfigError:
            raise
        except Exception:  # it may need other parameters; `training.trial` reports errors
            pass
    return tuple(name for name in common if name in seen)
