"""`lessee monitor` acts on alerts within a budget, on what a token did itself, and tells what it did."""

import json
import re
import signal
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

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
from lessee.host.openbao import ROOT_TOKEN
from support.programs.responses import DENIED, READER, SECRET, Client
from support.programs.sidecar import eventually
from support.thorough import THOROUGH

__all__ = ["approvals", "hook", "responder", "server"]
"""Fixtures."""
CREATOR = 'path "auth/token/create" { capabilities = ["update"] }'
ADMIN = 'path "sys/policies/acl/*" { capabilities = ["create", "read", "update"] }'


def test_the_token_that_did_it_is_revoked_and_the_alert_says_so(server, hook, responder):
    offender, innocent = client_of(server, "offender"), client_of(server, "innocent")
    monitor = responder(revoke()).start()
    innocent.offend(DENIED - 1)
    offender.offend()
    text = reported(hook, "offender")
    assert "revoke-token token " in text
    assert "(offender): done; cannot be undone: a client that may still log in gets a new token" in text
    assert (offender.is_alive, innocent.is_alive) == (False, True)
    [done] = monitor.recent()
    assert (done["event"], done["action"], done["subject"]) == ("done", "revoke-token", "offender")
    [alert] = [one for one in monitor.status()["alerts"] if one["subject"] == "offender"]
    assert alert["firing"]
    code, output = lessee(monitor, "monitor", "--config", "lessee.yaml", "undo", done["id"], "--yes")
    assert code == 64
    assert "cannot be undone" in output


@pytest.mark.thorough
def test_without_a_budget_left_nothing_is_struck_in_a_storm_of_denials(server, responder):
    """Also not by a monitor that is killed again and again in the storm, which is of ten thousand with THOROUGH=yes."""
    server.approle("storm", READER)
    clients = [client_of(server, f"storm-{number}") for number in range(100)]
    monitor = responder(revoke(max_per_hour=3)).start()

    def storm(client):
        for _ in range(10 if THOROUGH else 2):
            client.offend(10)

    with ThreadPoolExecutor(20) as pool:
        done = [pool.submit(storm, client) for client in clients]
        for _ in range(4):
            eventually(lambda: monitor.status()["responses"]["budgets"]["revoke-token." + RULE]["used"], "a response")
            monitor.process.send_signal(signal.SIGKILL)
            monitor.process.wait()
            monitor.start()
        for one in done:
            one.result()
    eventually(lambda: monitor.source()["lag_bytes"] == 0, "the end of the log")
    eventually(lambda: "is used up" in json.dumps(monitor.status()["alerts"]), "the rest is refused")
    assert len(monitor.counted()) == 3
    assert sum(not client.is_alive for client in clients) == 3
    assert len({one["accessor"] for one in monitor.counted()}) == 3


def test_a_forged_name_strikes_only_the_token_that_bears_it(server, hook, responder):
    victim = client_of(server, "victim")
    attacker = client_of(server, "attacker", READER + CREATOR)
    forged = {"meta": {"role_name": "victim"}, "display_name": "victim", "policies": ["attacker"]}
    forger = Client(
        server, token=server.ask("POST", "auth/token/create", forged, token=attacker.token)["auth"]["client_token"]
    )
    monitor = responder(revoke(max_per_hour=9), disable(max_per_hour=9)).start()
    victim.offend(DENIED - 1)
    server.ask("GET", SECRET, token=victim.token)
    forger.offend()
    text = reported(hook, "victim")
    assert "(auth/token/create): done" in text
    assert "has no AppRole of auth/approle: it was created at auth/token/create" in text
    assert (victim.is_alive, attacker.is_alive, forger.is_alive) == (True, True, False)
    assert client_of(server, "victim").is_alive
    assert [one["action"] for one in monitor.recent()] == ["revoke-token"]


