"""The wait before a retry: short after a short outage, and spread so that many agents do not return together."""

MAX_DELAY = 50.0
"""Seconds. A server that is back is found, and its secrets are read, within a minute."""
SHORT_OUTAGE = 30.0
"""Seconds. An outage that lasts longer is not expected to end within seconds."""
SHORT_OUTAGE_MAX_DELAY = 4.4
"""Seconds between attempts during a short outage: a server that is back is found, and read, within five."""
OUTAGE_DIVISOR = 3.0
"""The next wait is at most this fraction of the outage's duration: a third."""

CREDENTIALS_CHECK_INTERVAL = 5.0
"""Seconds between two checks whether refused credentials have changed, without a request to Vault."""
FORBIDDEN_LOGIN_DELAY = 5.0
"""Seconds until the first retry of a login that got a 403; later with a longer outage."""
_REFUSED_LOGIN_DELAYS = (15.0, 300.0)


def refused_login_delay(refusals: int) -> float:
    """Seconds until credentials are sent again that Vault has refused `refusals` times before this time.

    The first retry is soon, because the role may just have been created. The others stay far below the lockout
    threshold: five refusals in fifteen minutes, for all clients of the role
    (https://openbao.org/docs/concepts/user-lockout/).
    """
    return _REFUSED_LOGIN_DELAYS[min(refusals, len(_REFUSED_LOGIN_DELAYS) - 1)]


def delay(attempts: int, draw: float, *, duration: float = 0.0, base: float = 1.0, cap: float = MAX_DELAY) -> float:
    """Seconds until the next attempt after `attempts` failures, in an outage of `duration` seconds: equal jitter.

    The upper bound doubles from `base`, and grows with the outage: an agent that waited ten minutes can wait another
    minute, and one that waited ten seconds cannot. `draw` is uniform in [0, 1). Half of the bound is fixed and half is
    random: of 10,000 agents that all lost a server, equal jitter has the lowest peak at its return for the same tail
    (tests/bench/herd.py).
    """
    limit = max(base, SHORT_OUTAGE_MAX_DELAY if duration < SHORT_OUTAGE else duration / OUTAGE_DIVISOR)
    bound = min(cap, limit, base * 2.0 ** min(attempts, 30))
    return bound / 2 + bound / 2 * draw
