"""How long to wait after a failure, so that an agent is soon back, and many agents neither hammer nor return as one."""

CAP = 50.0
"""Seconds at most: what comes back is found, and read, within a minute."""
SHORT = 30.0
"""Seconds of trouble after which nobody expects the end of it within seconds any more."""
SOON = 4.4
"""Seconds at most while the trouble is short: what comes back is found, and read, within five."""
PATIENCE = 3.0
"""The part of the trouble's length that one more wait may take: a third."""


def delay(tries: int, draw: float, *, lasted: float = 0.0, base: float = 1.0, cap: float = CAP) -> float:
    """Seconds until the try after `tries` failures of a trouble that has `lasted` so many: equal jitter over a bound.

    The bound doubles from `base` on, and grows with the trouble itself: who waited ten minutes can wait another one,
    who waited ten seconds cannot. `draw` is uniform in [0, 1). Half the bound is certain and half is chance: of
    10,000 agents that all lost a server, equal jitter has the lowest peak at its return for the same tail
    (tests/bench/herd.py).
    """
    reach = max(base, SOON if lasted < SHORT else lasted / PATIENCE)
    bound = min(cap, reach, base * 2.0 ** min(tries, 30))
    return bound / 2 + bound / 2 * draw
