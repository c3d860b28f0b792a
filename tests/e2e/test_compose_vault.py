"""The server for production, brought up on a real Engine and set up on its first day."""

import json
import os
import shutil

import pytest
import yaml

from e2e.compose import AGENT, LESSEE, up
from support.paths import ROOT
from support.servers.vault_server import certificate

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What its operator has: a certificate for the server, and the configuration of lessee."""
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
def vault(pytestconfig, folder):
    services = {"openbao": {"volumes": [f"{folder}/tls:/vault/tls:ro"]}}
    with up(pytestconfig, "vault", services) as project:
        yield project


def lessee(vault, folder, *arguments, **environ):
    """A command of the operator, in the server's container network."""
    variables = [word for name, value in environ.items() for word in ("--env", f"{name}={value}")]
    place = ("--network", f"{vault.name}_vault", "--volume", f"{folder}:/work", "--workdir", "/work", "--user", "0:0")
    return vault.docker("run", "--rm", *place, *variables, "--entrypoint", LESSEE, AGENT, *arguments)


def test_it_is_well_while_sealed_and_after_its_first_day_and_keeps_its_data(vault, folder):
    shutil.rmtree(folder / "keys", ignore_errors=True)
    said = lessee(vault, folder, "setup", "--init", "keys")
    assert "the server is unsealed and active" in said
    token = (folder / "keys" / "root-token").read_text().strip()
    assert "done: " in lessee(vault, folder, "setup", VAULT_TOKEN=token)
    assert lessee(vault, folder, "setup", VAULT_TOKEN=token) == "done: nothing to do\n"
    status = json.loads(vault.run("openbao", "bao", "status", "-format=json"))
    assert (status["storage_type"], status["sealed"]) == ("raft", False)
    vault.compose("restart", "openbao")
    vault.compose("up", "--wait")
    assert json.loads(vault.run("openbao", "bao", "status", "-format=json", fine=False))["sealed"]
    assert "the server is unsealed and active" in lessee(vault, folder, "setup", "--unseal", "keys")
    assert lessee(vault, folder, "setup", VAULT_TOKEN=token) == "done: nothing to do\n"
    log = vault.run("openbao", "cat", "/vault/logs/audit.log")
    assert "sys/policies/acl/production-app" in log
    assert token not in log


def test_it_may_do_nothing_but_its_job(vault):
    seen = vault.inspect("openbao")
    assert seen["HostConfig"]["ReadonlyRootfs"]
    assert seen["Config"]["User"] == "65534:65534"
    fields = dict(line.split(":\t", 1) for line in vault.run("openbao", "cat", "/proc/1/status").splitlines())
    assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"] == "1"
