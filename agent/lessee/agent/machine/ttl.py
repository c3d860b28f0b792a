"""When a token or lease is renewed, and how long a request may take that its end depends on."""

from lessee.agent.machine.transaction import Transaction

FINAL_SECONDS = 2.0
"""A token or lease this close to its end is not renewed, nor in the last quarter of a short ttl: Vault has let such
renewals exceed max_ttl (CVE-2021-32923)."""
CAPPED_RATIO = 0.9
"""A renewal that returns less than this fraction of the previous ttl is capped: max_ttl is near."""
MIN_TIMEOUT = 3.0
"""Seconds that every request may take."""


def renewal_delay(tx: Transaction, ttl: float) -> float:
    """Seconds from the start of the ttl to its renewal. Random, so that agents started together renew apart."""
    return ttl * (0.5 + 0.2 * tx.random())


def final_seconds(ttl: float) -> float:
    """Seconds before the end in which a renewal is not attempted."""
    return min(FINAL_SECONDS, ttl / 4)


def timeout_before_end(seconds_left: float) -> float:
    """The timeout of a request whose result is needed in `seconds_left`: a part of it, so that others can follow."""
    return max(MIN_TIMEOUT, seconds_left / 4)
