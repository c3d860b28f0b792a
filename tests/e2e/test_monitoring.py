"""What goes wrong reaches people: real programs, a real Prometheus with our rules, a real Alertmanager."""

import os

import pytest

from monitored import Audited, Monitor
from observed import TOKEN, Observed
from rotator import POLICY, Service
from sidecar import Sidecar, eventually

TEMPLATE = '{{ secret("web/db").password }}\n'
READS = 'path "secret/*" { capabilities = ["read", "list"] }'


@pytest.fixture
def observed(tmp_path):
    one = Observed(tmp_path)
    yield one
    one.close()


@pytest.fixture
def sidecar(server, proxy, observed, tmp_path, memory):
    """Behind a weather of its own, with a login of its own."""
    agent = Sidecar(proxy.address, tmp_path, memory)
    server.put("testing/web/db", password="canary-in-metrics")
    agent.log_in_by_approle(server, READS)
    agent.template("app.env.j2", TEMPLATE, format="text")
    agent.config["status"] = observed.listen("agent")
    yield agent
    agent.close()


def test_vault_that_goes_away_is_told_and_so_is_that_it_is_back(server, sidecar, observed):
    sidecar.start()
    observed.start("agent")
    assert observed.value("lessee_vault_reachable") == 1
    assert observed.value("lessee_app_fresh") == 1
    assert observed.alerts() == {}
    server.stop()
    told = observed.people.hear("LesseeVaultUnreachable")
    assert told["labels"]["job"] == "lessee-agent"
    assert told["labels"]["severity"] == "warning"
    assert told["labels"]["instance"] in told["annotations"]["summary"]
    assert observed.went("LesseeVaultUnreachable") == {"pending", "firing"}
    assert observed.alerts()["LesseeVaultUnreachable"] == "active"
    # That its files may be old follows from it, and is not told beside it.
    eventually(lambda: observed.alerts().get("LesseeStale") == "suppressed", "stale files", 60)
    server.start()
    observed.people.hear("LesseeVaultUnreachable", "resolved")
    heard = str(observed.people.heard)
    assert "canary-in-metrics" not in heard
    assert TOKEN not in heard


def test_an_agent_that_was_killed_is_told(sidecar, observed):
    sidecar.start()
    observed.start("agent")
    sidecar.process.kill()
    sidecar.process.wait()
    assert observed.people.hear("LesseeDown")["labels"]["severity"] == "critical"
    sidecar.start()
    observed.people.hear("LesseeDown", "resolved")


def test_a_rotation_that_fails_again_and_again_is_told_with_its_name(bao, observed, tmp_path, memory):
    environment = f"env-{os.urandom(4).hex()}"
    service = Service(bao, tmp_path, memory, environment=environment)
    try:
        service.config["status"] = observed.listen("rotator")
        service.target("one", every="1s", jitter="0s")
        service.target("two", secret="app/two", every="30d")
        service.start()
        service.until(lambda status: status["targets"]["one"]["count"] and status["targets"]["two"]["count"])
        observed.start("rotator")
        service.allow(POLICY.format(environment).replace(f"secret/data/{environment}/app", "secret/none"))
        told = observed.people.hear("LesseeRotationFailing")
        assert told["labels"]["target"] == "one"
        assert observed.value('lessee_rotation_failures_in_a_row{target="one"}') >= 3
        assert observed.value('lessee_rotation_failing{target="two"}') == 0
        service.allow(POLICY.format(environment))
        observed.people.hear("LesseeRotationFailing", "resolved")
    finally:
        service.close()


def test_an_audit_log_that_cannot_be_read_is_told_by_its_name(observed, tmp_path, memory):
    with Audited(tmp_path) as server:
        other = tmp_path / "other.log"
        logs = [{"name": "vault", "file": str(server.audit)}, {"name": "other", "file": str(other)}]
        monitor = Monitor(tmp_path / "m", memory, logs)
        monitor.config["status"] = observed.listen("monitor")
        try:
            monitor.start()
            observed.start("monitor")
            server.put("testing/web/db", password="canary-in-metrics")
            written = 'lessee_monitor_accesses_total{operation="create",outcome="answered"}'
            eventually(lambda: observed.value(written), "the write in the metrics", 60)
            assert observed.people.hear("LesseeMonitorBlind")["labels"]["source"] == "other"
            assert observed.value('lessee_monitor_source_failing{source="vault"}') == 0
            other.write_bytes(server.audit.read_bytes())
            observed.people.hear("LesseeMonitorBlind", "resolved")
        finally:
            monitor.close()
