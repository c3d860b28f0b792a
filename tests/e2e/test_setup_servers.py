"""`lessee setup` before servers that are not ready, or have their audit devices in their own hands."""

import json
import subprocess
import time
from urllib.request import Request, urlopen

import pytest

from lessee.host.openbao import OpenBao, find_bao, free_port
from support.environments.setup_namespace import AUDIT, Ground
from support.programs.sidecar import eventually
from support.servers.fault_proxy import Proxy


@pytest.fixture
def bare(tmp_path):
    """A server that nobody has initialised."""
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


def test_a_server_that_is_not_ready_is_told_of_with_what_to_do(bare, bao, tmp_path):
    ground = Ground(bao, "unready", tmp_path)
    bao.ask("DELETE", "sys/namespaces/unready")
    ground.config["vault"]["address"] = bare
    ground.environ.pop("VAULT_NAMESPACE")

    def is_up():
        command = ground.command("setup", "--plan")
        done = subprocess.run(command, cwd=ground.disk, env=ground.environ, capture_output=True, check=False)
        return done.returncode == 69 and b"refused" not in done.stderr

    eventually(is_up, "the server")
    assert "is not initialised (501); `lessee setup --init DIR` init" in ground.run("--plan", code=69).stderr
    body = json.dumps({"secret_shares": 1, "secret_threshold": 1}).encode()
    urlopen(Request(f"{bare}/v1/sys/init", body, method="PUT"), timeout=10).close()
    assert "is sealed or in maintenance (503); unseal it first" in ground.run("--plan", code=69).stderr


class Whole(Ground):
    """A server of the test's own, outside namespaces: audit devices are the whole server's."""

    def __init__(self, bao, disk):
        bao.ask("DELETE", "sys/mounts/secret")
        bao.ask("POST", "sys/namespaces/unused", {})
        super().__init__(bao, "aside", disk)
        self.environ.pop("VAULT_NAMESPACE")
        self.wanted["audit"] = {"file": str(disk / "lessee.log")}

    def ask(self, method, path, body=None, **token):
        return self.bao.ask(method, path, body, **token)


def test_where_the_server_forbids_an_audit_device_it_says_what_to_write_and_goes_on(tmp_path):
    with OpenBao(tmp_path) as bao, Proxy(bao.port) as proxy:
        ground = Whole(bao, tmp_path)
        ground.config["vault"]["address"] = proxy.address
        said = ground.run().stderr
        assert said.startswith(
            "lessee: warning: audit device file: the server takes it from its own configuration alone"
        )
        audit_stanza = said[said.index('audit "file"') :]
        assert ground.has("GET", "auth/approle/role/production-app")
        since = time.monotonic()
        assert ground.run().stderr == said
        assert [one for one in proxy.requests if one.at > since and one.method != "GET"] == []
    with OpenBao(tmp_path, config=audit_stanza) as bao:
        ground = Whole(bao, tmp_path)
        assert ground.run().stderr == ""
        assert "sys/policies/acl/production-app" in (tmp_path / "lessee.log").read_text()
        assert ground.run().stdout == "done: nothing to do\n"


def test_where_the_server_allows_it_the_audit_device_is_made(tmp_path):
    with OpenBao(tmp_path, config="unsafe_allow_api_audit_creation = true") as bao:
        ground = Whole(bao, tmp_path)
        ground.run()
        assert "sys/policies/acl/production-app" in (tmp_path / "lessee.log").read_text()
        assert ground.run().stdout == "done: nothing to do\n"
        ground.wanted["audit"]["file"] = str(tmp_path / "other.log")
        held = ground.run("--force", code=75).stdout
        assert "  ! audit device file: it writes elsewhere; left, for an audit log is never exchanged\n" in held


def test_a_device_under_another_name_that_writes_the_file_will_do(tmp_path):
    with OpenBao(tmp_path, config=AUDIT % (tmp_path / "lessee.log")) as bao:
        ground = Whole(bao, tmp_path)
        assert ground.run().stderr == ""
