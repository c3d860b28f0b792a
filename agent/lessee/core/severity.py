"""The severity of a failed check."""

from enum import StrEnum


class Level(StrEnum):
    """How severe it is that a check fails."""

    CRITICAL = "critical"
    """Something does not work, or is accessible to users who must not have access."""
    WARNING = "warning"
    """It works now, but will stop working soon or is not set up as recommended."""
    INFO = "info"


def overdue_level(age: float, interval: float) -> Level | None:
    """The severity for something last changed `age` seconds ago that must change every `interval` seconds."""
    if age > 2 * interval:
        return Level.CRITICAL
    return Level.WARNING if age > interval else None
