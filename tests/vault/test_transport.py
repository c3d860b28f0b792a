"""The transport and invalid answers; a real socket produces each fault."""

import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from contextlib import closing, nullcontext, suppress
from itertools import count

import pytest

from lessee.core.failures import Kind
from lessee.host import http_client
from lessee.host.openbao import ROOT_TOKEN, free_port
from lessee.vault.transport import Address, RequestFailedError, Transport
from support.needs import need
from support.sockets import connections


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
                with suppress(OSError), client, wrapped(client, context) as talking:
                    talking.recv(65536)
                    talking.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        return listener.getsockname()[1]

    yield start
    for listener in servers:
        listener.close()


def wrapped(client, context):
    """With TLS if there is a context. It has to be closed in addition to its socket."""
    return context.wrap_socket(client, server_side=True) if context else nullcontext(client)


def http(status, body=b"{}", headers=""):
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


def failure_at(url, **address):
    transport = Transport(Address(url, **address))
    with pytest.raises(RequestFailedError) as caught:
        transport.request("GET", "secret/data/x", token="canary-token")
    transport.close()
    assert "canary" not in caught.value.failure.text
    assert "127.0.0.1" not in caught.value.failure.text
    return caught.value.failure


def answer_from(address):
    transport = Transport(address)
    data = transport.request("GET", "x", token=None).data
    transport.close()
    return data


def test_a_closed_port_is_unavailable():
    failure = failure_at(f"http://127.0.0.1:{free_port()}")
    assert (failure.kind, failure.text) == (Kind.UNAVAILABLE, "connection refused")


def test_a_name_that_does_not_resolve_is_unavailable():
    failure = failure_at("http://vault.invalid:8200")
    assert (failure.kind, failure.text) == (Kind.UNAVAILABLE, "the host name cannot be resolved")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Kind.INVALID),
        (403, Kind.DENIED),
        (405, Kind.UNSUPPORTED),
        (412, Kind.UNAVAILABLE),
        (429, Kind.RATE_LIMITED),
        (472, Kind.UNAVAILABLE),
        (473, Kind.UNAVAILABLE),
        (500, Kind.PATH_ERROR),
        (502, Kind.UNAVAILABLE),
        (503, Kind.UNAVAILABLE),
        (504, Kind.UNAVAILABLE),
        (418, Kind.INVALID),
    ],
)
def test_each_status_has_a_kind_and_the_servers_text_is_not_passed_on(fault, status, kind):
    port = fault(http(status, b'{"errors":["canary-token was no good"]}'))
    assert failure_at(f"http://127.0.0.1:{port}").kind is kind


def test_retry_after_is_passed_on(fault):
    port = fault(http(429, headers="Retry-After: 9\r\n"))
    assert failure_at(f"http://127.0.0.1:{port}").retry_after == 9


def test_a_404_with_a_text_is_a_missing_endpoint_and_without_one_a_missing_secret(fault):
    bodies = {
        b'{"errors":["no handler"]}': Kind.UNSUPPORTED,
        b'{"errors":[]}': Kind.NOT_FOUND,
        b"no": Kind.NOT_FOUND,
        # As HashiCorp Vault's KV v2 answers a listing of detailed-metadata.
        b'{"data":null,"warnings":["Invalid path for a versioned K/V secrets engine. See the API docs"]}': (
            Kind.UNSUPPORTED
        ),
        b'{"data":null,"warnings":["something else"]}': Kind.NOT_FOUND,
    }
    for body, kind in bodies.items():
        assert failure_at(f"http://127.0.0.1:{fault(http(404, body))}").kind is kind


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{", b"\x00\x01rubbish"])
def test_a_truncated_or_invalid_answer_is_unavailable(fault, answer):
    assert failure_at(f"http://127.0.0.1:{fault(answer)}").kind is Kind.UNAVAILABLE


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"[1]", b'{"data": 3}', b'{"data": {"a": '])
def test_a_good_status_with_a_foreign_body_is_unavailable(fault, body):
    assert failure_at(f"http://127.0.0.1:{fault(http(200, body))}").kind is Kind.UNAVAILABLE


