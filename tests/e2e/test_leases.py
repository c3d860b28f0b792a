"""An app with credentials of a real Postgres never notices that they are issued, renewed, replaced and revoked."""

import json
import signal

import pytest

from support.programs.sidecar import Sidecar, eventually

FORKED_AGENTS = True
CREDS = '{% set db = dynamic("database/creds/simba") %}{{ db.username }} {{ db.password }}\n'
POLICY = """
path "database/creds/*" { capabilities = ["read"] }
path "database/static-creds/*" { capabilities = ["read"] }
path "secret/*" { capabilities = ["read", "list"] }
path "sys/leases/revoke" { capabilities = ["update"] }
"""


@pytest.fixture
def attached(server, postgres):
    """A server with a role `simba` in the test run's Postgres, and what is left of it removed."""
    postgres.attach(server, role="simba", default_ttl="1h", max_ttl="24h")
    before = set(postgres.roles("v-%"))
    yield server
    for role in set(postgres.roles("v-%")) - before:
        postgres.sql(f'DROP ROLE "{role}"', database="simba")


@pytest.fixture
def roles(postgres):
    """The roles that came with this test."""
    before = set(postgres.roles("v-%"))
    return lambda: set(postgres.roles("v-%")) - before


@pytest.fixture
def sidecar(attached, tmp_path, memory):
    agent = Sidecar(attached.address, tmp_path, memory)
    agent.log_in_by_approle(attached, POLICY)
    agent.template("db.txt.j2", CREDS)
    yield agent
    agent.close()


def credentials(sidecar):
    return (sidecar.directory / "db.txt").read_text().split()


def lease_ids(server):
    """What the server knows: the leases of the role."""
    try:
        return server.ask("LIST", "sys/leases/lookup/database/creds/simba")["data"]["keys"]
    except RuntimeError:
        return []


@pytest.mark.parametrize("ends", [[signal.SIGTERM] * 5, [signal.SIGKILL] * 5])
def test_five_restarts_leave_one_role_in_postgres(sidecar, postgres, roles, ends):
    sidecar.start()
    first = credentials(sidecar)
    for number in ends:
        sidecar.stop(number)
        sidecar.start()
    assert credentials(sidecar) == first
    assert len(roles()) == 1
    assert postgres.can_log_in(*first)
    assert sidecar.status()["totals"]["publications"] == 0


def test_a_stop_retains_the_lease_and_revoke_leaves_nothing_in_vault(attached, sidecar, roles):
    sidecar.start("--revoke")
    assert len(roles()) == 1
    accessors = len(attached.ask("LIST", "auth/token/accessors")["data"]["keys"])
    assert sidecar.stop() == 0
    eventually(lambda: not roles(), "the role's end")
    eventually(lambda: not lease_ids(attached), "the lease's end")
    assert len(attached.ask("LIST", "auth/token/accessors")["data"]["keys"]) == accessors - 1
    assert not list(sidecar.state.glob("lease-*"))
    assert not list(sidecar.state.glob("token-*"))
    assert credentials(sidecar)  # the files stay


def test_a_stop_revokes_unused_leases_and_retains_those_of_running_apps(sidecar, roles, app):
    sidecar.config["leases"] = {"on_stop": "revoke-if-unused"}
    sidecar.web["notify"] = {"process": {"name": f"app-{sidecar.disk.name}"[:15]}}
    sidecar.start()
    reader = app(f"app-{sidecar.disk.name}"[:15], sidecar.directory / "db.txt")
    first = credentials(sidecar)
    sidecar.stop()
    assert len(roles()) == 1
    sidecar.start()
    assert credentials(sidecar) == first
    reader.close()
    sidecar.stop()
    eventually(lambda: not roles(), "the role's end")
    assert any(event["event"] == "leases retained" for event in sidecar.events())


def test_an_edited_template_and_an_invalid_one_issue_nothing(sidecar, roles):
    sidecar.start()
    first = credentials(sidecar)
    sidecar.template("db.txt.j2", CREDS + "{{ broken")
    sidecar.until(lambda s: s["problems"])
    sidecar.template("db.txt.j2", CREDS + "edited\n")
    eventually(lambda: credentials(sidecar) == [*first, "edited"], "the edit")
    assert len(roles()) == 1


def test_a_lease_is_revoked_once_no_template_needs_it_and_the_app_is_notified(sidecar, roles, app):
    sidecar.web["notify"] = {"process": {"name": "lessee-leased"}, "action": "SIGHUP"}
    sidecar.start()
    assert len(roles()) == 1
    started = app("lessee-leased", sidecar.directory / "db.txt")
    sidecar.template("db.txt.j2", "none\n")
    assert started.hears() == "none"
    assert len(roles()) == 1  # a reader may just have opened the file
    eventually(lambda: not roles(), "the revocation")
    sidecar.until(lambda s: s["leases"] == [])
    assert not list(sidecar.state.glob("lease-*"))


def test_two_apps_share_one_lease(sidecar, roles):
    sidecar.config["apps"]["two"] = {
        "directory": str(sidecar.memory / "two"),
        "files": [{"template": "db.txt.j2"}],
    }
    sidecar.start()
    assert (sidecar.memory / "two" / "db.txt").read_text() == (sidecar.directory / "db.txt").read_text()
    assert len(roles()) == 1


def test_a_revoked_token_is_detected_and_its_credentials_replaced_within_seconds(attached, sidecar, postgres):
    attached.put("testing/x", y="1")
    sidecar.template("x.env.j2", 'Y={{ secret("x").y }}\n')
    sidecar.start()
    first = credentials(sidecar)
    accessor = sidecar.status()["token"]["accessor"]
    attached.ask("POST", "auth/token/revoke-accessor", {"accessor": accessor})
    eventually(lambda: credentials(sidecar) != first and postgres.can_log_in(*credentials(sidecar)), "new credentials")
    sidecar.until(lambda s: s["fresh"] and len(s["leases"]) == 1)


def test_a_static_role_s_new_password_is_published_after_a_rotation(attached, sidecar, postgres):
    postgres.static_role(attached, "simba_static", rotation_period="24h")
    text = '{% set db = dynamic("database/static-creds/simba_static") %}{{ db.username }} {{ db.password }}\n'
    sidecar.template("db.txt.j2", text)
    sidecar.start()
    first = credentials(sidecar)
    assert postgres.can_log_in(*first)
    attached.ask("POST", "database/rotate-role/simba_static")
    sidecar.command("refresh", "database/static-creds/simba_static")
    eventually(lambda: credentials(sidecar) != first, "the new password")
    assert postgres.can_log_in(*credentials(sidecar))


def test_the_status_has_the_lease_and_no_output_has_the_password(sidecar):
    sidecar.start("--log-level", "debug")
    (lease,) = sidecar.status()["leases"]
    assert lease["path"] == "database/creds/simba"
    assert lease["lease_id"].startswith("database/creds/simba/")
    assert (lease["state"], lease["apps"]) == ("held", ["web"])
    assert lease["renew_at"] < lease["expires_at"]
    said = sidecar.log.read_text() + json.dumps(sidecar.status()) + sidecar.command("status").stdout
    assert credentials(sidecar)[1] not in said
    assert f"  database/creds/simba  until {lease['expires_at']}\n" in sidecar.command("status").stdout
