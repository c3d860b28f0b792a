"""The weather that other tests make is as they think it is."""

import http.client
import json
import select
import time
from contextlib import closing

import pytest

from lessee.host.openbao import ROOT_TOKEN, free_port
from support.servers.fault_proxy import Delay, Proxy, Sky, Status

SECRET = "/v1/secret/data/faults"


@pytest.fixture
def proxy(bao):
    bao.put("faults", value="x" * 5000)
    with Proxy(bao.port) as proxy:
        yield proxy


@pytest.fixture
def kept(proxy):
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


def ask_anew(proxy, *arguments, timeout=30):
    with closing(connect(proxy, timeout)) as connection:
        return ask(connection, *arguments)


def test_in_fair_weather_all_of_a_request_and_an_answer_comes_through(bao, proxy, kept):
    code, headers, body = ask(kept, "POST", body=json.dumps({"data": {"value": "y"}}))
    assert (code, headers["Content-Type"], headers["Cache-Control"]) == (200, "application/json", "no-store")
    assert json.loads(body)["data"]["version"] > 1
    assert bao.ask("GET", "secret/data/faults")["data"]["data"] == {"value": "y"}
    assert ask(kept, "LIST", "/v1/secret/metadata/")[0] == 200
    assert ask(kept, "DELETE", SECRET)[::2] == (204, b"")
    assert ask(kept)[0] == 404
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
    ("weather", "error"),
    [
        (Sky.REFUSE, (ConnectionRefusedError, http.client.RemoteDisconnected)),
        (Sky.DROP, http.client.RemoteDisconnected),
        (Sky.HANG, TimeoutError),
        (Sky.CUT, http.client.IncompleteRead),
        (Sky.RUBBISH, (http.client.BadStatusLine, ConnectionResetError)),
    ],
)
def test_foul_weather_is_met_by_a_new_and_by_a_kept_connection_and_passes(proxy, kept, weather, error):
    proxy.weather = weather
    timeout = 0.5 if weather is Sky.HANG else 30
    kept.sock.settimeout(timeout)
    with pytest.raises(error):
        ask(kept)
    for _ in range(2):
        with pytest.raises(error):
            ask_anew(proxy, timeout=timeout)
    proxy.clear()
    assert ask_anew(proxy)[0] == 200


def test_a_path_has_its_own_weather(proxy):
    proxy.over("secret/data", Status(429, {"Retry-After": "7"}))
    code, headers, body = ask_anew(proxy)
    assert (code, headers["Retry-After"], body) == (429, "7", b'{"errors":["by the proxy"]}')
    assert ask_anew(proxy, "LIST", "/v1/secret/metadata/")[0] == 200
    proxy.clear()
    assert ask_anew(proxy)[0] == 200


def test_a_delayed_request_is_served_and_holds_no_other_up(proxy):
    proxy.over("slow", Delay(3.0))
    with closing(connect(proxy)) as slow:
        slow.request("GET", f"{SECRET}?slow", headers={"X-Vault-Token": ROOT_TOKEN})
        assert ask_anew(proxy)[0] == 200
        assert not select.select([slow.sock], [], [], 0)[0]
        assert slow.getresponse().status == 200


def test_a_server_that_is_gone_is_a_dropped_connection(proxy):
    proxy.target_port = free_port()
    with pytest.raises(http.client.RemoteDisconnected):
        ask_anew(proxy)
