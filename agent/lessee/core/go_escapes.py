"""The escape sequences of Go's string literals, which HCL shares."""

import re
from collections.abc import Iterator

_ESCAPE = re.compile(
    r"\\(?:(?P<char>[abfnrtv\\\"])|x(?P<byte>[0-9a-fA-F]{2})|(?P<octal>[0-3][0-7]{2})"
    r"|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8}))"
)
_CHARS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"'}


def unescape(text: str) -> str:
    r"""The value of a string literal without its quotes; `\x` and octal escapes are bytes of UTF-8.

    Raises ValueError for an invalid escape, or for bytes that are not UTF-8.
    """
    return b"".join(_bytes(text)).decode() if "\\" in text else text


def _bytes(text: str) -> Iterator[bytes]:
    end = 0
    for found in _ESCAPE.finditer(text):
        yield _plain(text[end : found.start()])
        yield _decode_escape(found)
        end = found.end()
    yield _plain(text[end:])


def _plain(text: str) -> bytes:
    if "\\" in text:
        raise ValueError
    return text.encode()


def _decode_escape(found: re.Match[str]) -> bytes:
    kind, text = found.lastgroup, found[found.lastgroup or 0]
    match kind:
        case "char":
            return _CHARS[text].encode()
        case "byte":
            return bytes([int(text, 16)])
        case "octal":
            return bytes([int(text, 8)])
        case _:
            return chr(int(text, 16)).encode()
