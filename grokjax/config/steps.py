"""Recurring steps, represented without listing them, so that plans of 10^9 steps are cheap."""

import math
from collections.abc import Collection, Iterable, Iterator
from heapq import merge
from itertools import combinations, groupby


class Steps(Collection):
    """Multiples of each number in `every` below `end`, and `others`, in ascending order."""

    def __init__(self, every: Iterable[int], end: int, others: Iterable[int] = ()):
        self.every, self.end = tuple(dict.fromkeys(every)), max(end, 0)
        self.others = tuple(sorted(x for x in set(others) if not self._recurs(x)))

    def __iter__(self) -> Iterator[int]:
        ranges = (range(0, self.end, n) for n in self.every)
        return (step for step, _ in groupby(merge(self.others, *ranges)))

    def __contains__(self, step: object) -> bool:
        return self._recurs(step) or step in self.others

    def __len__(self) -> int:
        """Inclusion-exclusion over the common multiples."""
        count = len(self.others)
        for size in range(1, len(self.every) + 1):
            for several in combinations(self.every, size):
                count -= (-1) ** size * -(-self.end // math.lcm(*several))
        return count

    def __repr__(self) -> str:
        return f"Steps({self.every!r}, {self.end}, {self.others!r})"

    def upto(self, step: int) -> "Steps":
        """The steps up to and including `step`."""
        others = (x for x in self.others if x <= step)
        return Steps(self.every, min(self.end, step + 1), others)

    def including(self, *steps: int) -> "Steps":
        return Steps(self.every, self.end, (*self.others, *steps))

    def _recurs(self, step: int) -> bool:
        return 0 <= step < self.end and any(step % n == 0 for n in self.every)
