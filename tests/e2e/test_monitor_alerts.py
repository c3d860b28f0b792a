"""`lessee monitor` detects problems in a real server's audit log, and real receivers get each alert once."""

import json
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from email import message_from_bytes
from email.policy import default
from http.client import HTTPConnection

import pytest

from support.programs.monitor import Audited, Monitor
from support.programs.rotator import POLICY as RIGHTS
from support.programs.rotator import Service
from support.programs.sidecar import PATIENCE, eventually
from support.servers.alert_receivers import Alertmanager, Hook, MailServer
from support.servers.certificate_authority import Authority

SECRET = "secret/data/production/database/postgres"
POLICY = {"policy": 'path "secret/data/none" { capabilities = ["read"] }'}
QUIET = {"resolve_timeout": "1s"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One server for all tests, so its log also has the entries of earlier tests."""
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
    """Starts at the end of the log, and sends alerts to the hook."""
    audit, alerts = {"file": str(server.audit), "name": "vault"}, {"webhook": f"{hook.url}/path-canary", **QUIET}
    with Monitor(tmp_path / "monitor", memory / "monitor", audit, alerts=alerts, start_at="end") as one:
        one.config["environment"] = "production"
        one.alerts = alerts
        yield one


def login(server):
    role_id, secret_id = server.simba
    response = server.ask("POST", "auth/approle/login", {"role_id": role_id, "secret_id": secret_id}, token="")
    return response["auth"]["client_token"]


def start(monitor):
    monitor.start()
    monitor.until(lambda status: status["ready"] and status["sources"])
    return monitor


def alerts_of(monitor, rule):
    return [one for one in monitor.status()["alerts"] if one["rule"] == rule]


def test_a_root_token_a_policy_change_and_too_many_reads_are_sent_once(server, hook, monitor):
    monitor.alerts |= {"reads_per_hour": 5, "consecutive_denials": 3, "resolve_timeout": "1h"}
    token = login(server)
    start(monitor)
    for _ in range(20):
        server.ask("GET", SECRET, token=token)
    for _ in range(5):
        with suppress(RuntimeError):
            server.ask("GET", "secret/data/testing/none", token=token)
    server.ask("PUT", "sys/policies/acl/alerted", POLICY)
    wanted = {"reads-per-hour", "consecutive-denials", "root-token", "policy-changed"}
    eventually(lambda: {alert["rule"] for alert in hook.alerts()} >= wanted, "the alerts")
    status = monitor.until(lambda status: all(one["notified"] == {"webhook": True} for one in status["alerts"]))
    assert all(one["firing"] for one in status["alerts"])
    [row] = [row for row in status["accesses"]["by_path"] if row["component"] == "simba"]
    assert (row["path"], row["address"], row["last_hour"]) == ("secret/production/database/postgres", "127.0.0.1", 20)
    assert Counter((alert["rule"], alert["subject"]) for alert in hook.alerts()) == {
        ("reads-per-hour", "simba: secret/production/database/postgres"): 1,
        ("consecutive-denials", "simba"): 1,
        ("root-token", "127.0.0.1"): 1,
        ("policy-changed", "sys/policies/acl/alerted"): 1,
    }
    path, headers, body = hook.requests[0]
    assert (path, body["environment"]) == ("/path-canary", "production")
    assert headers["User-Agent"].startswith("lessee/")
    texts = json.dumps(monitor.checkpoint()) + monitor.log.read_text() + json.dumps(monitor.status())
    assert "canary" not in texts
    assert token not in texts


def test_the_changes_of_one_command_are_one_alert_with_a_count(server, hook, monitor):
    monitor.alerts["resolve_timeout"] = "1h"
    start(monitor)
    paths = [f"sys/policies/acl/of-a-command-{number}" for number in range(20)]
    for path in paths:
        server.ask("PUT", path, POLICY)
    status = monitor.until(lambda status: any(one["count"] == 20 for one in status["alerts"]))
    [alert] = [one for one in status["alerts"] if one["rule"] == "policy-changed"]
    assert (alert["subject"], alert["subjects"], alert["subjects_omitted"]) == (paths[0], paths, 0)
    assert alert["started_at"] <= alert["last_seen_at"]
    eventually(lambda: hook.states("policy-changed"), "the alert")
    assert hook.states("policy-changed") == ["firing"]


@pytest.mark.thorough
def test_ten_thousand_denials_by_a_hundred_clients_are_at_most_five_messages(server, hook, monitor):
    monitor.alerts |= {"consecutive_denials": 5, "resolve_timeout": "1h"}
    body = {"policies": ["default"], "ttl": "1h"}
    tokens = [
        server.ask("POST", "auth/token/create", {**body, "display_name": f"storm-{number}"})["auth"]["client_token"]
        for number in range(100)
    ]
    start(monitor)
    before = monitor.status()["accesses"]["denied"]
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda token: denials(server.port, token, 100), tokens)) == 10_000

    def all_counted(status):
        counts = [alert["count"] for alert in status["alerts"] if alert["rule"] == "consecutive-denials"]
        return sum(counts) == 10_000 - 4 * 100

    status = monitor.until(all_counted)
    assert status["accesses"]["denied"] == before + 10_000
    status = monitor.until(lambda status: all(one["notified"] == {"webhook": True} for one in status["alerts"]))
    named = {name for one in status["alerts"] if one["rule"] == "consecutive-denials" for name in one["subjects"]}
    assert named == {f"token-storm-{number}" for number in range(100)}
    assert 1 <= len(hook.requests) <= 5


def denials(port, token, number):
    """The requests of one client that the server denied, over one connection."""
    count = 0
    with closing(HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        for each in range(number):
            connection.request("GET", f"/v1/secret/data/none/{each}", headers={"X-Vault-Token": token})
            response = connection.getresponse()
            response.read()
            count += response.status == 403
    return count


def test_an_alert_resolves_after_the_resolve_timeout(server, hook, monitor):
    start(monitor)
    server.ask("GET", SECRET)
    eventually(lambda: hook.states("root-token") == ["firing", "resolved"], "both")
    [alert] = alerts_of(monitor, "root-token")
    assert (alert["firing"], alert["resolved_at"] is not None) == (False, True)


def test_a_kill_at_any_moment_loses_no_alert_and_a_duplicate_has_the_same_id(server, hook, monitor):
    # Each change has a rule of its own: those of one rule within a minute are one alert.
    names = [f"killed-{number}" for number in range(12)]
    rules = [{"rule": "policy-changed", "name": name, "paths": [f"sys/policies/acl/{name}"]} for name in names]
    monitor.alerts |= {"reads_per_hour": 1, "resolve_timeout": "1h", "rules": rules}
    token = login(server)
    start(monitor)
    for number in range(12):
        server.ask("PUT", f"sys/policies/acl/killed-{number}", POLICY)
        server.ask("GET", SECRET, token=token)
        if number % 3:
            # Kill it when the alert has arrived, before the monitor knows that.
            eventually(lambda number=number: sum(map(len, map(hook.states, names))) > number // 2, "some")
        monitor.process.send_signal(signal.SIGKILL)
        monitor.process.wait()
        start(monitor)
    wanted = {(name, f"sys/policies/acl/{name}") for name in names} | {
        ("reads-per-hour", "simba: secret/production/database/postgres")
    }
    eventually(lambda: {(alert["rule"], alert["subject"]) for alert in hook.alerts()} >= wanted, "all of them")
    monitor.stop()
    sent = {(alert["id"], alert["rule"], alert["subject"], alert["state"]) for alert in hook.alerts()}
    assert max(Counter(one[1:] for one in sent).values()) == 1


@pytest.mark.thorough
def test_a_failed_delivery_is_retried_and_is_a_problem_in_the_status(server, hook, monitor):
    hook.status = 503
    monitor.alerts["resolve_timeout"] = "1h"
    start(monitor)
    server.ask("GET", SECRET)
    status = monitor.until(lambda status: status["delivery"]["webhook"]["error"])
    assert status["delivery"]["webhook"]["pending"] >= 1
    [problem] = status["problems"]
    assert "alerts cannot be sent by webhook: 127.0.0.1:" in problem
    assert problem.endswith(" answered 503")
    assert "path-canary" not in json.dumps(status) + monitor.log.read_text()
    assert alerts_of(monitor, "root-token")[0]["notified"] == {"webhook": False}
    monitor.stop()
    start(monitor)
    hook.status = 200
    eventually(lambda: hook.states("root-token") == ["firing"], "the alert")
    monitor.until(lambda status: status["problems"] == [])


def test_a_redirect_is_not_followed(server, hook, monitor):
    hook.status = 302
    start(monitor)
    server.ask("GET", SECRET)
    monitor.until(lambda status: (status["delivery"]["webhook"]["error"] or "").endswith("answered 302"))


def test_a_webhooks_url_and_headers_can_be_in_files_and_slack_gets_its_own_body(server, hook, monitor):
    (monitor.disk / "url").write_text(f"{hook.url}/T0/canary-url\n")
    (monitor.disk / "key").write_text("canary-key\n")
    monitor.alerts["webhook"] = {"url_file": "url", "slack": True, "header_files": {"X-Key": "key"}}
    start(monitor)
    server.ask("PUT", "sys/policies/acl/slack", POLICY)
    eventually(lambda: hook.requests, "the alert")
    path, headers, body = hook.requests[0]
    assert (path, headers["X-Key"]) == ("/T0/canary-url", "canary-key")
    assert list(body) == ["text"]
    assert ":warning: *firing: policy-changed in production: sys/policies/acl/slack*" in body["text"]


@pytest.mark.thorough
def test_alertmanager_gets_a_firing_and_then_a_resolved_alert(server, hook, monitor, tmp_path):
    config = f"""
route: {{receiver: hook, group_wait: 0s, group_interval: 1s, group_by: ["..."]}}
receivers: [{{name: hook, webhook_configs: [{{url: "{hook.url}/from-alertmanager"}}]}}]
"""
    del monitor.alerts["webhook"]
    with Alertmanager(tmp_path, config) as manager:
        monitor.alerts["alertmanager"] = manager.url
        monitor.alerts["resolve_timeout"] = "5s"  # Long enough to query it.
        start(monitor)
        server.ask("PUT", "sys/policies/acl/managed", POLICY)
        [alert] = eventually(lambda: manager.alerts(alertname="policy-changed"), "the alert")
        wanted = {"subject": "sys/policies/acl/managed", "severity": "warning", "environment": "production"}
        assert alert["labels"] == {"alertname": "policy-changed", "source": "lessee", **wanted}
        assert alert["annotations"]["summary"].startswith("token wrote sys/policies/acl/managed from")
        eventually(lambda: not manager.alerts(alertname="policy-changed"), "the end of it")

        def states():
            alerts = [one for _, _, body in hook.requests for one in body["alerts"]]
            return [one["status"] for one in alerts if one["labels"]["alertname"] == "policy-changed"]

        eventually(lambda: states() == ["firing", "resolved"], "both")


@pytest.mark.thorough
def test_a_mail_is_sent_over_tls_with_a_password_from_a_file(server, monitor, tmp_path):
    Authority(tmp_path / "ca.pem").issue(tmp_path / "pair.pem", days=1)
    (tmp_path / "password").write_text("canary-wrong\n")
    del monitor.alerts["webhook"]
    with MailServer(tmp_path / "pair.pem") as mails:
        smtp = {"server": mails.address, "sender": "lessee@example.org", "to": ["ops@example.org", "b@example.org"]}
        files = {"ca_file": str(tmp_path / "ca.pem"), "password_file": str(tmp_path / "password")}
        monitor.alerts["smtp"] = smtp | files | {"username": "ops"}
        start(monitor)
        server.ask("PUT", "sys/policies/acl/mailed", POLICY)
        monitor.until(lambda status: "answered 535" in (status["delivery"]["smtp"]["error"] or ""))
        (tmp_path / "password").write_text(f"{mails.password}\n")
        eventually(lambda: mails.mails, "the mail")
    envelope = mails.mails[0]
    assert (envelope.mail_from, envelope.rcpt_tos) == ("lessee@example.org", ["ops@example.org", "b@example.org"])
    mail = message_from_bytes(envelope.content, policy=default)
    assert "policy-changed in production: sys/policies/acl/mailed" in mail.get_content()
    assert "canary" not in monitor.log.read_text()


def test_no_mail_is_sent_to_a_server_with_an_untrusted_certificate(server, monitor, tmp_path):
    Authority(tmp_path / "ca.pem").issue(tmp_path / "pair.pem", days=1)
    (tmp_path / "password").write_text(MailServer.password)
    with MailServer(tmp_path / "pair.pem") as mails:
        monitor.alerts["smtp"] = {
            "server": mails.address, "sender": "lessee@example.org", "to": ["ops@example.org"], "username": "ops",
            "password_file": str(tmp_path / "password"),
        }  # fmt: skip
        start(monitor)
        server.ask("PUT", "sys/policies/acl/mistrusted", POLICY)
        monitor.until(lambda status: "certificate" in (status["delivery"]["smtp"]["error"] or ""))
    assert mails.mails == []


def test_a_missing_log_fires(hook, monitor):
    monitor.alerts["rules"] = [{"rule": "audit-off", "after": "1s"}]
    missing = {"file": "nowhere.log", "name": "missing"}
    monitor.config["monitor"]["audit"] = [monitor.config["monitor"]["audit"], missing]
    monitor.start()
    eventually(lambda: "firing" in hook.states("audit-off"), "the alert")
    assert alerts_of(monitor, "audit-off")[0]["subject"] == "missing"


@pytest.mark.thorough
def test_a_stopped_service_and_a_failing_rotation_fire(server, hook, monitor, tmp_path, memory):
    monitor.alerts["rules"] = [
        {"rule": "agent-silent", "after": "1s"},
        {"rule": "rotation-failing", "limit": 1},
    ]
    with closing(Service(server, tmp_path, memory, environment="production")) as service:
        service.target("one", rotation_period="1s", jitter="0s", kind="vault", secret="app/one")
        # It can write its journal, but not the secret.
        service.allow("\n".join(line for line in RIGHTS.format("production").splitlines() if "/app/" not in line))
        service.start()
        monitor.config["monitor"]["watch"] = [str(service.socket)]
        service.until(lambda status: status["targets"]["one"]["consecutive_failures"])
        start(monitor)
        eventually(lambda: "firing" in hook.states("rotation-failing"), "the alert")
        status = monitor.until(lambda status: status["rotation"] and status["rotation"][0]["consecutive_failures"])
        assert [one["target"] for one in status["rotation"]] == ["one"]
        assert [(one["error"], one["targets"]) for one in status["services"]] == [(None, 1)]
        assert "failure" in monitor.get("/")[1]
    eventually(lambda: "firing" in hook.states("agent-silent"), "the alert")
    assert [one["error"] is None for one in monitor.status()["services"]] == [False]


@pytest.mark.thorough
def test_edited_rules_apply_and_the_alerts_of_removed_rules_resolve(server, hook, monitor):
    start(monitor)
    server.ask("PUT", "sys/policies/acl/edited", POLICY)
    eventually(lambda: "firing" in hook.states("policy-changed"), "the alert")
    monitor.alerts |= {"default_rules": False, "rules": [{"rule": "root-token", "name": "root"}]}
    monitor.write_config()
    eventually(lambda: hook.states("policy-changed")[-1] == "resolved", "its end")
    eventually(lambda: "configuration reloaded" in monitor.log.read_text(), "the new rules")
    server.ask("GET", SECRET)
    eventually(lambda: "firing" in hook.states("root"), "the new rule's alert")
    monitor.alerts["rules"] = [{"rule": "outside-hours", "hours": ["08:00-18:00"], "timezone": "Mars/Olympus"}]
    monitor.write_config()
    status = monitor.until(lambda status: any("unknown time zone" in one for one in status["problems"]))
    assert any("monitor.alerts.rules[0]: unknown time zone Mars/Olympus" in one for one in status["problems"])