def test_the_protected_are_never_struck(server, hook, responder):
    clients = {
        "production-rotator": client_of(server, "production-rotator"),
        "testing-monitor": client_of(server, "testing-monitor"),
        "ci-deploy": client_of(server, "ci-deploy"),
        "admin": client_of(server, "admin", READER + ADMIN),
    }
    monitor = responder(revoke(max_per_hour=9), disable(max_per_hour=9), protected=["CI-*"]).start()
    for client in clients.values():
        client.offend()
    for name in ("production-rotator", "testing-monitor", "ci-deploy"):
        eventually(lambda name=name: f"{name} is protected" in json.dumps(monitor.status()["alerts"]), name)
    administrator = "it may write policies, as an administrator may"
    eventually(lambda: administrator in json.dumps(monitor.status()["alerts"]), "admin")
    assert "is protected" in reported(hook, "production-rotator")
    assert all(client.is_alive for client in clients.values())
    assert all(client_of(server, name).is_alive for name in clients if name != "admin")
    assert monitor.recent() == []


def test_the_server_itself_keeps_the_monitor_from_more_than_its_responses(server, responder):
    monitor = responder(disable(), protected=["operators"]).start()
    for name in ("operators", "production-rotator", "some"):
        server.approle(name, READER)
    login = Client(server, [(monitor.disk / name).read_text() for name in ("role_id", "secret_id")])

    def may(method, path, body=None):
        try:
            server.ask(method, path, body, token=login.token)
        except RuntimeError:
            return False
        return True

    network = {"secret_id_bound_cidrs": "255.255.255.255/32"}
    assert not may("POST", "auth/approle/role/operators/secret-id-bound-cidrs", network)
    assert not may("POST", "auth/approle/role/production-rotator/secret-id-bound-cidrs", network)
    assert not may("POST", "auth/approle/role/some/secret-id-bound-cidrs", {"secret_id_bound_cidrs": "0.0.0.0/0"})
    assert not may("DELETE", "auth/approle/role/some/secret-id-bound-cidrs")
    assert not may("POST", "auth/approle/role/some", {"token_policies": ["root"]})
    assert not may("POST", "auth/token/revoke-accessor", {"accessor": "none"})
    assert may("POST", "auth/approle/role/some/secret-id-bound-cidrs", network)


def test_a_dry_run_says_what_it_would_do_and_changes_nothing(server, hook, responder):
    client = client_of(server, "dry")
    monitor = responder(revoke(dry_run=True), disable(dry_run=True)).start()
    client.offend()
    text = reported(hook, "dry")
    assert "dry run: would revoke-token token " in text
    assert "dry run: would disable-role dry" in text
    assert client.is_alive
    assert client_of(server, "dry").is_alive
    [first, _] = monitor.recent()
    assert (first["dry_run"], first["event"]) == (True, "done")


def test_a_disabled_role_gets_no_new_token_until_it_is_undone(server, hook, responder):
    login = server.approle("disabled", READER, secret_id_bound_cidrs=["127.0.0.0/8", "10.0.0.0/8"])
    client = Client(server, login)
    monitor = responder(disable()).start()
    client.offend()
    text = reported(hook, "disabled")
    response = re.search(r"undo: lessee monitor undo (r\w+)", text)[1]
    assert "disable-role disabled: done, tokens that it has are still valid" in text
    assert client.is_alive
    with pytest.raises(RuntimeError, match=r"400|403"):
        Client(server, login)
    undo = ("monitor", "--config", "lessee.yaml", "undo", response)
    assert lessee(monitor, *undo, token=ROOT_TOKEN)[0] == 64  # It asks first.
    code, output = lessee(monitor, *undo, "--yes", token=ROOT_TOKEN)
    assert (code, output) == (0, "undone: let disabled log in from 127.0.0.0/8, 10.0.0.0/8\n")
    assert Client(server, login).is_alive
    role = server.ask("GET", "auth/approle/role/disabled")["data"]
    assert role["secret_id_bound_cidrs"] == ["127.0.0.0/8", "10.0.0.0/8"]
    eventually(lambda: [one["event"] for one in monitor.recent()] == ["undone"], "the status says so")
    code, output = lessee(monitor, *undo, "--yes", token=ROOT_TOKEN)
    assert code == 64
    assert "changed nothing that is left to undo" in output


