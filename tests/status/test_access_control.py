"""What a request must be like to be answered; the same before real ports in host/status."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.status.access_control import Asked, Transport, refusal

PORT = Transport(is_port=True, names=frozenset({"agent", "example-host"}))
SOCKET = Transport(is_port=False)
TOKEN = b"canary-status-0123456789"


def code(path="/status.json", *headers, method="GET", door=PORT, token=TOKEN):
    knows = None if token is None else lambda shown: shown == token
    refused = refusal(Asked(method, path, headers), door, knows)
    return None if refused is None else refused.code


def shows(value):
    return ("authorization", value)


HOST = ("host", "agent:9105")
BEARER = shows(f"Bearer {TOKEN.decode()}")


def test_the_right_token_at_the_right_name_is_served_and_so_is_anybody_where_none_is_wanted():
    assert code("/", HOST, BEARER) is None
    assert code("/", HOST, token=None) is None
    assert code("/", HOST) == 401
    assert code("/", BEARER) == 400


def test_probes_are_free_of_name_token_and_way_but_not_of_the_method():
    strange = (("host", "pod.example"), ("x-forwarded-for", "10.0.0.1"))
    for path in ("/healthz", "/readyz"):
        assert code(path, *strange) is None
        assert code(path, method="HEAD") is None
        assert code(path, method="POST") == 405
    for path in ("/healthz/", "/healthz/../status.json", "//healthz", "/HEALTHZ"):
        assert code(path, HOST) == 401


@pytest.mark.parametrize("name", ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-anything"])
def test_what_came_through_a_proxy_is_refused_with_a_token_too(name):
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
def test_a_port_knows_its_names_and_every_address(host, expected):
    assert code("/", ("host", host), BEARER) == expected


def basic(text):
    return shows(f"Basic {base64.b64encode(text).decode()}")


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (basic(b"anybody:" + TOKEN), None),
        (basic(b":" + TOKEN), None),
        (basic(TOKEN), 401),
        (basic(b"a:b:" + TOKEN), 401),
        (shows("Basic é"), 401),
        (shows("Basic"), 401),
        (shows(""), 401),
        (shows("Bearer"), 401),
        (shows(f"bEARER   {TOKEN.decode()}  "), None),
        (shows("Bearer \u2603"), 401),
    ],
)
def test_a_token_is_shown_in_two_ways_and_no_third(shown, expected):
    assert code("/", HOST, shown) == expected


def test_a_token_may_hold_a_colon_and_bytes_of_utf_8():
    token = "é:canary-0123456789".encode()
    assert code("/", HOST, basic(b"anybody:" + token), token=token) is None
    assert code("/", HOST, shows(f"Bearer {token.decode('latin-1')}"), token=token) is None


def test_the_socket_is_asked_by_any_name_that_no_page_can_have():
    assert code("/", door=SOCKET) is None
    for host in ("localhost:9631", "lessee", "x", "127.0.0.1:1", "[::1]", "localhost.", "."):
        assert code("/", ("host", host), door=SOCKET) is None
    assert code("/", ("host", "evil.example"), door=SOCKET) == 421
    assert code("/refresh", ("host", "localhost"), method="POST", door=SOCKET) is None
    assert code("/refresh", ("origin", "null"), method="POST", door=SOCKET) == 403


def test_what_is_shown_is_in_no_repr():
    assert TOKEN.decode() not in repr(Asked("GET", "/", (BEARER,)))


@given(st.lists(st.tuples(st.sampled_from(["host", "authorization", "x"]), st.text())), st.text())
def test_without_the_token_nothing_gets_through_whatever_is_sent(headers, path):
    if path not in {"/healthz", "/readyz"}:
        assert code(path, *headers) is not None
