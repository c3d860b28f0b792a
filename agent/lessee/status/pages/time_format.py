"""Moments and spans of a status, in words."""

from datetime import datetime

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_LONGEST = 600


def seconds_of(moment: str) -> float:
    """Of RFC 3339, in seconds since 1970."""
    return datetime.fromisoformat(moment).timestamp()


def span(seconds: float) -> str:
    """Its two largest units: `42 s`, `12 min`, `3 h 12 min`, `5 d 3 h`."""
    whole = max(0, round(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min"
    large, small, names = (_HOUR, _MINUTE, ("h", "min")) if whole < _DAY else (_DAY, _HOUR, ("d", "h"))
    count, rest = divmod(whole, large)
    return f"{count} {names[0]}" + (f" {rest // small} {names[1]}" if rest >= small else "")


def since(moment: str, now: float) -> str:
    """`12 s ago`, or `in 5 min` where it is still to come."""
    passed = now - seconds_of(moment)
    if abs(passed) < 1:
        return "just now"
    return f"{span(passed)} ago" if passed > 0 else f"in {span(-passed)}"


def count(number: int, one: str, several: str = "") -> str:
    """`1 app`, `2 apps`."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def shown(text: object) -> str:
    """As it may be shown: on a line, of a bearable length, and without what a terminal or a page would obey."""
    said = str(text)
    if len(said) > _LONGEST:
        said = f"{said[:_LONGEST]}…"
    return "".join(char if char.isprintable() else _spelled(char) for char in said)


def _spelled(char: str) -> str:
    return " " if char in "\n\t" else f"\\u{ord(char):04x}"
