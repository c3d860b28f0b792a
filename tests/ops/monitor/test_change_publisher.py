"""What the audit log of a real server shows to have changed arrives at a real Redis, a webhook, a socket: once."""

import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import redis

from lessee.core.change_events import CHANNEL, HEARTBEAT, LONGEST, Beat, Change, unpacked
from lessee.host.openbao import OpenBao, free_port
from lessee.ops.monitor.change_publisher import LATE, Publishing
from lessee.ops.monitor.delivery_queue import ROOM
from lessee.ops.monitor.policy.access import Line
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
def publishing():
    sinks = []

    def start(*urls, state=None, sees=lambda: True):
        sinks.append(Publishing(urls, ENVIRONMENTS, sees, 0.2))
        if state is not None:
            sinks[-1].restore(json.loads(json.dumps(state)))
        return sinks[-1]

    yield start
    for sink in sinks:
        sink.close()


def lines_of(audited, act, first=1):
    """What `act` leaves in the log of the server, as the monitor reads it."""
    bao, file = audited
    before = file.stat().st_size
    act(bao)
    with file.open("rb") as log:
        log.seek(before)
        found = [access for line in log if (access := decode(line.rstrip(b"\n"), "audit")) is not None]
    return [Line("audit", number, access) for number, access in enumerate(found, first)]


def writes(audited, count, first=1, name="one"):
    def act(bao):
        for number in range(count):
            bao.put(f"testing/published/{name}", value=f"canary-{number}")

    return lines_of(audited, act, first)


def stream(client):
    return [unpacked(fields[b"change"]) for _, fields in client.xrange(CHANNEL)]


def arrived(sink, count, place="redis"):
    eventually(lambda: sink.status()["publishing"][place]["published"] >= count, f"{count} changes")


def test_a_write_is_published_to_who_listens_and_to_who_comes_later_without_its_value(audited, client, url, publishing):
    sink = publishing(url)
    with client.pubsub(ignore_subscribe_messages=True) as heard:
        heard.subscribe(CHANNEL)
        eventually(lambda: client.pubsub_numsub(CHANNEL)[0][1], "the subscription")
        sink.take(writes(audited, 1))
        message = eventually(lambda: heard.get_message(timeout=1), "the message")
    arrived(sink, 1)
    (change,) = stream(client)
    assert (change.environment, change.mount, change.path) == ("testing", "secret", "published/one")
    assert change.version == audited[0].ask("GET", "secret/metadata/testing/published/one")["data"]["current_version"]
    assert unpacked(message["data"]) == change
    assert b"canary" not in message["data"]
    assert sink.status()["publishing"]["redis"] == {
        "reachable": True, "published": 1, "waiting": 0, "lost": 0, "error": None
    }  # fmt: skip


def test_each_way_to_change_a_secret_a_role_or_a_policy_is_told_by_a_real_server(audited, client, url, publishing):
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
            bao.ask("POST", "secret/data/testing/ways/a", {"data": {}}, token="nobody")
        with pytest.raises(RuntimeError, match="400"):
            bao.ask("POST", "secret/data/testing/ways/a", {"options": {"cas": 9}, "data": {}})

    sink = publishing(url)
    sink.take(lines_of(audited, act))
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


def test_while_redis_is_away_changes_are_kept_and_then_published_in_order(audited, cache, client, url, publishing):
    sink = publishing(url)
    sink.take(writes(audited, 2))
    arrived(sink, 2)
    cache.stop()
    more = writes(audited, 3, first=3)
    sink.take(more)
    status = eventually(lambda: (s := sink.status())["problems"] and s, "the problem")
    assert status["publishing"]["redis"]["waiting"] == 3
    assert not status["publishing"]["redis"]["reachable"]
    assert cache.password not in json.dumps(status)
    cache.start()
    arrived(sink, 5)
    assert [change.version for change in stream(client)] == [line.access.version for line in more]
    assert sink.status()["problems"] == []


def test_what_was_kept_outlives_the_monitor(audited, cache, client, url, publishing):
    cache.stop()
    first = publishing(url)
    first.take(writes(audited, 3))
    state = first.state()
    cache.start()
    second = publishing(url, state=state)
    second.tick(0.0)
    arrived(second, 3)
    assert len({change.version for change in stream(client)}) == 3


def test_lines_that_are_read_again_after_a_kill_are_not_published_again(audited, client, url, publishing):
    first = publishing(url)
    kept = first.state()  # older than what is published now
    lines = writes(audited, 5)
    first.take(lines)
    arrived(first, 5)
    second = publishing(url, state=kept)
    more = writes(audited, 1, first=6)
    second.take([*lines[1:], *more])
    arrived(second, 5)
    assert [change.version for change in stream(client)] == [line.access.version for line in [*lines, *more]]


