"""One request to a server: bounded in time and size, followed nowhere else, and without a value in its errors."""

import base64
import os
import select
import socket
import ssl
import threading
from contextlib import suppress
from functools import partial

import pytest

from lessee.host.http_client import ErrorKind, HttpError, host_of, request
from lessee.host.openbao import free_port
from lessee.host.proxies import proxy_for
from support.programs.sidecar import eventually
from support.servers.certificate_authority import Authority
from support.servers.fault_proxy import Proxy
from support.servers.hostile_server import ATTACKS
from support.sockets import connections

LONG = 60.0
LIMIT = 1000


class Server:
    """Answers one connection after the other by `answer(connection)`."""

    def __init__(self, answer, context=None):
        self.requests = []
        self._answer = answer
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        with suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                with suppress(OSError), plain:
                    self._handle(self._context.wrap_socket(plain, server_side=True) if self._context else plain)

    def _handle(self, connection):
        with connection:
            received = b""
            while b"\r\n\r\n" not in received:
                if not (chunk := connection.recv(65536)):
                    return
                received += chunk
            self.requests.append(received.decode())
            self._answer(connection)

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def serve():
    servers = []

    def start(answer=b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", context=None):
        servers.append(Server(answer if callable(answer) else lambda connection: connection.sendall(answer), context))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    for thread in threading.enumerate():
        if thread.name == "lessee-http":
            thread.join(10)
            assert not thread.is_alive()


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch):
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def failure(*arguments, **settings):
    with pytest.raises(HttpError) as caught:
        request(*arguments, **{"timeout": LONG, **settings})
    assert "canary" not in f"{caught.value!r} {caught.value}"
    return caught.value


def body_of(length, sent):
    return f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode() + b"x" * sent


# -- what is sent --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["PATCH", "POST", "PUT"])
def test_a_method_with_a_body_always_tells_its_length(serve, method):
    server = serve()
    request(method, f"{server.url}/a?b=c", timeout=LONG)
    request(method, f"{server.url}/a?b=c", body=b"four", timeout=LONG)
    assert server.requests[0].startswith(f"{method} /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n")
    assert ["Content-Length: 0\r\n" in server.requests[0], "Content-Length: 4\r\n" in server.requests[1]] == [True] * 2


def test_the_user_of_a_url_is_sent_as_basic_authentication_and_nowhere_else(serve):
    server = serve()
    request("GET", server.url.replace("//", "//me:p%40ss@"), timeout=LONG)
    assert f"Authorization: Basic {base64.b64encode(b'me:p@ss').decode()}\r\n" in server.requests[0]
    assert "me:" not in server.requests[0]
    assert host_of("https://me:p@example.com:1/canary?canary#canary") == "https://example.com:1"


def test_a_header_replaces_the_default_one(serve):
    server = serve()
    request("GET", server.url, headers={"User-Agent": "mine", "X": "schön".encode()}, timeout=LONG)
    assert server.requests[0].count("User-Agent") == 1
    assert "X: schön\r\n" in server.requests[0]


@pytest.mark.parametrize(
    "headers", [{"X": "canary\r\nY: canary"}, {"X": "canary\n"}, {"X": "canary ✓"}, {"X\n": "canary"}]
)
def test_a_header_that_http_does_not_allow_is_not_sent(serve, headers):
    server = serve()
    assert failure("GET", server.url, headers=headers).kind is ErrorKind.INVALID_HEADER
    assert server.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/canary canary",
        "http://127.0.0.1:1/canäry",
        "http://[canary",
        "http://127.0.0.1:canary/",
        "http://127.0.0.1:99999/",
        "http:///canary",
        "http://\x7f/",
        f"http://{'a' * 70}.example/canary",
    ],
)
def test_a_url_that_names_no_server_is_not_asked(url):
    assert failure("GET", url).kind is ErrorKind.INVALID_URL


# -- the response --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [201, 302, 401, 503])
def test_any_status_is_a_response_and_no_redirect_is_followed(serve, status):
    server = serve(f"HTTP/1.1 {status} X\r\nLocation: /other\r\nX-Id: 7\r\nContent-Length: 2\r\n\r\nhi".encode())
    response = request("GET", server.url, timeout=LONG, body_limit=LIMIT)
    assert (response.status, response.body, response.headers["x-id"]) == (status, b"hi", "7")
    assert "hi" not in repr(response)
    assert len(server.requests) == 1


