"""A change event updates an app's file immediately; outages of the monitor and of Redis lose no change."""

import signal
import threading
import time
from contextlib import ExitStack, contextmanager

import pytest
import redis

from lessee.agent.machine.kv.event_source import PATH_BURST, PATH_INTERVAL
from lessee.core.change_events import CHANNEL, HEARTBEAT_STREAM, Change, Heartbeat, decode_message, encode_message
from support.programs.monitor import Audited, Monitor
from support.programs.sidecar import Sidecar, eventually, pass_by
from support.servers.redis_server import Redis

FORKED_AGENTS = True
TEMPLATE = 'VALUE={{{{ secret("{0}/one").value }}}}\n'


@pytest.fixture
def cache(tmp_path):
    with Redis(tmp_path) as server:
        yield server


@pytest.fixture
def client(cache):
    with redis.Redis(port=cache.port, password=cache.password) as client:
        yield client


@pytest.fixture
def url(cache):
    return f"redis://:{cache.password}@127.0.0.1:{cache.port}/0"


@pytest.fixture
def agent(bao, sidecar, folder, url):
    """An agent with one secret that polls once an hour. The fixture `heartbeats` connects its event source."""
    bao.put(f"testing/{folder}/one", value="first")
    sidecar.template("one.env.j2", TEMPLATE.format(folder))
    sidecar.web["refresh_interval"] = "1h"
    sidecar.config["events"] = {"redis": url, "poll_interval": "1h"}
    return sidecar


@pytest.fixture
def heartbeats(agent, cache):
    """Sends heartbeats from the call until the end of the test."""
    with ExitStack() as stack:

        def start():
            stack.enter_context(sending_heartbeats(cache))
            agent.until(is_connected)

        yield start


@pytest.fixture
def audited(tmp_path):
    (tmp_path / "vault").mkdir()
    with Audited(tmp_path / "vault") as bao:
        yield bao


@pytest.fixture
def monitored(audited, tmp_path, memory):
    """An agent and a monitor that publishes all changes to the given destination."""
    started = []

    def start(publish, **events):
        monitor = Monitor(tmp_path / "monitor", memory, {"file": str(audited.audit)}, publish=publish)
        agent = Sidecar(audited.address, tmp_path, memory)
        started.extend((monitor, agent))
        audited.put("testing/events/one", value="first")
        agent.template("one.env.j2", TEMPLATE.format("events"))
        agent.web["refresh_interval"] = "500ms"
        agent.config["events"] = {"poll_interval": "1h", **events}
        monitor.start()
        agent.start()
        agent.until(is_connected)
        return agent, monitor

    yield start
    for program in started:
        program.close()


def is_connected(status):
    return status["events"]["live"]


def is_disconnected(status):
    return not status["events"]["live"]


def change(path, operation="update", environment="testing"):
    return {
        "change": encode_message(Change(environment, "secret", path, 1, operation, "2026-11-28T16:00:00.000+00:00"))
    }


def heartbeat(client, *fields):
    client.xadd(HEARTBEAT_STREAM, {"change": encode_message(Heartbeat(*fields))}, maxlen=1)


@contextmanager
def sending_heartbeats(cache):
    """Send heartbeats in a thread, as a monitor does."""
    done = threading.Event()

    def run():
        with redis.Redis(port=cache.port, password=cache.password) as client:
            while not done.wait(0.2):
                heartbeat(client)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def max_reads(since):
    """The most reads of one path with continuous events, which is also polled twice a second during outages."""
    return PATH_BURST + (time.monotonic() - since) * (1 / PATH_INTERVAL + 2) + 5


def requests(agent):
    return agent.status()["totals"]["requests"]


def until_quiet(agent):
    """Wait until the agent does not poll any more, although its `refresh_interval` is half a second."""

    def quiet():
        before = requests(agent)
        pass_by(1.5)
        return requests(agent) == before

    eventually(quiet, "the slow polling")


def writes_are_in_the_file(audited, agent, name):
    for number in range(3):
        audited.put("testing/events/one", value=f"{name}-{number}")
        agent.until_file("one.env", f"VALUE='{name}-{number}'\n")


