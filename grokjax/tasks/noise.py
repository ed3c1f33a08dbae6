"""Label noise: random training answers (Doshi et al. 2023)."""

import numpy as np

from grokjax.core import parts
from grokjax.core.parts import setting
from grokjax.core.types import Data

parts.common(
    "task",
    label_noise=setting(
        0.0, "share of the training answers drawn at random", low=0, high=1, static=False
    ),
)

_NOISE = 0x6C6E  # separates these random numbers from others of the same seed


def with_noise(data: Data, share: float, seed: int) -> Data:
    """The data with int(share n) of its n training answers drawn uniformly from all answers.

    As published, a drawn answer may be correct. `data.extra["right_answers"]` keeps the correct
    answers; test answers are unchanged.
    """
    train = np.flatnonzero(data.splits["train"])
    targets = np.array(data.targets)
    rng = np.random.default_rng((_NOISE, seed))
    chosen = rng.permutation(train)[: int(share * len(train))]
    answers = data.num_classes if data.num_answers is None else data.num_answers
    targets.reshape(-1)[chosen] = rng.integers(answers, size=len(chosen))
    return data._replace(
        targets=targets, extra={**data.extra, "right_answers": np.array(data.targets)}
    )
