"""What the door makes of answers that are none; each fault is a real socket's."""

import shutil
import socket
import ssl
import subprocess
import threading

import pytest

from lessee.core.machine.failures import Kind
from lessee.host.openbao import free_port
from lessee.vault.door import Address, Door, RequestFailed
from needs import need


@pytest.fixture
def fault():
    """A server on loopback that answers each connection with fixed bytes and closes it."""
    servers = []

    def start(answer, *, context=None):
        listener = socket.create_server(("127.0.0.1", 0))
        servers.append(listener)

        def serve():
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    try:
                        if context is not None:
                            client = context.wrap_socket(client, server_side=True)
                        client.recv(65536)
                        client.sendall(answer)
                    except OSError:
                        pass

        threading.Thread(target=serve, daemon=True).start()
        return listener.getsockname()[1]

    yield start
    for listener in servers:
        listener.close()


def http(status, body=b"{}", headers=""):
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


def failure_at(url, **address):
    door = Door(Address(url, **address))
    with pytest.raises(RequestFailed) as caught:
        door.ask("GET", "secret/data/x", token="canary-token")
    door.close()
    assert "canary" not in caught.value.failure.text
    assert "127.0.0.1" not in caught.value.failure.text
    return caught.value.failure


def answer_from(address):
    door = Door(address)
    data = door.ask("GET", "x", token=None).data
    door.close()
    return data


def test_nobody_there_is_weather():
    failure = failure_at(f"http://127.0.0.1:{free_port()}")
    assert (failure.kind, failure.text) == (Kind.WEATHER, "connection refused")


def test_a_name_that_does_not_resolve_is_weather():
    failure = failure_at("http://vault.invalid:8200")
    assert (failure.kind, failure.text) == (Kind.WEATHER, "its name cannot be resolved")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Kind.INVALID),
        (403, Kind.DENIED),
        (405, Kind.UNSUPPORTED),
        (412, Kind.WEATHER),
        (429, Kind.LIMITED),
        (472, Kind.WEATHER),
        (473, Kind.WEATHER),
        (500, Kind.WEATHER),
        (502, Kind.WEATHER),
        (503, Kind.WEATHER),
        (418, Kind.INVALID),
    ],
)
def test_each_status_has_its_meaning_and_the_servers_words_are_not_passed_on(fault, status, kind):
    port = fault(http(status, b'{"errors":["canary-token was no good"]}'))
    assert failure_at(f"http://127.0.0.1:{port}").kind is kind


def test_retry_after_is_passed_on(fault):
    port = fault(http(429, headers="Retry-After: 9\r\n"))
    assert failure_at(f"http://127.0.0.1:{port}").retry_after == 9


def test_a_404_with_words_is_an_endpoint_that_is_not_there_and_without_a_secret(fault):
    bodies = {b'{"errors":["no handler"]}': Kind.UNSUPPORTED, b'{"errors":[]}': Kind.MISSING, b"no": Kind.MISSING}
    for body, kind in bodies.items():
        assert failure_at(f"http://127.0.0.1:{fault(http(404, body))}").kind is kind


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{", b"\x00\x01rubbish"])
def test_a_cut_or_senseless_answer_is_weather(fault, answer):
    assert failure_at(f"http://127.0.0.1:{fault(answer)}").kind is Kind.WEATHER


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"[1]", b'{"data": 3}', b'{"data": {"a": '])
def test_a_good_status_with_a_body_that_is_not_vaults_is_weather(fault, body):
    assert failure_at(f"http://127.0.0.1:{fault(http(200, body))}").kind is Kind.WEATHER


def test_a_redirect_is_not_followed_so_the_token_stays_here(fault):
    asked = threading.Event()
    elsewhere = socket.create_server(("127.0.0.1", 0))

    def wait():
        try:
            elsewhere.accept()
            asked.set()
        except OSError:
            pass

    threading.Thread(target=wait, daemon=True).start()
    location = f"Location: http://127.0.0.1:{elsewhere.getsockname()[1]}/v1/secret/data/x\r\n"
    failure = failure_at(f"http://127.0.0.1:{fault(http(307, headers=location))}")
    elsewhere.close()
    assert failure.kind is Kind.WEATHER
    assert "redirects" in failure.text
    assert not asked.is_set()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    need(shutil.which("openssl"), "needs openssl: apt-get install openssl")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", folder / "key.pem", "-out", folder / "cert.pem", "-days", "2"),
            *("-subj", "/CN=vault.example", "-addext", "subjectAltName=DNS:vault.example"),
        ],
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture
def tls_port(fault, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    return fault(http(200, b'{"data": {"good": true}}'), context=context)


def test_an_unknown_certificate_is_refused_and_the_way_out_told(tls_port):
    failure = failure_at(f"https://127.0.0.1:{tls_port}")
    assert failure.kind is Kind.WEATHER
    assert "ca_file" in failure.text


def test_a_certificate_of_our_ca_and_name_is_accepted(tls_port, certificate):
    address = Address(
        f"https://127.0.0.1:{tls_port}", ca_file=str(certificate / "cert.pem"), server_name="vault.example"
    )
    assert answer_from(address) == {"good": True}


def test_a_certificate_of_another_name_is_refused(tls_port, certificate):
    failure = failure_at(f"https://127.0.0.1:{tls_port}", ca_file=str(certificate / "cert.pem"))
    assert "certificate" in failure.text


def test_insecure_accepts_any_certificate(tls_port):
    assert answer_from(Address(f"https://127.0.0.1:{tls_port}", insecure=True)) == {"good": True}


def test_a_connection_that_the_server_let_go_of_is_opened_again_without_anyone_noticing(fault):
    door = Door(Address(f"http://127.0.0.1:{fault(http(200, b'{}'))}"))
    for _ in range(3):  # this server closes after each answer
        assert door.ask("GET", "x", token=None).data == {}
    door.close()


def test_a_token_that_no_header_may_hold_is_refused_without_repeating_it():
    door = Door(Address("http://127.0.0.1:1"))
    with pytest.raises(RequestFailed) as caught:
        door.ask("GET", "x", token="canary\ntoken")
    assert "canary" not in str(caught.value)


def test_a_proxy_on_the_way_is_asked_with_the_whole_address_and_its_credentials_for_tls():
    seen = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        for _ in range(2):
            client, _ = listener.accept()
            with client:
                seen.append(client.recv(65536).decode())
                client.sendall(http(502))

    threading.Thread(target=serve, daemon=True).start()
    proxy = f"http://user:p%40ss@127.0.0.1:{listener.getsockname()[1]}"
    for scheme in ("http", "https"):
        door = Door(Address(f"{scheme}://vault.example:8200", proxy=proxy))
        with pytest.raises(RequestFailed) as caught:
            door.ask("GET", "secret/x", token="canary-token")
        assert caught.value.failure.kind is Kind.WEATHER
        door.close()
    listener.close()
    assert seen[0].startswith("GET http://vault.example:8200/v1/secret/x HTTP/1.1\r\n")
    assert seen[1].startswith("CONNECT vault.example:8200 HTTP/1")
    assert all("Proxy-Authorization: Basic dXNlcjpwQHNz\r\n" in head for head in seen)
    assert "canary" not in seen[1]
