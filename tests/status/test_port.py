"""Access control of the TCP port, with real requests to a real port."""

import base64
import json
import socket
import threading
import time
from contextlib import ExitStack, closing

import pytest

from lessee.config import Listen
from lessee.core.errors import ConfigError, WriteError
from lessee.host.bounded_server import MAX_CONNECTIONS
from lessee.host.openbao import free_port
from lessee.status.server import StatusServer
from support.models.status_source import StaticStatus
from support.programs.sidecar import eventually

TOKEN = "canary-status-0123456789"
BEARER = f"Authorization: Bearer {TOKEN}"
STATUS = {"ready": False, "fresh": False, "problems": ["a secret path"]}


@pytest.fixture
def serve(tmp_path):
    with ExitStack() as stack:

        def start(*, token=TOKEN, hosts=()):
            file = None
            if token is not None:
                file = tmp_path / "token"
                file.write_text(f"{token}\n")
            port = free_port()
            listen = Listen(address=f"127.0.0.1:{port}", token_file=file and str(file), allowed_hosts=hosts)
            stack.enter_context(closing(StatusServer(tmp_path / "s.sock", listen, StaticStatus(STATUS))))
            return port

        yield start


def send(port, text):
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(text.encode())
        head, _, body = client.makefile("rb").read().decode().partition("\r\n\r\n")
    return int(head.split()[1]), head, body


def get(port, path, *headers, method="GET", host="127.0.0.1"):
    return send(port, "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}:{port}", *headers, "", ""]))


@pytest.mark.parametrize("header", ["Via: 1.1 proxy", "X-Real-IP: 192.0.2.7", "Forwarded: for=192.0.2.7"])
def test_a_request_through_a_proxy_gets_no_status_even_without_a_token(serve, header):
    code, _, body = get(serve(token=None), "/status.json", header)
    assert code == 403
    assert "a secret path" not in body


def test_a_problem_with_control_characters_does_not_reach_a_terminal_through_readyz(serve, monkeypatch):
    monkeypatch.setitem(STATUS, "problems", ["a path\x1b[2J\x9b\u202e"])
    assert r"a path\u001b[2J\u009b\u202e" in get(serve(), "/readyz", BEARER)[2]


def test_without_the_token_only_probes_get_an_answer(serve):
    port = serve()
    for path in ("/", "/status.json", "/metrics", "/nothing"):
        code, head, body = get(port, path)
        assert code == 401
        assert 'WWW-Authenticate: Bearer realm="lessee"' in head
        assert 'WWW-Authenticate: Basic realm="lessee", charset="UTF-8"' in head
        assert "a secret path" not in body
    assert get(port, "/healthz")[::2] == (200, "ok\n")
    assert get(port, "/readyz")[::2] == (503, "not ready\n")
    assert get(port, "/readyz", host="10.1.2.3")[0] == 503
    assert get(port, "/readyz", host="pod.example")[::2] == (503, "not ready\n")


def test_the_token_is_accepted_as_bearer_or_as_the_password_of_any_user(serve):
    port = serve()
    basic = base64.b64encode(f"user:{TOKEN}".encode()).decode()
    for header in (BEARER, f"authorization: bearer {TOKEN} ", f"Authorization: Basic {basic}"):
        code, head, body = get(port, "/status.json", header)
        assert code == 200
        assert json.loads(body) == STATUS
        assert "Cache-Control: no-store" in head
        assert "X-Content-Type-Options: nosniff" in head
    assert get(port, "/readyz", BEARER)[2] == "not ready\na secret path\n"


@pytest.mark.parametrize(
    "credentials",
    [
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN}0",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN.upper()}",
        TOKEN,
        "Basic",
        "Basic !!!!",
        f"Basic {base64.b64encode(TOKEN.encode()).decode()}",
        f"Basic {base64.b64encode(f'{TOKEN}:x'.encode()).decode()}",
        f"Digest {TOKEN}",
        f"Bearer {TOKEN}\r\nAuthorization: Bearer {TOKEN}",
    ],
)
def test_other_credentials_are_rejected(serve, credentials):
    assert get(serve(), "/status.json", f"Authorization: {credentials}")[0] == 401


def test_a_new_token_is_valid_immediately_and_none_while_the_file_is_missing(serve, tmp_path):
    port, file = serve(), tmp_path / "token"
    file.write_text("canary-another-0123456789")
    assert get(port, "/metrics", BEARER)[0] == 401
    assert get(port, "/metrics", "Authorization: Bearer canary-another-0123456789")[0] == 200
    file.write_text("")
    for header in (BEARER, "Authorization: Bearer ", "Authorization: Bearer canary-another-0123456789"):
        assert get(port, "/metrics", header)[0] == 401
    file.unlink()
    assert get(port, "/metrics", BEARER)[0] == 401
    assert get(port, "/healthz")[0] == 200
    file.write_text(TOKEN)
    assert get(port, "/metrics", BEARER)[0] == 200


@pytest.mark.parametrize("token", ["", "short", "x" * 5000])
def test_a_weak_token_is_an_error_with_a_command(serve, token, tmp_path):
    with pytest.raises(ConfigError, match=r"status.token_file .*16 to 4096 characters; .*openssl rand"):
        serve(token=token)
    assert not (tmp_path / "s.sock").exists()


