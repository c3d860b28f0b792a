"""`lessee setup` on servers that are not ready, or that take audit devices only from their configuration."""

import json
import subprocess
import time
from urllib.request import Request, urlopen

import pytest

from lessee.host.openbao import OpenBao, find_bao, free_port
from support.environments.setup_namespace import AUDIT, SetupNamespace
from support.programs.sidecar import eventually
from support.servers.fault_proxy import Proxy


@pytest.fixture
def bare(tmp_path):
    """A server that is not initialized."""
    port = free_port()
    config = tmp_path / "bare.hcl"
    config.write_text(
        f'storage "inmem" {{}}\nlistener "tcp" {{\n  address = "127.0.0.1:{port}"\n  tls_disable = true\n}}\n'
    )
    with (tmp_path / "bare.log").open("wb") as log:
        process = subprocess.Popen([find_bao(), "server", f"-config={config}"], stdout=log, stderr=log)
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.wait()


def test_an_uninitialized_or_sealed_server_is_reported_with_the_next_step(bare, bao, tmp_path):
    ground = SetupNamespace(bao, "unready", tmp_path)
    bao.ask("DELETE", "sys/namespaces/unready")
    ground.config["vault"]["address"] = bare
    ground.environ.pop("VAULT_NAMESPACE")

    def is_up():
        command = ground.command("setup", "--plan")
        done = subprocess.run(command, cwd=ground.disk, env=ground.environ, capture_output=True, check=False)
        return done.returncode == 69 and b"refused" not in done.stderr

    eventually(is_up, "the server")
    assert (
        "Vault is not initialized; run `lessee setup --init DIR` to initialize" in ground.run("--plan", code=69).stderr
    )
    body = json.dumps({"secret_shares": 1, "secret_threshold": 1}).encode()
    urlopen(Request(f"{bare}/v1/sys/init", body, method="PUT"), timeout=10).close()
    assert "Vault is sealed; run `bao operator unseal`" in ground.run("--plan", code=69).stderr


class RootNamespace(SetupNamespace):
    """A server of the test's own, without a namespace, because audit devices belong to the whole server."""

    def __init__(self, bao, disk):
        bao.ask("DELETE", "sys/mounts/secret")
        bao.ask("POST", "sys/namespaces/unused", {})
        super().__init__(bao, "aside", disk)
        self.environ.pop("VAULT_NAMESPACE")
        self.wanted["audit"] = {"file": str(disk / "lessee.log")}

    def ask(self, method, path, body=None, **token):
        return self.bao.ask(method, path, body, **token)


def test_a_rejected_audit_device_is_printed_as_a_stanza_and_setup_continues(tmp_path):
    with OpenBao(tmp_path) as bao, Proxy(bao.port) as proxy:
        ground = RootNamespace(bao, tmp_path)
        ground.config["vault"]["address"] = proxy.address
        errors = ground.run().stderr
        assert errors.startswith(
            "lessee: warning: audit device file: the server takes it only from its own configuration"
        )
        audit_stanza = errors[errors.index('audit "file"') :]
        assert ground.has("GET", "auth/approle/role/production-app")
        since = time.monotonic()
        assert ground.run().stderr == errors
        assert [one for one in proxy.requests if one.at > since and one.method != "GET"] == []
    with OpenBao(tmp_path, config=audit_stanza) as bao:
        ground = RootNamespace(bao, tmp_path)
        assert ground.run().stderr == ""
        assert "sys/policies/acl/production-app" in (tmp_path / "lessee.log").read_text()
        assert ground.run().stdout == "done: nothing to do\n"


def test_an_audit_device_is_created_where_the_server_allows_it(tmp_path):
    with OpenBao(tmp_path, config="unsafe_allow_api_audit_creation = true") as bao:
        ground = RootNamespace(bao, tmp_path)
        ground.run()
        assert "sys/policies/acl/production-app" in (tmp_path / "lessee.log").read_text()
        assert ground.run().stdout == "done: nothing to do\n"
        ground.wanted["audit"]["file"] = str(tmp_path / "other.log")
        result = ground.run("--force", code=75).stdout
        assert "  ! audit device file: it writes to another file; setup never redirects an audit log\n" in result


def test_an_audit_device_of_another_name_with_the_same_file_is_accepted(tmp_path):
    with OpenBao(tmp_path, config=AUDIT % (tmp_path / "lessee.log")) as bao:
        ground = RootNamespace(bao, tmp_path)
        assert ground.run().stderr == ""
