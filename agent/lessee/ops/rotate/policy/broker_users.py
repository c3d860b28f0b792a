"""Names of users that have a rotation's id as their suffix."""

import re

_SUFFIX = 8
"""Digits of the id."""


def name_of(user: str, rotation: str) -> str:
    """The name of the user that this rotation creates."""
    return f"{user}-{rotation[:_SUFFIX]}"


def is_name_of(name: object, user: str) -> bool:
    """Whether this is the user, or one that a rotation has created for it."""
    return isinstance(name, str) and re.fullmatch(rf"{re.escape(user)}(-[0-9a-f]{{{_SUFFIX}}})?", name) is not None
