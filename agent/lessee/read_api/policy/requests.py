"""Parses the head of an HTTP request. What two programs could read in two ways is refused."""

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote

from lessee.core.immutable import ImmutableStruct

MAX_HEAD = 16 * 1024
"""Bytes of the request line and the headers."""
MAX_BODY = 64 * 1024
"""Bytes. No request that is answered needs a body, but clients send `{}`."""
_MAX_HEADERS = 64
_LINE = re.compile(r"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.([01])")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e]*)")
_LENGTH = re.compile(r"[0-9]{1,9}")


class BadRequestError(Exception):
    """The request is refused before it is looked at; `code` is its status."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


class Request(ImmutableStruct, frozen=True):
    """A request without its body. `path` is decoded; the names of `headers` are in lower case."""

    hidden = ("headers",)

    method: str
    path: str
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    content_length: int = 0
    keeps_alive: bool = True


def parse_head(head: bytes) -> Request:
    """The request of these bytes, up to the empty line. Raises BadRequestError."""
    try:
        first, *lines = head.decode("ascii").split("\r\n")
    except UnicodeDecodeError:
        raise BadRequestError(400, "the request is not ASCII") from None
    if (line := _LINE.fullmatch(first)) is None:
        raise BadRequestError(400, "the first line is not that of an HTTP request")
    method, target, minor = line.groups()
    headers = _headers(lines)
    if "transfer-encoding" in headers:
        raise BadRequestError(411, "send the body with Content-Length")
    length = headers.get("content-length", "0")
    if not _LENGTH.fullmatch(length):
        raise BadRequestError(400, "Content-Length is not a number")
    if int(length) > MAX_BODY:
        raise BadRequestError(413, f"the body is longer than {MAX_BODY} bytes")
    raw, _, query = target.partition("?")
    parameters = parse_qsl(query, keep_blank_values=True)
    if len(parameters_by_name := dict(parameters)) != len(parameters):
        # Vault takes the first one, other programs take the last.
        raise BadRequestError(400, "a parameter is there twice")
    connection = headers.get("connection", "").lower()
    return Request(
        method,
        _path(raw),
        parameters_by_name,
        headers,
        int(length),
        connection != "close" if minor == "1" else connection == "keep-alive",
    )


def _headers(lines: list[str]) -> dict[str, str]:
    if len(lines) > _MAX_HEADERS:
        raise BadRequestError(431, "too many headers")
    headers: dict[str, str] = {}
    for line in lines:
        if (found := _HEADER.fullmatch(line)) is None:
            raise BadRequestError(400, "a header is not valid")
        name = found[1].lower()
        if name in headers:
            raise BadRequestError(400, f"the header {name} is there twice")
        headers[name] = found[2].strip()
    return headers


def _path(raw: str) -> str:
    path = unquote(raw, errors="replace")
    elements = path.removesuffix("/").split("/")[1:]
    # One step of decoding must leave a path that no program would decode or shorten once more.
    is_plain = path.isprintable() and "%" not in path and "\ufffd" not in path and "%2f" not in raw.lower()
    if not is_plain or not {"", ".", ".."}.isdisjoint(elements):
        raise BadRequestError(400, "the path has an empty element, a dot, or a character that is not printable")
    return path
