"""Which requests the status server answers; test_port.py has the same with real ports."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.status.access_control import Endpoint, StatusRequest, refusal

PORT = Endpoint(is_tcp=True, names=frozenset({"agent", "example-host"}))
SOCKET = Endpoint(is_tcp=False)
TOKEN = b"canary-status-0123456789"


def code(path="/status.json", *headers, method="GET", endpoint=PORT, token=TOKEN):
    is_token = None if token is None else lambda sent: sent == token
    refused = refusal(StatusRequest(method, path, headers), endpoint, is_token)
    return None if refused is None else refused.code


def authorization(value):
    return ("authorization", value)


HOST = ("host", "agent:9105")
BEARER = authorization(f"Bearer {TOKEN.decode()}")


def test_the_token_and_a_known_host_name_are_required():
    assert code("/", HOST, BEARER) is None
    assert code("/", HOST, token=None) is None
    assert code("/", HOST) == 401
    assert code("/", BEARER) == 400


def test_probes_need_no_token_and_no_host_name_but_get_or_head():
    indirect = (("host", "pod.example"), ("x-forwarded-for", "10.0.0.1"))
    for path in ("/healthz", "/readyz"):
        assert code(path, *indirect) is None
        assert code(path, method="HEAD") is None
        assert code(path, method="POST") == 405
    for path in ("/healthz/", "/healthz/../status.json", "//healthz", "/HEALTHZ"):
        assert code(path, HOST) == 401


@pytest.mark.parametrize(
    "name",
    [
        *("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-anything", "x-forwarded"),
        *("via", "x-real-ip", "client-ip", "true-client-ip", "cf-connecting-ip", "x-envoy-external-address"),
    ],
)
def test_a_forwarded_request_is_refused_even_with_the_token(name):
    assert code("/", HOST, BEARER, (name, "")) == 403


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("AGENT", None),
        ("agent.:80", None),
        ("localhost", None),
        ("example-host:1", None),
        ("0.0.0.0:1", None),
        ("192.0.2.7", None),
        ("[2001:db8::1]:9105", None),
        ("1.2.3.4.example", 421),
        ("1.2.3", 421),
        ("agent.example", 421),
        ("example", 421),
        ("agent@evil", 421),
        ("evil#agent", 421),
        ("agent:80:80", 421),
        ("", 421),
    ],
)
def test_a_port_accepts_its_names_and_every_address(host, expected):
    assert code("/", ("host", host), BEARER) == expected


def basic(text):
    return authorization(f"Basic {base64.b64encode(text).decode()}")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (basic(b"user:" + TOKEN), None),
        (basic(b":" + TOKEN), None),
        (basic(TOKEN), 401),
        (basic(b"a:b:" + TOKEN), 401),
        (authorization("Basic é"), 401),
        (authorization("Basic"), 401),
        (authorization(""), 401),
        (authorization("Bearer"), 401),
        (authorization(f"bEARER   {TOKEN.decode()}  "), None),
        (authorization("Bearer \u2603"), 401),
    ],
)
def test_a_token_is_sent_as_bearer_or_basic(header, expected):
    assert code("/", HOST, header) == expected


def test_a_token_may_contain_a_colon_and_utf_8():
    token = "é:canary-0123456789".encode()
    assert code("/", HOST, basic(b"user:" + token), token=token) is None
    assert code("/", HOST, authorization(f"Bearer {token.decode('latin-1')}"), token=token) is None


def test_the_socket_accepts_any_host_name_that_no_page_can_have():
    assert code("/", endpoint=SOCKET) is None
    for host in ("localhost:9631", "lessee", "x", "127.0.0.1:1", "[::1]", "localhost.", "."):
        assert code("/", ("host", host), endpoint=SOCKET) is None
    assert code("/", ("host", "evil.example"), endpoint=SOCKET) == 421
    assert code("/refresh", ("host", "localhost"), method="POST", endpoint=SOCKET) is None
    assert code("/refresh", ("origin", "null"), method="POST", endpoint=SOCKET) == 403


def test_the_repr_of_a_request_omits_its_headers():
    assert TOKEN.decode() not in repr(StatusRequest("GET", "/", (BEARER,)))


@pytest.mark.no_cover
@given(st.lists(st.tuples(st.sampled_from(["host", "authorization", "x"]), st.text())), st.text())
def test_no_headers_get_through_without_the_token(headers, path):
    if path not in {"/healthz", "/readyz"}:
        assert code(path, *headers) is not None
