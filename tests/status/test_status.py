"""The status socket stands whatever its clients do."""

import socket
import threading

import pytest

from lessee.config import Listen
from lessee.core.errors import AgentUnavailableError
from lessee.host.openbao import free_port
from lessee.status.server import Answers, StatusServer, ask
from support.programs.sidecar import eventually


def answers(nudged):
    return Answers(
        status=lambda: {"ready": True, "fresh": False, "problems": ["one"]},
        alive=lambda: True,
        metrics=lambda: b"lessee_ready 1.0\n",
        refresh=lambda paths: nudged.append(paths) or [path for path in paths if path == "typo"],
    )


@pytest.fixture
def served(tmp_path):
    nudged = []
    server = StatusServer(tmp_path / "s.sock", None, answers(nudged))
    yield tmp_path / "s.sock", nudged
    server.close()


def say(path, request):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(path))
        client.sendall(request)
        return client.makefile("rb").read().decode()


def test_ready_and_fresh_are_asked_for_apart(served):
    path, _ = served
    assert say(path, b"GET /readyz HTTP/1.0\r\n\r\n").startswith("HTTP/1.0 200")
    fresh = say(path, b"GET /readyz?fresh HTTP/1.0\r\n\r\n")
    assert fresh.startswith("HTTP/1.0 503")
    assert fresh.endswith("not ready\none\n")


def test_an_unknown_path_tells_what_there_is(served):
    path, _ = served
    assert "/status.json" in say(path, b"GET /nothing HTTP/1.0\r\n\r\n")


def test_a_refresh_is_passed_on_and_rubbish_is_not(served):
    path, nudged = served
    assert ask(path, "POST", "/refresh", ["a/b"]) == {"looking": True, "unknown": []}
    assert ask(path, "POST", "/refresh", ["typo"]) == {"looking": False, "unknown": ["typo"]}
    assert nudged == [("a/b",), ("typo",)]
    for body, code in ((b"{", "400"), (b"3", "400")):
        head = b"POST /refresh HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body)
        assert say(path, head + body).startswith(f"HTTP/1.0 {code}")
    for length in (b"99999999", b"-1", b"x"):
        head = b"POST /refresh HTTP/1.0\r\nContent-Length: " + length + b"\r\n\r\n"
        assert say(path, head).startswith("HTTP/1.0 413")
    assert len(nudged) == 2


def test_a_client_that_hangs_up_early_leaves_no_trace_and_the_next_is_served(served, capfd):
    path, _ = served
    for _ in range(20):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
    assert say(path, b"GET /healthz HTTP/1.0\r\n\r\n").endswith("ok\n")
    assert capfd.readouterr() == ("", "")


def test_once_it_is_closed_nothing_of_it_runs_on(tmp_path):
    before = set(threading.enumerate())
    port = Listen(address=f"127.0.0.1:{free_port()}", token_file=None, hosts=())
    server = StatusServer(tmp_path / "s.sock", port, answers([]))
    assert len(set(threading.enumerate()) - before) == 2
    assert say(tmp_path / "s.sock", b"GET /healthz HTTP/1.0\r\n\r\n").endswith("ok\n")
    server.close()
    eventually(lambda: set(threading.enumerate()) <= before, "the end of its threads")
    with pytest.raises(AgentUnavailableError):
        ask(tmp_path / "s.sock", "GET", "/healthz")


def test_nobody_there_is_told_with_what_to_do(tmp_path):
    with pytest.raises(AgentUnavailableError, match=r"no agent answers.*lessee run"):
        ask(tmp_path / "none.sock", "GET", "/status.json")
