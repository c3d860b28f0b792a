"""A histogram as Prometheus has them: how many durations there were up to each bound, and their sum."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

BOUNDS: Sequence[float] = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)
"""Seconds. A real OpenBao answers a read in a millisecond or less; a client gives up after some seconds."""


class Histogram:
    """Counts durations. It is changed in place, as `Rates` is."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self._sum += seconds

    def state(self) -> Any:
        """The counts as JSON."""
        return [self._counts, self._sum]

    def restore(self, state: Any) -> None:
        """Take over `state`. Raises ValueError."""
        counts, total = state
        if len(counts) != len(self._counts) or not all(isinstance(count, int) and count >= 0 for count in counts):
            raise ValueError
        self._counts, self._sum = list(counts), float(total)

    def view(self) -> Mapping[str, Any]:
        """`buckets`, with the number of durations up to each bound, `count` and `sum`."""
        buckets, count = [], 0
        for bound, number in zip(BOUNDS, self._counts, strict=False):
            count += number
            buckets.append([bound, count])
        return {"buckets": buckets, "count": count + self._counts[-1], "sum": self._sum}
