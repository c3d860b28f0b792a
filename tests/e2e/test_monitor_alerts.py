"""`lessee monitor` raises an alarm over what a real server's audit log says, and real receivers hear of it once."""

import json
import signal
from collections import Counter
from contextlib import closing, suppress
from email import message_from_bytes
from email.policy import default

import pytest

from support.programs.monitor import Audited, Monitor
from support.programs.rotator import POLICY as RIGHTS
from support.programs.rotator import Service
from support.programs.sidecar import eventually
from support.servers.alert_receivers import Alertmanager, Hook, MailServer
from support.servers.certificate_authority import Authority

SECRET = "secret/data/production/database/postgres"
POLICY = {"policy": 'path "secret/data/none" { capabilities = ["read"] }'}
QUIET = {"resolve_after": "1s"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """What a test finds in its log may come of others before it."""
    with Audited(tmp_path_factory.mktemp("audited")) as one:
        one.put("production/database/postgres", password="canary-postgres")
        one.simba = one.approle("simba", 'path "secret/data/production/*" { capabilities = ["read"] }')
        yield one


@pytest.fixture
def hook():
    with Hook() as one:
        yield one


@pytest.fixture
def monitor(server, hook, tmp_path, memory):
    """From what comes now on, and to the hook."""
    audit, alerts = {"file": str(server.audit), "name": "vault"}, {"webhook": f"{hook.url}/path-canary", **QUIET}
    with Monitor(tmp_path / "monitor", memory / "monitor", audit, alerts=alerts, begin="end") as one:
        one.config["environment"] = "production"
        one.alerts = alerts
        yield one


def login(server):
    role_id, secret_id = server.simba
    said = server.ask("POST", "auth/approle/login", {"role_id": role_id, "secret_id": secret_id}, token="")
    return said["auth"]["client_token"]


def starts(monitor):
    monitor.start()
    monitor.until(lambda status: status["ready"] and status["sources"])
    return monitor


def found(monitor, rule):
    return [one for one in monitor.status()["alerts"] if one["rule"] == rule]


def test_a_root_token_a_policy_and_too_many_reads_are_told_once_and_are_over(server, hook, monitor):
    monitor.alerts |= {"reads_per_hour": 5, "refusals_in_a_row": 3, "resolve_after": "1h"}
    token = login(server)
    starts(monitor)
    for _ in range(20):
        server.ask("GET", SECRET, token=token)
    for _ in range(5):
        with suppress(RuntimeError):
            server.ask("GET", "secret/data/testing/none", token=token)
    server.ask("PUT", "sys/policies/acl/alerted", POLICY)
    wanted = {"reads-per-hour", "refusals-in-a-row", "root-token", "policy-changed"}
    eventually(lambda: {alert["rule"] for alert in hook.alerts()} >= wanted, "the alerts")
    status = monitor.until(lambda status: all(one["told"] == {"webhook": True} for one in status["alerts"]))
    assert all(one["firing"] for one in status["alerts"])
    [row] = [row for row in status["accesses"]["by_path"] if row["component"] == "simba"]
    assert (row["path"], row["address"], row["last_hour"]) == ("secret/production/database/postgres", "127.0.0.1", 20)
    assert Counter((alert["rule"], alert["subject"]) for alert in hook.alerts()) == {
        ("reads-per-hour", "simba"): 1,
        ("refusals-in-a-row", "simba"): 1,
        ("root-token", "127.0.0.1"): 1,
        ("policy-changed", "sys/policies/acl/alerted"): 1,
    }
    path, headers, body = hook.requests[0]
    assert (path, body["environment"]) == ("/path-canary", "production")
    assert headers["User-Agent"].startswith("lessee/")
    kept = json.dumps(monitor.kept()) + monitor.log.read_text() + json.dumps(monitor.status())
    assert "canary" not in kept
    assert token not in kept


def test_an_alert_is_over_once_it_has_not_been_so_for_a_while(server, hook, monitor):
    starts(monitor)
    server.ask("GET", SECRET)
    eventually(lambda: hook.told("root-token") == ["firing", "resolved"], "both")
    [alert] = found(monitor, "root-token")
    assert (alert["firing"], alert["over"] is not None) == (False, True)


def test_killed_at_any_moment_it_forgets_no_alert_and_what_is_told_twice_can_be_told_by_its_id(server, hook, monitor):
    monitor.alerts |= {"reads_per_hour": 1, "resolve_after": "1h"}
    monitor.config["monitor"]["begin"] = "start"
    token = login(server)
    starts(monitor)
    for number in range(12):
        server.ask("PUT", f"sys/policies/acl/killed-{number}", POLICY)
        server.ask("GET", SECRET, token=token)
        if number % 3:
            # The moment it has come: it is not known yet over there that it has.
            eventually(lambda number=number: len(hook.told("policy-changed")) > number // 2, "some")
        monitor.process.send_signal(signal.SIGKILL)
        monitor.process.wait()
        starts(monitor)
    policies = {f"sys/policies/acl/killed-{number}" for number in range(12)}
    wanted = {("policy-changed", policy) for policy in policies} | {("reads-per-hour", "simba")}
    eventually(lambda: {(alert["rule"], alert["subject"]) for alert in hook.alerts()} >= wanted, "all of them")
    monitor.stop()
    told = {(alert["id"], alert["rule"], alert["subject"], alert["state"]) for alert in hook.alerts()}
    assert max(Counter(one[1:] for one in told).values()) == 1


def test_what_cannot_be_told_is_told_later_and_meanwhile_the_status_says_so(server, hook, monitor):
    hook.status = 503
    monitor.alerts["resolve_after"] = "1h"
    starts(monitor)
    server.ask("GET", SECRET)
    status = monitor.until(lambda status: status["telling"]["webhook"]["error"])
    assert status["telling"]["webhook"]["waiting"] >= 1
    [problem] = status["problems"]
    assert "alerts cannot be told by webhook: 127.0.0.1:" in problem
    assert problem.endswith(" answered 503")
    assert "path-canary" not in json.dumps(status) + monitor.log.read_text()
    assert found(monitor, "root-token")[0]["told"] == {"webhook": False}
    monitor.stop()
    starts(monitor)
    hook.status = 200
    eventually(lambda: hook.told("root-token") == ["firing"], "the alert")
    monitor.until(lambda status: status["problems"] == [])


def test_a_redirect_is_not_followed(server, hook, monitor):
    hook.status = 302
    starts(monitor)
    server.ask("GET", SECRET)
    monitor.until(lambda status: (status["telling"]["webhook"]["error"] or "").endswith("answered 302"))


def test_the_url_of_a_webhook_and_its_headers_may_lie_in_files_and_slack_gets_its_own_body(server, hook, monitor):
    (monitor.disk / "url").write_text(f"{hook.url}/T0/canary-url\n")
    (monitor.disk / "key").write_text("canary-key\n")
    monitor.alerts["webhook"] = {"url_file": "url", "slack": True, "header_files": {"X-Key": "key"}}
    starts(monitor)
    server.ask("PUT", "sys/policies/acl/slack", POLICY)
    eventually(lambda: hook.requests, "the alert")
    path, headers, body = hook.requests[0]
    assert (path, headers["X-Key"]) == ("/T0/canary-url", "canary-key")
    assert list(body) == ["text"]
    assert ":warning: *firing: policy-changed in production: sys/policies/acl/slack*" in body["text"]


def test_alertmanager_has_an_alert_firing_and_then_resolved(server, hook, monitor, tmp_path):
    config = f"""
route: {{receiver: hook, group_wait: 0s, group_interval: 1s, group_by: ["..."]}}
receivers: [{{name: hook, webhook_configs: [{{url: "{hook.url}/from-alertmanager"}}]}}]
"""
    del monitor.alerts["webhook"]
    with Alertmanager(tmp_path, config) as manager:
        monitor.alerts["alertmanager"] = manager.url
        monitor.alerts["resolve_after"] = "5s"  # So long it can be seen.
        starts(monitor)
        server.ask("PUT", "sys/policies/acl/managed", POLICY)
        [alert] = eventually(lambda: manager.alerts(alertname="policy-changed"), "the alert")
        wanted = {"subject": "sys/policies/acl/managed", "severity": "warning", "environment": "production"}
        assert alert["labels"] == {"alertname": "policy-changed", "source": "lessee", **wanted}
        assert alert["annotations"]["summary"].startswith("sys/policies/acl/managed was written by token from")
        eventually(lambda: not manager.alerts(alertname="policy-changed"), "the end of it")

        def states():
            told = [one for _, _, body in hook.requests for one in body["alerts"]]
            return [one["status"] for one in told if one["labels"]["alertname"] == "policy-changed"]

        eventually(lambda: states() == ["firing", "resolved"], "both")


def test_a_mail_goes_out_over_tls_with_a_password_from_a_file(server, monitor, tmp_path):
    Authority(tmp_path / "ca.pem").issue(tmp_path / "pair.pem", days=1)
    (tmp_path / "password").write_text("canary-wrong\n")
    del monitor.alerts["webhook"]
    with MailServer(tmp_path / "pair.pem") as mails:
        smtp = {"server": mails.address, "sender": "lessee@example.org", "to": ["ops@example.org", "b@example.org"]}
        files = {"ca_file": str(tmp_path / "ca.pem"), "password_file": str(tmp_path / "password")}
        monitor.alerts["smtp"] = smtp | files | {"username": "ops"}
        starts(monitor)
        server.ask("PUT", "sys/policies/acl/mailed", POLICY)
        monitor.until(lambda status: "answered 535" in (status["telling"]["smtp"]["error"] or ""))
        (tmp_path / "password").write_text(f"{mails.password}\n")
        eventually(lambda: mails.mails, "the mail", 100)
    envelope = mails.mails[0]
    assert (envelope.mail_from, envelope.rcpt_tos) == ("lessee@example.org", ["ops@example.org", "b@example.org"])
    mail = message_from_bytes(envelope.content, policy=default)
    assert "policy-changed in production: sys/policies/acl/mailed" in mail.get_content()
    assert "canary" not in monitor.log.read_text()


def test_no_mail_goes_to_a_server_whose_certificate_is_not_trusted(server, monitor, tmp_path):
    Authority(tmp_path / "ca.pem").issue(tmp_path / "pair.pem", days=1)
    (tmp_path / "password").write_text(MailServer.password)
    with MailServer(tmp_path / "pair.pem") as mails:
        monitor.alerts["smtp"] = {
            "server": mails.address, "sender": "lessee@example.org", "to": ["ops@example.org"], "username": "ops",
            "password_file": str(tmp_path / "password"),
        }  # fmt: skip
        starts(monitor)
        server.ask("PUT", "sys/policies/acl/mistrusted", POLICY)
        monitor.until(lambda status: "certificate" in (status["telling"]["smtp"]["error"] or ""))
    assert mails.mails == []


def test_a_log_that_is_gone_is_an_alarm(hook, monitor):
    monitor.alerts["rules"] = [{"rule": "audit-off", "after": "1s"}]
    gone = {"file": "nowhere.log", "name": "gone"}
    monitor.config["monitor"]["audit"] = [monitor.config["monitor"]["audit"], gone]
    monitor.start()
    eventually(lambda: "firing" in hook.told("audit-off"), "the alert")
    assert found(monitor, "audit-off")[0]["subject"] == "gone"


def test_a_service_that_is_stopped_is_told_and_so_is_a_rotation_that_fails(server, hook, monitor, tmp_path, memory):
    monitor.alerts["rules"] = [
        {"rule": "agent-silent", "after": "1s"},
        {"rule": "rotation-failing", "limit": 1},
    ]
    with closing(Service(server, tmp_path, memory, environment="production")) as service:
        service.target("one", every="1s", jitter="0s", kind="vault", secret="app/one")
        # It may keep its journal, and not write the secret.
        service.allow("\n".join(line for line in RIGHTS.format("production").splitlines() if "/app/" not in line))
        service.start()
        monitor.config["monitor"]["watch"] = [str(service.socket)]
        service.until(lambda status: status["targets"]["one"]["failures"])
        starts(monitor)
        eventually(lambda: "firing" in hook.told("rotation-failing"), "the alert", 60)
        status = monitor.until(lambda status: status["rotation"] and status["rotation"][0]["failures"])
        assert [one["target"] for one in status["rotation"]] == ["one"]
        assert [(one["error"], one["targets"]) for one in status["services"]] == [(None, 1)]
        assert "failure" in monitor.get("/")[1]
    eventually(lambda: "firing" in hook.told("agent-silent"), "the alert", 60)
    assert [one["error"] is None for one in monitor.status()["services"]] == [False]


def test_edited_rules_are_taken_up_and_the_alerts_of_those_that_went_are_over(server, hook, monitor):
    starts(monitor)
    server.ask("PUT", "sys/policies/acl/edited", POLICY)
    eventually(lambda: "firing" in hook.told("policy-changed"), "the alert")
    monitor.alerts |= {"usual": False, "rules": [{"rule": "root-token", "name": "root"}]}
    monitor.write_config()
    eventually(lambda: hook.told("policy-changed")[-1] == "resolved", "its end")
    eventually(lambda: "configuration taken up" in monitor.log.read_text(), "the new rules")
    server.ask("GET", SECRET)
    eventually(lambda: "firing" in hook.told("root"), "the new rule's alert")
    monitor.alerts["rules"] = [{"rule": "outside-hours", "hours": ["08:00-18:00"], "zone": "Mars/Olympus"}]
    monitor.write_config()
    status = monitor.until(lambda status: any("no time zone" in one for one in status["problems"]))
    assert any(
        "monitor.alerts.rules[0]: this machine knows no time zone Mars/Olympus" in one for one in status["problems"]
    )
