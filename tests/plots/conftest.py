import numpy as np
import pytest

from tests.synthetic_sweeps import sweep

STEPS = np.arange(0, 40_001, 400)


@pytest.fixture(scope="session")
def grid():
    """Two axes and seeds: three runs never grok, one diverges."""
    axes = {"weight_decay": (0.3, 1.0, 3.0), "train_fraction": (0.3, 0.5), "seed": (0, 1, 2)}
    return sweep(steps=STEPS, never={0, 1, 2}, diverged={5}, **axes)
