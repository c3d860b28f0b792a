"""The fault proxy injects the faults that other tests rely on."""

import http.client
import json
import select
import time
from contextlib import closing

import pytest

from lessee.host.openbao import ROOT_TOKEN, free_port
from support.servers.fault_proxy import Delay, Fault, Proxy, Status

SECRET = "/v1/secret/data/faults"


@pytest.fixture
def proxy(bao):
    bao.put("faults", value="x" * 5000)
    with Proxy(bao.port) as proxy:
        yield proxy


@pytest.fixture
def opened(proxy):
    """A connection over which a request has been served."""
    connection = connect(proxy)
    assert ask(connection)[0] == 200
    yield connection
    connection.close()


def connect(proxy, timeout=30):
    return http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=timeout)


def ask(connection, method="GET", path=SECRET, body=None):
    connection.request(method, path, body, {"X-Vault-Token": ROOT_TOKEN})
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


def request_again(proxy, *arguments, timeout=30):
    with closing(connect(proxy, timeout)) as connection:
        return ask(connection, *arguments)


def test_without_a_fault_the_whole_request_and_answer_pass_through(bao, proxy, opened):
    code, headers, body = ask(opened, "POST", body=json.dumps({"data": {"value": "y"}}))
    assert (code, headers["Content-Type"], headers["Cache-Control"]) == (200, "application/json", "no-store")
    assert json.loads(body)["data"]["version"] > 1
    assert bao.ask("GET", "secret/data/faults")["data"]["data"] == {"value": "y"}
    assert ask(opened, "LIST", "/v1/secret/metadata/")[0] == 200
    assert ask(opened, "DELETE", SECRET)[::2] == (204, b"")
    assert ask(opened)[0] == 404
    assert proxy.connections == 1
    asked = [(one.method, one.path.rpartition("/")[2], one.body) for one in proxy.requests]
    assert asked == [
        ("GET", "faults", b""),
        ("POST", "faults", b'{"data": {"value": "y"}}'),
        ("LIST", "", b""),
        ("DELETE", "faults", b""),
        ("GET", "faults", b""),
    ]
    assert (proxy.count(), proxy.count("/secret/data/"), proxy.count(since=time.monotonic())) == (5, 4, 0)
    assert proxy.by_minute("/secret/data/") == {0: 4}


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.REFUSE, (ConnectionRefusedError, http.client.RemoteDisconnected)),
        (Fault.DROP, http.client.RemoteDisconnected),
        (Fault.HANG, TimeoutError),
        (Fault.CUT, http.client.IncompleteRead),
        (Fault.RUBBISH, (http.client.BadStatusLine, ConnectionResetError)),
    ],
)
def test_a_fault_affects_new_and_open_connections_until_it_ends(proxy, opened, fault, error):
    proxy.fault = fault
    timeout = 0.5 if fault is Fault.HANG else 30
    opened.sock.settimeout(timeout)
    with pytest.raises(error):
        ask(opened)
    for _ in range(2):
        with pytest.raises(error):
            request_again(proxy, timeout=timeout)
    proxy.clear()
    assert request_again(proxy)[0] == 200


def test_a_path_has_its_own_fault(proxy):
    proxy.on_path("secret/data", Status(429, {"Retry-After": "7"}))
    code, headers, body = request_again(proxy)
    assert (code, headers["Retry-After"], body) == (429, "7", b'{"errors":["by the proxy"]}')
    assert request_again(proxy, "LIST", "/v1/secret/metadata/")[0] == 200
    proxy.clear()
    assert request_again(proxy)[0] == 200


def test_a_delayed_request_is_served_and_delays_no_other(proxy):
    proxy.on_path("slow", Delay(3.0))
    with closing(connect(proxy)) as slow:
        slow.request("GET", f"{SECRET}?slow", headers={"X-Vault-Token": ROOT_TOKEN})
        assert request_again(proxy)[0] == 200
        assert not select.select([slow.sock], [], [], 0)[0]
        assert slow.getresponse().status == 200


def test_a_stopped_server_is_a_dropped_connection(proxy):
    proxy.target_port = free_port()
    with pytest.raises(http.client.RemoteDisconnected):
        request_again(proxy)
