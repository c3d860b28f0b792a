"""The state of `lessee monitor` belongs to one cluster and one configuration, and refuses others."""

import shutil
from contextlib import closing

import pytest

from support.programs.monitor import Audited, Monitor
from support.programs.sidecar import eventually
from support.servers.alert_receivers import Hook


@pytest.fixture
def servers(tmp_path):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    with Audited(folders[0]) as one, Audited(folders[1]) as two:
        yield one, two


@pytest.fixture
def monitor(servers, tmp_path, memory):
    with Monitor(tmp_path / "monitor", memory, {"file": str(servers[0].audit)}) as one:
        one.config["environment"] = "production"
        yield one


def test_another_configuration_is_refused_with_what_to_do(monitor):
    assert monitor.once().returncode == 0
    before = monitor.checkpoint()
    monitor.config["environment"] = "testing"
    result = monitor.once()
    assert result.returncode == 78
    assert f"{monitor.file} (environment production)" in result.stderr
    assert str(monitor.state) in result.stderr
    assert "set another `monitor: {state_dir: …}`" in result.stderr
    assert monitor.checkpoint() == before
    monitor.config["environment"] = "production"
    other = Monitor(monitor.disk.parent / "other", monitor.memory, monitor.config["monitor"]["audit"])
    other.config = monitor.config
    assert other.once().returncode == 78
    assert other.once("--take-ownership").returncode == 0
    assert monitor.checkpoint()["owner"] == {"configuration": str(other.file), "environment": "production"}
    assert other.once().returncode == 0
    assert monitor.once().returncode == 78


def test_an_edit_of_the_environment_is_refused_while_it_runs(monitor):
    monitor.start().until(lambda status: status["ready"])
    monitor.config["environment"] = "testing"
    monitor.write_config()
    status = monitor.until(lambda status: status["problems"])
    assert "belongs to another configuration" in status["problems"][0]
    assert status["environment"] == "production"


@pytest.mark.thorough
def test_the_log_of_another_cluster_is_refused_and_an_alert_says_so(servers, monitor):
    one, two = servers
    assert monitor.once().returncode == 0
    before = monitor.checkpoint()
    two.put("of/another", value="x")
    two.ask("GET", "sys/mounts")
    with Hook() as hook, closing(monitor):
        monitor.config["monitor"]["audit"] = {"file": str(two.audit)}
        monitor.config["monitor"]["alerts"] = {"webhook": hook.url, "rules": [{"rule": "audit-off", "after": "0s"}]}
        result = monitor.once()
        assert result.returncode == 75
        assert "it is the log of another cluster than the monitor's state" in result.stderr
        assert monitor.checkpoint()["sinks"]["counters"] == before["sinks"]["counters"]
        monitor.start()
        eventually(lambda: "firing" in hook.states("audit-off"), "the alert")
        status = monitor.until(lambda status: status["sources"][0]["error"])
        assert (status["ready"], status["accesses"]["total"]) == (False, before["sources"]["vault"]["accesses"])
    # The same log under the known cluster's name continues, and the other cluster can take its place.
    result = monitor.once("--take-ownership")
    assert result.returncode == 0, result.stderr
    clusters = [state["sources"]["vault"]["cluster"] for state in (before, monitor.checkpoint())]
    assert clusters[0] != clusters[1]
    monitor.config["monitor"]["audit"] = {"file": str(one.audit)}
    one.ask("GET", "sys/mounts")
    assert monitor.once().returncode == 75


def test_a_moved_log_of_the_same_cluster_continues(servers, monitor):
    one, _ = servers
    assert monitor.once().returncode == 0
    before = monitor.checkpoint()["sources"]["vault"]
    moved = one.audit.with_name("moved.log")
    one.put("after/the/move", value="x")
    shutil.copy(one.audit, moved)
    monitor.config["monitor"]["audit"] = {"file": str(moved)}
    assert monitor.once().returncode == 0
    assert monitor.checkpoint()["sources"]["vault"]["accesses"] == before["accesses"] + 1
