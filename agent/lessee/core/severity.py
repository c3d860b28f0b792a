"""How bad a finding is."""

from enum import StrEnum


class Level(StrEnum):
    """How bad it is where a check fails."""

    CRITICAL = "critical"
    """Something does not work, or is open to whom it should not be."""
    WARNING = "warning"
    """It works, and will not for long, or is not as it should be."""
    INFO = "info"
