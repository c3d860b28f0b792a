"""HTTP/1.1 as bytes: each valid response is read as http.client reads it, and each ambiguous one is rejected."""

import io
import re
from contextlib import suppress
from http.client import HTTPResponse
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.vault.wire import (
    LARGE,
    MAX_HEAD_SIZE,
    MAX_INTERIM_RESPONSES,
    InvalidResponseError,
    Response,
    TooLargeResponseError,
    TruncatedResponseError,
    request_head,
)

NEXT = b"HTTP/1.1 200 OK\r\n"
"""What follows a response on the same connection."""


def read(data):
    """The response in these bytes, its body, and what follows it."""
    stream = io.BufferedReader(io.BytesIO(data))
    response = Response(stream)
    return response, response.read(), stream.read()


class Socket:
    """What http.client needs of a socket."""

    def __init__(self, data):
        self._data = data

    def makefile(self, _mode):
        return io.BufferedReader(io.BytesIO(self._data))


def read_by_http_client(data):
    response = HTTPResponse(Socket(data), method="GET")
    response.begin()
    return response, response.read()


HEADER_NAMES = st.from_regex(r"X-[A-Za-z0-9-]{1,20}", fullmatch=True)
HEADER_VALUES = st.from_regex(re.compile(r"[!-~]([!-~ \t]{0,40}[!-~])?", re.ASCII), fullmatch=True)
BODIES = st.binary(max_size=300)


@st.composite
def responses(draw):
    """A valid response with its body."""
    status, body = draw(st.integers(200, 599)), draw(BODIES)
    lines = [f"HTTP/1.{draw(st.sampled_from('01'))} {status}{draw(st.sampled_from(['', ' ', ' A reason']))}"]
    lines += [f"{name}:{draw(st.sampled_from(['', ' ', chr(9)]))}{draw(HEADER_VALUES)}"
              for name in draw(st.lists(HEADER_NAMES, max_size=4, unique_by=str.lower))]  # fmt: skip
    connection = draw(st.sampled_from([None, "close", "keep-alive", "Keep-Alive, x"]))
    lines += [f"Connection: {connection}"] if connection else []
    if status in {204, 304}:
        body = content = b""
    elif draw(st.booleans()):
        lines.append(f"Content-Length: {len(body)}")
        content = body
    else:
        lines.append("Transfer-Encoding: chunked")
        content = draw(chunked(body))
    head = "".join(f"{line}\r\n" for line in lines)
    before = draw(st.sampled_from(["", "HTTP/1.1 100 Continue\r\n\r\n"]))
    return f"{before}{head}\r\n".encode() + content, body


@st.composite
def chunked(draw, body):
    """A body in chunks of random sizes."""
    ends = sorted({0, len(body), *draw(st.lists(st.integers(0, len(body)), max_size=4))})
    extension, trailer = draw(st.sampled_from(["", ";a=b"])), draw(st.sampled_from(["", "X-After: 1\r\n"]))
    pieces = [f"{end - begin:x}{extension}\r\n".encode() + body[begin:end] + b"\r\n" for begin, end in pairwise(ends)]
    return b"".join(pieces) + f"0\r\n{trailer}\r\n".encode()


@given(responses())
def test_a_valid_response_is_read_as_http_client_reads_it(made):
    data, body = made
    response, content, after = read(data + NEXT)
    theirs, their_content = read_by_http_client(data)
    assert (response.status, content, after) == (theirs.status, their_content, NEXT)
    assert content == body
    assert response.headers == {name.lower(): value for name, value in theirs.getheaders()}
    assert response.closes == theirs.will_close


@given(responses(), st.data())
def test_a_response_that_ends_early_is_never_taken_as_complete(made, data):
    response, _ = made
    cut = response[: data.draw(st.integers(0, len(response) - 1))]
    with pytest.raises((TruncatedResponseError, ConnectionResetError)):
        read(cut)


@given(responses(), st.integers(1, 50))
def test_a_body_is_the_same_in_pieces_of_any_size(made, size):
    data, body = made
    response = Response(io.BufferedReader(io.BytesIO(data)))
    pieces = list(iter(lambda: response.read(size), b""))
    assert b"".join(pieces) == body
    assert all(len(piece) == size for piece in pieces[:-1])


@given(st.binary(max_size=200))
def test_any_bytes_are_a_response_or_a_known_error(data):
    with suppress(InvalidResponseError, ConnectionResetError):
        read(b"HTTP/1.1 200 OK\r\n" + data)


