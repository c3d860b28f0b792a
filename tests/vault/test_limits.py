"""What an answer may be: its bytes, its values, its depth, and the time that it takes."""

import json
import os
import socket
import threading
import time
from contextlib import closing, suppress

import pytest

from lessee.core.failures import Kind
from lessee.core.paths import Folder, Ref
from lessee.vault import transport as transport_module
from lessee.vault.engines import kv
from lessee.vault.health import check_health
from lessee.vault.responses import ANY, LISTING, SECRET
from lessee.vault.transport import Address, RequestFailedError, Transport
from support.programs.sidecar import eventually
from support.servers.fault_proxy import Attack, Proxy, Status
from support.servers.hostile_server import ATTACKS
from support.sockets import connections

MIB = 1 << 20


@pytest.fixture
def proxy(bao):
    with Proxy(bao.port) as proxy:
        yield proxy


@pytest.fixture
def transport(proxy):
    with closing(Transport(Address(proxy.address))) as transport:
        yield transport


def failed(call, *arguments, **settings):
    with pytest.raises(RequestFailedError) as caught:
        call(*arguments, **settings)
    return caught.value.failure


def answer(body):
    return Status(200, body=b'{"request_id":"1","data":' + body + b"}")


def test_an_answer_may_be_as_large_as_its_kind(proxy, transport):
    for limits in (SECRET, LISTING, ANY):
        proxy.fault = answer(b'{"a":"' + b"x" * (limits.size - MIB) + b'"}')
        assert transport.request("GET", "x", token=None, limits=limits).data
        proxy.fault = answer(b'{"a":"' + b"x" * limits.size + b'"}')
        failure = failed(transport.request, "GET", "x", token=None, limits=limits)
        assert (failure.kind, failure.text) == (
            Kind.INVALID,
            f"the answer is larger than {limits.size // MIB} MiB",
        )


