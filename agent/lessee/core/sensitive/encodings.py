"""The encodings in which a program may write a value into a file, with their names."""

import base64
import json
import re
from collections.abc import Iterator
from html import escape
from urllib.parse import quote, quote_plus

PLAIN = "as it is"


def encoded(value: str) -> Iterator[tuple[str, bytes]]:
    """Each encoding of the value, by name; the same bytes may occur under several names.

    For base64, the characters that do not depend on neighboring bytes, at each of the three possible alignments. So a
    value is found in the middle of a text that was encoded as a whole, such as a source map in a comment.
    """
    yield from ((name, text.encode(errors="surrogatepass")) for name, text in _texts(value))
    for text in dict.fromkeys((value, *_json(value))):
        raw = text.encode(errors="surrogatepass")
        for inner in _base64(raw):
            yield "in base64", inner
            yield "in base64url", inner.translate(_URL_SAFE)
    raw = value.encode(errors="surrogatepass")
    yield "in hex", raw.hex().encode()
    yield "in hex", raw.hex().upper().encode()


def _texts(value: str) -> Iterator[tuple[str, str]]:
    """Unchanged, as a string literal without its quotes, and as a part of a URL or an HTML page."""
    yield PLAIN, value
    for text in _json(value):
        yield "as JSON", text
        yield "as JSON", text.replace("/", "\\/")  # as PHP does
        yield "as JSON", _ESCAPE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)  # for a page
    for text in _javascript(value):
        yield "as JavaScript", text
        yield "as JavaScript", _FOREIGN.sub(lambda found: _escape(found[0], "x"), text)
        yield "as JavaScript", _FOREIGN.sub(lambda found: _escape(found[0], "X"), text)
    for text in (*_json(value), *_javascript(value)):
        yield from (("in a source map", twice) for twice in _json(text))
    yield "as HTML", escape(value, quote=False)
    yield "as HTML", escape(value)
    raw = value.encode(errors="surrogatepass")
    for quoted in (quote(raw, safe=""), quote(raw, safe=_COMPONENT), quote(raw, safe=_ADDRESS), quote(raw)):
        yield "as a URL", quoted
        yield "as a URL", _lower(quoted)
    yield "as a form", quote_plus(raw)


def _json(value: str) -> tuple[str, ...]:
    return json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]


def _javascript(value: str) -> tuple[str, ...]:
    """For each kind of quotes."""
    plain = value.replace("\\", "\\\\")
    line = plain.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    template = plain.replace("`", "\\`").replace("${", "\\${")
    return line.replace('"', '\\"'), line.replace("'", "\\'"), template


def _escape(char: str, digits: str) -> str:
    """The escape of a character outside ASCII; `digits` is x or X."""
    code = ord(char)
    return f"\\x{code:02{digits}}" if char <= "\xff" else f"\\u{code:04{digits}}" if char <= "\uffff" else char


def _base64(raw: bytes) -> Iterator[bytes]:
    for before in range(3):
        first = -(-before * 8 // 6)  # The first character that encodes only bits of the value.
        yield base64.b64encode(b"\0" * before + raw)[first : (before + len(raw)) * 8 // 6]


def _lower(quoted: str) -> str:
    """The same with lower-case digits in its escapes."""
    head, *rest = quoted.split("%")
    return "%".join([head, *(part[:2].lower() + part[2:] for part in rest)])


_ESCAPE = re.compile("[<>&\u2028\u2029]")
_FOREIGN = re.compile(r"[^\x00-\x7f]")
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_COMPONENT = "!'()*"
"""What JavaScript's encodeURIComponent leaves unescaped, in addition to what Python does."""
_ADDRESS = ";,/?:@&=+$#!'()*"
"""What JavaScript's encodeURI leaves unescaped, in addition to what Python does."""
