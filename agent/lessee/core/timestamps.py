"""Timestamps of RFC 3339, as Vault and lessee's own status write them."""

from datetime import datetime


def parse_timestamp(text: str) -> float | None:
    """Seconds since 1970; None if the text is not a timestamp with an offset from UTC."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed.timestamp() if parsed.tzinfo is not None else None
