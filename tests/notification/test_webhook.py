"""One request notifies an app, within its timeout and without a value in its texts."""

import base64
import datetime as dt
import ipaddress
import select
import socket
import ssl
import threading
from contextlib import suppress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from lessee.config import HttpTarget
from lessee.host.openbao import free_port
from lessee.notification.results import Delivered, DeliveryFailed
from lessee.notification.webhook import call

LONG = 60.0
"""Seconds that no test waits."""


class Server:
    """Answers one request after the other, with these bytes or by `answer(connection)`."""

    def __init__(self, answer, context=None):
        self.asked = []
        self._behave = (lambda connection: connection.sendall(answer)) if isinstance(answer, bytes) else answer
        self._context = context
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                with suppress(OSError), connection:
                    self._answer(
                        self._context.wrap_socket(connection, server_side=True) if self._context else connection
                    )

    def _answer(self, connection):
        with connection:
            request = b""
            while b"\r\n\r\n" not in request:
                request += connection.recv(65536)
            self.asked.append(request.decode())
            self._behave(connection)

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()


@pytest.fixture
def serve():
    servers = []

    def start(answer, context=None):
        servers.append(Server(answer, context))
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


def to(port, path="/reload", method="POST", headers=None, scheme="http"):
    return HttpTarget(url=f"{scheme}://127.0.0.1:{port}{path}", method=method, header_files=headers or {})


def status(line):
    return f"HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_an_app_is_notified_by_one_request_with_an_empty_body(serve, method):
    server = serve(status("204 No Content"))
    assert call(to(server.port, method=method), LONG) == Delivered(
        f"{method} http://127.0.0.1:{server.port}/reload answered 204"
    )
    (asked,) = server.asked
    assert asked.startswith(f"{method} /reload HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n")
    assert "\r\nContent-Length: 0\r\n" in asked


def test_a_request_without_a_path_is_for_the_root_and_a_query_is_sent_as_it_stands(serve):
    server = serve(status("200 OK"))
    call(to(server.port, "?a=%20b&c=d", method="GET"), LONG)
    call(to(server.port, "", method="GET"), LONG)
    call(to(server.port, "/ä", method="GET"), LONG)
    assert [asked.split(" HTTP", 1)[0] for asked in server.asked] == ["GET /?a=%20b&c=d", "GET /", "GET /%C3%A4"]


@pytest.mark.parametrize(
    "line", ["301 Moved Permanently", "302 Found", "401 Unauthorized", "404 Not Found", "503 Busy"]
)
def test_any_status_but_2xx_is_a_failure_and_no_redirect_is_followed(serve, line):
    server = serve(f"HTTP/1.1 {line}\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n".encode())
    assert call(to(server.port), LONG) == DeliveryFailed(
        f"POST http://127.0.0.1:{server.port}/reload answered {line[:3]}"
    )
    assert len(server.asked) == 1


def test_a_refused_connection_means_that_the_app_is_absent():
    port = free_port()
    failed = DeliveryFailed(f"POST http://127.0.0.1:{port}/reload: connection refused", absent=True)
    assert call(to(port), LONG) == failed


def test_headers_are_read_from_their_files_each_time(serve, tmp_path):
    server = serve(status("200 OK"))
    file = tmp_path / "token"
    target = to(server.port, headers={"Authorization": str(file)})
    for token in ("one", "two"):
        file.write_text(f"Bearer {token}\n")
        assert isinstance(call(target, LONG), Delivered)
    assert ["Bearer one\r\n" in server.asked[0], "Bearer two\r\n" in server.asked[1]] == [True, True]


def test_a_header_whose_file_is_missing_is_reported_and_nothing_is_sent(serve, tmp_path):
    server = serve(status("200 OK"))
    failed = call(to(server.port, headers={"X-Token": str(tmp_path / "token")}), LONG)
    assert f"cannot read {tmp_path}/token, for the header X-Token: No such file or directory" in failed.reason
    assert server.asked == []


@pytest.mark.parametrize("value", ["canary\r\nX-Other: canary", "canary\ncanary", "canary\rcanary"])
def test_a_header_value_with_a_line_break_is_not_sent(serve, tmp_path, value):
    server = serve(status("200 OK"))
    (tmp_path / "token").write_text(value)
    failed = call(to(server.port, headers={"X-Token": str(tmp_path / "token")}), LONG)
    assert f"{tmp_path}/token" in failed.reason
    assert "canary" not in failed.reason
    assert server.asked == []


def test_a_header_may_hold_any_byte_of_a_line(serve, tmp_path):
    server = serve(status("200 OK"))
    (tmp_path / "token").write_text("schön ✓")
    assert isinstance(call(to(server.port, headers={"X-Token": str(tmp_path / "token")}), LONG), Delivered)
    assert "X-Token: schön ✓\r\n" in server.asked[0]


