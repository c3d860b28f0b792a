"""Bodies that are read and sent piece by piece, and Unix sockets as addresses."""

import json
import socket
import threading
from contextlib import closing

import pytest

from lessee.core.failures import Kind
from lessee.host.openbao import ROOT_TOKEN, OpenBao
from lessee.vault.transport import Address, RequestFailedError, Transport


@pytest.fixture
def transport(bao):
    with closing(Transport(Address(bao.address))) as transport:
        yield transport


def test_an_answer_is_read_as_it_is(transport):
    with transport.stream("GET", "sys/seal-status", token=None) as answer:
        assert json.loads(answer.read())["initialized"] is True


def test_a_body_is_sent_in_pieces(bao, transport):
    content = json.dumps({"data": {"value": "x" * 10_000}}).encode()
    pieces = (content[at : at + 100] for at in range(0, len(content), 100))
    with transport.stream("POST", "secret/data/streamed", token=ROOT_TOKEN, body=pieces, size=len(content)) as answer:
        assert json.loads(answer.read())["data"]["version"] == 1
    assert bao.ask("GET", "secret/data/streamed")["data"]["data"] == {"value": "x" * 10_000}
    bao.ask("DELETE", "secret/metadata/streamed")


def test_a_denied_stream_has_the_kind_of_its_status(transport):
    for path, token, kind in (("sys/mounts", "none", Kind.DENIED), ("secret/data/nowhere", ROOT_TOKEN, Kind.NOT_FOUND)):
        with pytest.raises(RequestFailedError) as caught, transport.stream("GET", path, token=token):
            pass
        assert caught.value.failure.kind is kind


def test_a_connection_that_breaks_during_a_read_is_unavailable():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            client, _ = server.accept()
            with client:
                client.recv(65536)
                client.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc")

        thread = threading.Thread(target=answer)
        thread.start()
        with (
            closing(Transport(Address(f"http://127.0.0.1:{server.getsockname()[1]}"))) as transport,
            pytest.raises(RequestFailedError) as caught,
            transport.stream("GET", "sys/storage/raft/snapshot", token="t") as cut,
        ):
            cut.read()
        thread.join()
    assert caught.value.failure.kind is Kind.UNAVAILABLE


def test_a_unix_socket_is_an_address(memory):
    listener = f'listener "unix" {{\n address = "{memory}/api.sock"\n socket_mode = "600"\n}}\n'
    with OpenBao(memory, config=listener), closing(Transport(Address(f"unix://{memory}/api.sock"))) as transport:
        transport.request("POST", "secret/data/a", token=ROOT_TOKEN, body={"data": {"value": 1}})
        assert transport.request("GET", "secret/data/a", token=ROOT_TOKEN).data["data"] == {"value": 1}
    with (
        closing(Transport(Address(f"unix://{memory}/none.sock"))) as transport,
        pytest.raises(RequestFailedError) as caught,
    ):
        transport.request("GET", "sys/mounts", token=None)
    assert caught.value.failure.kind is Kind.UNAVAILABLE


def test_a_denial_before_the_whole_body_is_sent_has_its_kind():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            client, _ = server.accept()
            with client:
                client.recv(1024)
                client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}")

        thread = threading.Thread(target=answer)
        thread.start()
        with (
            closing(Transport(Address(f"http://127.0.0.1:{server.getsockname()[1]}"))) as transport,
            pytest.raises(RequestFailedError) as caught,
            transport.stream("POST", "a", token="t", body=[bytes(1 << 16)] * 400, size=400 << 16),
        ):
            pass
        thread.join()
    assert caught.value.failure.kind is Kind.DENIED


def test_a_namespace_that_no_header_can_hold_is_rejected(bao):
    with (
        closing(Transport(Address(bao.address, namespace="\u65e5\u672c"))) as transport,
        pytest.raises(RequestFailedError, match="characters that cannot be sent"),
        transport.stream("GET", "sys/seal-status", token=None),
    ):
        pass
