"""The monitor's page and `lessee status --watch` with a real audit log: reads, alerts, and no value."""

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from lessee import __version__
from lessee.host.openbao import free_port
from support.programs.browser import BrowserPage, chromium, screenshots
from support.programs.monitor import Audited, Monitor
from support.programs.sidecar import Sidecar, fork_of
from support.programs.terminal import Terminal

CANARY = "canary-of-the-monitors-page"
HOSTILE = "%3Cimg%20src=x%20onerror=alert(1)%3E"
ROWS = "[...document.querySelectorAll('#accesses tbody th')].map(one => one.innerText)"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Audited(tmp_path_factory.mktemp("page")) as one:
        yield one


@pytest.fixture
def monitor(server, tmp_path, memory):
    """It has read a component's access, one of a hostile path, a denial, and the use of a root token."""
    with Monitor(tmp_path / "monitor", memory, {"file": str(server.audit), "name": "vault"}, alerts={}) as one:
        one.port = free_port()
        one.url = f"http://127.0.0.1:{one.port}/"
        one.config |= {
            "environment": "production",
            "status": {"listen": f"127.0.0.1:{one.port}", "allow_unauthenticated": True},
        }
        one.start().until(lambda status: status["ready"])
        role_id, secret_id = server.approle("seen", 'path "secret/data/production/*" { capabilities = ["read"] }')
        login = {"role_id": role_id, "secret_id": secret_id}
        token = server.ask("POST", "auth/approle/login", login, token="")["auth"]["client_token"]
        server.put("production/seen", password=CANARY)
        server.put(f"production/{HOSTILE}", password=CANARY)
        for path in ("production/seen", f"production/{HOSTILE}", "testing/seen"):
            with suppress(RuntimeError):
                server.ask("GET", f"secret/data/{path}", token=token)
        one.secrets = (CANARY, token, secret_id)
        one.until(lambda status: reads(status, "production/seen") and reads(status, "onerror") and firing(status))
        yield one


def reads(status, part):
    return [one for one in status["accesses"]["by_path"] if part in one["path"] and one["component"] == "seen"]


def firing(status):
    return [one for one in status["alerts"] if one["rule"] == "root-token" and one["firing"]]


def test_its_page_lists_the_reads_and_is_accessible(server, monitor, tmp_path):
    with chromium() as browser:
        assert screenshots(browser, monitor.url, tmp_path, "monitor") == []
        page = BrowserPage(browser, monitor.url)
        assert "root-token" in page.page.text_content("#alerts")
        assert "vault" in page.page.text_content("#sources")
        assert any("onerror" in one for one in page.page.evaluate(ROWS))
        assert page.page.locator("#accesses img").count() == 0
        server.put("production/later", password=CANARY)
        server.ask("GET", "secret/data/production/later")
        page.until(f"{ROWS}.some(one => one.includes('production/later'))", "the new row")
        text = page.page.content()
        assert not any(secret in text for secret in monitor.secrets)
        assert page.messages == []
        page.close()


AGENT_POLICY = """
path "secret/*" { capabilities = ["read", "list"] }
path "secret/metadata/testing/lessee/consumers/*" { capabilities = ["create", "update", "delete"] }
"""


@pytest.fixture
def agent(server, tmp_path, memory):
    """It reads a rotated secret, so it reports to the rotator which version it uses."""
    disk, own = tmp_path / "agent-of-the-fleet", memory / "agent"
    disk.mkdir()
    own.mkdir()
    server.put("testing/rotated", password=CANARY, rotation_count=0)
    one = Sidecar(server.address, disk, own)
    one.log_in_by_approle(server, AGENT_POLICY)
    one.template("app.env.j2", 'PASSWORD={{ secret("rotated").password }}\n')
    yield one
    if one.process.poll() is None:
        one.stop()  # It deletes its report, which another test's monitor would find.
    one.close()


QUIET = "production-quiet at 127.0.0.1"


def reporting(fleet):
    """The agents that report to the rotator."""
    return {name: row for name, row in fleet.items() if row["consumers"]}


def settled_fleet_of(monitor):
    """The agents of the monitor's status, once it has read the report of one, and both are fresh.

    Its reads show the agent before its report does, under another name.
    """

    def settled(status):
        fleet = status["fleet"]
        return reporting(fleet) and sorted(one["state"] for one in fleet.values()) == ["fresh", "fresh"]

    return monitor.until(settled)["fleet"]


@pytest.mark.thorough
def test_the_fleet_has_each_agent_that_reports_and_of_a_watched_one_its_status(agent, monitor):
    agent.start()
    agent.until(lambda status: status["apps"]["web"]["state"] == "published")
    [(name, row)] = reporting(settled_fleet_of(monitor)).items()
    assert name == f"testing/{agent.status()['apps']['web']['consumer']}"
    assert (row["apps"], row["environment"], row["component"]) == (["web"], "testing", "agent-of-the-fleet")
    assert (row["address"], row["version"]) == ("127.0.0.1", None)
    monitor.config["monitor"]["watch"] = [{"name": "web-1", "socket": str(agent.socket)}]
    monitor.write_config()
    watched = monitor.until(lambda status: "web-1" in status["fleet"] and len(status["fleet"]) == 2)["fleet"]
    name, row = "web-1", watched["web-1"]
    assert row["last_read"]["path"] == "secret/testing/rotated"
    assert (name, row["version"], row["apps"], row["pending"]) == ("web-1", __version__, ["web"], 0)
    assert row["address"] == str(agent.socket)
    with chromium() as browser:
        page = BrowserPage(browser, monitor.url)
        cells = page.page.locator("#agents tbody tr", has_text="web-1").inner_text()
        assert all(word in cells for word in ("web-1", "fresh", __version__, str(agent.socket)))
        assert CANARY not in page.page.content()
        page.close()


