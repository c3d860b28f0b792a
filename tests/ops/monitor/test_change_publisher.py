"""Each change in a real server's audit log arrives once at a real Redis, a webhook, and a socket."""

import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import redis

from lessee.core.change_events import CHANNEL, HEARTBEAT_STREAM, MAX_MESSAGE_BYTES, Change, Heartbeat, decode_message
from lessee.host.openbao import OpenBao, free_port
from lessee.ops.monitor.change_publisher import MAX_DELAY, ChangePublisher
from lessee.ops.monitor.delivery_queue import MAX_PENDING
from lessee.ops.monitor.policy.access import LogEntry
from lessee.ops.monitor.policy.decoder import decode
from support.programs.sidecar import eventually, pass_by
from support.servers.redis_server import Redis

ENVIRONMENTS = ("development", "testing", "staging", "production")
AUDIT = 'audit "file" "tests" { options { file_path = "%s" } }'


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """A server and its audit log."""
    folder = tmp_path_factory.mktemp("audited")
    with OpenBao(folder, config=AUDIT % (folder / "audit.log")) as bao:
        yield bao, folder / "audit.log"


@pytest.fixture
def cache(tmp_path):
    with Redis(tmp_path) as server:
        yield server


@pytest.fixture
def url(cache):
    return f"redis://:{cache.password}@127.0.0.1:{cache.port}/0"


@pytest.fixture
def client(cache):
    with redis.Redis(port=cache.port, password=cache.password) as client:
        yield client


@pytest.fixture
def publisher():
    sinks = []

    def start(*urls, state=None, logs_readable=lambda: True):
        sinks.append(ChangePublisher(urls, ENVIRONMENTS, logs_readable, 0.2))
        if state is not None:
            sinks[-1].restore(json.loads(json.dumps(state)))
        return sinks[-1]

    yield start
    for sink in sinks:
        sink.close()


def entries_of(audited, act, first=1):
    """The entries that `act` leaves in the server's log, as the monitor reads them."""
    bao, file = audited
    before = file.stat().st_size
    act(bao)
    with file.open("rb") as log:
        log.seek(before)
        accesses = [access for line in log if (access := decode(line.rstrip(b"\n"), "audit")) is not None]
    return [LogEntry("audit", number, access) for number, access in enumerate(accesses, first)]


def writes(audited, count, first=1, name="one"):
    def act(bao):
        for number in range(count):
            bao.put(f"testing/published/{name}", value=f"canary-{number}")

    return entries_of(audited, act, first)


def stream(client):
    return [decode_message(fields[b"change"]) for _, fields in client.xrange(CHANNEL)]


def arrived(sink, count, destination="redis"):
    eventually(lambda: sink.status()["destinations"][destination]["published"] >= count, f"{count} changes")


def test_a_write_is_published_to_the_channel_and_to_the_stream_without_its_value(audited, client, url, publisher):
    sink = publisher(url)
    with client.pubsub(ignore_subscribe_messages=True) as subscription:
        subscription.subscribe(CHANNEL)
        eventually(lambda: client.pubsub_numsub(CHANNEL)[0][1], "the subscription")
        sink.take(writes(audited, 1))
        message = eventually(lambda: subscription.get_message(timeout=1), "the message")
    arrived(sink, 1)
    (change,) = stream(client)
    assert (change.environment, change.mount, change.path) == ("testing", "secret", "published/one")
    assert change.version == audited[0].ask("GET", "secret/metadata/testing/published/one")["data"]["current_version"]
    assert decode_message(message["data"]) == change
    assert b"canary" not in message["data"]
    assert sink.status()["destinations"]["redis"] == {
        "reachable": True, "published": 1, "pending": 0, "dropped": 0, "error": None
    }  # fmt: skip


