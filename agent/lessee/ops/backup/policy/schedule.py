"""When the next backup is due."""

SOON = 300.0
"""Seconds after which one that failed is tried again, unless the next is due sooner."""


def wait(began: float, ended: float, every: float, *, failed: bool) -> float:
    """Seconds from the end of one to the beginning of the next. Those that are late are not made up for."""
    if failed:
        return min(every, SOON)
    return max(0.0, every - (ended - began))