def test_a_restart_of_the_monitor_forgets_no_agent_and_one_that_stops_is_forgotten(agent, monitor):
    agent.start()
    before = settled_fleet_of(monitor)
    monitor.stop()
    monitor.start().until(lambda status: status["ready"])
    assert settled_fleet_of(monitor).keys() == before.keys()
    agent.stop()  # It deletes its report, but has read.
    monitor.until(lambda status: not reporting(status["fleet"]))


@pytest.fixture
def unrotated(server, tmp_path, memory):
    """It reads a secret that no target rotates, so it reports nothing."""
    disk, own = tmp_path / "production-quiet", memory / "quiet"
    disk.mkdir()
    own.mkdir()
    server.put("production/quiet", password=CANARY)
    one = Sidecar(server.address, disk, own, environment="production")
    one.log_in_by_approle(server, 'path "secret/*" { capabilities = ["read", "list"] }')
    one.template("app.env.j2", 'PASSWORD={{ secret("quiet").password }}\n')
    yield one
    one.close()


def quiet(status, version, state):
    row = status["fleet"].get(QUIET)
    wanted = {"path": "secret/production/quiet", "version": version}
    return row if row and (row["last_read"], row["state"]) == (wanted, state) else None


@pytest.mark.thorough
def test_an_agent_that_reports_nothing_is_in_the_fleet_with_its_login_its_reads_and_whether_it_is_fresh(
    server, unrotated, monitor
):
    unrotated.start().until(lambda status: status["apps"]["web"]["state"] == "published")
    version = server.ask("GET", "secret/metadata/production/quiet")["data"]["current_version"]
    row = monitor.until(lambda status: quiet(status, version, "fresh"))["fleet"][QUIET]
    assert (row["environment"], row["component"], row["address"]) == ("production", "production-quiet", "127.0.0.1")
    assert row["logged_in_at"] <= row["last_read_at"] <= row["last_seen_at"]
    assert (row["version"], row["pending"]) == (None, None)
    process = fork_of(unrotated.process)
    os.kill(process, signal.SIGSTOP)
    server.put("production/quiet", password=CANARY)
    row = monitor.until(lambda status: quiet(status, version, "not_fresh"))["fleet"][QUIET]
    [outdated] = row["outdated"]
    assert (outdated["path"], outdated["newest"]) == ("secret/production/quiet", version + 1)
    with chromium() as browser:
        page = BrowserPage(browser, monitor.url)
        cells = page.page.locator("#agents tbody tr", has_text="production-quiet").inner_text()
        assert f"secret/production/quiet at version {version}, the newest is {version + 1}" in cells
        assert CANARY not in page.page.content()
        page.close()
    os.kill(process, signal.SIGCONT)
    monitor.until(lambda status: quiet(status, version + 1, "fresh"))
    # Of a watched agent, its status says more, and it is listed once.
    monitor.config["monitor"]["watch"] = [{"name": "quiet-1", "socket": str(unrotated.socket)}]
    monitor.write_config()
    fleet = monitor.until(lambda status: "quiet-1" in status["fleet"] and QUIET not in status["fleet"])["fleet"]
    assert fleet["quiet-1"]["last_read"] == {"path": "secret/production/quiet", "version": version + 1}
    assert fleet["quiet-1"]["version"] == __version__


def test_the_duration_of_reads_is_a_histogram(monitor):
    metrics = monitor.get("/metrics")[1]
    [count] = re.findall(r'lessee_monitor_read_duration_seconds_count{source="vault"} (\S+)', metrics)
    assert float(count) >= 2
    latency = monitor.status()["read_latency"]["vault"]
    assert 0 < latency["sum"] < 10 * latency["count"]
    assert latency["buckets"][-1][1] <= latency["count"]
    # A restart continues the counts.
    monitor.stop()
    monitor.start()
    monitor.until(lambda status: status["read_latency"].get("vault", {}).get("count", 0) >= latency["count"])


def test_the_status_works_on_a_terminal_and_in_a_pipe(server, monitor):
    environ = {"PATH": "/usr/bin:/bin", "COLUMNS": "160", "LINES": "80", "TERM": "xterm-256color"}
    command = (sys.executable, "-m", "lessee", "status", "--watch")
    terminal = Terminal(*command, cwd=monitor.disk, env=environ)
    try:
        seen = terminal.until("root-token") + terminal.until("Accesses")
        server.put("production/watched", password=CANARY)
        server.ask("GET", "secret/data/production/watched")
        seen += terminal.until("production/watched")
        terminal.type("\x03")
        assert terminal.end(60) == 0
    finally:
        terminal.close()
    assert not any(secret in seen for secret in monitor.secrets)
    done = subprocess.run(command[:-1], cwd=monitor.disk, env=environ, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"lessee monitor ")
    assert b"onerror" in done.stdout
    assert b"\x1b" not in done.stdout