def test_commas_and_brackets_in_strings_are_no_values(proxy, transport):
    for text in (b"a,b[{", b'\\"', b"\\\\", b'\\\\\\",['):
        value = text * (4 * MIB // len(text))
        proxy.fault = answer(b'{"a":"' + value + b'"}')
        assert transport.request("GET", "x", token=None).data


@pytest.mark.parametrize("part", [b"[]", b"{}", b"1", b'"ab"', b'{"a":[1]}', b'",["'])
def test_an_answer_of_too_many_values_is_not_parsed(proxy, transport, part):
    proxy.fault = answer(b'{"a":[' + b",".join([part] * SECRET.values) + b"]}")
    failure = failed(transport.request, "GET", "x", token=None)
    assert (failure.kind, failure.text) == (Kind.INVALID, "the answer has more than 50,000 values")
    proxy.fault = Status(404, body=b'{"errors":[],"data":{"a":[' + b",".join([part] * SECRET.values) + b"]}}")
    assert failed(transport.request, "GET", "x", token=None).kind is Kind.NOT_FOUND


def test_deep_nesting_and_broken_text_are_no_answer_of_vaults(proxy, transport):
    for body in (b"[" * 40_000, b'{"data":' * 40_000, b'{"data":{"a":"\xff"},"errors":["\xff"]}'):
        proxy.fault = Status(503, body=body)
        assert "is not Vault" in check_health(Address(proxy.address), 10.0)[0].error
        for status in (200, 400):
            proxy.fault = Status(status, body=body)
            failure = failed(transport.request, "GET", "x", token=None)
            assert failure.kind is (Kind.UNAVAILABLE if status == 200 else Kind.INVALID)


def test_a_folder_of_too_many_secrets_is_an_error(proxy, transport):
    names = b",".join(b'"%x"' % number for number in range(kv.MAX_NAMES + 1))
    proxy.fault = answer(b'{"keys":[' + names + b"]}")
    failure = failed(kv.list_folder, transport, "t", Folder("secret", "a/"), 2, detailed=False)
    assert failure.text == "the folder has more than 20,000 secrets; distribute them over several folders"


@pytest.mark.parametrize("data", [b'{"data":[1]}', b'{"data":1}', b'{"data":"canary"}'])
def test_a_secret_that_is_no_mapping_is_an_error_of_its_path(proxy, transport, data):
    proxy.fault = answer(data)
    failure = failed(kv.read, transport, "t", Ref("secret", "a"), 2)
    assert (failure.kind, failure.text) == (Kind.INVALID, "the data of the answer is not a KV secret")


@pytest.mark.parametrize("number", [10**300, -1, 1e300, "1", [1]])
def test_a_version_that_is_no_number_is_an_error_of_its_path(proxy, transport, number):
    ref = Ref("secret", "a/b")
    proxy.fault = answer(json.dumps({"data": {}, "metadata": {"version": number}}).encode())
    assert "no number of a version" in failed(kv.read, transport, "t", ref, 2).text
    body = {"errors": [], "data": {"metadata": {"version": number}}}
    proxy.fault = Status(404, body=json.dumps(body).encode())
    with pytest.raises(RequestFailedError) as caught:
        kv.read(transport, "t", ref, 2)
    assert kv.deleted_version(caught.value) is None
    proxy.fault = answer(json.dumps({"current_version": number}).encode())
    assert "no number of a version" in failed(kv.read_metadata, transport, "t", ref).text
    proxy.fault = answer(json.dumps({"keys": ["b"], "key_info": {"b": {"current_version": number}}}).encode())
    assert failed(kv.list_folder, transport, "t", ref.folder, 2, detailed=True).kind in {Kind.INVALID, Kind.UNAVAILABLE}


@pytest.mark.thorough
@pytest.mark.parametrize(
    "name",
    [
        "an answer of 1xx every two seconds",
        "a byte of the head every two seconds",
        "a byte of the body every two seconds",
        "no answer",
    ],
)
def test_a_slow_answer_meets_the_deadline_of_the_request_and_leaves_nothing_behind(proxy, transport, monkeypatch, name):
    monkeypatch.setattr(transport_module, "REQUEST_TIMEOUT", 3.0)
    proxy.fault = ATTACKS[name][1]
    threads, began = threading.active_count(), time.monotonic()
    assert failed(transport.request, "GET", "x", token=None).kind is Kind.UNAVAILABLE
    assert time.monotonic() - began >= 2.9
    assert connections(os.getpid(), proxy.port) == 0
    eventually(lambda: threading.active_count() <= threads, "the end of the proxy's thread")


def test_a_proxy_that_opens_a_tunnel_slowly_meets_a_deadline(monkeypatch):
    monkeypatch.setattr(transport_module, "CONNECT_TIMEOUT", 1.0)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        client, _ = listener.accept()
        with client, suppress(OSError):
            while True:
                client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n"[:1])
                time.sleep(0.05)

    threading.Thread(target=serve, daemon=True).start()
    url = "https://vault.example:8200"
    way = Address(url, proxies={url: f"http://127.0.0.1:{listener.getsockname()[1]}"})
    with closing(Transport(way)) as transport, closing(listener):
        assert failed(transport.request, "GET", "x", token=None).text == "no answer in time"


def test_large_answers_are_parsed_one_after_the_other(proxy, transport):
    proxy.fault = answer(b'{"a":"' + b"x" * 4 * MIB + b'"}')
    done = []
    readers = [
        threading.Thread(target=lambda: done.append(transport.request("GET", "x", token=None).data)) for _ in range(4)
    ]
    with transport._large_answers:
        for reader in readers:
            reader.start()
        eventually(lambda: proxy.count("/x") == len(readers), "all requests")
        assert done == []
        proxy.on_path("seal-status", Status(200))
        assert transport.request("GET", "sys/seal-status", token=None)
    for reader in readers:
        reader.join()
    assert len(done) == len(readers)
    assert not transport._large_answers.locked()


def test_a_node_that_stays_behind_is_asked_once_by_the_next_requests(proxy, transport):
    transport._retry_delays = (0.0, 0.0, 0.0)
    proxy.fault = Status(412)
    for _ in range(3):
        assert failed(transport.request, "GET", "x", token=None).text == "the node has not caught up (412)"
    assert proxy.count() == 6
    proxy.fault = None
    assert transport.request("GET", "sys/seal-status", token=None).data
    proxy.fault = Status(412)
    failed(transport.request, "GET", "x", token=None)
    assert proxy.count() == 11


def test_an_endless_body_is_read_no_further_than_its_limit(proxy, transport):
    sent = []

    def pieces():
        yield b"HTTP/1.1 200 OK\r\n\r\n"
        while True:
            sent.append(MIB)
            yield b" " * MIB

    proxy.fault = Attack(pieces)
    assert failed(transport.request, "GET", "x", token=None).kind is Kind.INVALID
    assert sum(sent) < SECRET.size + 16 * MIB  # The kernel holds some of it.
