"""How long to wait after a failure, so that many agents neither hammer nor return as one."""

CAP = 60.0


def delay(tries: int, draw: float, *, base: float = 1.0, cap: float = CAP) -> float:
    """Seconds until the try after `tries` failures: equal jitter over a doubling bound.

    `draw` is uniform in [0, 1). Half the bound is certain and half is chance: of 10,000 agents that
    all lost a server, equal jitter has the lowest peak at its return for the same tail.
    """
    bound = min(cap, base * 2.0 ** min(tries, 30))
    return bound / 2 + bound / 2 * draw
