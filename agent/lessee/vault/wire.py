"""HTTP/1.1 as RFC 9112 defines it: the head of a request as bytes, and a response that is read from a connection.

http.client would import the parser of e-mail, and TLS even without TLS: a tenth of a sidecar's start. It would also
parse the headers of each response as those of an e-mail, which takes longer than the rest of a request.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

MAX_HEAD_SIZE = 1 << 16
"""Bytes of the status line and all headers together, and of one line of a chunked body."""
MAX_INTERIM_RESPONSES = 16
"""Responses with a status of 1xx before the final one; Vault sends none."""
_CHUNK_MARKS = 4
"""Bytes of the line ends around a chunk."""
_PIECE_SIZE = 1 << 16
"""Bytes that are read at most at a time, so that an announced length alone takes no memory."""
LARGE = 1 << 20
"""Bytes of a body from which on it is large: answers of Vault have a few KiB."""
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: .*)?")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LENGTH = re.compile("[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?")
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f]")
_WITHOUT_BODY = frozenset({204, 304})
_SWITCHED = 101
_FIRST_FINAL = 200


class InvalidResponseError(Exception):
    """What the server sent is no HTTP/1.1."""


class TruncatedResponseError(InvalidResponseError):
    """The connection ended after the response had begun."""


class TooLargeResponseError(InvalidResponseError):
    """The body is larger than its kind of answer may be. `limit`: in bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit


def request_head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    """The request line and the headers. Raises ValueError if one of them has a character that cannot be sent."""
    if not (target.isascii() and target.isprintable()) or " " in target:
        raise ValueError
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if any(map(_CONTROL.search, lines)):
        raise ValueError
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


class Response:
    """A final response; a few before it, such as 100 Continue, are skipped. The caller reads the body."""

    def __init__(self, stream: BinaryIO) -> None:
        """Read the head from a buffered stream. Raises InvalidResponseError, OSError, or ConnectionResetError if
        the connection ended before it.
        """
        self._stream = stream
        for _ in range(MAX_INTERIM_RESPONSES + 1):
            minor, self.status, self.headers = _read_head(stream)
            if self.status >= _FIRST_FINAL or self.status == _SWITCHED:
                break
        else:
            raise InvalidResponseError
        self._is_chunked = self._is_in_chunk = False
        self._spare = MAX_HEAD_SIZE
        """Bytes that the lines between chunks may still take: as many as the body, and those of one head."""
        self._ends_with_connection = False
        self._left = self._body_size()
        """Bytes of the body, or of its current chunk, that are not read yet."""
        options = {option.strip().lower() for option in self.headers.get("connection", "").split(",")}
        self.closes = self._ends_with_connection or "close" in options or (minor == 0 and "keep-alive" not in options)
        """Whether the server accepts no further request on this connection."""

    @property
    def announced_size(self) -> int:
        """The size of the body in bytes, as far as it is known before it is read."""
        return 0 if self._ends_with_connection else self._left

    def read(self, size: int = -1) -> bytes:
        """The next `size` bytes of the body, or all of its rest; less at its end.

        Raises InvalidResponseError or OSError.
        """
        read = bytearray()
        self._read_into(read, size)
        return bytes(read)

    def read_whole(self, limit: int, announce_large: Callable[[], None] | None = None) -> bytes:
        """The whole body. Raises TooLargeResponseError if it has more than `limit` bytes, InvalidResponseError or
        OSError. `announce_large` is called before the body takes more than LARGE bytes.
        """
        if self.announced_size > limit:
            raise TooLargeResponseError(limit)
        read = bytearray()
        self._read_into(read, min(limit, LARGE) + 1)
        if len(read) > LARGE and limit > LARGE:
            if announce_large is not None:
                announce_large()
            self._read_into(read, limit + 1)
        if len(read) > limit:
            raise TooLargeResponseError(limit)
        return bytes(read)

    def _read_into(self, read: bytearray, size: int) -> None:
        """Append the body until there are `size` bytes, or all with -1. A list of pieces would take more memory."""
        while len(read) != size and (self._left or self._begin_chunk()):
            wanted = min(self._left, _PIECE_SIZE, size - len(read) if size >= 0 else _PIECE_SIZE)
            piece = self._stream.read(wanted)
            if len(piece) < wanted and not self._ends_with_connection:
                raise TruncatedResponseError
            self._left -= len(piece) or self._left
            self._spare += len(piece)
            read += piece

    def _body_size(self) -> int:
        length, encoding = self.headers.get("content-length"), self.headers.get("transfer-encoding")
        if self.status in _WITHOUT_BODY or self.status < _FIRST_FINAL:
            return 0
        if encoding is not None:
            # With a length too, client and server could see different ends of the body (RFC 9112, section 6.3).
            if encoding.lower() != "chunked" or length is not None:
                raise InvalidResponseError
            self._is_chunked = True
            return 0
        if length is None:
            self._ends_with_connection = True
            return 1 << 62
        if not _LENGTH.fullmatch(length):
            raise InvalidResponseError
        return int(length)

    def _begin_chunk(self) -> bool:
        """Read the size of the next chunk of the body; False at the body's end."""
        if not self._is_chunked:
            return False
        if self._is_in_chunk and _read_line(self._stream, MAX_HEAD_SIZE):
            raise InvalidResponseError
        line = _read_line(self._stream, MAX_HEAD_SIZE)
        found = _CHUNK_SIZE.fullmatch(line)
        self._spare -= len(line) + _CHUNK_MARKS
        if found is None or self._spare < 0:
            raise InvalidResponseError
        self._left = int(found[1], 16)
        self._is_in_chunk = self._is_chunked = self._left > 0
        if not self._is_chunked:
            for _ in _lines(self._stream, MAX_HEAD_SIZE):
                pass  # Trailers.
        return self._is_chunked


def _read_head(stream: BinaryIO) -> tuple[int, int, dict[str, str]]:
    """HTTP's minor version, the status, and the headers by name in lower case."""
    first = stream.readline(MAX_HEAD_SIZE + 1)
    if not first:
        raise ConnectionResetError  # As a server that has closed an idle connection.
    found = _STATUS_LINE.fullmatch(_line(first, MAX_HEAD_SIZE))
    if found is None:
        raise InvalidResponseError
    headers: dict[str, str] = {}
    for line in _lines(stream, MAX_HEAD_SIZE - len(first)):
        name, colon, value = line.partition(b":")
        if not colon or not _NAME.fullmatch(name):
            raise InvalidResponseError
        key, text = name.decode().lower(), value.strip(b" \t").decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return int(found[1]), int(found[2]), headers


def _lines(stream: BinaryIO, limit: int) -> Iterator[bytes]:
    """The lines up to an empty one, of `limit` bytes together."""
    while line := _read_line(stream, limit):
        limit -= len(line) + 1
        yield line


def _read_line(stream: BinaryIO, limit: int) -> bytes:
    return _line(stream.readline(limit + 1), limit)


def _line(read: bytes, limit: int) -> bytes:
    if len(read) > limit:
        raise InvalidResponseError
    if not read.endswith(b"\n"):
        raise TruncatedResponseError
    return read[:-1].removesuffix(b"\r")