def test_who_counts_the_lines_anew_is_not_taken_for_one_who_reads_them_again(audited, client, url, publishing):
    first = publishing(url)
    first.take(writes(audited, 3))
    arrived(first, 3)
    second = publishing(url)
    second.take(writes(audited, 1))
    arrived(second, 1)
    assert len(stream(client)) == 4


def test_more_than_there_is_room_for_loses_the_oldest_and_says_so(audited, cache, url, publishing):
    cache.stop()
    sink = publishing(url)
    (line,) = writes(audited, 1)
    for start in range(0, ROOM + 100, 100):
        sink.take([Line("audit", start + number, line.access) for number in range(1, 101)])
    said = sink.status()["publishing"]["redis"]
    assert (said["waiting"], said["lost"]) == (ROOM, 100)
    assert sink.state()["places"]["redis"]["parcels"][-1]["number"] == ROOM + 100


def test_where_changes_are_lost_agents_hear_that_nobody_is_there_so_that_they_look_at_all(
    audited, cache, client, url, publishing
):
    cache.stop()
    sink = publishing(url)
    (line,) = writes(audited, 1)
    sink.take([Line("audit", number, line.access) for number in range(1, ROOM + 2)])
    cache.start()
    arrived(sink, ROOM)

    def told(now):
        sink.tick(now)
        return eventually(lambda: client.xrange(HEARTBEAT), "a heartbeat")[0]

    with ThreadPoolExecutor(1) as pool:
        # The next takes the place of the first soon: who waits already gets that one.
        reading = pool.submit(client.xread, {HEARTBEAT: 0}, block=30_000)
        eventually(lambda: client.info("clients")["blocked_clients"], "the reader")
        sink.tick(line.access.at)
        [[_, [(first, fields), *_]]] = reading.result()
    assert unpacked(fields[b"change"]) == Beat("leaving", 0.2)
    eventually(lambda: told(line.access.at)[0] != first, "another")
    assert unpacked(told(line.access.at)[1][b"change"]) == Beat("here", 0.2)


def test_redis_hears_again_and_again_that_the_monitor_is_there_and_when_it_leaves(client, url, publishing):
    sink = publishing(url)
    sink.tick(0.0)
    first = eventually(lambda: client.xrange(HEARTBEAT), "a heartbeat")
    eventually(lambda: client.xrange(HEARTBEAT) != first, "another")
    sink.close()
    assert client.xlen(HEARTBEAT) == 1
    ((_, fields),) = client.xrange(HEARTBEAT)
    assert unpacked(fields[b"change"]) == Beat("leaving", 0.2)


class Hook(BaseHTTPRequestHandler):
    """Takes what is posted, and answers as it is told."""

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


def test_a_webhook_gets_each_change_in_order_again_after_a_failure_and_what_it_refuses_is_lost(
    audited, hook, publishing
):
    url = f"http://127.0.0.1:{hook.server_port}/canary-path?token=canary-token"
    sink = publishing(url)
    hook.answers += [204, 503, 429, 204, 400]
    lines = writes(audited, 4)
    sink.take(lines)
    sink.tick(0.0)
    arrived(sink, 3, "webhook")
    versions = [(unpacked(body).version, answer) for _, _, body, answer in hook.posted]
    one, two, three, four = (line.access.version for line in lines)
    assert versions == [(one, 204), (two, 503), (two, 429), (two, 204), (three, 400), (four, 204)]
    assert {(path, kind) for path, kind, *_ in hook.posted} == {("/canary-path?token=canary-token", "application/json")}
    said = sink.status()
    assert said["publishing"]["webhook"]["lost"] == 1
    assert "canary" not in json.dumps(said)


def test_a_webhook_that_is_away_is_told_of_without_its_secret_path(audited, publishing):
    sink = publishing(f"http://127.0.0.1:{free_port()}/canary-path")
    sink.take(writes(audited, 1))
    said = eventually(lambda: (s := sink.status())["problems"] and s, "the problem")
    assert "canary" not in json.dumps(said)
    assert said["publishing"]["webhook"]["waiting"] == 1


def test_a_monitor_that_sees_nothing_or_is_behind_is_silent_so_that_agents_poll(audited, client, url, publishing):
    sees = [False]
    sink = publishing(url, sees=lambda: sees[0])
    (line,) = writes(audited, 1)
    sink.tick(line.access.at)  # it sees nothing
    sees[0] = True
    sink.take([line])
    sink.tick(line.access.at + LATE + 1)  # it is behind
    arrived(sink, 1)
    assert not client.xlen(HEARTBEAT)
    [problem] = sink.status()["problems"]
    assert problem.startswith("changes are published 11 s late, agents poll meanwhile: ")
    sink.tick(line.access.at + LATE + 2)  # it has come to the end
    assert sink.status()["problems"] == []
    eventually(lambda: client.xlen(HEARTBEAT), "a heartbeat")
    sees[0] = False
    sink.tick(line.access.at + LATE + 3)  # it sees no more
    is_silent(client)


