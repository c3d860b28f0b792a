"""A change is told, and is in the app's file at once; who tells may be gone, and nothing is missed."""

import pytest
import redis

from caches import Redis
from lessee.core.changes import CHANNEL, HEARTBEAT, Beat, Change, packed
from sidecar import eventually

PAGE = 'VALUE={{{{ secret("{0}/one").value }}}}\n'


@pytest.fixture
def cache(tmp_path):
    with Redis(tmp_path) as server:
        yield server


@pytest.fixture
def client(cache):
    with redis.Redis(port=cache.port, password=cache.password) as client:
        yield client


def told(path, operation="update", environment="testing"):
    return packed(Change(environment, "secret", path, 1, operation, "2026-11-28T16:00:00.000+00:00"))


@pytest.fixture
def hears(bao, sidecar, folder, cache):
    """An agent of one secret that looks only once an hour, unless it is told."""
    bao.put(f"testing/{folder}/one", value="first")
    sidecar.template("one.env.j2", PAGE.format(folder))
    sidecar.web["refresh"] = "1h"
    sidecar.config["events"] = {"redis": f"redis://:{cache.password}@127.0.0.1:{cache.port}/0", "poll": "1h"}
    return sidecar


def beat(client):
    client.xadd(HEARTBEAT, {"change": packed(Beat())}, maxlen=1)


def until_live(agent, client):
    def live():
        beat(client)
        return agent.status()["events"]["live"]

    eventually(live, "events")
    return agent.status()


def test_a_change_that_is_told_is_in_the_file_though_nobody_polls(bao, hears, folder, client):
    hears.start()
    assert any("changes are not told" in line for line in hears.status()["problems"])
    status = until_live(hears, client)
    assert status["events"] == {
        "source": f"redis://127.0.0.1:{client.get_connection_kwargs()['port']}/0",
        "live": True,
        "last_at": None,
    }
    assert not status["problems"]
    bao.put(f"testing/{folder}/one", value="second")
    client.xadd(CHANNEL, {"change": told(f"{folder}/one")})
    hears.until_file("one.env", "VALUE='second'\n")
    assert hears.status()["events"]["last_at"]
    assert client.get_connection_kwargs()["password"] not in hears.log.read_text()
