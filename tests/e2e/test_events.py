"""A change is told, and is in the app's file at once; who tells may be gone at any time, and nothing is missed."""

import signal
import threading
import time
from contextlib import ExitStack, contextmanager

import pytest
import redis

from lessee.agent.machine.kv.event_source import AT_ONCE, EVERY
from lessee.core.change_events import CHANNEL, HEARTBEAT, Beat, Change, packed, unpacked
from support.programs.monitor import Audited, Monitor
from support.programs.sidecar import Sidecar, eventually, pass_by
from support.servers.redis_server import Redis

PAGE = 'VALUE={{{{ secret("{0}/one").value }}}}\n'


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
def hears(bao, sidecar, folder, url):
    """An agent of one secret that looks only once an hour, unless it is told; `beats` has it told."""
    bao.put(f"testing/{folder}/one", value="first")
    sidecar.template("one.env.j2", PAGE.format(folder))
    sidecar.web["refresh"] = "1h"
    sidecar.config["events"] = {"redis": url, "poll": "1h"}
    return sidecar


@pytest.fixture
def beats(hears, cache):
    """Has the agent told of changes from the moment it is called until the end of the test."""
    with ExitStack() as stack:

        def start():
            stack.enter_context(beating(cache))
            hears.until(is_live)

        yield start


@pytest.fixture
def audited(tmp_path):
    (tmp_path / "vault").mkdir()
    with Audited(tmp_path / "vault") as bao:
        yield bao


@pytest.fixture
def told(audited, tmp_path, memory):
    """An agent and a monitor, which tells it of all changes at the place that is given."""
    started = []

    def start(publish, **events):
        monitor = Monitor(tmp_path / "monitor", memory, {"file": str(audited.audit)}, publish=publish)
        agent = Sidecar(audited.address, tmp_path, memory)
        started.extend((monitor, agent))
        audited.put("testing/told/one", value="first")
        agent.template("one.env.j2", PAGE.format("told"))
        agent.web["refresh"] = "500ms"
        agent.config["events"] = {"poll": "1h", **events}
        monitor.start()
        agent.start()
        agent.until(is_live)
        return agent, monitor

    yield start
    for one in started:
        one.close()


def is_live(status):
    return status["events"]["live"]


def is_not_live(status):
    return not status["events"]["live"]


def change(path, operation="update", environment="testing"):
    return {"change": packed(Change(environment, "secret", path, 1, operation, "2026-11-28T16:00:00.000+00:00"))}


def beat(client, *said):
    client.xadd(HEARTBEAT, {"change": packed(Beat(*said))}, maxlen=1)


@contextmanager
def beating(cache):
    """Somebody is there all the time, as a monitor is."""
    done = threading.Event()

    def go_on():
        with redis.Redis(port=cache.port, password=cache.password) as client:
            while not done.wait(0.2):
                beat(client)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def most_reads(since):
    """Of one path that is named all the time, and looked at twice a second besides while nobody can tell."""
    return AT_ONCE + (time.monotonic() - since) * (1 / EVERY + 2) + 5


def requests(agent):
    return agent.status()["totals"]["requests"]


def until_quiet(agent):
    """Until it polls no more, though its secrets are to be looked at twice a second."""

    def quiet():
        before = requests(agent)
        pass_by(1.5)
        return requests(agent) == before

    eventually(quiet, "the slow polling", patience=90)


def writes_are_in_the_file(audited, agent, name):
    for number in range(3):
        audited.put("testing/told/one", value=f"{name}-{number}")
        agent.until_file("one.env", f"VALUE='{name}-{number}'\n")


def test_a_change_that_is_told_is_in_the_file_though_nobody_polls(bao, hears, beats, folder, client, cache):
    hears.start()
    hears.until(lambda s: any("changes are not told" in line for line in s["problems"]))
    beats()
    status = hears.status()
    assert status["events"] == {"source": f"redis://127.0.0.1:{cache.port}/0", "live": True, "last_at": None}
    assert not status["problems"]
    bao.put(f"testing/{folder}/one", value="second")
    client.xadd(CHANNEL, change(f"{folder}/one"))
    hears.until_file("one.env", "VALUE='second'\n")
    assert hears.status()["events"]["last_at"]
    assert cache.password not in hears.log.read_text()


