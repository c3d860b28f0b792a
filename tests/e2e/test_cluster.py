"""A cluster without a load balancer: its active node dies, and the agent continues with the next one."""

import pytest

from support.programs.sidecar import Sidecar, eventually
from support.servers.cluster import Cluster


@pytest.fixture
def cluster(tmp_path):
    with Cluster(tmp_path) as nodes:
        nodes.ask(nodes.active(), "POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
        eventually(lambda: written(nodes, "first"), "the mount on every node")
        yield nodes


def written(cluster, password):
    """Write the password; return whether every running node has it."""
    running = [number for number, node in enumerate(cluster.nodes) if node.process is not None]
    try:
        cluster.ask(cluster.active(), "POST", "secret/data/testing/db", {"data": {"password": password}})
        read = [cluster.ask(number, "GET", "secret/data/testing/db")["data"]["data"] for number in running]
    except (RuntimeError, OSError):
        return False
    return read == [{"password": password}] * len(running)


@pytest.fixture
def sidecar(cluster, tmp_path, memory):
    agent = Sidecar("", tmp_path, memory)
    agent.config["vault"] = {"addresses": [node.address for node in cluster.nodes]}
    agent.environ["VAULT_TOKEN"] = cluster.root_token
    agent.template("app.env.j2", 'PASSWORD={{ secret("db").password }}\n')
    agent.start()
    yield agent
    agent.close()


def test_the_files_stay_fresh_when_the_active_node_dies(cluster, sidecar):
    before = cluster.active()
    assert sidecar.status()["vault"]["address"] == cluster.nodes[before].address
    cluster.stop(before)
    eventually(lambda: written(cluster, "second"), "a write to the next active node")
    sidecar.until_file("app.env", "PASSWORD='second'\n")
    status = sidecar.until(lambda s: s["fresh"])
    others = {node.address for number, node in enumerate(cluster.nodes) if number != before}
    assert status["vault"]["address"] in others


def test_if_no_node_serves_the_status_reports_the_reasons(cluster, sidecar):
    for number in range(3):
        cluster.stop(number)
    problem = "none of 3 addresses serves: connection refused at 3"
    sidecar.until(lambda s: not s["vault"]["reachable"] and any(problem in line for line in s["problems"]))
    assert (sidecar.directory / "app.env").read_text() == "PASSWORD='first'\n"


@pytest.mark.thorough
def test_the_agent_waits_while_the_standbys_have_no_leader(cluster, sidecar):
    active = cluster.active()
    for number in range(3):
        if number != active:
            cluster.stop(number)
    # One of three nodes has no quorum: it steps down, and reports that.
    sidecar.until(lambda s: not s["vault"]["reachable"] or not s["fresh"])
    assert (sidecar.directory / "app.env").read_text() == "PASSWORD='first'\n"
    for number in range(3):
        if number != active:
            cluster.start(number)
    eventually(lambda: written(cluster, "second"), "a write with a quorum again")
    sidecar.until(lambda s: s["fresh"])
    sidecar.until_file("app.env", "PASSWORD='second'\n")