def test_undo_leaves_a_role_that_a_person_changed_since(server, hook, responder):
    client = client_of(server, "changed")
    monitor = responder(disable()).start()
    client.offend()
    response = re.search(r"undo: lessee monitor undo (r\w+)", reported(hook, "changed"))[1]
    server.ask("POST", "auth/approle/role/changed/secret-id-bound-cidrs", {"secret_id_bound_cidrs": "10.0.0.0/8"})
    code, output = lessee(monitor, "monitor", "undo", response, "--yes", token=ROOT_TOKEN)
    assert code == 75
    assert "is not disabled any more, so nothing was changed" in output


def test_undo_writes_only_what_the_response_wrote_whatever_the_monitors_user_put_into_its_log(server, responder):
    monitor = responder(disable()).start()
    server.approle("bounded", READER, secret_id_bound_cidrs=["10.0.0.0/8"])
    forged = {
        "at": 1.0, "event": "done", "response": "x", "action": "disable-role", "rule": "r", "subject": "s",
        "alert_at": 1.0, "undoable": True, "previous": ["0.0.0.0/0"],
    }  # fmt: skip
    lines = [forged | {"id": "r1", "role": "bounded"}, forged | {"id": "r2", "role": "../../../sys/policies/acl/x"}]
    lines.append(forged | {"id": "r3", "action": "command", "target": "touch /tmp/x"})
    lines.append(forged | {"id": "r4", "role": "bounded", "previous": ["0.0.0.0/0\r", "from 10.0.0.0/8"]})
    with (monitor.state / "responses.jsonl").open("a") as file:
        file.writelines(f"{json.dumps(line)}\n" for line in lines)
    found = [lessee(monitor, "monitor", "undo", name, "--yes", token=ROOT_TOKEN) for name in ("r1", "r2", "r3", "r4")]
    assert [code for code, _ in found] == [75, 64, 64, 64]
    assert "is not disabled any more" in found[0][1]
    assert "names no role" in found[1][1]
    assert "the response x has no `undo`" in found[2][1]
    assert "r4 names no networks" in found[3][1]
    assert server.ask("GET", "auth/approle/role/bounded")["data"]["secret_id_bound_cidrs"] == ["10.0.0.0/8"]


def test_what_the_log_says_of_the_past_strikes_nothing(server, hook, responder):
    client = client_of(server, "past")
    client.offend(20)
    monitor = responder(revoke())
    monitor.config["monitor"]["start_at"] = "beginning"
    old = server.audit.with_name("old.log")
    lines = server.audit.read_text().splitlines()
    aged = [re.sub(r'"time":"2\d{3}-', '"time":"2020-', line) for line in lines if '"past"' in line]
    old.write_text("\n".join(aged) + "\n")
    monitor.config["monitor"]["audit"]["file"] = str(old)
    monitor.start()
    # A message follows its response.
    eventually(lambda: hook.requests, "a message about the past")
    assert ": done" not in json.dumps([one["text"] for one in hook.alerts()])
    assert client.is_alive
    assert monitor.recent() == []


def test_a_single_pass_is_refused_because_nothing_would_respond(responder):
    result = responder(revoke()).once()
    assert result.returncode == 64
    assert "--once ends before a response could run" in result.stderr


