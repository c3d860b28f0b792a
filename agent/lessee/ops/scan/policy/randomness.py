"""Whether a program chose the characters of a value at random, as it does for keys, and people do not.

The thresholds are calibrated with lines of public projects: `tests/bench/scanning.py` measures how many values each
one separates.
"""

import math
import re
from collections import Counter

LEAST_ENTROPY = 3.5
"""Bits for each character of a value with letters and digits."""
LEAST_ENTROPY_OF_HEX = 2.9
"""Bits for each character of a value in hexadecimal, which has at most 4."""
SHORTEST = 20
"""Characters of a value that nothing but its randomness makes a secret."""
UNGUESSABLE = 64.0
"""Bits of a value that a program cannot find by trying."""


def entropy(value: str) -> float:
    """Shannon's entropy of the value's own characters, in bits for each."""
    size = len(value)
    return -sum(count / size * math.log2(count / size) for count in Counter(value).values()) if size else 0.0


def is_hex(value: str) -> bool:
    """Whether the value is hexadecimal, as hashes and commits are; or a UUID."""
    return _HEX.fullmatch(value) is not None or _UUID.fullmatch(value) is not None


def looks_random(value: str, shortest: int = SHORTEST) -> bool:
    """Whether the characters look random: they are many, and change between letters, digits and cases in no order."""
    if len(value) < shortest or not _TOKEN.fullmatch(value):
        return False
    if is_hex(value):
        return entropy(value) >= LEAST_ENTROPY_OF_HEX and bool(_DIGIT.search(value))
    changes = sum(1 for _ in _CHANGE.finditer(value))
    return (
        bool(_DIGIT.search(value))
        and entropy(value) >= min(LEAST_ENTROPY, math.log2(len(value)) * _OF_THE_MOST)
        and changes >= len(value) / _CHANGES
        and not _COUNTING.search(value)
        and not _has_words(value)
    )


def is_unguessable(value: str) -> bool:
    """Whether no program finds the value by trying, so that its fingerprint says nothing about it."""
    return looks_random(value) and entropy(value) * len(value) >= UNGUESSABLE


def _has_words(value: str) -> bool:
    """Whether most of the letters are in long runs of one case, as words are."""
    long_runs = sum(len(run) for run in _RUN.findall(value))
    return long_runs > len(value) * _WORDS


_HEX = re.compile(r"[0-9a-f]+|[0-9A-F]+")
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_TOKEN = re.compile(r"[A-Za-z0-9+/=_.~!@#$%^&*?-]+", re.ASCII)
_DIGIT = re.compile(r"[0-9]")
_CHANGE = re.compile(r"(?<=[a-z])(?=[A-Z0-9])|(?<=[A-Z])(?=[0-9])|(?<=[A-Z][A-Z])(?=[a-z])|(?<=[0-9])(?=[A-Za-z])")
_COUNTING = re.compile(r"01234567|12345678|abcdefgh|ABCDEFGH|qwertyui", re.IGNORECASE)
_RUN = re.compile(r"[a-z]{5,}|[A-Z]{5,}")
_OF_THE_MOST = 0.8
"""Of the entropy that so many different characters have."""
_CHANGES = 6.0
"""Characters for each change of their kind, at most."""
_WORDS = 0.5
