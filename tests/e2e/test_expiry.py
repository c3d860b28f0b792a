"""A lease expires during an outage: `on_expiry` applies to each app, and all is fresh afterwards."""

import sys

import pytest

from lessee.host.openbao import OpenBao
from support.programs.sidecar import Sidecar, eventually
from support.servers.fault_proxy import Fault

CREDS = '{% set db = dynamic("database/creds/brief") %}{{ db.username }} {{ db.password }}\n'
POLICY = """
path "database/creds/*"  { capabilities = ["read"] }
path "secret/*"          { capabilities = ["read", "list"] }
path "sys/leases/revoke" { capabilities = ["update"] }
"""


@pytest.fixture
def server(tmp_path, postgres):
    """A server whose role `brief` issues credentials for four seconds, and what is left of them removed."""
    before = set(postgres.roles("v-%"))
    with OpenBao(tmp_path) as bao:
        postgres.attach(bao, role="brief", default_ttl="4s", max_ttl="4s")
        yield bao
    for role in set(postgres.roles("v-%")) - before:
        postgres.sql(f'DROP ROLE "{role}"', database="simba")


@pytest.fixture
def sidecar(server, proxy, tmp_path, memory):
    agent = Sidecar(proxy.address, tmp_path, memory)
    agent.log_in_by_approle(server, POLICY)
    agent.template("db.txt.j2", CREDS)
    yield agent
    agent.close()


def credentials(sidecar):
    return (sidecar.directory / "db.txt").read_text().split()


def expire(proxy, sidecar):
    """Make Vault unavailable until its credentials expire, and return these."""
    sidecar.start()
    proxy.fault = Fault.REFUSE
    there = credentials(sidecar)
    sidecar.until(lambda s: any(lease["state"] == "expired" for lease in s["leases"]))
    return there


def is_fresh_again(proxy, sidecar, postgres, before):
    """Vault is back, and all is as if nothing had been."""
    proxy.clear()
    sidecar.until(lambda s: s["ready"] and s["fresh"] and not s["problems"] and s["apps"]["web"]["degraded"] is None)
    assert credentials(sidecar) != before
    assert postgres.can_log_in(*credentials(sidecar))


def metrics(sidecar):
    return sidecar.get("/metrics")[1].splitlines()


@pytest.mark.thorough
def test_an_expired_lease_is_in_status_metrics_and_log_and_the_files_remain(proxy, sidecar, postgres):
    before = expire(proxy, sidecar)
    status = sidecar.until(lambda s: s["apps"]["web"]["degraded"])
    assert "database/creds/brief" in status["apps"]["web"]["degraded"]
    assert (status["ready"], status["fresh"]) == (True, False)
    assert any("web is degraded" in line for line in status["problems"])
    assert 'lessee_leases{state="expired"} 1.0' in metrics(sidecar)
    assert 'lessee_leases{state="held"} 0.0' in metrics(sidecar)
    (ended,) = [event for event in sidecar.events() if event["event"] == "lease expired"]
    assert (ended["path"], ended["apps"]) == ("database/creds/brief", "web")
    (warning,) = [event for event in sidecar.events() if event["event"] == "files contain expired secrets"]
    assert (warning["app"], warning["on_expiry"]) == ("web", "keep")
    assert credentials(sidecar) == before
    is_fresh_again(proxy, sidecar, postgres, before)


def test_on_expiry_remove_removes_the_files_until_new_ones_are_published(proxy, sidecar, postgres):
    sidecar.web["on_expiry"] = "remove"
    before = expire(proxy, sidecar)
    eventually(lambda: not (sidecar.directory / "db.txt").exists(), "the removal")
    assert not sidecar.until(lambda s: s["apps"]["web"]["generation"] is None)["ready"]
    assert not any(before[1].encode() in file.read_bytes() for file in sidecar.directory.rglob("*") if file.is_file())
    is_fresh_again(proxy, sidecar, postgres, before)


@pytest.mark.thorough
def test_the_on_expiry_command_runs_once_with_the_app_and_the_paths(proxy, sidecar, postgres):
    said = sidecar.disk / "said"
    script = (
        "import os, sys; "
        "print(os.environ['LESSEE_APP'], os.environ['LESSEE_EXPIRED'], 'VAULT_TOKEN' in os.environ, "
        "file=open(sys.argv[1], 'a'))"
    )
    sidecar.web["on_expiry"] = {"command": [sys.executable, "-c", script, str(said)]}
    before = expire(proxy, sidecar)
    sidecar.until(lambda _: any(e["event"] == "on_expiry command exited" for e in sidecar.events()))
    assert said.read_text() == "web database/creds/brief False\n"
    assert credentials(sidecar) == before
    is_fresh_again(proxy, sidecar, postgres, before)
    assert said.read_text().count("\n") == 1


@pytest.mark.thorough
def test_on_expiry_applies_to_the_apps_with_the_lease_alone(server, proxy, sidecar, postgres):
    server.put("testing/x", y="1")
    (sidecar.disk / "x.txt.j2").write_text('{{ secret("x").y }}\n')
    for name, template, wish in (("removed", "db.txt.j2", "remove"), ("apart", "x.txt.j2", "remove")):
        directory = str(sidecar.memory / name)
        sidecar.config["apps"][name] = {"directory": directory, "files": [{"template": template}], "on_expiry": wish}
    before = expire(proxy, sidecar)
    eventually(lambda: not (sidecar.memory / "removed/db.txt").exists(), "the removal")
    assert credentials(sidecar) == before
    assert (sidecar.memory / "apart/x.txt").read_text() == "1\n"
    assert sidecar.status()["apps"]["apart"]["degraded"] is None
    is_fresh_again(proxy, sidecar, postgres, before)
    assert (sidecar.memory / "removed/db.txt").read_text() == (sidecar.directory / "db.txt").read_text()


@pytest.mark.thorough
def test_a_token_that_expires_during_an_outage_is_replaced_with_its_leases(server, proxy, sidecar, postgres):
    postgres.attach(server, role="brief", default_ttl="1h", max_ttl="1h")
    role = {"token_policies": [sidecar.disk.name], "token_ttl": "4s"}
    server.ask("POST", f"auth/approle/role/{sidecar.disk.name}", role)
    before = expire(proxy, sidecar)
    assert sidecar.until(lambda s: s["apps"]["web"]["degraded"])["token"] is None
    assert credentials(sidecar) == before
    is_fresh_again(proxy, sidecar, postgres, before)
    assert sidecar.status()["totals"]["logins"] >= 2


@pytest.mark.thorough
@pytest.mark.parametrize("wish", ["keep", "remove"])
def test_on_expiry_applies_at_the_start_to_leases_that_expired_before(proxy, sidecar, postgres, wish):
    sidecar.web["on_expiry"] = wish
    sidecar.start()
    sidecar.stop()
    before = credentials(sidecar)
    eventually(lambda: before[0] not in postgres.roles("v-%"), "the end of the credentials")
    proxy.fault = Fault.REFUSE
    sidecar.start(wait=False)
    sidecar.until(lambda _: any(e["event"] == "files contain expired secrets" for e in sidecar.events()))
    if wish == "remove":
        eventually(lambda: not (sidecar.directory / "db.txt").exists(), "the removal")
    else:
        assert sidecar.until(lambda s: s["apps"]["web"]["degraded"])["ready"]
        assert credentials(sidecar) == before
    is_fresh_again(proxy, sidecar, postgres, before)
