"""Describes the progress of long work: how much is done, at what rate, and how long the rest will take."""

from collections import deque
from typing import Literal

Unit = Literal["", "bytes"]
WINDOW = 20.0
"""Seconds over which a rate is measured: a slow start does not count for ever, and one slow request hardly."""
_EXACT = 10
"""Below it, a rate has a decimal."""
_SAMPLES = 40
"""How many amounts are remembered of a window, so that frequent looks take no more memory."""
_STALLED = 5.0
"""Seconds without any progress after which the text says so instead of a time left that nothing supports."""
_MINUTE = 60
_BYTE_STEPS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


class Meter:
    """Measures one phase of some work, such as "saving secrets"."""

    def __init__(self, what: str, total: int | None, unit: Unit, now: float) -> None:
        """`total` None: it is not known. `now`: seconds of a monotonic clock."""
        self._what, self._total, self._unit = what, total, unit
        self._began = self._moved = now
        self._samples = deque([(now, 0)])

    def describe(self, done: int, now: float) -> str:
        """One line about the phase, after `done` of its steps or bytes."""
        if done != self._samples[-1][1]:
            self._moved = now
        self._remember(done, now)
        what = f"{self._what}: " if done or self._total else self._what
        parts = [f"{what}{self._amount(done)}"]
        if done and now - self._moved >= _STALLED:
            parts.append(f"no progress for {spell(now - self._moved)}")
            return ", ".join(parts)
        if rate := self._rate():
            parts.append(f"{self._one(rate)}/s")
            if self._total is not None and done < self._total:
                parts.append(f"{spell((self._total - done) / rate)} left")
        if self._total is None or not done:
            parts.append(f"{spell(now - self._began)} elapsed")
        return ", ".join(parts)

    def _remember(self, done: int, now: float) -> None:
        # The last sample moves along until it is old enough to stay.
        if len(self._samples) > 1 and now - self._samples[-2][0] < WINDOW / _SAMPLES:
            self._samples.pop()
        self._samples.append((now, done))
        while now - self._samples[1][0] >= WINDOW:
            self._samples.popleft()

    def _rate(self) -> float:
        """Steps or bytes per second."""
        (began, before), (now, done) = self._samples[0], self._samples[-1]
        return (done - before) / (now - began) if now > began else 0.0

    def _amount(self, done: int) -> str:
        if not self._total:
            return self._one(done) if done else ""
        share = min(100, 100 * done // self._total)
        return f"{self._one(done)} of {self._one(self._total)} ({share}%)"

    def _one(self, number: float) -> str:
        if self._unit == "bytes":
            name, size = next((step for step in _BYTE_STEPS if number >= step[1]), ("B", 1.0))
            return f"{number / size:.{0 if size == 1 or number >= 100 * size else 1}f} {name}"
        return f"{number:,.0f}" if number >= _EXACT or number == int(number) else f"{number:.1f}"


def spell(seconds: float) -> str:
    """A duration for people, such as `42s`, `2m05s` and `1h20m`."""
    whole = max(round(seconds), 0)
    minutes, rest = divmod(whole, _MINUTE)
    if not minutes:
        return f"{rest}s"
    hours, minutes = divmod(minutes, _MINUTE)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s"


def next_line_delay(elapsed: float) -> float:
    """Seconds until the next line where each one stays, as in a log: rarer and rarer, so that few cover hours."""
    return max(5.0, elapsed / 10)