def test_a_forged_event_costs_one_read_and_rubbish_and_strangers_paths_none(hears, beats, folder, client):
    hears.start()
    beats()
    before = requests(hears)
    client.xadd(CHANNEL, change(f"{folder}/other"))
    client.xadd(CHANNEL, change(f"{folder}/one", environment="production"))
    client.xadd(CHANNEL, {"change": b"\xff{"})
    client.xadd(CHANNEL, {"change": b'{"environment": {}}'})
    client.xadd(CHANNEL, {"nonsense": b"x" * 100_000})
    client.xadd(CHANNEL, {"change": packed(Beat("leaving"))})
    client.xadd(CHANNEL, change(f"{folder}/one"))
    eventually(lambda: requests(hears) > before, "the read")
    pass_by(1)
    assert requests(hears) == before + 1
    assert (hears.directory / "one.env").read_text() == "VALUE='first'\n"
    assert hears.status()["apps"]["web"]["generation"] == 1


def test_a_flood_of_forged_events_costs_a_few_reads_a_second(hears, beats, folder, client):
    hears.start()
    beats()
    before, since = requests(hears), time.monotonic()
    with client.pipeline(transaction=False) as many:
        for _ in range(5000):
            many.xadd(CHANNEL, change(f"{folder}/one"), maxlen=10_000)
        many.execute()
    eventually(lambda: requests(hears) > before, "the read")
    pass_by(3)
    assert requests(hears) - before <= most_reads(since)
    assert hears.status()["events"]["live"] in {True, False}  # it answers


def test_a_write_is_in_the_file_by_way_of_the_audit_log(audited, told, url, cache):
    agent, monitor = told(url, redis=url)
    until_quiet(agent)
    writes_are_in_the_file(audited, agent, "told")
    assert cache.password not in monitor.log.read_text() + agent.log.read_text()
    audited.ask("DELETE", "secret/data/testing/told/one")
    agent.until(lambda s: s["apps"]["web"]["secrets"][0]["error"] == "its newest version is deleted")
    audited.ask("PUT", "secret/undelete/testing/told/one", {"versions": [4]})
    agent.until(lambda s: s["fresh"] and not s["problems"])


def test_without_any_redis_the_monitor_tells_agents_at_a_socket_and_they_notice_at_once_that_it_is_killed(
    audited, told, memory
):
    path = memory / "run" / "events.sock"
    agent, monitor = told(f"unix://{path}", socket=str(path))
    until_quiet(agent)
    writes_are_in_the_file(audited, agent, "told")
    monitor.stop(signal.SIGKILL)
    agent.until(is_not_live)
    writes_are_in_the_file(audited, agent, "polled")
    monitor.start()
    agent.until(is_live)
    until_quiet(agent)
    writes_are_in_the_file(audited, agent, "told again")


def test_while_redis_is_away_secrets_are_polled_and_afterwards_told_again(audited, told, url, cache):
    agent, _ = told(url, redis=url)
    cache.stop()
    agent.until(is_not_live)
    writes_are_in_the_file(audited, agent, "polled")
    assert any("changes are not told" in line for line in agent.status()["problems"])
    cache.start()
    agent.until(is_live)
    until_quiet(agent)
    writes_are_in_the_file(audited, agent, "told again")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_while_the_monitor_is_gone_secrets_are_polled_and_what_it_missed_it_tells_later(
    audited, told, url, client, number
):
    agent, monitor = told(url, redis=url)
    monitor.stop(number)
    agent.until(is_not_live)
    writes_are_in_the_file(audited, agent, "polled")
    monitor.start()
    agent.until(is_live)
    until_quiet(agent)
    writes_are_in_the_file(audited, agent, "told again")
    eventually(lambda: client.xlen(CHANNEL) >= 7, "all changes")
    versions = [fields for _, fields in client.xrange(CHANNEL) if b"told/one" in fields[b"change"]]
    assert len(versions) == len({fields[b"change"] for fields in versions}) == 7


