"""The status socket answers requests whatever its clients do."""

import socket
import threading

import pytest

from lessee.config import Listen
from lessee.core.errors import AgentUnavailableError
from lessee.host.openbao import free_port
from lessee.status.client import request_status
from lessee.status.server import StatusServer
from support.models.status_source import StaticStatus
from support.programs.sidecar import eventually

STATUS = {"ready": True, "fresh": False, "problems": ["one"]}


@pytest.fixture
def served(tmp_path):
    source = StaticStatus(STATUS)
    server = StatusServer(tmp_path / "s.sock", None, source)
    yield tmp_path / "s.sock", source
    server.close()


def send(path, request):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(path))
        client.sendall(request)
        return client.makefile("rb").read().decode()


def test_ready_and_fresh_are_separate(served):
    path, _ = served
    ready = send(path, b"GET /readyz HTTP/1.0\r\n\r\n")
    assert ready.startswith("HTTP/1.0 200")
    assert ready.endswith("ready, not fresh\none\n")
    fresh = send(path, b"GET /readyz?fresh HTTP/1.0\r\n\r\n")
    assert fresh.startswith("HTTP/1.0 503")
    assert fresh.endswith("ready, not fresh\none\n")


def test_an_unknown_path_lists_the_paths(served):
    path, _ = served
    assert "/status.json" in send(path, b"GET /nothing HTTP/1.0\r\n\r\n")


def test_a_refresh_is_forwarded_and_an_invalid_body_is_not(served):
    path, source = served
    assert request_status(path, "POST", "/refresh", ["a/b"]) == {"refreshing": True, "unknown": []}
    assert request_status(path, "POST", "/refresh", ["typo"]) == {"refreshing": False, "unknown": ["typo"]}
    assert source.refreshes == [("a/b",), ("typo",)]
    for body, code in ((b"{", "400"), (b"3", "400")):
        head = b"POST /refresh HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body)
        assert send(path, head + body).startswith(f"HTTP/1.0 {code}")
    for length in (b"99999999", b"-1", b"x", b"9" * 5000):
        head = b"POST /refresh HTTP/1.0\r\nContent-Length: " + length + b"\r\n\r\n"
        assert send(path, head).startswith("HTTP/1.0 413")
    assert len(source.refreshes) == 2


def test_a_client_that_disconnects_early_is_not_logged_and_the_next_is_served(served, capfd):
    path, _ = served
    for _ in range(20):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
    assert send(path, b"GET /healthz HTTP/1.0\r\n\r\n").endswith("ok\n")
    assert capfd.readouterr() == ("", "")


def test_a_closed_server_leaves_no_thread(tmp_path):
    before = set(threading.enumerate())
    port = Listen(address=f"127.0.0.1:{free_port()}", token_file=None, allowed_hosts=())
    server = StatusServer(tmp_path / "s.sock", port, StaticStatus(STATUS))
    assert len(set(threading.enumerate()) - before) == 2
    assert send(tmp_path / "s.sock", b"GET /healthz HTTP/1.0\r\n\r\n").endswith("ok\n")
    server.close()
    eventually(lambda: set(threading.enumerate()) <= before, "the end of its threads")
    with pytest.raises(AgentUnavailableError):
        request_status(tmp_path / "s.sock", "GET", "/healthz")


def test_a_missing_socket_is_an_error_with_a_command(tmp_path):
    with pytest.raises(AgentUnavailableError, match=r"no agent answers.*lessee run"):
        request_status(tmp_path / "none.sock", "GET", "/status.json")
