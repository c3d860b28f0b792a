"""Whether something is too old."""

from datetime import datetime

from lessee.core.severity import Level


def moment(text: str) -> float | None:
    """A time of Vault's, as RFC 3339 has it, in seconds since 1970; None where it is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.timestamp() if found.tzinfo is not None else None


def overdue(age: float, every: float) -> Level | None:
    """How bad it is that something which is to be changed `every` so many seconds was not for `age` of them."""
    if age > 2 * every:
        return Level.CRITICAL
    return Level.WARNING if age > every else None