def test_the_user_in_a_url_is_sent_as_a_browser_would(serve):
    server = serve(status("200 OK"))
    call(HttpTarget(url=f"http://me:p%40ss@127.0.0.1:{server.port}/", method="GET", header_files={}), LONG)
    assert f"Authorization: Basic {base64.b64encode(b'me:p@ss').decode()}\r\n" in server.asked[0]


@pytest.mark.parametrize(
    "answer",
    [status("204 No Content"), status("500 canary"), b"canary\r\n\r\n", b"", b"HTTP/1.1 canary\r\n", b"x" * 70_000],
    ids=["good", "bad", "no HTTP", "nothing", "no status", "too long"],
)
def test_no_text_quotes_the_query_the_user_a_header_value_or_the_response(serve, tmp_path, answer):
    server = serve(answer)
    (tmp_path / "token").write_text("canary")
    url = f"http://canary:canary@127.0.0.1:{server.port}/there?token=canary#canary"
    answer = call(HttpTarget(url=url, method="POST", header_files={"X-Token": str(tmp_path / "token")}), LONG)
    assert server.asked[0].count("canary") == 2
    assert "canary" not in repr(answer)
    assert f"POST http://127.0.0.1:{server.port}/there" in repr(answer)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "the server closed the connection before its response was complete"),
        (b"HTTP/1.1 20", "the response is not HTTP"),
        (b"\x16\x03\x03 TLS\r\n\r\n", "the response is not HTTP"),
    ],
)
def test_an_incomplete_response_is_a_failure(serve, answer, why):
    assert call(to(serve(answer).port), LONG).reason.endswith(f"/reload: {why}")


def test_a_request_to_a_silent_server_ends_at_its_timeout(serve):
    assert call(to(serve(wait_for_the_end).port), 0.3).reason.endswith("/reload: no response within 0.3 s")


def test_a_request_to_a_dripping_server_ends_at_its_timeout_and_closes_the_connection(serve):
    left = threading.Event()

    def drip(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
        with suppress(OSError):
            while True:
                connection.sendall(b"x")
                left.wait(0.02)
        left.set()

    assert call(to(serve(drip).port), 0.5).reason.endswith("/reload: no response within 0.5 s")
    assert left.wait(10)


def test_the_status_counts_although_the_body_never_arrives(serve):
    def stall(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        wait_for_the_end(connection)

    assert isinstance(call(to(serve(stall).port), 0.5), Delivered)


def test_the_client_does_not_leave_before_the_body(serve):
    seen = []

    def answer(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
        seen.append(stays(connection, 0.3))
        connection.sendall(b"x" * 5000)

    assert isinstance(call(to(serve(answer).port), LONG), Delivered)
    assert seen == [True]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:99999/", "http://127.0.0.1:x/", "http:///canary", "http://[::1/", "http://\x7f/"]
)
def test_an_invalid_url_is_reported(url):
    failed = call(HttpTarget(url=url, method="POST", header_files={}), LONG)
    assert failed == DeliveryFailed("POST: the URL has no valid host and port; correct it in the configuration")


def test_an_invalid_host_name_is_reported():
    failed = call(HttpTarget(url=f"http://{'a' * 70}.example/", method="POST", header_files={}), LONG)
    assert "no valid host" in failed.reason


def test_it_may_be_given_weeks(serve):
    def answer_in_a_while(connection):
        stays(connection, 0.2)
        connection.sendall(status("200 OK"))

    weeks = 2**32 / 1000  # Too many milliseconds for an int.
    assert isinstance(call(to(serve(answer_in_a_while).port), weeks), Delivered)


@pytest.fixture
def certificate(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "app")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - dt.timedelta(minutes=1)).not_valid_after(now + dt.timedelta(hours=1))
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = builder.add_extension(names, critical=False).sign(key, SHA256())
    pem = signed.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "app.pem").write_bytes(pem)
    return tmp_path / "app.pem"


def test_https_needs_a_certificate_that_the_machine_trusts(serve, certificate, monkeypatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = serve(status("204 No Content"), context)
    refused = call(to(server.port, scheme="https"), LONG)
    assert isinstance(refused, DeliveryFailed)
    assert "certificate is not trusted: self-signed certificate" in refused.reason
    assert server.asked == []
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert call(to(server.port, scheme="https"), LONG) == Delivered(
        f"POST https://127.0.0.1:{server.port}/reload answered 204"
    )


def stays(connection, seconds):
    """Whether the client stays connected for these seconds."""
    return not select.select([connection], [], [], seconds)[0]


def wait_for_the_end(connection):
    """Wait until the client disconnects."""
    while connection.recv(65536):
        pass
