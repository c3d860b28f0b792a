"""Formats timestamps, durations and texts of a status for display."""

from datetime import datetime

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_MAX_LENGTH = 600


def epoch_seconds(timestamp: str) -> float:
    """Seconds since 1970 of a timestamp in RFC 3339."""
    return datetime.fromisoformat(timestamp).timestamp()


def duration(seconds: float) -> str:
    """Its two largest units: `42 s`, `12 min`, `3 h 12 min`, `5 d 3 h`."""
    whole = max(0, round(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min"
    large, small, names = (_HOUR, _MINUTE, ("h", "min")) if whole < _DAY else (_DAY, _HOUR, ("d", "h"))
    count, rest = divmod(whole, large)
    return f"{count} {names[0]}" + (f" {rest // small} {names[1]}" if rest >= small else "")


def relative_time(timestamp: str, now: float) -> str:
    """`12 s ago`, or `in 5 min` for a time in the future."""
    passed = now - epoch_seconds(timestamp)
    if abs(passed) < 1:
        return "just now"
    return f"{duration(passed)} ago" if passed > 0 else f"in {duration(-passed)}"


def count(number: int, singular: str, plural: str = "") -> str:
    """`1 app`, `2 apps`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def printable(text: object) -> str:
    """The text on one line, of limited length, and without control characters."""
    line = str(text)
    if len(line) > _MAX_LENGTH:
        line = f"{line[:_MAX_LENGTH]}…"
    return "".join(char if char.isprintable() else _escaped(char) for char in line)


def _escaped(char: str) -> str:
    return " " if char in "\n\t" else f"\\u{ord(char):04x}"