def test_each_way_to_change_a_secret_a_role_or_a_policy_is_published(audited, client, url, publisher):
    def act(bao):
        bao.put("testing/ways/a", value="canary")
        bao.ask("DELETE", "secret/data/testing/ways/a")
        bao.ask("PUT", "secret/undelete/testing/ways/a", {"versions": [1]})
        bao.ask("PUT", "secret/destroy/testing/ways/a", {"versions": [1]})
        bao.ask("GET", "secret/metadata/testing/ways/a")
        bao.ask("DELETE", "secret/metadata/testing/ways/a")
        bao.ask("POST", "sys/mounts/ways1", {"type": "kv", "options": {"version": "1"}})
        bao.ask("POST", "ways1/testing/b", {"value": "canary"})
        bao.ask("DELETE", "ways1/testing/b")
        bao.ask("PUT", "sys/policies/acl/ways", {"policy": 'path "ways/*" { capabilities = ["read"] }'})
        bao.ask("POST", "sys/auth/ways", {"type": "approle"})
        bao.ask("POST", "auth/ways/role/ci", {"token_policies": ["ways"]})
        bao.ask("POST", "auth/ways/role/ci/secret-id", {})
        bao.ask("DELETE", "auth/ways/role/ci")
        with pytest.raises(RuntimeError, match="403"):
            bao.ask("POST", "secret/data/testing/ways/a", {"data": {}}, token="invalid")
        with pytest.raises(RuntimeError, match="400"):
            bao.ask("POST", "secret/data/testing/ways/a", {"options": {"cas": 9}, "data": {}})

    sink = publisher(url)
    sink.take(entries_of(audited, act))
    arrived(sink, 10)
    assert [(c.operation, c.environment, c.mount, c.path, c.version) for c in stream(client)] == [
        ("create", "testing", "secret", "ways/a", 1),
        ("delete", "testing", "secret", "ways/a", None),
        ("undelete", "testing", "secret", "ways/a", None),
        ("destroy", "testing", "secret", "ways/a", None),
        ("remove", "testing", "secret", "ways/a", None),
        ("create", "testing", "ways1", "b", None),
        ("delete", "testing", "ways1", "b", None),
        ("update", None, "sys", "policies/acl/ways", None),
        ("create", None, "auth/ways", "role/ci", None),
        ("delete", None, "auth/ways", "role/ci", None),
    ]


def test_during_an_outage_of_redis_changes_are_queued_and_then_published_in_order(
    audited, cache, client, url, publisher
):
    sink = publisher(url)
    sink.take(writes(audited, 2))
    arrived(sink, 2)
    cache.stop()
    more = writes(audited, 3, first=3)
    sink.take(more)
    status = eventually(lambda: (s := sink.status())["problems"] and s, "the problem")
    assert status["destinations"]["redis"]["pending"] == 3
    assert not status["destinations"]["redis"]["reachable"]
    assert cache.password not in json.dumps(status)
    cache.start()
    arrived(sink, 5)
    assert [change.version for change in stream(client)] == [entry.access.version for entry in more]
    assert sink.status()["problems"] == []


def test_queued_changes_survive_a_restart_of_the_monitor(audited, cache, client, url, publisher):
    cache.stop()
    first = publisher(url)
    first.take(writes(audited, 3))
    state = first.state()
    cache.start()
    second = publisher(url, state=state)
    second.tick(0.0)
    arrived(second, 3)
    assert len({change.version for change in stream(client)}) == 3


def test_entries_that_are_read_again_after_a_kill_are_not_published_again(audited, client, url, publisher):
    first = publisher(url)
    state = first.state()  # Older than what is published below.
    entries = writes(audited, 5)
    first.take(entries)
    arrived(first, 5)
    second = publisher(url, state=state)
    more = writes(audited, 1, first=6)
    second.take([*entries[1:], *more])
    arrived(second, 5)
    assert [change.version for change in stream(client)] == [entry.access.version for entry in [*entries, *more]]


def test_a_monitor_with_a_new_state_directory_publishes_its_entries_although_their_numbers_repeat(
    audited, client, url, publisher
):
    first = publisher(url)
    first.take(writes(audited, 3))
    arrived(first, 3)
    second = publisher(url)
    second.take(writes(audited, 1))
    arrived(second, 1)
    assert len(stream(client)) == 4


def test_beyond_the_limit_the_oldest_changes_are_dropped_and_counted(audited, cache, url, publisher):
    cache.stop()
    sink = publisher(url)
    (entry,) = writes(audited, 1)
    for start in range(0, MAX_PENDING + 100, 100):
        sink.take([LogEntry("audit", start + number, entry.access) for number in range(1, 101)])
    status = sink.status()["destinations"]["redis"]
    assert (status["pending"], status["dropped"]) == (MAX_PENDING, 100)
    assert sink.state()["destinations"]["redis"]["messages"][-1]["number"] == MAX_PENDING + 100


