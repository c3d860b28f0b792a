"""Reads contents in parts of bounded size, and tells text from other data."""

import codecs
from collections.abc import Callable, Iterator

from lessee.core.immutable import ImmutableStruct

PART = 1 << 20
"""Bytes of one read."""
MAX_BYTES = 64 << 20
"""Bytes of a content that is searched: a larger one is data."""
MAX_LINE = 1 << 16
"""Characters of the last line of a part that move to the next part; a longer line is cut."""
_HEAD = 8192
"""Bytes in which git looks for a zero byte to tell data from text."""
_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16", codecs.BOM_UTF8: "utf-8-sig"}


class BinaryError(Exception):
    """A content is no text."""


class Part(ImmutableStruct, frozen=True):
    """A part of a text, and how many lines are before it."""

    hidden = ("text",)

    text: str
    lines_before: int


def parts(read: Callable[[int], bytes]) -> Iterator[Part]:
    """The parts of a content, each of whole lines. `read` returns its next bytes.

    Raises BinaryError at the first part.
    """
    piece = read(PART)
    encoding = next((name for mark, name in _MARKS.items() if piece.startswith(mark)), "utf-8")
    if encoding != "utf-16" and b"\0" in piece[:_HEAD]:
        raise BinaryError
    errors = "replace" if encoding == "utf-16" else "surrogateescape"
    decoder = codecs.getincrementaldecoder(encoding)(errors=errors)
    rest, before = "", 0
    while piece:
        text = rest + decoder.decode(piece)
        cut = text.rfind("\n") + 1
        cut = len(text) if len(text) - cut > MAX_LINE else cut
        if cut:
            yield Part(text[:cut], before)
            before += text.count("\n", 0, cut)
        rest, piece = text[cut:], read(PART)
    if rest := rest + decoder.decode(b"", final=True):
        yield Part(rest, before)