def test_without_a_limit_the_body_is_not_read(serve):
    server = serve(body_of(10**9, 10))
    assert request("GET", server.url, timeout=LONG).body == b""


@pytest.mark.parametrize("how", [body_of(LIMIT + 1, LIMIT + 1), b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (LIMIT + 1)])
def test_a_body_over_the_limit_is_an_error(serve, how):
    assert failure("GET", serve(how).url, body_limit=LIMIT).kind is ErrorKind.TOO_LARGE
    assert request("GET", serve(body_of(LIMIT, LIMIT)).url, timeout=LONG, body_limit=LIMIT).body == b"x" * LIMIT


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", ErrorKind.CLOSED),
        (body_of(LIMIT, 10), ErrorKind.CLOSED),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nx", ErrorKind.CLOSED),
        (b"canary\r\n\r\n", ErrorKind.NOT_HTTP),
        (b"HTTP/1.1 canary\r\n", ErrorKind.NOT_HTTP),
        (b"x" * 70_000, ErrorKind.NOT_HTTP),
    ],
    ids=["nothing", "half", "half a chunk", "no HTTP", "no status", "too long"],
)
def test_a_response_that_is_not_whole_is_an_error(serve, answer, kind):
    assert failure("GET", serve(answer).url, body_limit=LIMIT).kind is kind


def test_a_port_without_a_server_refuses():
    error = failure("GET", f"http://127.0.0.1:{free_port()}")
    assert (error.kind, error.reason) == (ErrorKind.REFUSED, "connection refused")


# -- time ----------------------------------------------------------------------------------------------------


def silent(connection):
    while connection.recv(65536):
        pass


def dripping(head, connection):
    connection.sendall(head)
    while not select.select([connection], [], [], 0.02)[0]:
        connection.sendall(b"x")