def test_a_burst_of_a_thousand_writes_is_few_reads_and_ends_with_the_last(audited, told, url):
    agent, _ = told(url, redis=url)
    until_quiet(agent)
    before, since = requests(agent), time.monotonic()
    for number in range(1000):
        audited.put("testing/told/one", value=f"burst-{number}")
    agent.until_file("one.env", "VALUE='burst-999'\n")
    assert requests(agent) - before <= most_reads(since)
    assert agent.status()["apps"]["web"]["generation"] <= most_reads(since)


def test_an_app_of_another_vault_is_polled_as_ever(hears, beats, server, folder, memory):
    server.put(f"testing/{folder}/one", value="elsewhere")
    hears.template("one.env.j2", PAGE.format(folder))
    hears.config["apps"]["other"] = {
        "directory": str(memory / "other"),
        "refresh": "200ms",
        "vault": {"address": server.address},
        "files": [{"template": "one.env.j2", "name": "one.env"}],
    }
    hears.start()
    beats()
    server.put(f"testing/{folder}/one", value="elsewhere too")
    eventually(lambda: "elsewhere too" in (memory / "other" / "one.env").read_text(), "the change")


def test_a_new_secret_of_a_folder_that_is_read_whole_is_there_at_once(bao, hears, beats, folder, client):
    hears.template("all.json.j2", f'{{{{ secrets("{folder}/") | json }}}}\n')
    hears.start()
    beats()
    bao.put(f"testing/{folder}/two", value="new")
    client.xadd(CHANNEL, change(f"{folder}/two", "create"))
    eventually(lambda: '"two"' in (hears.directory / "all.json").read_text(), "the new secret")


def test_an_edit_of_events_takes_effect_at_the_next_start_and_is_told(hears, beats):
    hears.start()
    beats()
    hears.config["events"]["poll"] = "30m"
    hears.write_config()
    hears.until(
        lambda _: any(e["event"] == "takes effect at the next start" and e["key"] == "events" for e in hears.events())
    )
    assert is_live(hears.status())


def test_no_change_is_lost_or_doubled_though_the_monitor_is_killed_again_and_again(
    audited, tmp_path, memory, url, client
):
    monitor = Monitor(tmp_path / "monitor", memory, {"file": str(audited.audit)}, publish=url)

    def versions():
        changes = [unpacked(fields[b"change"]) for _, fields in client.xrange(CHANNEL)]
        return [change.version for change in changes if change.path == "kills/one"]

    try:
        for kill in range(8):
            monitor.start()
            before = len(versions())
            for number in range(50):
                audited.put("testing/kills/one", value=f"{kill}-{number}")
            eventually(lambda before=before: len(versions()) > before, "a few of them")
            # Now what is published has not been saved yet, or what is saved has not been published.
            monitor.stop(signal.SIGKILL)
        monitor.start()
        eventually(lambda: len(versions()) >= 400, "all of them")
        monitor.stop()
    finally:
        monitor.close()
    assert versions() == list(range(1, 401))


def test_who_comes_and_goes_all_the_time_is_soon_not_believed(hears, client):
    hears.start()
    hears.until(lambda s: s["problems"])

    def come_and_go():
        beat(client)
        beat(client, "leaving")
        return [e["event"] for e in hears.events()].count("events are heard")

    eventually(come_and_go, "the first time")
    before, since = requests(hears), time.monotonic()
    eventually(lambda: come_and_go() and time.monotonic() > since + 5, "the time")
    assert come_and_go() <= 4
    assert [e["event"] for e in hears.events()].count("events are not heard") <= 6
    assert requests(hears) - before <= 4


def test_a_redis_that_lets_in_and_answers_nothing_is_not_asked_all_the_time(hears, cache, client, url):
    client.acl_setuser("half", enabled=True, passwords=["+half"], keys=["lessee:*"], commands=["+xrevrange", "+select"])
    hears.config["events"]["redis"] = url.replace(f":{cache.password}@", "half:half@")
    hears.start()
    hears.until(lambda s: any("its user lacks rights" in line for line in s["problems"]))
    before = client.info("stats")["total_connections_received"]
    pass_by(4)
    assert client.info("stats")["total_connections_received"] - before <= 8
