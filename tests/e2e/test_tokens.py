"""With every type of token, the credentials in the files are valid at all times."""

import pytest

from support.programs.sidecar import Sidecar, eventually
from support.servers.fault_proxy import Fault, Proxy

FORKED_AGENTS = True
POLICY = """
path "database/creds/*" { capabilities = ["read"] }
path "secret/*" { capabilities = ["read", "list"] }
path "sys/leases/revoke" { capabilities = ["update"] }
"""
CREDS = '{% set db = dynamic("database/creds/simba") %}{{ db.username }} {{ db.password }}\n'
KINDS = {
    "batch": {"token_type": "batch", "token_ttl": "8s"},
    "capped": {"token_ttl": "6s", "token_max_ttl": "9s"},
    "periodic": {"token_period": "4s"},
    "renewable": {"token_ttl": "4s", "token_max_ttl": "1h"},
}


@pytest.fixture
def sidecar(server, postgres, tmp_path, memory):
    postgres.attach(server, role="simba", default_ttl="1h", max_ttl="24h")
    agent = Sidecar(server.address, tmp_path, memory)
    agent.template("db.txt.j2", CREDS)
    agent.web["notify"] = {"process": {"name": "lessee-tokens"}, "action": "SIGHUP"}
    yield agent
    agent.close()
    server.ask("POST", "sys/leases/revoke-prefix/database/creds", {"sync": True})


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
def test_the_files_stay_valid_over_three_tokens_or_renewals(server, sidecar, postgres, app, kind):
    sidecar.log_in_by_approle(server, POLICY)
    server.ask("POST", f"auth/approle/role/{sidecar.disk.name}", {"token_policies": [sidecar.disk.name], **KINDS[kind]})
    sidecar.start()
    app("lessee-tokens", sidecar.directory / "db.txt")
    counter = "logins" if kind in {"batch", "capped"} else "requests"
    wanted = sidecar.status()["totals"][counter] + 3

    def is_valid():
        username, password = (sidecar.directory / "db.txt").read_text().split()
        assert postgres.can_log_in(username, password), f"{username} cannot log in\n{sidecar.log.read_text()}"
        return sidecar.status()["totals"][counter] >= wanted

    eventually(is_valid, "the third token or renewal")
    status = sidecar.until(lambda s: s["fresh"])
    events = {event["event"] for event in sidecar.events()}
    assert not events & {"token expired", "lease expired", "token rejected"}
    if counter == "requests":
        assert (status["totals"]["logins"], status["totals"]["leases_issued"]) == (1, 1)


def test_a_root_token_without_a_ttl_is_neither_renewed_nor_revoked(server, sidecar, postgres):
    sidecar.start("--revoke")
    username, password = (sidecar.directory / "db.txt").read_text().split()
    assert postgres.can_log_in(username, password)
    assert sidecar.status()["token"]["expires_at"] is None
    sidecar.stop()
    eventually(lambda: not postgres.can_log_in(username, password), "the lease's end")
    assert server.ask("GET", "auth/token/lookup-self")["data"]["policies"] == ["root"]


def test_a_token_that_may_not_look_itself_up_is_used(server, sidecar, postgres):
    server.ask("PUT", "sys/policies/acl/bare", {"policy": POLICY})
    made = server.ask("POST", "auth/token/create", {"policies": ["bare"], "no_default_policy": True, "ttl": "1h"})
    sidecar.environ["VAULT_TOKEN"] = made["auth"]["client_token"]
    sidecar.start()
    username, password = (sidecar.directory / "db.txt").read_text().split()
    assert postgres.can_log_in(username, password)
    assert sidecar.status()["fresh"]


def test_a_changed_token_file_replaces_the_token(server, sidecar, postgres):
    file = sidecar.disk / "token"

    def put():
        made = server.ask("POST", "auth/token/create", {"policies": ["reader"], "ttl": "1h"})["auth"]
        file.write_text(made["client_token"])
        return made["accessor"]

    server.ask("PUT", "sys/policies/acl/reader", {"policy": POLICY})
    old = put()
    sidecar.config["vault"]["auth"] = {"method": "token", "token_file": str(file)}
    sidecar.start()
    file_of = sidecar.directory / "db.txt"
    first = file_of.read_text()
    put()
    server.ask("POST", "auth/token/revoke-accessor", {"accessor": old})
    eventually(lambda: file_of.read_text() != first, "new credentials")
    assert postgres.can_log_in(*(sidecar.directory / "db.txt").read_text().split())


def test_a_diff_revokes_its_lease_and_a_build_does_not(server, sidecar, postgres):
    sidecar.log_in_by_approle(server, POLICY)
    sidecar.write_config()
    before = set(postgres.roles("v-%"))
    said = sidecar.command("render", "--diff")
    assert said.returncode == 0, said.stderr
    assert "+ " in said.stdout
    eventually(lambda: set(postgres.roles("v-%")) <= before, "the revocation of the lease of the diff")
    said = sidecar.command("render", "--app", "web", "--output", str(sidecar.disk / "out"))
    assert said.returncode == 0, said.stderr
    assert postgres.can_log_in(*(sidecar.disk / "out" / "db.txt").read_text().split())


def test_rendering_one_app_leaves_the_lease_of_the_other_unchanged(server, sidecar, postgres):
    postgres.attach(server, role="other", default_ttl="1h", max_ttl="24h")
    (sidecar.disk / "other.txt.j2").write_text(CREDS.replace("simba", "other"))
    sidecar.config["apps"]["other"] = {
        "directory": str(sidecar.memory / "other"),
        "files": [{"template": "other.txt.j2"}],
    }
    del sidecar.web["notify"]
    sidecar.log_in_by_approle(server, POLICY)
    sidecar.start()
    sidecar.stop()
    other = (sidecar.memory / "other" / "other.txt").read_text().split()
    said = sidecar.command("render", "--app", "web")
    assert said.returncode == 0, said.stderr
    assert postgres.can_log_in(*other)
    sidecar.start()
    assert (sidecar.memory / "other" / "other.txt").read_text().split() == other


@pytest.mark.thorough
def test_a_restart_during_an_outage_reuses_a_renewed_token_and_its_lease(server, sidecar, tmp_path):
    def set_ttl(ttl):
        body = {"token_policies": [tmp_path.name], "token_ttl": ttl}
        server.ask("POST", f"auth/approle/role/{sidecar.disk.name}", body)

    sidecar.log_in_by_approle(server, POLICY)
    set_ttl("4s")
    with Proxy(server.port) as proxy:
        sidecar.config["vault"]["address"] = proxy.address
        sidecar.web["on_expiry"] = "remove"
        sidecar.start()
        eventually(lambda: proxy.count("auth/token/renew"), "a renewal")
        # After the next renewal it outlives a restart; without one it would have ended.
        set_ttl("1h")
        sidecar.until(lambda s: s["leases"] and s["leases"][0]["expires_in"] > 60)
        sidecar.stop()
        proxy.fault = Fault.REFUSE
        sidecar.start(wait=False)
        sidecar.until(lambda s: s["problems"])
        (lease,) = sidecar.status()["leases"]
        assert lease["state"] == "held"
        assert (sidecar.directory / "db.txt").exists()
