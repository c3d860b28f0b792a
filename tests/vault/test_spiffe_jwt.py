"""The two messages of the Workload API, and what a process at its socket could send."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.failures import Kind
from lessee.vault.auth.spiffe_jwt import SpiffeJwt, encoded, first_svid
from lessee.vault.transport import RequestFailedError


def field(number, content):
    return bytes([number << 3 | 2, len(content)]) + content


SVID = field(1, field(1, b"spiffe://x") + field(2, b"a.b.c") + field(3, b"hint"))


def test_a_request_names_the_audience():
    assert encoded("vault") == b"\x0a\x05vault"
    assert encoded("v" * 300)[:3] == b"\x0a\xac\x02"


def test_the_first_svid_of_an_answer_counts():
    assert first_svid(SVID + field(1, field(2, b"d.e.f"))) == "a.b.c"
    assert first_svid(b"\x48\x05" + SVID) == "a.b.c"  # A number of a later version.


@pytest.mark.parametrize(
    "answer", [b"", field(2, b"x"), field(1, b""), field(1, field(2, b"")), SVID[:-1], b"\xff" * 20, b"\x0d" * 9]
)
def test_an_answer_without_an_svid_has_none(answer):
    assert first_svid(answer) is None


@given(st.binary(max_size=60))
def test_no_answer_fails_in_another_way(answer):
    first_svid(answer)
    first_svid(field(1, field(2, b"a")) + answer)
    first_svid(field(1, field(2, b"\xff")))


@pytest.mark.parametrize("socket", ["", "/run/agent.sock", "tcp://127.0.0.1:1", "unix:relative"])
def test_only_an_absolute_unix_socket_is_asked(socket):
    with pytest.raises(RequestFailedError) as caught:
        SpiffeJwt({"SPIFFE_ENDPOINT_SOCKET": socket}, "vault").jwt()
    assert caught.value.failure.kind is Kind.UNAVAILABLE
    assert "set $SPIFFE_ENDPOINT_SOCKET" in caught.value.failure.text


def test_without_its_library_the_login_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "grpc", None)
    with pytest.raises(RequestFailedError) as caught:
        SpiffeJwt({"SPIFFE_ENDPOINT_SOCKET": "unix:///none"}, "vault").jwt()
    assert "pip install 'lessee[spiffe]'" in caught.value.failure.text


def test_another_socket_or_audience_is_another_credential():
    marks = {
        SpiffeJwt({"SPIFFE_ENDPOINT_SOCKET": socket}, audience).fingerprint() for socket in "ab" for audience in "cd"
    }
    assert len(marks) == 4