def test_after_dropped_changes_agents_have_to_check_every_path(audited, cache, client, url, publisher):
    cache.stop()
    sink = publisher(url)
    (entry,) = writes(audited, 1)
    sink.take([LogEntry("audit", number, entry.access) for number in range(1, MAX_PENDING + 2)])
    cache.start()
    arrived(sink, MAX_PENDING)

    def heartbeat(now):
        sink.tick(now)
        return eventually(lambda: client.xrange(HEARTBEAT_STREAM), "a heartbeat")[0]

    with ThreadPoolExecutor(1) as pool:
        # The second heartbeat soon replaces the first, so the reader has to wait already.
        reading = pool.submit(client.xread, {HEARTBEAT_STREAM: 0}, block=30_000)
        eventually(lambda: client.info("clients")["blocked_clients"], "the reader")
        sink.tick(entry.access.at)
        [[_, [(first, fields), *_]]] = reading.result()
    assert decode_message(fields[b"change"]) == Heartbeat("stopping", 0.2)
    eventually(lambda: heartbeat(entry.access.at)[0] != first, "another")
    assert decode_message(heartbeat(entry.access.at)[1][b"change"]) == Heartbeat("alive", 0.2)


def test_redis_gets_heartbeats_and_a_last_one_when_the_monitor_stops(client, url, publisher):
    sink = publisher(url)
    sink.tick(0.0)
    first = eventually(lambda: client.xrange(HEARTBEAT_STREAM), "a heartbeat")
    eventually(lambda: client.xrange(HEARTBEAT_STREAM) != first, "another")
    sink.close()
    assert client.xlen(HEARTBEAT_STREAM) == 1
    ((_, fields),) = client.xrange(HEARTBEAT_STREAM)
    assert decode_message(fields[b"change"]) == Heartbeat("stopping", 0.2)


