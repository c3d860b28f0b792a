"""Parses and formats durations such as `500ms`, `1s`, `5m`, `24h` and `7d`."""

import re

PATTERN = r"[0-9]{1,9}(?:ms|s|m|h|d)"
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def seconds(text: str) -> float:
    """Parse a duration into seconds. Raises ValueError if the text is not a duration."""
    if not re.fullmatch(PATTERN, text):
        raise ValueError
    digits = text.rstrip("dhms")
    return int(digits) * _UNITS[text.removeprefix(digits)]


def spell(duration: float) -> str:
    """Format seconds as the shortest exact duration: 90.0 is `90s`, 0.5 is `500ms`."""
    milliseconds = round(duration * 1000)
    for unit, size in _UNITS.items():
        count, rest = divmod(milliseconds, round(size * 1000))
        if count and not rest:
            return f"{count}{unit}"
    return "0s"
