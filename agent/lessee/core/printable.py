"""Spells out characters that act on a terminal or a reader instead of being visible."""

import json


def spelled_out(text: str, *, keep: str = "") -> str:
    r"""The text with an escape of JSON, such as `\u001b`, for each character that is not printable, except for `keep`.

    These are control characters (C0 and C1), line separators, and invisible ones, such as those that change the
    direction of the text (CVE-2021-42574).
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else json.dumps(char)[1:-1] for char in text)


def counted(number: int, noun: str) -> str:
    """`1 secret`, `2 secrets` or `2 policies`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun[:-1]}ies" if noun[-1] == "y" and noun[-2] not in "aeo" else f"{number} {noun}s"
