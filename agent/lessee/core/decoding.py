"""Finds what a text says in base64, hex or URL encoding, with the place of each part.

Redaction searches the decoded parts for values: a value may be anywhere in what was encoded, such as a password behind
the user in the header of basic authentication, so that its own encoding is not a part of the text.
"""

import binascii
import re
from collections.abc import Callable, Iterator

from lessee.core.immutable import ImmutableStruct

_PERCENT = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_HEX = re.compile(r"[0-9A-Fa-f]{10,}")
_SEPARATED_HEX = re.compile(r"(?:[0-9A-Fa-f]{2}[: ]){4,}[0-9A-Fa-f]{2}")
_PRINTABLE = re.compile(rb"[\t -~]{5,}")
"""As long as the shortest value. Other characters are rare in values and frequent in what is no encoding."""
_PRINTED = bytes(byte if byte == ord("\t") or ord(" ") <= byte <= ord("~") else 0 for byte in range(256))
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_SEXTETS = bytes(
    byte if byte in _ALPHABET else {ord("-"): ord("+"), ord("_"): ord("/")}.get(byte, ord("A")) for byte in range(256)
)
"""Both alphabets of RFC 4648 as one; anything else counts as zeros."""


Place = Callable[[int, int], tuple[int, int]]
"""Gives the part of the text that encodes the decoded characters from a start to an end."""


class DecodedPart(ImmutableStruct, frozen=True):
    """A decoded part of a text."""

    text: str
    place: Place


def decoded_parts(text: str) -> Iterator[DecodedPart]:
    """Every part that may be encoded, at each alignment. Its cost is in proportion to the text's length."""
    yield from _binary_parts(text)
    if "%" in text and _PERCENT.search(text):
        # In the query of a URL, `+` is a blank.
        for plus in "+ " if "+" in text else "+":
            whole = _percent_decoded(text, plus)
            yield whole
            for part in _binary_parts(whole.text):
                yield DecodedPart(part.text, _chained(part.place, whole.place))


def _binary_parts(text: str) -> list[DecodedPart]:
    found: list[DecodedPart] = []
    # With four more sextets, each alignment ends with a whole quartet behind the text.
    sextets = text.encode("latin-1", "replace").translate(_SEXTETS) + b"AAAA"
    for offset in range(4):
        decoded = binascii.a2b_base64(sextets[offset : offset + (len(sextets) - offset) // 4 * 4])
        if _PRINTABLE.search(decoded):
            found.append(DecodedPart(_printed(decoded), _base64_place(offset)))
    for match in _HEX.finditer(text):
        for offset in (0, 1):
            digits = match[0][offset:]
            decoded = bytes.fromhex(digits[: len(digits) // 2 * 2])
            if _PRINTABLE.search(decoded):
                found.append(DecodedPart(_printed(decoded), _hex_place(match.start() + offset, 2)))
    for match in _SEPARATED_HEX.finditer(text):
        decoded = bytes.fromhex(match[0].replace(":", " "))
        if _PRINTABLE.search(decoded):
            found.append(DecodedPart(_printed(decoded), _hex_place(match.start(), 3)))
    return found


def _printed(decoded: bytes) -> str:
    return decoded.translate(_PRINTED).decode("ascii")


def _base64_place(offset: int) -> Place:
    # Four characters encode three bytes, and a byte takes a part of two or three of them.
    return lambda start, end: (offset + start * 4 // 3, offset + (end * 4 + 2) // 3)


def _hex_place(at: int, width: int) -> Place:
    return lambda start, end: (at + start * width, at + (end - 1) * width + 2)


def _chained(inner: Place, outer: Place) -> Place:
    return lambda start, end: outer(*inner(start, end))


def _percent_decoded(text: str, plus: str) -> DecodedPart:
    """The whole text, with each `%XX` decoded (RFC 3986) and this character for each `+`."""
    parts: list[str] = []
    places: list[int] = []
    at = 0
    for match in _PERCENT.finditer(text):
        parts.append(text[at : match.start()].replace("+", plus))
        places.extend(range(at, match.start()))
        at = match.start()
        # A byte that is not UTF-8 becomes one character.
        for char in bytes.fromhex(match[0].replace("%", "")).decode("utf-8", "surrogateescape"):
            parts.append(char)
            places.append(at)
            at += 3 * len(char.encode("utf-8", "surrogateescape"))
    parts.append(text[at:].replace("+", plus))
    places.extend(range(at, len(text) + 1))
    return DecodedPart("".join(parts), lambda start, end: (places[start], places[end]))