def test_a_missing_token_file_is_an_error_at_start(tmp_path, serve):
    serve()
    listen = Listen(address="127.0.0.1:1", token_file=str(tmp_path / "none"), allowed_hosts=())
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        StatusServer(tmp_path / "other.sock", listen, None)


def test_a_port_in_use_is_an_error_and_leaves_no_socket(serve, tmp_path):
    listen = Listen(address=f"127.0.0.1:{serve()}", token_file=None, allowed_hosts=())
    with pytest.raises(WriteError, match="cannot listen on this address: Address already in use"):
        StatusServer(tmp_path / "other.sock", listen, None)
    assert not (tmp_path / "other.sock").exists()


def test_an_unknown_host_name_is_rejected_as_dns_rebinding(serve):
    port = serve(token=None, hosts=("agent",))
    for host in ("127.0.0.1", "localhost", "LOCALHOST.", "agent", "10.1.2.3", "[::1]", "[fd00::1]"):
        assert get(port, "/status.json", host=host)[0] == 200
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "agent.evil.example", "a b", ""):
        code, _, body = get(port, "/status.json", host=host)
        assert code == 421
        assert "status: {allowed_hosts" in body
        assert "evil" not in body
    assert send(port, "GET /status.json HTTP/1.0\r\n\r\n")[0] == 400
    twice = f"GET /status.json HTTP/1.1\r\nHost: localhost:{port}\r\nHost: evil.example\r\n\r\n"
    assert send(port, twice)[0] == 400


@pytest.mark.parametrize("header", ["X-Forwarded-For: 10.0.0.1", "x-forwarded-host: a", "Forwarded: for=10.0.0.1"])
def test_a_forwarded_request_is_rejected_with_the_reason(serve, header):
    code, _, body = get(serve(), "/status.json", BEARER, header)
    assert code == 403
    assert "a proxy forwarded this request" in body


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_over_tcp_only_get_and_head_are_accepted(serve, method):
    code, head, _ = get(serve(), "/refresh", BEARER, "Content-Length: 2", method=method)
    assert code == 405
    assert "Allow: GET, HEAD" in head


def test_head_has_the_headers_of_get_and_no_body(serve):
    code, head, body = get(serve(), "/status.json", BEARER, method="HEAD")
    assert (code, body) == (200, "")
    assert f"Content-Length: {len(json.dumps(STATUS, indent=1)) + 1}" in head


@pytest.mark.parametrize("invalid", ["GET //[ HTTP/1.0\r\nHost: localhost\r\n\r\n", "\x00\r\n\r\n", "GET\r\n\r\n"])
def test_an_invalid_request_does_not_affect_the_next_one(serve, invalid, capfd):
    port = serve()
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(invalid.encode())
        client.makefile("rb").read()
    assert get(port, "/healthz")[0] == 200
    assert capfd.readouterr().err == ""


def test_a_too_long_request_is_aborted(serve):
    port = serve()
    with socket.create_connection(("127.0.0.1", port), 30) as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            client.sendall(b"".join(b"X-%d: " % number + b"a" * 60_000 + b"\r\n" for number in range(200)))
    assert get(port, "/healthz")[0] == 200


@pytest.mark.thorough
def test_a_slow_client_has_ten_seconds_in_total(serve):
    port = serve()
    with socket.create_connection(("127.0.0.1", port), 60) as client:
        done = threading.Event()

        def send_slowly():
            while not done.wait(1.0):
                try:
                    client.sendall(b"G")
                except OSError:
                    return

        slow = threading.Thread(target=send_slowly)
        slow.start()
        began = time.monotonic()
        try:
            with closing(client.makefile("rb")) as answer:
                assert answer.read(1) == b""
        except ConnectionResetError:
            pass
        assert time.monotonic() - began > 5
        done.set()
        slow.join()


def test_many_slow_clients_do_not_block_probes_and_use_few_threads(serve):
    port = serve()
    before = threading.active_count()
    clients = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(2 * MAX_CONNECTIONS)]
    try:
        assert get(port, "/healthz")[0] == 200
        eventually(lambda: threading.active_count() - before <= MAX_CONNECTIONS, "few threads")
    finally:
        for client in clients:
            client.close()
    assert get(port, "/healthz")[0] == 200


def test_over_the_socket_a_browsers_page_is_rejected(serve, tmp_path):
    serve()

    def request(*lines):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "s.sock"))
            client.sendall("\r\n".join([*lines, "", ""]).encode())
            return int(client.makefile("rb").read().split()[1])

    for host in ("localhost:9631", "lessee", "127.0.0.1"):
        assert request("GET /status.json HTTP/1.1", f"Host: {host}") == 200
    assert request("GET /status.json HTTP/1.0") == 200
    assert request("GET /status.json HTTP/1.1", "Host: evil.example:9631") == 421
    assert request("POST /refresh HTTP/1.1", "Host: localhost") == 202
    for method in ("PUT", "DELETE", "OPTIONS"):
        assert request(f"{method} /refresh HTTP/1.1", "Host: localhost") == 405
    assert request("POST /refresh HTTP/1.1", "Host: localhost", "Origin: http://evil.example") == 403
