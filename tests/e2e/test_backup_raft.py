"""Raft snapshots in archives: taken, tried in a server of their own, and put back."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.environments.backups import Backups, canary, fill
from support.programs.sidecar import eventually
from support.servers import cluster
from support.servers.cluster import Cluster


class Server:
    """A node of a real cluster, asked as other servers of the tests are."""

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


def test_a_snapshot_comes_along_and_is_tried_where_there_are_unseal_keys(server, unseal_key, tmp_path, memory):
    backups = server.backups(tmp_path, memory)
    said = backups.backup("save")
    assert "a raft snapshot, which holds all" in said
    said = backups.backup("verify", "latest")
    assert "raft snapshot: its checksums are right; give unseal keys with --unseal-key-file" in said
    said = backups.backup("verify", "latest", "--unseal-key-file", unseal_key, timeout=90)
    assert "raft snapshot: unsealed in a server of its own: 22 secrets are as in the logical part" in said
    (tmp_path / "wrong").write_text(server.cluster.unseal_key[:-4] + "0000")
    backups.backup(
        "verify", "latest", "--unseal-key-file", str(tmp_path / "wrong"), code=77, text="sys/unseal", timeout=90
    )


def test_the_copy_that_is_tried_does_nothing_to_databases_and_audit_logs(
    server, unseal_key, tmp_path, memory, postgres
):
    """In the copy a lease has ended that the server itself has renewed since."""
    postgres.attach(server, default_ttl="4s", max_ttl="1h")
    (tmp_path / "audit").mkdir()
    audit = tmp_path / "audit" / "audit.log"
    server.ask("POST", "sys/audit/file", {"type": "file", "options": {"file_path": str(audit)}})
    lease = server.ask("GET", "database/creds/simba")
    saved, over = threading.Event(), threading.Event()

    def renew():
        while not over.wait(0.5):
            # In the copy it ends all the same; here nothing hangs on the next half second any more.
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
    assert "secrets are as in the logical part" in said
    assert postgres.can_log_in(lease["data"]["username"], lease["data"]["password"])
    logged = [json.loads(line) for line in audit.read_text().splitlines()]
    assert not [entry for entry in logged if "generate-root" in entry["request"].get("path", "")]
    server.ask("POST", "sys/leases/revoke", {"lease_id": lease["lease_id"], "sync": True})


def test_a_snapshot_brings_back_all_there_was(server, tmp_path, memory):
    backups = server.backups(tmp_path, memory)
    backups.save()
    server.ask("POST", "secret/data/after", {"data": {"value": canary("after")}})
    server.ask("DELETE", "sys/mounts/transit")
    asked = backups.command("backup", "restore", "latest", "--raft")
    assert (asked.returncode, "This replaces by what there was at 20" in asked.stdout) == (77, True), asked.stderr
    assert server.ready("secret/data/after")
    said = backups.backup("restore", "latest", "--raft", "--yes")
    assert "unseal the server with the keys that it had then" in said
    server.cluster.unseal(0)
    server.cluster.active()
    assert server.ready("secret/data/after") is None
    assert server.ready("transit/keys/app")


def test_a_snapshot_of_another_cluster_needs_force(server, tmp_path, memory, tmp_path_factory):
    archive = server.backups(tmp_path, memory).save()
    disk = tmp_path_factory.mktemp("other")
    with Cluster(disk / "cluster", nodes=1) as node:
        other = Server(node)
        backups = other.backups(disk, memory)
        arguments = ("restore", str(archive), "--raft", "--yes", "--key-file", str(tmp_path / "key.txt"))
        backups.backup(*arguments, code=77, text="it is of another cluster")
        assert "transit/" not in other.ask("GET", "sys/mounts")["data"]
        backups.backup(*arguments, "--force")
        node.unseal_key, node.root_token = server.cluster.unseal_key, server.cluster.root_token
        eventually(lambda: node.health(0) != 200, "its seal")
        node.unseal(0)
        node.active()
        assert other.ask("GET", "transit/keys/app")["data"]["name"] == "app"


def test_a_token_that_may_not_take_a_snapshot_is_told_so(server, tmp_path, memory):
    policy = 'path "*" { capabilities = ["read", "list"] }\npath "sys/storage/*" { capabilities = ["deny"] }'
    server.ask("PUT", "sys/policies/acl/no-snapshot", {"policy": policy})
    token = server.ask("POST", "auth/token/create", {"policies": ["no-snapshot"]})["auth"]["client_token"]
    backups = server.backups(tmp_path, memory)
    said = backups.backup("save", env={"VAULT_TOKEN": token})
    assert "no raft snapshot: sys/storage/raft/snapshot: permission denied (403)" in said
    backups.backup("restore", "latest", "--raft", "--yes", code=65, text="there is no raft snapshot in it")
    backups.backup("restore", "latest", "--raft", "--plan", code=64, text="leave out --path and --plan")