class Hook(BaseHTTPRequestHandler):
    """Records each POST, and answers with the next of `answers`."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = self.server.answers.pop(0) if self.server.answers else 204
        self.server.posted.append((self.path, self.headers["Content-Type"], body, answer))
        self.send_response(answer)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def hook():
    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        server.posted, server.answers = [], []
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_webhook_gets_each_change_in_order_after_failures_too_and_a_rejected_change_is_dropped(
    audited, hook, publisher
):
    url = f"http://127.0.0.1:{hook.server_port}/canary-path?token=canary-token"
    sink = publisher(url)
    hook.answers += [204, 503, 429, 204, 400]
    entries = writes(audited, 4)
    sink.take(entries)
    sink.tick(0.0)
    arrived(sink, 3, "webhook")
    versions = [(decode_message(body).version, answer) for _, _, body, answer in hook.posted]
    one, two, three, four = (entry.access.version for entry in entries)
    assert versions == [(one, 204), (two, 503), (two, 429), (two, 204), (three, 400), (four, 204)]
    assert {(path, kind) for path, kind, *_ in hook.posted} == {("/canary-path?token=canary-token", "application/json")}
    status = sink.status()
    assert status["destinations"]["webhook"]["dropped"] == 1
    assert "canary" not in json.dumps(status)


def test_an_unavailable_webhook_is_reported_without_its_secret_path(audited, publisher):
    sink = publisher(f"http://127.0.0.1:{free_port()}/canary-path")
    sink.take(writes(audited, 1))
    status = eventually(lambda: (s := sink.status())["problems"] and s, "the problem")
    assert "canary" not in json.dumps(status)
    assert status["destinations"]["webhook"]["pending"] == 1


def test_a_monitor_that_cannot_read_a_log_or_is_late_sends_no_heartbeats_so_that_agents_poll(
    audited, client, url, publisher
):
    is_readable = [False]
    sink = publisher(url, logs_readable=lambda: is_readable[0])
    (entry,) = writes(audited, 1)
    sink.tick(entry.access.at)  # The log is not readable.
    is_readable[0] = True
    sink.take([entry])
    sink.tick(entry.access.at + MAX_DELAY + 1)  # It is late.
    arrived(sink, 1)
    assert not client.xlen(HEARTBEAT_STREAM)
    [problem] = sink.status()["problems"]
    assert problem.startswith("changes are published 11 s late: ")
    sink.tick(entry.access.at + MAX_DELAY + 2)  # It has caught up.
    assert sink.status()["problems"] == []
    eventually(lambda: client.xlen(HEARTBEAT_STREAM), "a heartbeat")
    is_readable[0] = False
    sink.tick(entry.access.at + MAX_DELAY + 3)  # The log is not readable any more.
    is_silent(client)


def test_a_monitor_whose_loop_hangs_sends_no_heartbeats_although_its_threads_continue(client, url, publisher):
    publisher(url).tick(0.0)
    eventually(lambda: client.xlen(HEARTBEAT_STREAM), "a heartbeat")
    is_silent(client)


def is_silent(client):
    """Within a few heartbeats."""

    def has_stopped():
        before = client.xrange(HEARTBEAT_STREAM)
        pass_by(1)
        return client.xrange(HEARTBEAT_STREAM) == before

    eventually(has_stopped, "the silence")


@pytest.mark.parametrize(
    "state", [None, [], {}, {"epoch": 1}, {"epoch": "e"}, {"epoch": "e", "destinations": {"redis": {}}}]
)
def test_an_invalid_state_is_rejected(url, publisher, state):
    with pytest.raises(ValueError):  # noqa: PT011  # It has no text.
        publisher(url).restore(state)


def test_agents_at_the_socket_get_every_change_and_one_that_does_not_read_delays_no_other(audited, tmp_path, publisher):
    path = tmp_path / "run" / "events.sock"
    sink = publisher(f"unix://{path}")
    sink.tick(0.0)
    eventually(lambda: sink.status()["destinations"]["socket"]["reachable"], "the socket")
    assert path.stat().st_mode & 0o777 == 0o660
    with socket.socket(socket.AF_UNIX) as stuck, socket.socket(socket.AF_UNIX) as agent:
        stuck.connect(str(path))
        agent.connect(str(path))
        with agent.makefile("rb") as lines:
            assert decode_message(lines.readline()) == Heartbeat()
            (entry,) = writes(audited, 1)
            received, changes = [], 0
            # It reads before more is sent: a client that exceeds the kernel's buffer is disconnected.
            for start in range(0, 4000, 400):
                sink.take([LogEntry("audit", start + number, entry.access) for number in range(1, 401)])
                while changes < start + 400:
                    received.append(decode_message(lines.readline()))
                    assert received[-1] is not None
                    changes += isinstance(received[-1], Change)
            sink.close()
            received += [decode_message(line) for line in lines]
            assert received[-1] == Heartbeat("stopping", 0.2)
            others = [one for one in received[:-1] if not isinstance(one, Change)]
            assert len(received) == 4001 + len(others)
            assert set(others) <= {Heartbeat("alive", 0.2)}
    assert not path.exists()


def test_the_socket_inherits_the_group_of_a_setgid_folder(tmp_path, publisher):
    path, group = tmp_path / "run" / "events.sock", os.getgid() or 65534
    path.parent.mkdir()
    os.chown(path.parent, -1, group)
    path.parent.chmod(0o2750)
    publisher(f"unix://{path}").tick(0.0)
    eventually(path.exists, "the socket")
    assert path.stat().st_gid == group


def test_a_socket_that_cannot_be_created_is_reported_and_created_later(tmp_path, publisher):
    path = tmp_path / "run" / "events.sock"
    path.parent.write_text("a file is in the way")
    sink = publisher(f"unix://{path}")
    sink.tick(0.0)
    eventually(lambda: "cannot listen on" in str(sink.status()["problems"]), "the problem")
    path.parent.unlink()
    eventually(lambda: sink.tick(0.0) or not sink.status()["problems"], "the socket")
    path.unlink()  # Another process removes it.
    eventually(lambda: sink.tick(0.0) or path.exists(), "the socket again")


def test_a_second_monitor_at_the_same_socket_reports_it_and_the_first_continues(audited, tmp_path, publisher):
    path = tmp_path / "events.sock"
    first, second = publisher(f"unix://{path}"), publisher(f"unix://{path}")
    first.tick(0.0)
    eventually(lambda: first.status()["destinations"]["socket"]["reachable"], "the socket")
    with socket.socket(socket.AF_UNIX) as agent, agent.makefile("rb") as lines:
        agent.connect(str(path))
        assert decode_message(lines.readline()) == Heartbeat()
        second.tick(0.0)
        eventually(lambda: "another process listens on this socket" in str(second.status()["problems"]), "the problem")
        first.take(writes(audited, 1, name="still"))
        # Heartbeats precede and follow it.
        assert (
            next(message for message in map(decode_message, lines) if message != Heartbeat("alive", 0.2)).path
            == "published/still"
        )


def test_a_change_with_a_path_that_no_agent_accepts_is_not_published(audited, client, url, publisher):
    sink = publisher(url)
    long, short = writes(audited, 1, name="x" * MAX_MESSAGE_BYTES), writes(audited, 1, first=2)
    sink.take([*long, *short])
    arrived(sink, 1)
    assert [change.path for change in stream(client)] == ["published/one"]
