"""Problems of real programs reach the receiver: with a real Prometheus, our rules, and a real Alertmanager."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack

import pytest
import yaml

from support.environments.backups import Backups
from support.needs import need
from support.programs.monitor import Audited, Monitor
from support.programs.rotator import POLICY, Service
from support.programs.sidecar import PATIENCE, Sidecar, eventually
from support.servers.cluster import Cluster
from support.servers.prometheus import FOLDER, TOKEN, Observed

NAME = re.compile(r"\b(?:lessee|process)_[a-z_]+|\blessee:[a-z0-9_]+(?::[a-z0-9_]+)?")
HISTOGRAM = re.compile("_(?:bucket|count|sum)$")
LIMIT = re.compile(" (==|>|<) ")
UNLESS = re.compile(r"\s+unless(?:\s+on\s*\([^)]*\))?\s+")
CREDS = '{{ dynamic("database/creds/watched").password }}\n'
TEMPLATE = '{{ secret("web/db").password }}\n'
READS = """
path "secret/*"         { capabilities = ["read", "list"] }
path "database/creds/*" { capabilities = ["read"] }
path "secret/metadata/testing/lessee/consumers/*" { capabilities = ["create", "update", "delete"] }
"""


@pytest.fixture
def observed(tmp_path):
    one = Observed(tmp_path)
    yield one
    one.close()


@pytest.fixture
def sidecar(server, proxy, observed, tmp_path, memory):
    """An agent behind its own proxy, with its own login."""
    agent = Sidecar(proxy.address, tmp_path, memory)
    server.put("testing/web/db", password="canary-in-metrics")
    agent.log_in_by_approle(server, READS)
    agent.template("app.env.j2", TEMPLATE, format="text")
    agent.config["status"] = observed.listen("agent")
    yield agent
    agent.close()


@pytest.mark.thorough
def test_an_outage_of_vault_fires_and_resolves(server, sidecar, observed):
    sidecar.start()
    observed.start("agent")
    assert observed.value("lessee_vault_reachable") == 1
    assert observed.value("lessee_app_fresh") == 1
    eventually(lambda: observed.alerts() == {}, "no alert")
    server.stop()
    alert = observed.receiver.wait_for("LesseeVaultUnreachable")
    assert alert["labels"]["job"] == "lessee-agent"
    assert alert["labels"]["severity"] == "warning"
    assert alert["labels"]["instance"] in alert["annotations"]["summary"]
    assert observed.states("LesseeVaultUnreachable") == {"pending", "firing"}
    assert observed.alerts()["LesseeVaultUnreachable"] == "active"
    # Stale files follow from the outage, so that alert is suppressed.
    eventually(lambda: observed.alerts().get("LesseeStale") == "suppressed", "stale files", 60)
    server.start()
    observed.receiver.wait_for("LesseeVaultUnreachable", "resolved")
    received = str(observed.receiver.alerts)
    assert "canary-in-metrics" not in received
    assert TOKEN not in received


@pytest.mark.thorough
def test_a_killed_agent_fires(sidecar, observed):
    sidecar.start()
    observed.start("agent")
    sidecar.process.kill()
    sidecar.process.wait()
    assert observed.receiver.wait_for("LesseeDown")["labels"]["severity"] == "critical"
    sidecar.start()
    observed.receiver.wait_for("LesseeDown", "resolved")


@pytest.mark.thorough
def test_a_rotation_that_keeps_failing_fires_with_its_name(bao, observed, tmp_path, memory):
    environment = f"env-{os.urandom(4).hex()}"
    service = Service(bao, tmp_path, memory, environment=environment)
    try:
        service.config["status"] = observed.listen("rotator")
        service.target("one", rotation_period="1s", jitter="0s")
        service.target("two", secret="app/two", rotation_period="30d", jitter="0s")
        service.start()
        service.until(lambda status: all(status["targets"][name]["rotation_count"] for name in ("one", "two")))
        observed.start("rotator")
        service.allow(POLICY.format(environment).replace(f"secret/data/{environment}/app", "secret/none"))
        alert = observed.receiver.wait_for("LesseeRotationFailing")
        assert alert["labels"]["target"] == "one"
        assert observed.value('lessee_rotation_consecutive_failures{target="one"}') >= 3
        assert observed.value('lessee_rotation_failing{target="two"}') == 0
        service.allow(POLICY.format(environment))
        observed.receiver.wait_for("LesseeRotationFailing", "resolved")
    finally:
        service.close()


@pytest.mark.thorough
def test_an_unreadable_audit_log_fires_with_its_name(observed, tmp_path, memory):
    with Audited(tmp_path) as server:
        other = tmp_path / "other.log"
        logs = [{"name": "vault", "file": str(server.audit)}, {"name": "other", "file": str(other)}]
        monitor = Monitor(tmp_path / "m", memory, logs)
        monitor.config["status"] = observed.listen("monitor")
        try:
            monitor.start()
            observed.start("monitor")
            server.put("testing/web/db", password="canary-in-metrics")
            written = 'lessee_monitor_accesses_total{operation="create",outcome="succeeded"}'
            eventually(lambda: observed.value(written), "the write in the metrics", 60)
            assert observed.receiver.wait_for("LesseeAuditLogUnreadable")["labels"]["source"] == "other"
            assert observed.value('lessee_monitor_source_failing{source="vault"}') == 0
            other.write_bytes(server.audit.read_bytes())
            observed.receiver.wait_for("LesseeAuditLogUnreadable", "resolved")
        finally:
            monitor.close()


@pytest.mark.thorough
def test_real_programs_have_every_metric_of_the_rules_and_the_dashboard(observed, postgres, tmp_path, memory):
    events = memory / "events.sock"
    with ExitStack() as stack:
        server = stack.enter_context(Audited(tmp_path))
        postgres.attach(server, role="watched", default_ttl="1h", max_ttl="2h")
        server.put("testing/web/db", password="canary-in-metrics")
        agent = Sidecar(server.address, tmp_path, memory)
        stack.callback(agent.close)
        agent.log_in_by_approle(server, READS)
        agent.template("app.env.j2", TEMPLATE + CREDS + '{{ secret("app/one").password }}\n', format="text")
        agent.config |= {"status": observed.listen("agent"), "events": {"socket": str(events)}}
        agent.config["leases"] = {"on_stop": "revoke"}
        agent.config["audit_trail"] = {"directory": str(tmp_path / "trail"), "key_file": str(tmp_path / "trail.key")}
        rotator = Service(server, tmp_path, memory, environment="testing")
        stack.callback(rotator.close)
        rotator.config["status"] = observed.listen("rotator")
        # A rotation that the agent confirms has every figure of a target.
        rotator.target("one", rotation_period="1h", jitter="0s", confirmation_timeout="1h", consumers=["web"])
        monitor = Monitor(tmp_path / "m", memory / "m", {"file": str(server.audit)}, publish=f"unix://{events}")
        stack.callback(monitor.close)
        monitor.config["status"] = observed.listen("monitor")
        # The test's server has no raft storage.
        cluster = stack.enter_context(Cluster(tmp_path / "cluster", nodes=1))
        (monitor.disk / "token").write_text(cluster.root_token)
        login = {"method": "token", "token_file": str(monitor.disk / "token")}
        monitor.config["vault"] = {"address": cluster.nodes[0].address, "auth": login}
        monitor.config["monitor"] |= {
            "request_metrics": {},
            "responses": {
                "protected": [],
                "actions": [{"rule": "policy-changed", "action": "command", "command": ["true"]}],
            },
            "cluster": {"poll_interval": "1s", "storage_dir": str(cluster.nodes[0].folder / "data")},
        }
        for program in (monitor, rotator, agent):
            program.start()
        backups = backup_metrics(server, observed, tmp_path / "backups", memory)
        observed.start("agent", "rotator", "monitor")
        rotator.until(lambda status: status["targets"]["one"]["rotation_count"])
        forced = [sys.executable, "-m", "lessee", "rotate", "--config", str(rotator.file), "--force", "one"]
        subprocess.run(forced, cwd=rotator.disk, check=True, capture_output=True, timeout=PATIENCE)
        rotator.until(lambda status: status["targets"]["one"]["propagation_seconds"] is not None)
        exposed = {name for job in ("agent", "rotator", "monitor") for name in names(observed, job)}
        exposed |= backups
        recorded = {rule["record"] for rule in rules("recording") if "record" in rule}
        for expression in expressions():
            names_of_it = {HISTOGRAM.sub("", name) for name in NAME.findall(expression)}
            assert not names_of_it - exposed - recorded, expression
            eventually(lambda expression=expression: has_samples(observed, expression), f"samples of {expression}", 60)
        agent.stop()


def backup_metrics(server, observed, disk, memory):
    """The metrics that saves, verifications and drills write for the textfile collector."""
    (folder := disk / "metrics").mkdir(parents=True)
    backups = Backups(server.address, disk, memory, metrics_directory=str(folder))
    backups.backup("save")
    backups.backup("verify", "latest")
    (disk / "drill.env.j2").write_text('A={{ secret("web/db").password }}\n')
    backups.config["apps"] = {"web": {"directory": str(memory / "drill"), "files": [{"template": "drill.env.j2"}]}}
    backups.config["drill"] = {"outage": "1s"}
    backups.write_config()
    drilled = backups.command("drill")
    assert drilled.returncode == 0, drilled.stderr
    observed.scrape_files(folder)
    texts = [path.read_text() for path in folder.glob("*.prom")]
    return {name for text in texts for name in re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)}


def has_samples(observed, expression):
    """Whether an expression has values: its metrics exist, and its labels are theirs."""
    samples = observed.query(expression)
    return samples and not any(math.isnan(value) for _, value in samples)


def names(observed, job):
    """The metrics of a program, which promtool accepts."""
    text = observed.scrape(job)
    check = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (check.returncode, check.stdout + check.stderr) == (0, "")
    assert "canary" not in text
    return re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)


def expressions():
    """All expressions of the rules and the dashboard; that of an alert has the value 0 for what is within its limit."""
    yield from (rule["record"] for rule in rules("recording"))
    yield from (rule["expr"] for rule in rules("recording"))
    for rule in rules("alerts"):
        # `a unless b` is empty where all is well, and each of the two is not.
        yield from (LIMIT.sub(r" \1 bool ", part) for part in UNLESS.split(rule["expr"]))
    dashboard = json.loads((FOLDER / "grafana/lessee.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"].replace("$instance", ".*").replace("$__rate_interval", "1m")


def rules(name):
    groups = yaml.safe_load((FOLDER / f"rules/{name}.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.mark.thorough
@pytest.mark.parametrize(
    "command",
    [
        "promtool check rules rules/recording.yml rules/alerts.yml",
        "promtool test rules rules.test.yml",
        "promtool check config --syntax-only prometheus.yml",
        "amtool check-config alertmanager.yml",
    ],
)
def test_promtool_and_amtool_accept_the_files(command):
    words = command.split()
    need(shutil.which(words[0]), f"needs {words[0]}: apt install prometheus prometheus-alertmanager")
    done = subprocess.run(words, cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_tested_and_has_a_summary_and_an_action():
    tests = yaml.safe_load((FOLDER / "rules.test.yml").read_text())["tests"]
    tested = json.dumps([test["promql_expr_test"] for test in tests])
    for rule in rules("alerts"):
        assert f'alertname=\\"{rule["alert"]}\\"' in tested, rule["alert"]
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"].keys() == {"summary", "action"}


def test_no_two_panels_of_the_dashboard_overlap():
    panels = json.loads((FOLDER / "grafana/lessee.json").read_text())["panels"]
    places = [panel["gridPos"] for panel in panels]
    cells = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23
    assert len({panel["id"] for panel in panels}) == len(panels)
