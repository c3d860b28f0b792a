"""When a token or lease is renewed, and how long a request may take that its end depends on."""

from lessee.agent.machine.transaction import Transaction
from lessee.core.backoff import delay

FINAL_SECONDS = 2.0
"""A token or lease this close to its end is not renewed, nor in the last quarter of a short ttl: Vault has let such
renewals exceed max_ttl (CVE-2021-32923)."""
CAPPED_RATIO = 0.9
"""A renewal that returns less than this fraction of the previous ttl is capped: max_ttl is near."""
MIN_TIMEOUT = 3.0
"""Seconds that every request may take."""
SHORT_TTL = 3.0
"""Seconds. What is valid for less is not renewed, and replaced ever more rarely: no server means such a ttl."""
_REPLACEMENT_BASE = 10.0
"""Seconds before the second replacement in a row, on average three quarters of it."""


def renewal_delay(tx: Transaction, ttl: float) -> float:
    """Seconds from the start of the ttl to its renewal. Random, so that agents started together renew apart."""
    return ttl * (0.5 + 0.2 * tx.random())


def final_seconds(ttl: float) -> float:
    """Seconds before the end in which a renewal is not attempted."""
    return min(FINAL_SECONDS, ttl / 4)


def timeout_before_end(seconds_left: float) -> float:
    """The timeout of a request whose result is needed in `seconds_left`: a part of it, so that others can follow."""
    return max(MIN_TIMEOUT, seconds_left / 4)


def is_short(ttl: float) -> bool:
    """Whether a token or lease ends too soon to be renewed. A ttl of 0 means that it never ends."""
    return 0 < ttl < SHORT_TTL


def replacement_delay(tx: Transaction, quick: int) -> float:
    """Seconds before the next login or issue, after `quick` of them in a row that each followed too soon."""
    return delay(quick - 1, tx.random(), duration=float("inf"), base=_REPLACEMENT_BASE) if quick else 0.0