@pytest.mark.thorough
def test_a_command_gets_the_alert_and_no_credential_and_is_undone_by_its_own(server, hook, responder, tmp_path):
    file, undone = tmp_path / "ran", tmp_path / "undone"
    command = ["sh", "-c", f"env | sort > {file}; echo $# >> {file}", "sh", "; touch /tmp/x"]
    monitor = responder(
        {"rule": RULE, "action": "command", "command": command, "undo": ["touch", str(undone)], "max_per_hour": 2}
    )
    monitor.config["monitor"]["alerts"]["resolve_timeout"] = "0s"
    monitor.start()
    client_of(server, "commanded").offend()
    text = reported(hook, "commanded")
    environ = file.read_text()
    assert (
        f"LESSEE_ALERT_RULE={RULE}\nLESSEE_ALERT_SUBJECT=commanded\nLESSEE_ALERT_TEXT=commanded: 3 denials" in environ
    )
    assert "VAULT" not in environ
    response = re.search(r"undo: lessee monitor undo (r\w+)", text)[1]
    assert lessee(monitor, "monitor", "undo", response, "--yes")[0] == 0
    assert undone.exists()
    until_resolved(monitor)
    client_of(server, "other").offend()
    assert "done" in reported(hook, "other")
    until_resolved(monitor)
    client_of(server, "third").offend()
    assert "did not run: its budget of 2 an hour is used up" in reported(hook, "third")
    assert len(monitor.counted()) == 2


def until_resolved(monitor):
    eventually(lambda: not any(one["firing"] for one in monitor.status()["alerts"]), "the end of the alert")


@pytest.mark.thorough
def test_an_alert_that_lasts_causes_a_command_once_also_after_a_kill(server, hook, responder, tmp_path):
    file = tmp_path / "ran"
    command = ["sh", "-c", f"echo >> {file}"]
    monitor = responder({"rule": RULE, "action": "command", "command": command, "max_per_hour": 9}).start()
    client_of(server, "lasting").offend()
    assert "done" in reported(hook, "lasting")
    for _ in range(2):
        monitor.process.send_signal(signal.SIGKILL)
        monitor.process.wait()
        monitor.start()
        [before] = monitor.status()["alerts"]
        client_of(server, "lasting").offend()
        eventually(lambda before=before: monitor.status()["alerts"][0]["count"] > before["count"], "the alert lasts")
        later = monitor.status()["responses"]["recent"]
        assert [one["event"] for one in later] == ["done"]
    assert file.read_text() == "\n"


def test_a_log_of_responses_that_was_changed_stops_them_but_not_the_alerts(server, hook, responder):
    client = client_of(server, "torn")
    monitor = responder(revoke())
    monitor.state.mkdir(mode=0o700)
    (monitor.state / "responses.jsonl").write_text('{"at": 1}\n')
    monitor.start()
    client.offend()
    assert "no response: " in reported(hook, "torn")
    assert client.is_alive
    [problem] = [one for one in monitor.status()["problems"] if one.startswith("nothing responds to alerts")]
    assert "responses.jsonl:1: this is no record of a response" in problem


@pytest.mark.thorough
@pytest.mark.parametrize("mode", [0o660, 0o602])
def test_a_log_into_which_another_user_may_write_strikes_nothing(server, hook, responder, mode):
    client = client_of(server, f"forgeable-{mode}")
    responder(revoke()).start()
    before = server.audit.stat().st_mode
    server.audit.chmod(mode)
    try:
        client.offend()
        text = reported(hook, f"forgeable-{mode}")
    finally:
        server.audit.chmod(before)
    assert "no response: " in text
    assert "other users may write the audit log, and forge lines" in text
    assert client.is_alive


def test_a_log_that_another_user_could_replace_strikes_nothing(server, hook, responder, tmp_path):
    client = client_of(server, "replaceable")
    monitor = responder(revoke())
    place = tmp_path / "shared"
    place.mkdir()
    place.chmod(0o777)
    (place / "audit.log").hardlink_to(server.audit)
    monitor.config["monitor"]["audit"]["file"] = str(place / "audit.log")
    monitor.start()
    client.offend()
    assert "another user could replace it: every user may write into" in reported(hook, "replaceable")
    assert client.is_alive