def test_a_redirect_is_not_followed_so_that_the_token_is_not_sent_elsewhere(fault):
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
    assert failure.kind is Kind.UNAVAILABLE
    assert "redirects" in failure.text
    assert not asked.is_set()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    need(shutil.which("openssl"), "needs openssl: apt-get install openssl")
    folder = tmp_path_factory.mktemp("tls")
    make_certificate(folder, "vault.example")
    return folder


@pytest.fixture
def tls_port(fault, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "vault.example.crt", certificate / "vault.example.key")
    return fault(http(200, b'{"data": {"good": true}}'), context=context)


def test_an_untrusted_certificate_is_rejected_with_advice(tls_port):
    failure = failure_at(f"https://127.0.0.1:{tls_port}")
    assert failure.kind is Kind.UNAVAILABLE
    assert "ca_file" in failure.text


def test_a_certificate_of_our_ca_and_name_is_accepted(tls_port, certificate):
    address = Address(
        f"https://127.0.0.1:{tls_port}", ca_file=str(certificate / "vault.example.crt"), server_name="vault.example"
    )
    assert answer_from(address) == {"good": True}


def test_a_certificate_of_another_name_is_refused(tls_port, certificate):
    failure = failure_at(f"https://127.0.0.1:{tls_port}", ca_file=str(certificate / "vault.example.crt"))
    assert "certificate" in failure.text


def test_tls_skip_verify_accepts_any_certificate(tls_port):
    assert answer_from(Address(f"https://127.0.0.1:{tls_port}", tls_skip_verify=True)) == {"good": True}


def test_a_connection_that_the_server_closed_is_replaced_without_an_error(fault):
    transport = Transport(Address(f"http://127.0.0.1:{fault(http(200, b'{}'))}"), idle=0.0)
    for _ in range(3):  # This server closes after each answer.
        assert transport.request("GET", "x", token=None).data == {}
    transport.close()


def test_a_connection_that_breaks_in_use_is_an_error_and_nothing_is_sent_twice(fault):
    transport = Transport(Address(f"http://127.0.0.1:{fault(http(200, b'{}'))}"))
    assert transport.request("GET", "x", token=None).data == {}
    with pytest.raises(RequestFailedError) as caught:
        transport.request("GET", "x", token=None)
    assert caught.value.failure.kind is Kind.UNAVAILABLE
    transport.close()


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\n" + b"X-More: 1\r\n" * 10_000, b"HTTP/1.1 100 Continue\r\n\r\n" * 100]
)
def test_an_answer_that_has_begun_is_not_asked_for_again_however_long_the_connection_was_idle(served, head):
    seen = []

    def body(client, _number):
        seen.append(client)
        if len(seen) > 1:
            client.sendall(head)
        return {}

    transport = Transport(Address(f"http://127.0.0.1:{served(body)}"), idle=0.0)
    transport.request("GET", "x", token=None)
    with pytest.raises(RequestFailedError):
        transport.request("GET", "x", token=None)
    transport.close()
    assert len(seen) == 2


def test_a_token_that_no_header_can_hold_is_rejected_without_repeating_it():
    transport = Transport(Address("http://127.0.0.1:1"))
    with pytest.raises(RequestFailedError) as caught:
        transport.request("GET", "x", token="canary\ntoken")
    assert "canary" not in str(caught.value)


def test_a_proxy_gets_the_whole_address_and_its_credentials():
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
        transport = Transport(Address(f"{scheme}://vault.example:8200", proxy=proxy))
        with pytest.raises(RequestFailedError) as caught:
            transport.request("GET", "secret/x", token="canary-token")
        assert caught.value.failure.kind is Kind.UNAVAILABLE
        transport.close()
    listener.close()
    assert seen[0].startswith("GET http://vault.example:8200/v1/secret/x HTTP/1.1\r\n")
    assert seen[1].startswith("CONNECT vault.example:8200 HTTP/1")
    assert all("Proxy-Authorization: Basic dXNlcjpwQHNz\r\n" in head for head in seen)
    assert "canary" not in seen[1]