@pytest.mark.parametrize(
    "answer",
    [
        silent,
        partial(dripping, b"HTTP/1.1 200 OK\r\nX-Long: "),
        partial(dripping, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
    ],
    ids=["silent", "head", "body"],
)
def test_a_slow_server_is_left_when_time_is_up_and_its_connection_closed(serve, answer):
    error = failure("GET", serve(answer).url, timeout=0.4, body_limit=LIMIT)
    assert (error.kind, error.reason) == (ErrorKind.TIMEOUT, "no response within 0.4 s")


def test_a_request_whose_time_is_up_before_it_is_connected_is_never_sent(serve, monkeypatch):
    server, resolved = serve(), threading.Event()
    real = socket.getaddrinfo

    def slow(*arguments, **settings):
        resolved.wait(LONG)
        return real(*arguments, **settings)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    assert failure("POST", server.url, timeout=0.1).kind is ErrorKind.TIMEOUT
    resolved.set()
    for thread in threading.enumerate():
        if thread.name == "lessee-http":
            thread.join(LONG)
    assert server.requests == []


@pytest.mark.parametrize(
    "name",
    [
        "endless chunks",
        "endless chunks of one byte",
        "an endless body until the connection closes",
        "an announced size of 100 PB",
        "endless headers",
        "endless answers of 1xx",
        "an answer of 1xx every two seconds",
        "a byte of the head every two seconds",
        "a byte of the body every two seconds",
        "no answer",
    ],
)
def test_an_answer_that_never_ends_leaves_no_thread_and_no_connection(name):
    with Proxy(free_port()) as proxy:
        proxy.fault = ATTACKS[name][1]
        failed = failure("GET", proxy.address, timeout=0.5, body_limit=LIMIT)
        assert failed.kind in {ErrorKind.TIMEOUT, ErrorKind.TOO_LARGE, ErrorKind.NOT_HTTP}
        eventually(lambda: not any(thread.name == "lessee-http" for thread in threading.enumerate()), "its end")
        assert connections(os.getpid(), proxy.port) == 0


# -- TLS -----------------------------------------------------------------------------------------------------


@pytest.fixture
def secure(serve, tmp_path):
    authority = Authority(tmp_path / "ca.pem")
    authority.issue(tmp_path / "pair.pem", 1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pair.pem")
    return serve(context=context)


def test_a_certificate_is_verified_by_the_ca_file(secure, tmp_path):
    error = failure("GET", secure.url)
    assert (error.kind, secure.requests) == (ErrorKind.CERTIFICATE, [])
    assert "unable to get local issuer certificate" in error.reason
    assert request("GET", secure.url, timeout=LONG, ca_file=str(tmp_path / "ca.pem")).status == 200


def test_a_certificate_for_another_name_is_refused(secure, tmp_path):
    url = secure.url.replace("127.0.0.1", "127.1")
    error = failure("GET", url, ca_file=str(tmp_path / "ca.pem"))
    assert error.kind is ErrorKind.CERTIFICATE


@pytest.mark.parametrize("content", [None, "", "canary"])
def test_a_ca_file_without_certificates_is_named(secure, tmp_path, content):
    if content is not None:
        (tmp_path / "other.pem").write_text(content)
    error = failure("GET", secure.url, ca_file=str(tmp_path / "other.pem"))
    assert error.kind is ErrorKind.CA_FILE
    assert str(tmp_path / "other.pem") in error.reason


@pytest.mark.thorough
def test_a_server_without_tls_is_reported(serve):
    server = serve(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert failure("GET", server.url.replace("http:", "https:"), timeout=5).kind in {ErrorKind.TLS, ErrorKind.TIMEOUT}


# -- proxies -------------------------------------------------------------------------------------------------


def test_a_request_goes_through_the_proxy_of_the_environment_only_if_asked_to(serve, monkeypatch):
    proxy = serve()
    monkeypatch.setenv("http_proxy", proxy.url.replace("//", "//user:p%40ss@"))
    response = request("GET", "http://me:secret@192.0.2.1:81/a?b", timeout=LONG, use_proxy=True)
    assert response.status == 200
    head = proxy.requests[0]
    assert head.startswith("GET http://192.0.2.1:81/a?b HTTP/1.1\r\nHost: 192.0.2.1:81\r\n")
    assert f"Proxy-Authorization: Basic {base64.b64encode(b'user:p@ss').decode()}\r\n" in head
    direct = serve()
    request("GET", direct.url, timeout=LONG)
    assert len(direct.requests) == 1


def test_a_request_to_this_machine_goes_through_no_proxy(serve, monkeypatch):
    server = serve()
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    for host in ("127.0.0.1", "localhost"):
        request("GET", server.url.replace("127.0.0.1", host), timeout=LONG, use_proxy=True)
    assert len(server.requests) == 2


def test_a_proxy_reads_nothing_of_a_request_over_tls(serve, monkeypatch):
    proxy = serve(b"HTTP/1.1 403 Forbidden\r\n\r\n")
    monkeypatch.setenv("https_proxy", proxy.url.replace("//", "//user:canary@"))
    error = failure("POST", "https://192.0.2.1/canary", headers={"X": "canary"}, use_proxy=True)
    assert (error.kind, error.reason) == (ErrorKind.UNREACHABLE, "the proxy opened no connection")
    assert proxy.requests[0].startswith("CONNECT 192.0.2.1:443 HTTP/1.")
    assert "canary" not in proxy.requests[0]


@pytest.mark.parametrize(
    ("environ", "proxy"),
    [
        ({}, None),
        ({"https_proxy": "http://a:1"}, "http://a:1"),
        ({"HTTPS_PROXY": "a:1"}, "http://a:1"),
        ({"https_proxy": "http://a:1", "HTTPS_PROXY": "http://b:1"}, "http://a:1"),
        ({"http_proxy": "http://a:1"}, None),
        ({"https_proxy": "http://a:1", "no_proxy": "example.com"}, None),
        ({"https_proxy": "http://a:1", "NO_PROXY": "other.com"}, "http://a:1"),
    ],
)
def test_the_proxy_is_read_as_curl_reads_it(environ, proxy):
    assert proxy_for("https://vault.example.com:8200", environ) == proxy
