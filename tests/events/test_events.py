"""An agent hears what is told in a real Redis, with no more rights than that takes, and over TLS."""

import pytest
import redis

from lessee.core.change_events import CHANNEL, HEARTBEAT, Beat, Change, packed
from lessee.events.redis_streams import Streams, shown
from lessee.events.source import AwayError
from lessee.ops.monitor.delivery_queue import Parcel, UndeliveredError
from lessee.ops.monitor.destinations.streams import Streams as Place
from support.servers.certificate_authority import Authority
from support.servers.redis_server import Redis

CHANGE = Change("testing", "secret", "one", 1, "update", "2026-11-28T16:00:00.000+00:00")
PARCEL = Parcel("vault", 1, packed(CHANGE).decode())
# As the manual has them.
AGENT = "~lessee:changes ~lessee:heartbeat +xread +xrevrange +select"
MONITOR = "~lessee:* &lessee:* +publish +xadd +hset +hgetall +expire +multi +exec +select"


@pytest.fixture
def cache(tmp_path):
    users = [f"user agent on >agents {AGENT}", f"user monitor on >monitors {MONITOR}"]
    with Redis(tmp_path, acl=users) as server:
        yield server


def at(cache, login):
    return f"redis://{login}@127.0.0.1:{cache.port}/0"


def heard(source):
    messages = []
    for _ in range(20):
        messages += source.listen(0.5)
        if len(messages) >= 2:
            break
    return messages


def test_the_rights_of_the_manual_are_enough_to_tell_and_to_hear(cache):
    source, place = Streams(at(cache, "agent:agents")), Place(at(cache, "monitor:monitors"), lambda: "epoch")
    source.open()
    assert source.listen(0.5) == []
    place.deliver([PARCEL])
    place.beat(Beat())
    assert sorted(map(type, heard(source)), key=str) == [Beat, Change]
    source.close()
    place.close()


def test_an_agent_with_them_can_tell_nothing_itself(cache):
    with redis.Redis(port=cache.port, username="agent", password="agents") as client:
        for act in (
            lambda: client.xadd(CHANNEL, {"change": b"{}"}),
            lambda: client.xadd(HEARTBEAT, {"change": b"{}"}),
            lambda: client.publish(CHANNEL, b"{}"),
            lambda: client.delete(CHANNEL),
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                act()
    with pytest.raises(UndeliveredError, match="lacks rights"):
        Place(at(cache, "agent:agents"), lambda: "epoch").deliver([PARCEL])


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://agent:canary-wrong@127.0.0.1:{port}/0", "refuses the password"),
        ("redis://agent:canary-wrong@127.0.0.1:1/0", "no connection"),
        ("redis://agent:canary-wrong@127.0.0.1:{port}/999", "ResponseError"),
        ("redis://agent:canary-wrong@127.0.0.1:canary/0", "makes no sense"),
    ],
)
def test_what_is_wrong_is_said_without_the_password(cache, url, why):
    source = Streams(url.format(port=cache.port).replace("canary-wrong", "agents" if "999" in url else "canary-wrong"))
    with pytest.raises(AwayError, match=why) as caught:
        source.open()
    assert "canary" not in str(caught.value)
    assert "agents" not in str(caught.value) + source.name
    source.close()


def test_it_hears_over_tls_and_refuses_a_server_that_no_authority_of_its_own_vouches_for(tmp_path):
    authority = Authority(tmp_path / "ca.pem")
    authority.issue(tmp_path / "pair.pem", 30)
    with Redis(tmp_path, pair=tmp_path / "pair.pem") as cache:
        url = f"rediss://:{cache.password}@127.0.0.1:{cache.secure}/0"
        source = Streams(f"{url}?ssl_ca_certs={tmp_path / 'ca.pem'}")
        source.open()
        place = Place(f"{url}?ssl_ca_certs={tmp_path / 'ca.pem'}", lambda: "epoch")
        place.deliver([PARCEL])
        place.beat(Beat())
        assert len(heard(source)) == 2
        source.close()
        place.close()
        with pytest.raises(AwayError, match="no connection"):
            Streams(url).open()


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("redis://redis:6379/0", "redis://redis:6379/0"),
        ("rediss://u:canary@[::1]:6379", "rediss://[::1]:6379"),
        ("redis://:canary@more@h/0?password=canary", "redis://h/0"),
        ("redis://h/0?password=a@canary", "redis://h/0"),
        ("redis://:ca/nary@h:1/0", "redis://…"),
        ("redis://:ca#nary@h:1/0", "redis://…"),
        ("redis://[canary", "redis://…"),
        ("redis://:canary", "redis://…"),
    ],
)
def test_the_name_of_a_redis_shows_no_password_wherever_it_stands(url, name):
    assert shown(url) == Streams(url).name == name