def test_a_denial_by_policy_differs_from_that_of_an_invalid_token(bao):
    token = bao.ask("POST", "auth/token/create", {"policies": ["default"]})["auth"]["client_token"]
    transport = Transport(Address(bao.address))
    for value, by_policy in ((token, True), ("s.not-valid", False)):
        with pytest.raises(RequestFailedError) as caught:
            transport.request("GET", "secret/data/x", token=value)
        assert (caught.value.failure.kind, caught.value.by_policy) == (Kind.DENIED, by_policy)
    transport.close()


@pytest.mark.parametrize(
    "errors", [["permission denied"], ["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"], []]
)
def test_a_403_without_the_policy_text_is_not_a_denial_by_policy(fault, errors):
    transport = Transport(Address(f"http://127.0.0.1:{fault(http(403, json.dumps({'errors': errors}).encode()))}"))
    with pytest.raises(RequestFailedError) as caught:
        transport.request("GET", "x", token="canary-token")
    transport.close()
    assert not caught.value.by_policy


def test_a_good_answer_has_its_lease_the_warning_of_a_cap_and_its_date(bao):
    transport = Transport(Address(bao.address))
    bao.ask("POST", "auth/token/roles/capped", {"token_explicit_max_ttl": "1h"})
    answers = [
        transport.request("POST", "auth/token/create/capped", token=ROOT_TOKEN, body={"ttl": ttl})
        for ttl in ("30m", "2h")
    ]
    transport.close()
    assert [answer.capped for answer in answers] == [False, True]
    assert [answer.lease_id for answer in answers] == ["", ""]
    assert -1 <= time.time() - answers[0].date < 10


def test_an_answer_without_a_usable_date_has_none(fault):
    for headers in ("", "Date: yesterday\r\n"):
        transport = Transport(Address(f"http://127.0.0.1:{fault(http(200, headers=headers))}"))
        assert transport.request("GET", "x", token=None).date is None
        transport.close()


def test_a_request_can_have_its_own_timeout():
    silent = socket.create_server(("127.0.0.1", 0))  # It accepts connections and never answers.
    transport = Transport(Address(f"http://127.0.0.1:{silent.getsockname()[1]}"))
    began = time.monotonic()
    with pytest.raises(RequestFailedError) as caught:
        transport.request("GET", "x", token=None, timeout=0.2)
    silent.close()
    assert (caught.value.failure.kind, caught.value.failure.text) == (Kind.UNAVAILABLE, "no answer in time")
    assert 0.2 <= time.monotonic() - began < 3