def test_a_change_event_updates_the_file_without_polling(bao, agent, heartbeats, folder, client, cache):
    agent.start()
    agent.until(lambda s: any("event source not connected" in line for line in s["problems"]))
    heartbeats()
    status = agent.status()
    assert status["events"] == {"source": f"redis://127.0.0.1:{cache.port}/0", "live": True, "last_at": None}
    assert not status["problems"]
    bao.put(f"testing/{folder}/one", value="second")
    client.xadd(CHANNEL, change(f"{folder}/one"))
    agent.until_file("one.env", "VALUE='second'\n")
    assert agent.status()["events"]["last_at"]
    assert cache.password not in agent.log.read_text()


def test_a_forged_event_causes_one_read_and_other_messages_none(agent, heartbeats, folder, client):
    agent.start()
    heartbeats()
    before = requests(agent)
    client.xadd(CHANNEL, change(f"{folder}/other"))
    client.xadd(CHANNEL, change(f"{folder}/one", environment="production"))
    client.xadd(CHANNEL, {"change": b"\xff{"})
    client.xadd(CHANNEL, {"change": b'{"environment": {}}'})
    client.xadd(CHANNEL, {"nonsense": b"x" * 100_000})
    client.xadd(CHANNEL, {"change": encode_message(Heartbeat("stopping"))})
    client.xadd(CHANNEL, change(f"{folder}/one"))
    eventually(lambda: requests(agent) > before, "the read")
    pass_by(1)
    assert requests(agent) == before + 1
    assert (agent.directory / "one.env").read_text() == "VALUE='first'\n"
    assert agent.status()["apps"]["web"]["generation"] == 1


def test_a_flood_of_forged_events_causes_a_few_reads_a_second(agent, heartbeats, folder, client):
    agent.start()
    heartbeats()
    before, since = requests(agent), time.monotonic()
    with client.pipeline(transaction=False) as many:
        for _ in range(5000):
            many.xadd(CHANNEL, change(f"{folder}/one"), maxlen=10_000)
        many.execute()
    eventually(lambda: requests(agent) > before, "the read")
    pass_by(3)
    assert requests(agent) - before <= max_reads(since)
    assert agent.status()["events"]["live"] in {True, False}  # the agent answers


def test_a_write_updates_the_file_through_the_audit_log(audited, monitored, url, cache):
    agent, monitor = monitored(url, redis=url)
    until_quiet(agent)
    writes_are_in_the_file(audited, agent, "event")
    assert cache.password not in monitor.log.read_text() + agent.log.read_text()
    audited.ask("DELETE", "secret/data/testing/events/one")
    agent.until(lambda s: s["apps"]["web"]["secrets"][0]["error"] == "its latest version is deleted")
    audited.ask("PUT", "secret/undelete/testing/events/one", {"versions": [4]})
    agent.until(lambda s: s["fresh"] and not s["problems"])


@pytest.mark.thorough
def test_a_socket_works_without_redis_and_agents_notice_a_killed_monitor(audited, monitored, memory):
    path = memory / "run" / "events.sock"
    agent, monitor = monitored(f"unix://{path}", socket=str(path))
    until_quiet(agent)
    writes_are_in_the_file(audited, agent, "event")
    monitor.stop(signal.SIGKILL)
    agent.until(is_disconnected)
    writes_are_in_the_file(audited, agent, "polled")
    monitor.start()
    agent.until(is_connected)
    until_quiet(agent)
    writes_are_in_the_file(audited, agent, "event again")


def test_during_an_outage_of_redis_secrets_are_polled(audited, monitored, url, cache):
    agent, _ = monitored(url, redis=url)
    cache.stop()
    agent.until(is_disconnected)
    writes_are_in_the_file(audited, agent, "polled")
    assert any("event source not connected" in line for line in agent.status()["problems"])
    cache.start()
    agent.until(is_connected)
    until_quiet(agent)
    writes_are_in_the_file(audited, agent, "event again")


@pytest.mark.thorough
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_while_the_monitor_is_stopped_secrets_are_polled_and_it_publishes_missed_changes_later(
    audited, monitored, url, client, number
):
    agent, monitor = monitored(url, redis=url)
    monitor.stop(number)
    agent.until(is_disconnected)
    writes_are_in_the_file(audited, agent, "polled")
    monitor.start()
    agent.until(is_connected)
    until_quiet(agent)
    writes_are_in_the_file(audited, agent, "event again")
    eventually(lambda: client.xlen(CHANNEL) >= 7, "all changes")
    versions = [fields for _, fields in client.xrange(CHANNEL) if b"events/one" in fields[b"change"]]
    assert len(versions) == len({fields[b"change"] for fields in versions}) == 7


