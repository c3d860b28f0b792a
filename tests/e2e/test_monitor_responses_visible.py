"""What a response cannot do, and what waits for a person, is where people look: status, page, metrics, alerts."""

import json
import re
from html import unescape

import pytest

from e2e.responses import (
    RULE,
    approvals,
    client_of,
    disable,
    hook,
    lessee,
    pending,
    reported,
    responder,
    revoke,
    server,
    texts,
)
from support.programs.responses import DENIED
from support.programs.sidecar import eventually

__all__ = ["approvals", "hook", "responder", "server"]
"""Fixtures."""


def status_of(monitor):
    """The plain status, as a person at a terminal reads it."""
    return lessee(monitor, "status", "--config", "lessee.yaml")[1]


def page_of(monitor):
    return unescape(re.sub(r"<[^>]+>", "", monitor.get("/")[1]))


def failing(monitor):
    found = re.findall(r'lessee_monitor_response_failing\{response="([^"]+)"\} 1\.0', monitor.get("/metrics")[1])
    return sorted(found)


def until_failing(monitor, *names):
    eventually(lambda: failing(monitor) == sorted(names), f"{names} cannot run")


def restricted(server, path):
    """Take one rule out of the monitor's policy."""
    policy = server.ask("GET", "sys/policies/acl/production-monitor")["data"]["policy"]
    lacking = re.sub(rf'(?ms)^path "{re.escape(path)}" \{{.*?^\}}$', "", policy)
    assert lacking != policy
    server.ask("PUT", "sys/policies/acl/production-monitor", {"policy": lacking})


@pytest.mark.thorough
def test_a_right_that_is_missing_is_reported_before_any_alert_and_with_each(server, hook, responder):
    monitor = responder(revoke(), disable())
    monitor.write_login()
    restricted(server, "auth/token/revoke-accessor")
    monitor.write_login = lambda: None
    monitor.start()
    until_failing(monitor, f"revoke-token.{RULE}")
    lacking = "the monitor's login lacks update at auth/token/revoke-accessor"
    reason = f"the response revoke-token.{RULE} cannot run: {lacking}"
    for text in (status_of(monitor), page_of(monitor)):
        assert reason in text
        assert "lessee check --policy --monitor" in text
        assert "$VAULT_TOKEN" not in text
    assert f"  disable-role.{RULE}  Rule: {RULE}  State: ready" in status_of(monitor)
    client = client_of(server, "unpunished")
    client.offend()
    text = reported(hook, "unpunished")
    assert f"revoke-token.{RULE} " in text
    assert "auth/token/revoke-accessor" in text
    assert client.is_alive
    assert "revoke-token token " in re.search(r"unpunished \(.*", status_of(monitor))[0]


def test_a_program_that_is_missing_is_reported_before_any_alert(responder, tmp_path):
    command = {"rule": RULE, "action": "command", "command": [str(tmp_path / "page-oncall")]}
    undo = {"rule": RULE, "action": "command", "name": "undo", "command": ["true"], "undo": ["no-such-program"]}
    monitor = responder(command, undo, {**command, "name": "fine", "command": ["true"]}).start()
    until_failing(monitor, f"command.{RULE}", "undo")
    text = status_of(monitor)
    assert f"{tmp_path}/page-oncall: there is no such program that the monitor may execute" in text
    assert "no-such-program: there is no such program" in text
    assert "the response fine cannot run" not in text


def test_a_login_that_is_missing_is_reported_before_any_alert_with_what_helps(server, hook, responder):
    monitor = responder(revoke())
    del monitor.config["vault"]["auth"]
    monitor.write_login = lambda: None
    monitor.start()
    until_failing(monitor, f"revoke-token.{RULE}")
    text = status_of(monitor)
    assert "there is no token" in text
    assert "let `vault.auth` log in as the AppRole ENVIRONMENT-monitor, which `lessee setup` creates" in text
    assert "set $VAULT_TOKEN" not in text
    client_of(server, "unpunishable").offend()
    assert "there is no token" in reported(hook, "unpunishable")


def test_a_response_that_can_run_again_says_so_at_its_next_success(server, hook, responder):
    monitor = responder(revoke(max_per_hour=9))
    monitor.write_login()
    restricted(server, "auth/token/revoke-accessor")
    write_login, monitor.write_login = monitor.write_login, lambda: None
    monitor.start()
    until_failing(monitor, f"revoke-token.{RULE}")
    write_login()
    client = client_of(server, "again")
    client.offend(DENIED)
    assert "done" in reported(hook, "again")
    assert not client.is_alive
    until_failing(monitor)
    assert "cannot run" not in status_of(monitor)
    assert monitor.status()["problems"] == []