@pytest.fixture
def served():
    """A server on loopback that keeps connections open; the function gives the body of each answer."""
    servers = []

    def start(body, *, context=None):
        listener = socket.create_server(("127.0.0.1", 0))
        servers.append(listener)

        def serve(client, number):
            with suppress(OSError), client, wrapped(client, context) as talking:
                while talking.recv(65536) and (content := body(talking, number)) is not None:
                    talking.sendall(http(200, json.dumps({"data": content}).encode()))

        def accept():
            with suppress(OSError):
                for number in count(1):
                    client, _ = listener.accept()
                    threading.Thread(target=serve, args=(client, number), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return listener.getsockname()[1]

    yield start
    for listener in servers:
        listener.close()


@pytest.mark.parametrize(("changes", "sent"), [(True, [1, 2, 3]), (None, [1, 1, 2, 2, 3])])
def test_a_get_that_changes_something_is_sent_once_and_over_a_new_connection(served, changes, sent):
    seen = []

    def body(_client, number):
        seen.append(number)
        return {} if seen.count(number) == 1 else None  # It hangs up at the second request of a connection.

    transport = Transport(Address(f"http://127.0.0.1:{served(body)}"), idle=0.0)
    for _ in range(3):
        transport.request("GET", "x", token=None, changes=changes)
    transport.close()
    assert seen == sent


@pytest.fixture
def side_by_side(served):
    """A transport after three concurrent requests on a connection each, and its server's port."""
    meeting = threading.Barrier(3)
    transports, seen = [], []

    def body(_client, number):
        seen.append(number)
        if len(seen) <= 3:
            meeting.wait(10)
        return {}

    def start(idle):
        port = served(body)
        transport = Transport(Address(f"http://127.0.0.1:{port}"), idle=idle)
        transports.append(transport)
        askers = [
            threading.Thread(target=transport.request, args=("GET", "x"), kwargs={"token": None}) for _ in range(3)
        ]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        assert sorted(seen) == [1, 2, 3]
        return transport, port

    yield start
    for transport in transports:
        transport.close()


def ask_in_a_thread(transport):
    asker = threading.Thread(target=transport.request, args=("GET", "x"), kwargs={"token": None})
    asker.start()
    asker.join()


def test_after_concurrent_requests_one_connection_stays_open_for_all_threads(side_by_side):
    transport, port = side_by_side(idle=0.0)
    for _ in range(3):
        ask_in_a_thread(transport)
        assert connections(os.getpid(), port) == 1
    transport.close()
    assert connections(os.getpid(), port) == 0


def test_the_new_connection_of_a_change_replaces_the_idle_one(served):
    port = served(lambda _client, _number: {})
    transport = Transport(Address(f"http://127.0.0.1:{port}"), idle=60.0)
    for method in ("GET", "POST", "GET", "POST"):
        transport.request(method, "x", token=None)
        assert connections(os.getpid(), port) == 1
    transport.close()


def test_recently_used_connections_stay_open_for_concurrent_requests(side_by_side):
    transport, port = side_by_side(idle=60.0)
    ask_in_a_thread(transport)
    assert connections(os.getpid(), port) == 3
    transport.close()
    assert connections(os.getpid(), port) == 0


def make_certificate(folder, name, *, names=True):
    """`name`.crt and `name`.key, signed by themselves; the name is a SAN too, or the common name alone."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt", "-days", "2"),
            *("-subj", f"/CN={name}", *(("-addext", f"subjectAltName=DNS:{name}") if names else ())),
        ],
        check=True,
        capture_output=True,
    )


@pytest.fixture
def rotating(served, tmp_path):
    """A server that requires a client certificate and returns its owner and the connection; and its address."""
    need(shutil.which("openssl"), "needs openssl: apt-get install openssl")
    for name in ("vault.example", "one", "two"):
        make_certificate(tmp_path, name)
    (tmp_path / "clients.pem").write_text((tmp_path / "one.crt").read_text() + (tmp_path / "two.crt").read_text())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "vault.example.crt", tmp_path / "vault.example.key")
    context.load_verify_locations(tmp_path / "clients.pem")
    context.verify_mode = ssl.CERT_REQUIRED

    def body(client, number):
        return {"name": dict(part[0] for part in client.getpeercert()["subject"])["commonName"], "connection": number}

    use(tmp_path, "ca.pem", "vault.example.crt")
    use(tmp_path, "client.crt", "one.crt")
    use(tmp_path, "client.key", "one.key")
    return Address(
        f"https://127.0.0.1:{served(body, context=context)}",
        ca_file=str(tmp_path / "ca.pem"),
        server_name="vault.example",
        client_cert_file=str(tmp_path / "client.crt"),
        client_key_file=str(tmp_path / "client.key"),
    )


def use(folder, name, content):
    """Replace a file, as tools that rotate certificates do."""
    shutil.copy(folder / content, folder / "new")
    (folder / "new").rename(folder / name)


def test_the_next_request_presents_a_rotated_client_certificate(rotating, tmp_path):
    transport = Transport(rotating)
    for _ in range(2):
        assert transport.request("GET", "x", token=None).data == {"name": "one", "connection": 1}
    use(tmp_path, "client.crt", "two.crt")
    use(tmp_path, "client.key", "two.key")
    for _ in range(2):
        assert transport.request("GET", "x", token=None).data == {"name": "two", "connection": 2}
    transport.close()


def test_a_mismatched_client_certificate_and_key_are_reported_until_they_match(rotating, tmp_path):
    transport = Transport(rotating)
    use(tmp_path, "client.crt", "two.crt")
    with pytest.raises(RequestFailedError) as caught:
        transport.request("GET", "x", token=None)
    assert caught.value.failure.kind is Kind.UNAVAILABLE
    assert "client_key_file" in caught.value.failure.text
    use(tmp_path, "client.key", "two.key")
    assert transport.request("GET", "x", token=None).data["name"] == "two"
    transport.close()


def test_a_changed_ca_file_is_read_again(rotating, tmp_path):
    transport = Transport(rotating)
    assert transport.request("GET", "x", token=None).data["name"] == "one"
    use(tmp_path, "ca.pem", "one.crt")
    with pytest.raises(RequestFailedError) as caught:
        transport.request("GET", "x", token=None)
    assert "vault.ca_file" in caught.value.failure.text
    use(tmp_path, "ca.pem", "vault.example.crt")
    assert transport.request("GET", "x", token=None).data["name"] == "one"
    transport.close()


def test_a_certificate_is_matched_by_its_alternative_names_and_not_by_its_common_name(served, tmp_path):
    need(shutil.which("openssl"), "needs openssl: apt-get install openssl")
    for names in (True, False):
        make_certificate(tmp_path, "localhost", names=names)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "localhost.crt", tmp_path / "localhost.key")
        url = f"https://localhost:{served(lambda _client, _number: {}, context=context)}"
        ca_file = str(tmp_path / "localhost.crt")
        with closing(Transport(Address(url, ca_file=ca_file))) as transport:
            if names:
                transport.request("GET", "x", token=None)
                assert http_client.request("GET", url, timeout=10, ca_file=ca_file).status == 200
                continue
            with pytest.raises(RequestFailedError) as caught:
                transport.request("GET", "x", token=None)
            assert "certificate is not trusted" in caught.value.failure.text
            with pytest.raises(http_client.HttpError) as refused:
                http_client.request("GET", url, timeout=10, ca_file=ca_file)
            assert refused.value.kind is http_client.ErrorKind.CERTIFICATE


def test_each_request_over_an_open_proxy_connection_names_the_whole_address():
    lines = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        client, _ = listener.accept()
        with client:
            for _ in range(2):
                lines.append(client.recv(65536).split(b"\r\n")[0])
                client.sendall(http(200))

    threading.Thread(target=serve, daemon=True).start()
    url = "http://vault.example:8200"
    transport = Transport(Address(url, proxies={url: f"http://127.0.0.1:{listener.getsockname()[1]}"}))
    for _ in range(2):
        transport.request("GET", "x", token=None)
    transport.close()
    listener.close()
    assert lines == [b"GET http://vault.example:8200/v1/x HTTP/1.1"] * 2


def test_an_answer_without_an_envelope_is_data_as_a_whole(bao, fault):
    bodies = b'{"request_id": "", "data": null, "wrap_info": {"token": "t"}}', b'{"request_id": "r", "auth": {}}'
    urls = [bao.address, *(f"http://127.0.0.1:{fault(http(200, body))}" for body in bodies)]
    seals = []
    for url in urls:
        with closing(Transport(Address(url))) as transport:
            seals.append(transport.request("GET", "sys/seal-status", token=None).data)
    assert seals[0]["sealed"] is False
    assert seals[1:] == [{}, {}]
