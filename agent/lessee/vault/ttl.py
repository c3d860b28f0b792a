"""The ttl of a token or a lease, as the server wrote it: what is beyond all bounds is clamped, and logged."""

from lessee.core.ttl import MIN_TTL, clamp, is_ttl
from lessee.telemetry.logs import log


def token_ttl(value: object) -> float:
    """Seconds; 0 for a token that never expires, such as a root token."""
    return 0.0 if value is None or value == 0 else _clamped(value, "auth/token", MIN_TTL)


def lease_ttl(value: object, path: str) -> float:
    """Seconds, more than 0: a lease always ends."""
    return _clamped(value, path, MIN_TTL)


def static_ttl(value: object, path: str) -> float:
    """Seconds until the next rotation of a static role, from 0."""
    return _clamped(value, path, 0.0)


def _clamped(value: object, path: str, least: float) -> float:
    seconds = clamp(value, least) if is_ttl(value) else least
    if seconds != value or isinstance(value, bool):
        # A value of another type may be anything, a secret included.
        was = f"{value:.6g}" if isinstance(value, float) else str(value)[:20] if is_ttl(value) else "no number"
        log("warning", "ttl clamped", path=path, was=was, ttl=seconds, todo="check the server, and what is before it")
    return seconds
