"""The production server of compose/vault on a real Engine, initialized and set up."""

import json
import os
import shutil

import pytest
import yaml

from e2e.compose import AGENT, LESSEE
from support.paths import ROOT
from support.servers.vault_server import certificate

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The operator's files: a certificate for the server, and the configuration of lessee."""
    folder = tmp_path_factory.mktemp("vault")
    certificate(folder / "tls")
    for file in (folder / "tls").iterdir():
        os.chown(file, 65534, 65534)
    (folder / "tls" / "tls.key").chmod(0o400)
    config = yaml.safe_load((ROOT / "compose" / "vault" / "lessee.yaml").read_text())
    config["vault"]["address"] = "https://vault:8200"
    (folder / "lessee.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture(scope="module")
def vault(images, folder):
    services = {"openbao": {"volumes": [f"{folder}/tls:/vault/tls:ro"]}}
    with images.up("vault", services) as project:
        yield project


def lessee(vault, folder, *arguments, **environ):
    """Run a command of the operator in a container of the server's network, and return its output."""
    variables = [word for name, value in environ.items() for word in ("--env", f"{name}={value}")]
    options = ("--network", f"{vault.name}_vault", "--volume", f"{folder}:/work", "--workdir", "/work", "--user", "0:0")
    return vault.docker("run", "--rm", *options, *variables, "--entrypoint", LESSEE, AGENT, *arguments)


@pytest.mark.thorough
def test_the_server_is_healthy_sealed_and_unsealed_and_retains_its_data(vault, folder):
    shutil.rmtree(folder / "keys", ignore_errors=True)
    output = lessee(vault, folder, "setup", "--init", "keys")
    assert "the server is unsealed and active" in output
    token = (folder / "keys" / "root-token").read_text().strip()
    assert "done: " in lessee(vault, folder, "setup", VAULT_TOKEN=token)
    assert lessee(vault, folder, "setup", VAULT_TOKEN=token) == "done: nothing to do\n"
    status = json.loads(vault.run("openbao", "bao", "status", "-format=json"))
    assert (status["storage_type"], status["sealed"]) == ("raft", False)
    vault.compose("restart", "openbao")
    vault.compose("up", "--wait")
    assert json.loads(vault.run("openbao", "bao", "status", "-format=json", check=False))["sealed"]
    assert "the server is unsealed and active" in lessee(vault, folder, "setup", "--unseal", "keys")
    assert lessee(vault, folder, "setup", VAULT_TOKEN=token) == "done: nothing to do\n"
    log = vault.run("openbao", "cat", "/vault/logs/audit.log")
    assert "sys/policies/acl/production-app" in log
    assert token not in log


def test_the_server_has_only_the_privileges_that_it_needs(vault):
    container = vault.inspect("openbao")
    assert container["HostConfig"]["ReadonlyRootfs"]
    assert container["Config"]["User"] == "65534:65534"
    fields = dict(line.split(":\t", 1) for line in vault.run("openbao", "cat", "/proc/1/status").splitlines())
    assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"] == "1"