def test_each_response_is_in_the_audit_trail_before_and_after(server, hook, responder, tmp_path):
    client = client_of(server, "trailed")
    trail = {"directory": str(tmp_path / "trail"), "key_file": str(tmp_path / "trail.key"), "required": True}
    monitor = responder(revoke())
    monitor.config["audit_trail"] = trail
    monitor.start()
    client.offend()
    assert "(trailed): done" in reported(hook, "trailed")
    lines = [
        json.loads(line) for file in (tmp_path / "trail").glob("*.jsonl") for line in file.read_text().splitlines()
    ]
    actions = [one["action"] for one in lines if one["action"]["name"] == "alert response"]
    assert [one["outcome"] for one in actions] == ["started", "done"]
    assert {one["actor"]["kind"] for one in actions} == {"monitor"}
    assert (actions[0]["subject"]["rule"], actions[0]["subject"]["subject"]) == (RULE, "trailed")
    assert lessee(monitor, "audit", "verify")[0] == 0


def test_a_required_audit_trail_that_cannot_be_written_stops_the_response(server, hook, responder, tmp_path):
    client = client_of(server, "untrailed")
    (tmp_path / "trail").write_text("no directory")
    monitor = responder(revoke())
    monitor.config["audit_trail"] = {
        "directory": str(tmp_path / "trail"), "key_file": str(tmp_path / "trail.key"), "required": True,
    }  # fmt: skip
    monitor.start()
    client.offend()
    assert "failed: " in reported(hook, "untrailed")
    assert client.is_alive


@pytest.mark.thorough
def test_a_response_waits_for_the_signature_of_an_approver(server, hook, responder, approvals, tmp_path):
    client = client_of(server, "waiting")
    monitor = responder(revoke(approval="required"), **approvals).start()
    client.offend()
    response, request = pending(monitor)
    assert f"waits for approval: lessee monitor approve {response}" in reported(hook, "waiting")
    approve = ("monitor", "--config", "lessee.yaml", "approve", response, "--yes", "--key-file")
    code, output = lessee(monitor, *approve, str(tmp_path / "mallory"))
    assert code == 64
    assert "its key is not one of `approvers`" in output
    # A signature of another text, and of a stranger, count for nothing, also after a kill.
    text = tmp_path / "request"
    for key, content in (("alice", request.replace("waiting", "another")), ("mallory", request)):
        text.write_text(content)
        (tmp_path / "request.sig").unlink(missing_ok=True)
        subprocess.run(
            ["ssh-keygen", "-q", "-Y", "sign", "-n", "lessee-response", "-f", tmp_path / key, text], check=True
        )
        (tmp_path / "request.sig").rename(tmp_path / "approvals" / f"{response}.sig")
        eventually(lambda: "approval rejected" in monitor.log.read_text(), "the rejection")
        monitor.process.send_signal(signal.SIGKILL)
        monitor.process.wait()
        monitor.log.unlink()
        monitor.start()
    assert client.is_alive
    assert monitor.status()["responses"]["pending"][0]["request"] == request
    code, output = lessee(monitor, *approve, str(tmp_path / "alice"))
    assert code == 0, output
    eventually(lambda: not client.is_alive, "the approved response")
    eventually(lambda: "done, approved by alice" in texts(hook, "waiting")[-1], "a message that says so")
    assert monitor.status()["responses"]["pending"] == []


