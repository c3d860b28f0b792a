"""Formats moments for the monitor's status and messages."""

from datetime import UTC, datetime


def rfc3339(moment: float | None) -> str | None:
    """The moment in UTC with milliseconds, or None for no moment."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds") if moment else None
