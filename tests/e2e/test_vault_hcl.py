"""The configurations in compose/vault start a real server, which `lessee setup --init` can take over."""

import json
import re
import shutil
import subprocess

import pytest
import yaml

from lessee.host.project import read
from support.needs import need
from support.programs.sidecar import eventually
from support.servers.vault_server import FOLDER, Server, adapted, certificate, ports


def warnings(server):
    return re.findall(r"unknown or unsupported field (\S+)", server.log.read_text())


@pytest.mark.thorough
def test_production_has_raft_tls_and_an_audit_log_from_the_first_request(tmp_path):
    numbers = ports(2)
    certificate(tmp_path / "tls")
    for name in ("data", "logs"):
        (tmp_path / name).mkdir()
    text = adapted("production.hcl", tmp_path, numbers)
    with Server(tmp_path, numbers[0], text, ca=tmp_path / "tls" / "ca.crt") as server:
        said = server.setup("--init", tmp_path / "keys")
        assert said.returncode == 0, said.stderr
        assert warnings(server) == ["disable_mlock"]
        token = (tmp_path / "keys" / "root-token").read_text().strip()
        status = server.ask("GET", "sys/seal-status")
        assert (status["storage_type"], status["sealed"], status["t"], status["n"]) == ("raft", False, 3, 5)
        (peer,) = server.ask("GET", "sys/storage/raft/configuration", token=token)["data"]["config"]["servers"]
        assert (peer["node_id"], peer["leader"], peer["voter"]) == ("vault-1", True, True)
        wanted = yaml.safe_load((FOLDER / "lessee.yaml").read_text())
        wanted["vault"] = yaml.safe_load((tmp_path / "lessee.yaml").read_text())["vault"]
        (tmp_path / "lessee.yaml").write_text(yaml.safe_dump(wanted))
        said = server.setup(token=token)
        assert said.returncode == 0, said.stderr
        assert len(server.ask("LIST", "auth/approle/role", token=token)["data"]["keys"]) == 12
        assert server.ask("GET", "sys/audit", token=token)["data"]["file/"]["type"] == "file"
        with pytest.raises(RuntimeError, match="403"):
            server.ask("GET", "sys/metrics")
        # The gauges cover the last ten seconds, in which the server may just have started.
        eventually(lambda: server.ask("GET", "sys/metrics", token=token)["Gauges"], "its gauges")
        assert server.ask("GET", "sys/auth/token/tune", token=token)["data"]["default_lease_ttl"] == 3600
        log = tmp_path / "logs" / "audit.log"
        assert log.stat().st_mode & 0o777 == 0o600
        paths = [json.loads(line)["request"].get("path") for line in log.read_text().splitlines()]
        assert "sys/mounts/secret" in paths
        assert token not in log.read_text()
        server.stop()
        server.start()
        assert server.ask("GET", "sys/seal-status")["sealed"]
        said = server.setup("--unseal", tmp_path / "keys")
        assert (said.returncode, said.stdout) == (0, ""), said.stderr
        assert "secret/" in server.ask("GET", "sys/mounts", token=token)["data"]


def test_development_starts_sealed_and_listens_only_on_loopback(tmp_path):
    numbers = ports(2)
    assert re.search(r'address += "127\.0\.0\.1:8200"', (FOLDER / "development.hcl").read_text())
    with Server(tmp_path, numbers[0], adapted("development.hcl", tmp_path, numbers)) as server:
        assert server.ask("GET", "sys/seal-status")["sealed"]
        said = server.setup("--init", tmp_path / "keys", "--key-shares", "1", "--key-threshold", "1")
        assert said.returncode == 0, said.stderr
        token = (tmp_path / "keys" / "root-token").read_text().strip()
        assert server.ask("GET", "sys/seal-status")["storage_type"] == "inmem"
        assert server.ask("GET", "auth/token/lookup-self", token=token)["data"]["policies"] == ["root"]
        assert warnings(server) == ["disable_mlock"]


@pytest.mark.thorough
def test_development_stores_its_data_as_its_comment_describes(tmp_path):
    numbers = ports(2)
    (tmp_path / "data").mkdir()
    text = adapted("development.hcl", tmp_path, numbers).replace('storage "inmem" {}\n', "")
    text = re.sub("^#   ", "", text, flags=re.MULTILINE).replace("/path/to/a/folder", str(tmp_path / "data"))
    text = text.replace(':8201"', f':{numbers[1]}"')
    with Server(tmp_path, numbers[0], text) as server:
        assert server.setup("--init", tmp_path / "keys").returncode == 0
        server.stop()
        server.start()
        said = server.setup("--unseal", tmp_path / "keys")
        assert said.returncode == 0, said.stderr
        assert server.ask("GET", "sys/seal-status")["storage_type"] == "raft"


def test_its_compose_file_is_valid_and_mounts_what_the_server_writes():
    need(shutil.which("docker"), "needs docker compose: apt install docker-cli docker-compose")
    said = subprocess.run(
        ["docker", "compose", "-f", FOLDER / "compose.yaml", "config", "--format", "json"],
        capture_output=True,
        text=True,
        check=False,
    )
    need(said.returncode != 125 and "is not a docker command" not in said.stderr, "needs docker compose")
    assert (said.returncode, said.stderr) == (0, "")
    service = json.loads(said.stdout)["services"]["openbao"]
    mounted = {volume["target"]: volume.get("read_only", False) for volume in service["volumes"]}
    written = re.findall(r'= "(/vault/\w+)[/"]', (FOLDER / "production.hcl").read_text())
    assert {path: mounted[path] for path in written} == {"/vault/tls": True, "/vault/data": False, "/vault/logs": False}
    assert mounted[service["command"][1].removeprefix("-config=")]
    assert service["healthcheck"]["test"]


def test_its_lessee_yaml_is_valid():
    config = read(FOLDER / "lessee.yaml", {})
    assert (config.vault.address, config.apps) == ("https://localhost:8200", {})
    assert yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]["openbao"]["ports"] == [
        "127.0.0.1:8200:8200"
    ]