def test_a_thousand_writes_cause_few_reads_and_the_last_one_is_published(audited, monitored, url):
    agent, _ = monitored(url, redis=url)
    until_quiet(agent)
    before, since = requests(agent), time.monotonic()
    for number in range(1000):
        audited.put("testing/events/one", value=f"burst-{number}")
    agent.until_file("one.env", "VALUE='burst-999'\n")
    assert requests(agent) - before <= max_reads(since)
    assert agent.status()["apps"]["web"]["generation"] <= max_reads(since)


def test_an_app_of_another_vault_is_polled(agent, heartbeats, server, folder, memory):
    server.put(f"testing/{folder}/one", value="elsewhere")
    agent.template("one.env.j2", TEMPLATE.format(folder))
    agent.config["apps"]["other"] = {
        "directory": str(memory / "other"),
        "refresh_interval": "200ms",
        "vault": {"address": server.address},
        "files": [{"template": "one.env.j2", "name": "one.env"}],
    }
    agent.start()
    heartbeats()
    server.put(f"testing/{folder}/one", value="elsewhere too")
    eventually(lambda: "elsewhere too" in (memory / "other" / "one.env").read_text(), "the change")


def test_a_new_secret_in_a_folder_is_published_immediately(bao, agent, heartbeats, folder, client):
    agent.template("all.json.j2", f'{{{{ secrets("{folder}/") | json }}}}\n')
    agent.start()
    heartbeats()
    bao.put(f"testing/{folder}/two", value="new")
    client.xadd(CHANNEL, change(f"{folder}/two", "create"))
    eventually(lambda: '"two"' in (agent.directory / "all.json").read_text(), "the new secret")


def test_a_change_of_events_takes_effect_at_the_next_start_with_a_warning(agent, heartbeats):
    agent.start()
    heartbeats()
    agent.config["events"]["poll_interval"] = "30m"
    agent.write_config()
    agent.until(lambda _: any(e["event"] == "setting not applied" and e["key"] == "events" for e in agent.events()))
    assert is_connected(agent.status())


@pytest.mark.thorough
def test_no_change_is_lost_or_duplicated_when_the_monitor_is_killed_repeatedly(audited, tmp_path, memory, url, client):
    monitor = Monitor(tmp_path / "monitor", memory, {"file": str(audited.audit)}, publish=url)

    def versions():
        changes = [decode_message(fields[b"change"]) for _, fields in client.xrange(CHANNEL)]
        return [change.version for change in changes if change.path == "kills/one"]

    try:
        for kill in range(8):
            monitor.start()
            before = len(versions())
            for number in range(50):
                audited.put("testing/kills/one", value=f"{kill}-{number}")
            eventually(lambda before=before: len(versions()) > before, "a few of them")
            # The monitor has now published changes that it has not saved, or saved changes that it has not published.
            monitor.stop(signal.SIGKILL)
        monitor.start()
        eventually(lambda: len(versions()) >= 400, "all of them")
        monitor.stop()
    finally:
        monitor.close()
    assert versions() == list(range(1, 401))


@pytest.mark.thorough
def test_a_monitor_that_starts_and_stops_repeatedly_is_ignored_for_a_while(agent, client):
    agent.start()
    agent.until(lambda s: s["problems"])

    def start_and_stop():
        heartbeat(client)
        heartbeat(client, "stopping")
        return [e["event"] for e in agent.events()].count("event source available")

    eventually(start_and_stop, "the first time")
    before, since = requests(agent), time.monotonic()
    eventually(lambda: start_and_stop() and time.monotonic() > since + 5, "the time")
    assert start_and_stop() <= 4
    assert [e["event"] for e in agent.events()].count("event source unavailable") <= 6
    assert requests(agent) - before <= 4


@pytest.mark.thorough
def test_a_redis_that_denies_every_request_is_not_polled_continuously(agent, cache, client, url):
    client.acl_setuser("half", enabled=True, passwords=["+half"], keys=["lessee:*"], commands=["+xrevrange", "+select"])
    agent.config["events"]["redis"] = url.replace(f":{cache.password}@", "half:half@")
    agent.start()
    agent.until(lambda s: any("its user lacks permissions" in line for line in s["problems"]))
    before = client.info("stats")["total_connections_received"]
    pass_by(4)
    assert client.info("stats")["total_connections_received"] - before <= 8
