"""Splits that others trained on."""

import numpy as np
from jaxtyping import Bool


def torch_split(p: int, train_fraction: float, seed: int) -> Bool[np.ndarray, "p p"]:
    """The training set of TransformerLens' demo, without torch.

    The pairs a p + b in the first int(fraction p^2) places of `torch.manual_seed(seed);
    torch.randperm(p * p)` on a CPU: a Mersenne twister seeded as NumPy's legacy generator is, and
    a shuffle that swaps place i with a random one from i on.
    """
    size = p * p
    generator = np.random.RandomState(seed & 0xFFFFFFFF)
    words = generator.randint(0, 2**32, size, dtype=np.uint32).tolist()
    order, count = list(range(size)), int(size * train_fraction)
    for i in range(min(count, size - 1)):
        j = i + words[i] % (size - i)
        order[i], order[j] = order[j], order[i]
    train = np.zeros(size, bool)
    train[order[:count]] = True
    return train.reshape(p, p)
