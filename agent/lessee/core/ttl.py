"""How long a token or a lease is valid: which numbers of a server count, and which are beyond all bounds."""

from typing import TypeGuard

MIN_TTL = 1.0
"""Seconds. Vault counts in whole seconds, and a ttl of 0 would mean that the secret never expires."""
MAX_TTL = 100 * 365.25 * 86400.0
"""Seconds: a hundred years. A later date has no place in a calendar."""


def is_ttl(value: object) -> TypeGuard[float]:
    """Whether a value of JSON can be a number of seconds."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def clamp(seconds: float, least: float = 0.0) -> float:
    """The number of seconds within the bounds."""
    # An int may be larger than any float.
    return float(min(max(seconds, least), MAX_TTL))