@pytest.mark.parametrize(
    "head",
    [
        "HTTP/2 200 OK",
        "HTTP/1.1 99 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1  200 OK",
        "ICY 200 OK",
        "HTTP/1.1 200 OK\r\nno colon",
        "HTTP/1.1 200 OK\r\n: no name",
        "HTTP/1.1 200 OK\r\nName : a space before the colon",
        "HTTP/1.1 200 OK\r\nA: 1\r\n folded: 2",
        "HTTP/1.1 200 OK\r\nContent-Length: +1",
        "HTTP/1.1 200 OK\r\nContent-Length: 1_0",
        "HTTP/1.1 200 OK\r\nContent-Length: -1",
        "HTTP/1.1 200 OK\r\nContent-Length: \u0661",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip",
    ],
)
def test_a_head_that_two_programs_could_read_differently_is_rejected(head):
    with pytest.raises(InvalidResponseError):
        read(f"{head}\r\n\r\n{{}}".encode())


@pytest.mark.parametrize("body", ["x\r\n", "-1\r\na", "0x1\r\na", "1\r\nab\r\n0\r\n\r\n", f"{'f' * 16}\r\n", "\r\n"])
def test_an_invalid_chunk_is_rejected(body):
    with pytest.raises(InvalidResponseError):
        read(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}".encode())


def test_a_body_without_a_length_ends_with_the_connection():
    response, content, _ = read(b"HTTP/1.1 200 OK\r\n\r\nall of it")
    assert (content, response.closes, response.announced_size) == (b"all of it", True, 0)


def test_a_repeated_header_has_all_its_values():
    response, _, _ = read(b"HTTP/1.1 204 X\r\nA: 1\r\na: 2\r\n\r\n")
    assert response.headers == {"a": "1, 2"}


def test_an_upgrade_is_a_final_response_without_a_body():
    response, content, after = read(b"HTTP/1.1 101 X\r\n\r\nanother protocol")
    assert (response.status, content, after) == (101, b"", b"another protocol")


def test_a_head_is_bounded_however_it_is_divided():
    for head in (b"HTTP/1.1 200 " + b"x" * MAX_HEAD_SIZE, b"HTTP/1.1 200 X\r\n" + b"a: b\r\n" * (MAX_HEAD_SIZE // 5)):
        with pytest.raises(InvalidResponseError) as caught:
            read(head + b"\r\n\r\n")
        assert caught.type is InvalidResponseError


def test_an_announced_length_alone_takes_no_memory():
    response = Response(io.BufferedReader(io.BytesIO(b"HTTP/1.1 200 X\r\nContent-Length: 999999999999999\r\n\r\nx")))
    assert response.announced_size == 999999999999999
    with pytest.raises(TruncatedResponseError):
        response.read()


def test_some_interim_responses_are_skipped_and_not_any_number():
    interim, final = b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 204 X\r\n\r\n"
    assert read(interim * MAX_INTERIM_RESPONSES + final)[0].status == 204
    with pytest.raises(InvalidResponseError):
        read(interim * (MAX_INTERIM_RESPONSES + 1) + final)


def test_the_lines_between_chunks_may_not_take_more_than_the_body():
    head, end = b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\n\r\n"
    assert len(read(head + b"8\r\n12345678\r\n" * 100_000 + end)[1]) == 800_000
    for chunk in (b"1\r\nx\r\n", b"1;" + b"x" * 100 + b"\r\nx\r\n", b"000001\r\nx\r\n"):
        with pytest.raises(InvalidResponseError):
            read(head + chunk * 100_000 + end)


@pytest.mark.parametrize("framing", ["Content-Length: %d", "Transfer-Encoding: chunked", "Connection: close"])
def test_a_whole_body_is_bounded_by_what_was_read(framing):
    size, announced = LARGE + 10, []
    head = f"HTTP/1.1 200 X\r\n{framing.replace('%d', str(size))}\r\n\r\n".encode()
    body = b"x" * size
    data = head + (f"{size:x}\r\n".encode() + body + b"\r\n0\r\n\r\n" if "chunked" in framing else body)

    def whole(limit):
        response = Response(io.BufferedReader(io.BytesIO(data)))
        return response.read_whole(limit, lambda: announced.append(limit))

    assert whole(size) == body
    assert announced == [size]
    for limit in (size - 1, LARGE, 10):
        with pytest.raises(TooLargeResponseError):
            whole(limit)
    assert announced[1:] in ([], [size - 1])


def test_a_request_head_has_its_lines():
    head = request_head("GET", "/v1/a?b=c", {"Host": "vault:8200", "X-Vault-Token": "t"})
    assert head == b"GET /v1/a?b=c HTTP/1.1\r\nHost: vault:8200\r\nX-Vault-Token: t\r\n\r\n"


@pytest.mark.parametrize("target", ["/a b", "/a\r\nX: y", "/\u00e4", "/a\x00"])
def test_a_target_that_cannot_be_sent_is_rejected(target):
    with pytest.raises(ValueError, match=r"^$"):
        request_head("GET", target, {})


@pytest.mark.parametrize("value", ["a\r\nX-Other: b", "a\nb", "a\rb", "a\x00", "a\x7f", "\u65e5"])
def test_a_header_that_cannot_be_sent_is_rejected(value):
    with pytest.raises(ValueError, match=r"^$|latin-1"):
        request_head("GET", "/", {"X": value})