@pytest.mark.thorough
def test_a_login_that_vault_refuses_is_sent_rarely_and_delays_no_other_approved_response(
    server, responder, approvals, tmp_path
):
    made = tmp_path / "made"
    command = {"rule": RULE, "action": "command", "command": ["touch", str(made)], "approval": "required"}
    monitor = responder(revoke(approval="required"), command, **approvals).start()
    client_of(server, "rare").offend()
    eventually(lambda: len(monitor.status()["responses"]["pending"]) == 2, "both requests")
    secret_id = (monitor.disk / "secret_id").read_text()
    (monitor.disk / "secret_id").write_text("00000000-0000-4000-8000-000000000000")
    before = server.audit.read_text().count('"error":"invalid')
    ids = {one["response"]: one["id"] for one in monitor.recent()}
    for name in sorted(ids, reverse=True):
        code, output = lessee(
            monitor, "monitor", "--config", "lessee.yaml", "approve", ids[name], "--yes", "--key-file",
            str(tmp_path / "alice"),
        )  # fmt: skip
        assert code == 0, output
    eventually(made.exists, "the response that needs no login")
    time.sleep(4.0)
    assert server.audit.read_text().count('"error":"invalid') - before <= 2
    assert any("revoke-token" in text for text in monitor.status()["problems"])
    (monitor.disk / "secret_id").write_text(secret_id)


def test_an_approver_can_sign_with_ssh_keygen(server, responder, approvals, tmp_path):
    client = client_of(server, "keygen")
    monitor = responder(revoke(approval="required"), **approvals).start()
    client.offend()
    response, request = pending(monitor)
    code, output = lessee(monitor, "monitor", "approve", response, "--print")
    assert (code, output) == (0, request)
    file = tmp_path / "approvals" / response
    file.write_text(output)
    subprocess.run(
        ["ssh-keygen", "-q", "-Y", "sign", "-n", "lessee-response", "-f", tmp_path / "alice", file], check=True
    )
    eventually(lambda: not client.is_alive, "the approved response")


def test_an_approval_that_comes_too_late_does_nothing(server, responder, approvals, tmp_path):
    client = client_of(server, "late")
    monitor = responder(revoke(approval="required"), approval_timeout="2s", **approvals).start()
    client.offend()
    response, _ = pending(monitor)
    eventually(lambda: not monitor.status()["responses"]["pending"], "its end")
    code, output = lessee(monitor, "monitor", "approve", response, "--yes", "--key-file", str(tmp_path / "alice"))
    assert code == 64
    assert f"no response {response} waits for approval" in output
    assert client.is_alive


def test_requests_for_approval_are_as_few_as_the_budget(server, responder, approvals):
    clients = [client_of(server, f"asking-{number}") for number in range(6)]
    monitor = responder(revoke(approval="required", max_per_hour=2), **approvals).start()
    for client in clients:
        client.offend()
    eventually(lambda: len(monitor.status()["responses"]["pending"]) == 2, "two requests")
    eventually(lambda: "wait for approval already" in json.dumps(monitor.status()["alerts"]), "the others")
    assert Counter(one["event"] for one in monitor.journal()) == {"asked": 2}


@pytest.mark.thorough
def test_an_unavailable_vault_delays_no_alert_and_the_response_follows(server, hook, responder):
    client = client_of(server, "outage")
    monitor = responder(revoke(max_per_hour=9))
    address = monitor.config["vault"]["address"]
    monitor.write_login()
    monitor.config["vault"]["address"] = "http://127.0.0.1:9"
    monitor.write_login = lambda: None
    monitor.start()
    client.offend()
    assert f"revoke-token.{RULE} failed: " in reported(hook, "outage")
    assert client.is_alive
    monitor.config["vault"]["address"] = address
    monitor.stop()
    monitor.start()
    with suppress(RuntimeError):
        client.offend()
    eventually(lambda: not client.is_alive, "the response")
    assert len(monitor.counted()) == 1


