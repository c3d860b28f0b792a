"""The raft peers and the storage's size of a real cluster are metrics of the monitor."""

import pytest

from support.programs.monitor import Monitor
from support.programs.sidecar import eventually
from support.servers.cluster import Cluster

POLICY = 'path "sys/storage/raft/configuration" { capabilities = ["read"] }'


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("cluster"), nodes=2) as one:
        active = one.active()
        one.ask(active, "POST", "sys/auth/approle", {"type": "approle"})
        one.ask(active, "PUT", "sys/policies/acl/monitor", {"policy": POLICY})
        for name, policies in {"monitor": ["monitor"], "denied": []}.items():
            one.ask(active, "POST", f"auth/approle/role/{name}", {"token_policies": policies})
        yield one


@pytest.fixture
def monitor(cluster, tmp_path, memory):
    storage = {"poll_interval": "1s", "storage_dir": str(cluster.nodes[0].folder / "data")}
    audit = {"file": str(tmp_path / "none.log")}
    with Monitor(tmp_path / "monitor", memory, audit, cluster=storage) as one:
        yield one


def login(cluster, monitor, role):
    active, base = cluster.active(), f"auth/approle/role/{role}"
    secret_id = cluster.ask(active, "POST", f"{base}/secret-id", {})["data"]["secret_id"]
    files = {"role_id": cluster.ask(active, "GET", f"{base}/role-id")["data"]["role_id"], "secret_id": secret_id}
    for name, value in files.items():
        (monitor.disk / name).write_text(value)
    auth = {"method": "approle", **{f"{name}_file": str(monitor.disk / name) for name in files}}
    monitor.config["vault"] = {"address": cluster.nodes[active].address, "auth": auth}


@pytest.mark.thorough
def test_the_peers_and_the_storage_of_a_cluster_are_metrics(cluster, monitor):
    login(cluster, monitor, "monitor")
    monitor.start()
    found = monitor.until(lambda status: status["cluster"]["peers"])["cluster"]
    assert sorted((peer["node"], peer["voter"]) for peer in found["peers"]) == [("node0", True), ("node1", True)]
    assert [peer["node"] for peer in found["peers"] if peer["leader"]] == [f"node{cluster.active()}"]
    assert found["storage_bytes"] > 0
    text = monitor.get("/metrics")[1]
    for line in (
        'lessee_monitor_raft_peers{state="voter"} 2.0',
        'lessee_monitor_raft_peers{state="nonvoter"} 0.0',
        "lessee_monitor_raft_has_leader 1.0",
        "lessee_monitor_cluster_failing 0.0",
        "lessee_monitor_storage_bytes ",
        "lessee_monitor_storage_free_bytes ",
    ):
        assert line in text
    assert (monitor.disk / "secret_id").read_text() not in text + monitor.log.read_text()


def test_a_policy_that_is_missing_is_a_problem_and_no_metric(cluster, monitor):
    login(cluster, monitor, "denied")
    monitor.config["monitor"]["cluster"]["storage_dir"] = str(monitor.disk / "absent")
    monitor.start()
    status = monitor.until(lambda status: len(status["problems"]) >= 3)
    assert any("the raft peers are unknown: sys/storage/raft/configuration" in text for text in status["problems"])
    assert f"the storage's size is unknown: {monitor.disk}/absent: No such file or directory" in status["problems"]
    text = monitor.get("/metrics")[1]
    assert "lessee_monitor_cluster_failing 1.0" in text
    assert "lessee_monitor_raft_peers" not in text
    assert "lessee_monitor_storage_bytes" not in text
    # A policy that is written later is used at the next poll.
    active = cluster.active()
    cluster.ask(active, "POST", "auth/approle/role/denied", {"token_policies": ["monitor"]})
    eventually(lambda: monitor.status()["cluster"]["peers"], "the peers")


def test_a_server_that_does_not_answer_is_a_problem(monitor):
    for name in ("role_id", "secret_id"):
        (monitor.disk / name).write_text("not-a-real-one")
    auth = {"method": "approle", **{f"{name}_file": str(monitor.disk / name) for name in ("role_id", "secret_id")}}
    monitor.config["vault"] = {"address": "http://127.0.0.1:9", "auth": auth}
    monitor.start()
    status = monitor.until(lambda status: status["cluster"]["error"])
    assert status["cluster"]["peers"] is None