@pytest.mark.thorough
def test_the_receivers_of_an_alert_are_notified_once_that_its_response_failed_later(server, hook, responder, tmp_path):
    """The program ends after the alert was sent: the message that was sent does not say how."""
    script, may_end = tmp_path / "slow", tmp_path / "may-end"
    script.write_text(f"#!/bin/sh\nuntil [ -e {may_end} ]; do sleep 0.1; done\nexit 3\n")
    script.chmod(0o755)
    command = {"rule": RULE, "action": "command", "command": [str(script)], "timeout": "10m"}
    monitor = responder(command).start()
    client_of(server, "slow").offend()
    reported(hook, "slow")
    may_end.touch()
    eventually(lambda: len(texts(hook, "slow")) == 2, "the second message")
    first, second = texts(hook, "slow")
    assert "exited with status 3" not in first
    assert f"{script} exited with status 3" in second
    until_failing(monitor, f"command.{RULE}")


def test_what_waits_for_an_approval_is_the_first_that_people_read(server, responder, approvals):
    monitor = responder(revoke(approval="required"), **approvals).start()
    client_of(server, "asked").offend()
    response, _ = pending(monitor)
    [one] = monitor.status()["responses"]["pending"]
    assert (one["approvers"], one["command"]) == (["alice"], f"lessee monitor approve {response}")
    plain = status_of(monitor)
    assert plain.splitlines()[0].endswith("  1 approval pending")
    at = plain.index("\nPending approvals\n")
    assert at < plain.index("\nAlerts\n")
    line = plain[at:].splitlines()[2]
    assert line.startswith(f"  lessee monitor approve {response}  Until: 20")
    assert "One of: alice  What it would do: revoke-token token " in line
    assert line.endswith(f"Because of: {RULE}: asked")
    text = page_of(monitor)
    assert text.index("Pending approvals") < text.index(f"lessee monitor approve {response}")


def test_an_approval_that_does_not_count_is_shown_to_the_approver(server, responder, approvals, tmp_path):
    monitor = responder(revoke(approval="required"), **approvals).start()
    client = client_of(server, "unsigned")
    client.offend()
    response, _ = pending(monitor)
    file = tmp_path / "approvals" / f"{response}.sig"
    file.write_text("approved, by alice")
    reason = "an approval was rejected: it is no SSH signature"
    eventually(lambda: reason in status_of(monitor), "the reason")
    assert reason in page_of(monitor)
    file.unlink()
    eventually(lambda: "an approval was rejected" not in status_of(monitor), "nothing is rejected")
    assert client.is_alive


def test_a_directory_of_approvals_that_is_missing_is_reported_before_any_alert(responder, approvals, tmp_path):
    (tmp_path / "approvals").rmdir()
    monitor = responder(revoke(approval="required"), **approvals).start()
    until_failing(monitor, f"revoke-token.{RULE}")
    assert f"{tmp_path}/approvals: the monitor's user cannot read approvals there" in status_of(monitor)


def test_the_audit_report_does_not_call_a_dry_run_done(server, hook, responder, tmp_path):
    trail = {"directory": str(tmp_path / "trail"), "key_file": str(tmp_path / "trail.key")}
    monitor = responder(revoke(dry_run=True))
    monitor.config["audit_trail"] = trail
    monitor.start()
    client = client_of(server, "rehearsed")
    client.offend()
    assert "dry run: would revoke-token" in reported(hook, "rehearsed")
    code, output = lessee(
        monitor, "audit", "report", "--from", "2020-01-01", "--to", "2099-01-01", "--offline", "--format", "json"
    )
    found = json.loads(output[output.index("{") :])
    details = {one["detail"] for one in found["actions"] if one["item"].startswith("alert response")}
    assert (code, details) == (0, {"dry run started", "dry run: nothing was changed"})
    assert client.is_alive


@pytest.mark.thorough
@pytest.mark.parametrize("parts", ["responses", "cluster", "both"])
def test_all_parts_of_the_monitor_send_refused_credentials_together_only_seldom(server, responder, parts):
    """OpenBao locks a role after five refusals within fifteen minutes, for all its clients."""
    monitor = responder(revoke())
    monitor.config["monitor"]["cluster"] = {"poll_interval": "1s"}
    if parts == "responses":
        del monitor.config["monitor"]["cluster"]
    if parts == "cluster":
        del monitor.config["monitor"]["responses"]
    monitor.write_login()
    (monitor.disk / "secret_id").write_text("00000000-0000-4000-8000-000000000000")
    monitor.write_login = lambda: None
    before = refused(server)
    monitor.start()
    monitor.until(lambda status: status["problems"])
    for _ in range(3):
        monitor.config["monitor"]["alerts"]["repeat_interval"] = f"{len(monitor.log.read_text())}s"
        monitor.write_config()
        count = monitor.log.read_text().count("configuration reloaded")
        eventually(lambda count=count: monitor.log.read_text().count("configuration reloaded") > count, "a reload")
    monitor.until(lambda status: status["problems"])
    assert refused(server) - before == 1


def refused(server):
    """Refused logins: each has a request and a response in the log, and only the response has the error."""
    lines = map(json.loads, server.audit.read_text().splitlines())
    return sum(
        line["type"] == "response" and line["request"]["path"] == "auth/approle/login" and bool(line.get("error"))
        for line in lines
    )
