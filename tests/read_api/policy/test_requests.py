"""The head of a request: what two programs could read in two ways is refused."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.read_api.policy.requests import MAX_BODY, BadRequestError, Request, parse_head


def test_a_request_has_its_decoded_path_its_query_and_its_headers():
    line = b"GET /secret/a%20b?key=password&list=true HTTP/1.1"
    head = b"\r\n".join([line, b"Host: localhost", b"X-Vault-Token:  t ", b"Content-Length: 2"])
    headers = {"host": "localhost", "x-vault-token": "t", "content-length": "2"}
    assert parse_head(head) == Request("GET", "/secret/a b", {"key": "password", "list": "true"}, headers, 2)
    assert "password" not in repr(parse_head(head)).partition("headers")[2]


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("version", "connection", "keeps"),
    [("1.1", "", True), ("1.1", "close", False), ("1.0", "", False), ("1.0", "keep-alive", True)],
)
def test_a_connection_stays_open_as_the_version_of_http_has_it(version, connection, keeps):
    header = f"\r\nConnection: {connection}" if connection else ""
    assert parse_head(f"GET / HTTP/{version}{header}".encode()).keeps_alive is keeps


@pytest.mark.parametrize(
    ("head", "code"),
    [
        ("GET /ä HTTP/1.1", 400),
        ("GET / HTTP/2", 400),
        ("get / HTTP/1.1", 400),
        ("GET http://other/ HTTP/1.1", 400),
        ("GET  / HTTP/1.1", 400),
        ("GET / HTTP/1.1\r\nno header", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nhost: b", 400),
        ("GET / HTTP/1.1\r\n folded: a", 400),
        ("GET /?version=1&version=2 HTTP/1.1", 400),
        ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked", 411),
        ("GET / HTTP/1.1\r\nContent-Length: -1", 400),
        ("GET / HTTP/1.1\r\nContent-Length: 1e3", 400),
        (f"GET / HTTP/1.1\r\nContent-Length: {MAX_BODY + 1}", 413),
        ("GET / HTTP/1.1" + "".join(f"\r\nh{number}: x" for number in range(65)), 431),
        *((f"GET {path} HTTP/1.1", 400) for path in (
            "/a//b", "/a/../b", "/a/./b", "/a/..", "/a/.", "/a%2fb", "/a/%2e%2e/b", "/a%00", "/a%ff", "/a%252e", "//",
        )),
    ],
)  # fmt: skip
def test_what_is_not_plain_is_refused(head, code):
    with pytest.raises(BadRequestError) as refused:
        parse_head(head.encode())
    assert refused.value.code == code


@pytest.mark.no_cover
@given(st.binary(max_size=300))
def test_any_bytes_are_a_request_or_refused(head):
    with suppress(BadRequestError):
        assert parse_head(head).path.startswith("/")
