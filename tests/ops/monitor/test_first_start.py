"""The first start of `lessee monitor` on a log of a year: where it begins, and what it tells of the past."""

import json
import signal
import time
from datetime import UTC, datetime

import pytest

from support.programs.monitor import Audited, Monitor
from support.programs.sidecar import eventually
from support.servers.alert_receivers import Hook

YEAR = 365 * 86400.0
POLICY = {"policy": 'path "secret/data/none" { capabilities = ["read"] }'}
RULES = {"consecutive_denials": 3, "reads_per_hour": 5, "resolve_timeout": "1h"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Audited(tmp_path_factory.mktemp("audited")) as one:
        for number in range(20):
            one.ask("PUT", f"sys/policies/acl/of-the-year-{number}", POLICY)
            one.put(f"year/{number}", password="canary-of-a-year")
            one.ask("GET", f"secret/data/year/{number}")
        one.year = one.audit.read_text().splitlines()
        yield one


@pytest.fixture
def log(server, tmp_path):
    """A log of a year: the entries of the server, spread over the past."""
    lines = server.year
    step, began = YEAR / len(lines), time.time() - YEAR
    path = tmp_path / "audit.log"
    path.write_text("".join(aged(line, began + number * step) for number, line in enumerate(lines)))
    return path


@pytest.fixture
def hook():
    with Hook() as one:
        yield one


@pytest.fixture
def monitor(log, hook, tmp_path, memory):
    """Its configuration says nothing of where it starts."""
    with Monitor(tmp_path / "monitor", memory, {"file": str(log)}, alerts={"webhook": hook.url, **RULES}) as one:
        del one.config["monitor"]["start_at"]
        yield one


def aged(line, at):
    entry = json.loads(line)
    return json.dumps({**entry, "time": rfc3339(at)}, separators=(",", ":")) + "\n"


def rfc3339(at):
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def append(server, log):
    """Let the server write a policy, and append its entries to the log."""
    before = len(server.audit.read_text())
    server.ask("PUT", "sys/policies/acl/of-today", POLICY)
    with log.open("a") as file:
        file.write(server.audit.read_text()[before:])


@pytest.mark.thorough
def test_it_begins_at_the_end_and_says_so(server, log, hook, monitor):
    size = log.stat().st_size
    monitor.start().until(lambda status: status["ready"])
    text = eventually(lambda: "audit log opened at its end" in monitor.log.read_text() and monitor.log.read_text())
    assert f'"skipped_bytes": {size}' in text
    assert "--since" in text
    append(server, log)
    eventually(lambda: "policy-changed" in {alert["rule"] for alert in hook.alerts()}, "the alert of today")
    # A restart continues there, whatever --since says.
    monitor.stop()
    monitor.start("--since", "400d").until(lambda status: status["ready"])
    eventually(lambda: "--since has no effect" in monitor.log.read_text(), "the warning")
    assert monitor.source()["accesses"] == 1
    assert {alert["subject"] for alert in hook.alerts()} == {"sys/policies/acl/of-today", "127.0.0.1"}


@pytest.mark.thorough
def test_with_since_the_past_raises_one_alert_which_is_a_summary(server, log, hook, monitor):
    monitor.start("--since", "400d").until(lambda status: status["ready"])
    eventually(hook.alerts, "the summary")
    monitor.until(lambda status: status["delivery"]["webhook"]["pending"] == 0)
    [alert] = hook.alerts()
    assert (alert["rule"], alert["severity"], alert["state"]) == ("history", "info", "firing")
    for found in ("policy-changed 20 (sys/policies/acl/of-the-year-0, ", " and 17 more)", "root-token "):
        assert found in alert["text"]
    append(server, log)
    eventually(lambda: "policy-changed" in {alert["rule"] for alert in hook.alerts()}, "the alert of today")
    [today] = [alert for alert in hook.alerts() if alert["rule"] == "policy-changed"]
    assert today["subjects"] == ["sys/policies/acl/of-today"]
    assert len({alert["id"] for alert in hook.alerts() if alert["rule"] == "history"}) == 1


def test_since_finds_its_place_in_rotated_files_and_a_restart_keeps_it(log, monitor):
    lines = log.read_text().splitlines(keepends=True)
    parts = [lines[: len(lines) // 3], lines[len(lines) // 3 : 2 * len(lines) // 3], lines[2 * len(lines) // 3 :]]
    for name, part in zip(("audit.log.2", "audit.log.1", "audit.log"), parts, strict=True):
        log.with_name(name).write_text("".join(part))
    moment = time.time() - YEAR / 2
    expected = [
        line
        for line in map(json.loads, lines)
        if line["type"] == "response" and datetime.fromisoformat(line["time"]).timestamp() >= moment
    ]
    monitor.start("--since", rfc3339(moment))
    monitor.until(lambda status: status["sources"] and status["sources"][0]["accesses"] == len(expected))
    assert monitor.source()["lines"] == len(lines) - len(parts[0])
    assert monitor.source()["since"].startswith(rfc3339(moment)[:19])
    monitor.process.send_signal(signal.SIGKILL)
    monitor.process.wait()
    monitor.start().until(lambda status: status["ready"])
    assert monitor.source()["accesses"] == len(expected)


def test_once_tells_what_it_has_read_before_it_exits(hook, monitor):
    monitor.write_config()
    result = monitor.once("--since", "400d")
    assert result.returncode == 0, result.stderr
    assert [alert["rule"] for alert in hook.alerts()] == ["history"]


def test_an_alert_of_the_last_moment_survives_the_stop(server, log, hook, monitor):
    assert monitor.once().returncode == 0
    append(server, log)
    result = monitor.once()
    assert result.returncode == 0, result.stderr
    assert {alert["rule"] for alert in hook.alerts()} == {"policy-changed", "root-token"}


def test_changes_of_the_past_are_not_published(monitor, memory):
    monitor.config["monitor"]["publish"] = f"unix://{memory}/events.sock"
    monitor.start("--since", "400d").until(lambda status: status["accesses"]["total"] > 20)
    [destination] = monitor.status()["destinations"].values()
    assert (destination["published"], destination["pending"]) == (0, 0)


@pytest.mark.parametrize(
    ("since", "problem"),
    [("yesterday", "'yesterday' is no time such as 2026-11-28"), ("2999-01-01", "--since is in the future")],
)
def test_a_time_that_is_none_or_in_the_future_is_refused(monitor, since, problem):
    result = monitor.once("--since", since)
    assert result.returncode == 64
    assert problem in result.stderr