@pytest.mark.thorough
def test_an_approved_emergency_ends_all_access_to_its_path_but_not_that_of_the_protected(
    server, hook, responder, approvals, tmp_path
):
    server.put("production/leaked/key", value="canary-leaked")
    policy = 'path "secret/data/production/leaked/*" { capabilities = ["read"] }'
    logins = {name: server.approle(name, policy) for name in ("leaky", "production-rotator", "break-glass")}
    clients = {name: Client(server, login) for name, login in logins.items()}
    offender = client_of(server, "cause")
    emergency = {"rule": RULE, "action": "emergency", "path": "leaked/key", "approval": "required"}
    monitor = responder(emergency, protected=["break-*"], **approvals).start()
    offender.offend()
    response, request = pending(monitor)
    assert "action: emergency\ntarget: of production: leaked/key\n" in request
    assert all(client.is_alive for client in clients.values())
    code, output = lessee(monitor, "monitor", "approve", response, "--yes", "--key-file", str(tmp_path / "alice"))
    assert code == 0, output
    eventually(lambda: "approved by alice; " in reported(hook, "cause"), "the end of it")
    assert "approved by alice; record: " in reported(hook, "cause")
    assert {name for name, client in clients.items() if client.is_alive} == {"production-rotator", "break-glass"}
    with pytest.raises(RuntimeError):
        Client(server, logins["leaky"])
    for name in ("production-rotator", "break-glass"):
        assert Client(server, logins[name]).is_alive
    assert "cannot be undone" in texts(hook, "cause")[-1]
    [record] = monitor.state.glob("emergency-*.json")
    assert '"event":"finished","not_done":[]' in record.read_text()


def test_setup_creates_the_login_of_the_responses_and_check_prints_its_policy(server, responder):
    monitor = responder(revoke(), {"rule": RULE, "action": "command", "command": ["true"]})
    monitor.config |= {"setup": {"environments": ["production"]}}
    monitor.write_config()
    code, policy = lessee(monitor, "check", "--policy", "--monitor")
    assert code == 0
    assert 'path "auth/token/revoke-accessor" {\n  capabilities = ["update"]\n}' in policy
    assert "secret-id-bound-cidrs" not in policy
    for path in ("sys/policies/acl/production-monitor", "auth/approle/role/production-monitor"):
        server.ask("DELETE", path)
    code, output = lessee(monitor, "setup", "--only", "policies", "roles", token=ROOT_TOKEN)
    assert code == 0, output
    assert server.ask("GET", "sys/policies/acl/production-monitor")["data"]["policy"] == policy
    assert server.ask("GET", "auth/approle/role/production-monitor")["data"]["token_policies"] == ["production-monitor"]
    monitor.responses["actions"] = [{"rule": RULE, "action": "command", "command": ["true"]}]
    monitor.write_config()
    code, output = lessee(monitor, "check", "--policy", "--monitor")
    assert code == 78
    assert "the monitor needs no login: `monitor.cluster` is not set, and no response needs Vault" in output
    monitor.config["monitor"]["cluster"] = {}
    monitor.write_config()
    code, output = lessee(monitor, "check", "--policy", "--monitor")
    assert (code, "sys/storage/raft/configuration" in output) == (0, True)
    del monitor.config["monitor"]
    monitor.write_config()
    code, output = lessee(monitor, "check", "--policy", "--monitor")
    assert (code, "the configuration has no monitor" in output) == (78, True)


def test_the_monitor_needs_each_rule_of_its_policy(server, hook, responder):
    """Without one of them the response does not succeed; the others are the subject of the tests above."""
    optional = {"auth/token/renew-self", "auth/token/revoke-self"}
    monitor = responder(revoke(max_per_hour=60), disable(max_per_hour=60))
    monitor.config["monitor"]["alerts"]["resolve_timeout"] = "0s"
    monitor.start()
    policy = server.ask("GET", "sys/policies/acl/production-monitor")["data"]["policy"]
    rules = re.findall(r'(?m)^path "([^"]+)" \{\n  capabilities = \["(?!deny)', policy)
    assert len(rules) == 9
    for number, path in enumerate(sorted(set(rules) - optional)):
        lacking = re.sub(rf'(?ms)^path "{re.escape(path)}" \{{.*?^\}}$', "", policy)
        assert lacking != policy
        server.ask("PUT", "sys/policies/acl/production-monitor", {"policy": lacking})
        client_of(server, f"needs-{number}").offend()
        text = reported(hook, f"needs-{number}")
        assert " failed: " in text, (path, text)
        until_resolved(monitor)
