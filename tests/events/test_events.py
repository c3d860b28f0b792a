"""The event source in a real Redis, with minimal permissions and over TLS."""

import pytest
import redis

from lessee.core.change_events import CHANNEL, HEARTBEAT_STREAM, Change, Heartbeat, encode_message
from lessee.events.redis_streams import RedisEventSource, redacted_url
from lessee.events.source import SourceUnavailableError
from lessee.ops.monitor.delivery_queue import ChangeMessage, PublishError
from lessee.ops.monitor.destinations.redis_streams import RedisStreams
from support.servers.certificate_authority import Authority
from support.servers.redis_server import Redis

CHANGE = Change("testing", "secret", "one", 1, "update", "2026-11-28T16:00:00.000+00:00")
MESSAGE = ChangeMessage("vault", 1, encode_message(CHANGE).decode())
# The permissions in the manual.
AGENT = "~lessee:changes ~lessee:heartbeat +xread +xrevrange +select"
MONITOR = "~lessee:* &lessee:* +publish +xadd +hset +hgetall +expire +multi +exec +select"


@pytest.fixture
def cache(tmp_path):
    users = [f"user agent on >agents {AGENT}", f"user monitor on >monitors {MONITOR}"]
    with Redis(tmp_path, acl=users) as server:
        yield server


def at(cache, login):
    return f"redis://{login}@127.0.0.1:{cache.port}/0"


def received(source):
    messages = []
    for _ in range(20):
        messages += source.listen(0.5)
        if len(messages) >= 2:
            break
    return messages


def test_the_permissions_in_the_manual_suffice(cache):
    source, destination = (
        RedisEventSource(at(cache, "agent:agents")),
        RedisStreams(at(cache, "monitor:monitors"), lambda: "epoch"),
    )
    source.open()
    assert source.listen(0.5) == []
    destination.deliver([MESSAGE])
    destination.send_heartbeat(Heartbeat())
    assert sorted(map(type, received(source)), key=str) == [Change, Heartbeat]
    source.close()
    destination.close()


def test_an_agent_with_them_cannot_publish(cache):
    with redis.Redis(port=cache.port, username="agent", password="agents") as client:
        for write in (
            lambda: client.xadd(CHANNEL, {"change": b"{}"}),
            lambda: client.xadd(HEARTBEAT_STREAM, {"change": b"{}"}),
            lambda: client.publish(CHANNEL, b"{}"),
            lambda: client.delete(CHANNEL),
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                write()
    with pytest.raises(PublishError, match="lacks permissions"):
        RedisStreams(at(cache, "agent:agents"), lambda: "epoch").deliver([MESSAGE])


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://agent:canary-wrong@127.0.0.1:{port}/0", "the password is missing or wrong"),
        ("redis://agent:canary-wrong@127.0.0.1:1/0", "no connection"),
        ("redis://agent:canary-wrong@127.0.0.1:{port}/999", "ResponseError"),
        ("redis://agent:canary-wrong@127.0.0.1:canary/0", "cannot parse its URL"),
    ],
)
def test_errors_do_not_contain_the_password(cache, url, why):
    source = RedisEventSource(
        url.format(port=cache.port).replace("canary-wrong", "agents" if "999" in url else "canary-wrong")
    )
    with pytest.raises(SourceUnavailableError, match=why) as caught:
        source.open()
    assert "canary" not in str(caught.value)
    assert "agents" not in str(caught.value) + source.name
    source.close()


def test_tls_works_and_an_unknown_certificate_authority_is_rejected(tmp_path):
    authority = Authority(tmp_path / "ca.pem")
    authority.issue(tmp_path / "pair.pem", 30)
    with Redis(tmp_path, pair=tmp_path / "pair.pem") as cache:
        url = f"rediss://:{cache.password}@127.0.0.1:{cache.tls_port}/0"
        source = RedisEventSource(f"{url}?ssl_ca_certs={tmp_path / 'ca.pem'}")
        source.open()
        destination = RedisStreams(f"{url}?ssl_ca_certs={tmp_path / 'ca.pem'}", lambda: "epoch")
        destination.deliver([MESSAGE])
        destination.send_heartbeat(Heartbeat())
        assert len(received(source)) == 2
        source.close()
        destination.close()
        with pytest.raises(SourceUnavailableError, match="no connection"):
            RedisEventSource(url).open()


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
def test_the_name_of_a_redis_never_contains_its_password(url, name):
    assert redacted_url(url) == RedisEventSource(url).name == name