def test_a_monitor_that_says_nothing_more_of_itself_is_silent_though_its_threads_go_on(client, url, publishing):
    publishing(url).tick(0.0)
    eventually(lambda: client.xlen(HEARTBEAT), "a heartbeat")
    is_silent(client)


def is_silent(client):
    """Within a few heartbeats."""

    def has_stopped():
        before = client.xrange(HEARTBEAT)
        pass_by(1)
        return client.xrange(HEARTBEAT) == before

    eventually(has_stopped, "the silence")


@pytest.mark.parametrize("state", [None, [], {}, {"epoch": 1}, {"epoch": "e"}, {"epoch": "e", "places": {"redis": {}}}])
def test_a_state_that_makes_no_sense_is_refused(url, publishing, state):
    with pytest.raises(ValueError):  # noqa: PT011  # It has no text.
        publishing(url).restore(state)


def test_agents_at_the_socket_hear_all_and_one_who_takes_nothing_holds_nobody_up(audited, tmp_path, publishing):
    path = tmp_path / "run" / "events.sock"
    sink = publishing(f"unix://{path}")
    sink.tick(0.0)
    eventually(lambda: sink.status()["publishing"]["socket"]["reachable"], "the socket")
    assert path.stat().st_mode & 0o777 == 0o660
    with socket.socket(socket.AF_UNIX) as deaf, socket.socket(socket.AF_UNIX) as hears:
        deaf.connect(str(path))
        hears.connect(str(path))
        with hears.makefile("rb") as lines:
            assert unpacked(lines.readline()) == Beat()
            (line,) = writes(audited, 1)
            said, changes = [], 0
            # It has read before more comes: who leaves more than the kernel holds is hung up on.
            for start in range(0, 4000, 400):
                sink.take([Line("audit", start + number, line.access) for number in range(1, 401)])
                while changes < start + 400:
                    said.append(unpacked(lines.readline()))
                    assert said[-1] is not None
                    changes += isinstance(said[-1], Change)
            sink.close()
            said += [unpacked(line) for line in lines]
            assert said[-1] == Beat("leaving", 0.2)
            others = [one for one in said[:-1] if not isinstance(one, Change)]
            assert len(said) == 4001 + len(others)
            assert set(others) <= {Beat("here", 0.2)}
    assert not path.exists()


def test_the_socket_takes_its_group_from_a_folder_that_hands_its_own_on(tmp_path, publishing):
    path, group = tmp_path / "run" / "events.sock", os.getgid() or 65534
    path.parent.mkdir()
    os.chown(path.parent, -1, group)
    path.parent.chmod(0o2750)
    publishing(f"unix://{path}").tick(0.0)
    eventually(path.exists, "the socket")
    assert path.stat().st_gid == group


def test_a_socket_that_cannot_be_made_is_told_of_and_made_once_it_can_be(tmp_path, publishing):
    path = tmp_path / "run" / "events.sock"
    path.parent.write_text("a file is in the way")
    sink = publishing(f"unix://{path}")
    sink.tick(0.0)
    eventually(lambda: "cannot be made" in str(sink.status()["problems"]), "the problem")
    path.parent.unlink()
    eventually(lambda: sink.tick(0.0) or not sink.status()["problems"], "the socket")
    path.unlink()  # somebody tidies up
    eventually(lambda: sink.tick(0.0) or path.exists(), "the socket again")


def test_a_second_monitor_at_the_same_socket_is_told_so_and_the_first_goes_on(audited, tmp_path, publishing):
    path = tmp_path / "events.sock"
    first, second = publishing(f"unix://{path}"), publishing(f"unix://{path}")
    first.tick(0.0)
    eventually(lambda: first.status()["publishing"]["socket"]["reachable"], "the socket")
    with socket.socket(socket.AF_UNIX) as hears, hears.makefile("rb") as lines:
        hears.connect(str(path))
        assert unpacked(lines.readline()) == Beat()
        second.tick(0.0)
        eventually(lambda: "another one listens there" in str(second.status()["problems"]), "the problem")
        first.take(writes(audited, 1, name="still"))
        # Heartbeats come before and after it.
        assert next(said for said in map(unpacked, lines) if said != Beat("here", 0.2)).path == "published/still"


def test_a_path_longer_than_any_agent_takes_is_told_to_none(audited, client, url, publishing):
    sink = publishing(url)
    long, short = writes(audited, 1, name="x" * LONGEST), writes(audited, 1, first=2)
    sink.take([*long, *short])
    arrived(sink, 1)
    assert [change.path for change in stream(client)] == ["published/one"]
