"""Raft snapshots in archives: saved, verified in a separate server, and restored."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.environments.backups import Backups, canary, fill
from support.programs.sidecar import eventually
from support.servers import cluster
from support.servers.cluster import Cluster


class Server:
    """A node of a real cluster, with the interface of the tests' other servers."""

    def __init__(self, cluster):
        self.cluster, self.address = cluster, cluster.nodes[0].address

    def ask(self, *arguments):
        return self.cluster.ask(0, *arguments)

    def ready(self, path):
        try:
            return self.ask("GET", path)
        except RuntimeError:
            return None

    def backups(self, disk, memory):
        backups = Backups(self.address, disk, memory)
        backups.environ["VAULT_TOKEN"] = self.cluster.root_token
        return backups


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "_CONFIG", f"{cluster._CONFIG}\nunsafe_allow_api_audit_creation = true\n")
    with Cluster(tmp_path / "cluster", nodes=1) as node:
        server = Server(node)
        server.ask("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
        eventually(lambda: server.ready("secret/config"), "the mount")
        fill(server)
        yield server


@pytest.fixture
def unseal_key(server, tmp_path):
    file = tmp_path / "unseal-key"
    file.write_text(server.cluster.unseal_key)
    return str(file)


@pytest.mark.thorough
def test_a_raft_snapshot_is_saved_and_verified_with_unseal_keys(server, unseal_key, tmp_path, memory):
    backups = server.backups(tmp_path, memory)
    said = backups.backup("save")
    assert "with a raft snapshot of everything" in said
    said = backups.backup("verify", "latest")
    assert (
        "raft snapshot: its checksums match; to restore it into a server too, give unseal keys with --unseal-key-file"
        in said
    )
    said = backups.backup("verify", "latest", "--unseal-key-file", unseal_key, timeout=90)
    assert "raft snapshot: unsealed in a separate server: 22 secrets equal the logical backup" in said
    (tmp_path / "wrong").write_text(server.cluster.unseal_key[:-4] + "0000")
    backups.backup(
        "verify", "latest", "--unseal-key-file", str(tmp_path / "wrong"), code=77, text="sys/unseal", timeout=90
    )


@pytest.mark.thorough
def test_verifying_a_snapshot_does_not_touch_databases_and_audit_logs(server, unseal_key, tmp_path, memory, postgres):
    """A lease has expired in the copy that the server itself has renewed since."""
    postgres.attach(server, default_ttl="4s", max_ttl="1h")
    (tmp_path / "audit").mkdir()
    audit = tmp_path / "audit" / "audit.log"
    server.ask("POST", "sys/audit/file", {"type": "file", "options": {"file_path": str(audit)}})
    lease = server.ask("GET", "database/creds/simba")
    saved, over = threading.Event(), threading.Event()

    def renew():
        while not over.wait(0.5):
            # It still expires in the copy; here the next renewal is no longer urgent.
            longer = {"increment": "1h"} if saved.is_set() else {}
            server.ask("POST", "sys/leases/renew", {"lease_id": lease["lease_id"], **longer})

    with ThreadPoolExecutor(1) as pool:
        renewing = pool.submit(renew)
        try:
            backups = server.backups(tmp_path, memory)
            backups.save()
            saved.set()
            said = backups.backup("verify", "latest", "--unseal-key-file", unseal_key, timeout=90)
        finally:
            over.set()
        renewing.result()
    assert "secrets equal the logical backup" in said
    assert postgres.can_log_in(lease["data"]["username"], lease["data"]["password"])
    logged = [json.loads(line) for line in audit.read_text().splitlines()]
    assert not [entry for entry in logged if "generate-root" in entry["request"].get("path", "")]
    server.ask("POST", "sys/leases/revoke", {"lease_id": lease["lease_id"], "sync": True})


def test_a_snapshot_restores_everything(server, tmp_path, memory):
    backups = server.backups(tmp_path, memory)
    backups.save()
    server.ask("POST", "secret/data/after", {"data": {"value": canary("after")}})
    server.ask("DELETE", "sys/mounts/transit")
    asked = backups.command("backup", "restore", "latest", "--raft")
    assert (asked.returncode, "This replaces all data and unseal keys by those of 20" in asked.stdout) == (
        77,
        True,
    ), asked.stderr
    assert server.ready("secret/data/after")
    said = backups.backup("restore", "latest", "--raft", "--yes")
    assert "unseal the server with the keys of that time" in said
    server.cluster.unseal(0)
    server.cluster.active()
    assert server.ready("secret/data/after") is None
    assert server.ready("transit/keys/app")


@pytest.mark.thorough
def test_a_snapshot_of_another_cluster_needs_force(server, tmp_path, memory, tmp_path_factory):
    archive = server.backups(tmp_path, memory).save()
    disk = tmp_path_factory.mktemp("other")
    with Cluster(disk / "cluster", nodes=1) as node:
        other = Server(node)
        backups = other.backups(disk, memory)
        arguments = ("restore", str(archive), "--raft", "--yes", "--key-file", str(tmp_path / "key.txt"))
        backups.backup(*arguments, code=77, text="the archive is of another cluster")
        assert "transit/" not in other.ask("GET", "sys/mounts")["data"]
        backups.backup(*arguments, "--force")
        node.unseal_key, node.root_token = server.cluster.unseal_key, server.cluster.root_token
        eventually(lambda: node.health(0) != 200, "the node to be sealed")
        node.unseal(0)
        node.active()
        assert other.ask("GET", "transit/keys/app")["data"]["name"] == "app"


@pytest.mark.thorough
def test_a_token_without_permission_for_snapshots_is_reported(server, tmp_path, memory):
    policy = 'path "*" { capabilities = ["read", "list"] }\npath "sys/storage/*" { capabilities = ["deny"] }'
    server.ask("PUT", "sys/policies/acl/no-snapshot", {"policy": policy})
    token = server.ask("POST", "auth/token/create", {"policies": ["no-snapshot"]})["auth"]["client_token"]
    backups = server.backups(tmp_path, memory)
    said = backups.backup("save", env={"VAULT_TOKEN": token})
    assert "no raft snapshot: sys/storage/raft/snapshot: permission denied (403)" in said
    backups.backup("restore", "latest", "--raft", "--yes", code=65, text="the archive has no raft snapshot")
    backups.backup("restore", "latest", "--raft", "--plan", code=64, text="omit --path and --plan")
