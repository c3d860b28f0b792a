"""One file with secrets of several Vaults, logins, namespaces and mounts: each is read by its own identity."""

import json
from contextlib import closing

import pytest

from lessee.host.openbao import OpenBao
from lessee.status.client import UnixConnection
from support.programs.sidecar import Sidecar, eventually
from support.servers.fault_proxy import Proxy

FORKED_AGENTS = True
READ = """
path "secret/data/testing/*"     { capabilities = ["read"] }
path "secret/metadata/testing/*" { capabilities = ["read", "list"] }
"""
BOTH = 'here={{ secret("db").value }} there={{ secret("db", identity="team-b").value }}\n'
MAY_LACK = (
    'here={{ secret("db").value }}'
    '{% set b = secret("db", identity="team-b", optional=true) %}'
    "{% if b %} there={{ b.value }}{% endif %}\n"
)


@pytest.fixture
def sidecar(proxy, tmp_path, memory):
    agent = Sidecar(proxy.address, tmp_path, memory)
    yield agent
    agent.close()


@pytest.fixture
def far(tmp_path):
    """A second server, and the way to it."""
    (tmp_path / "far").mkdir()
    with OpenBao(tmp_path / "far") as server, Proxy(server.port) as way:
        server.way = way
        yield server


def log_in(sidecar, server, name, policy=READ):
    """A role of this name, and how to log in with it."""
    files = {"role_id_file": sidecar.disk / f"{name}.role_id", "secret_id_file": sidecar.disk / f"{name}.secret_id"}
    for file, value in zip(files.values(), server.approle(name, policy), strict=True):
        file.write_text(value)
    return {"method": "approle"} | {key: str(file) for key, file in files.items()}


@pytest.fixture
def two(server, sidecar, far):
    """A sidecar whose templates can name the second server."""
    server.put("testing/db", value="first")
    far.put("testing/db", value="far-first")
    sidecar.config["identities"] = {"team-b": {"address": far.way.address, "auth": log_in(sidecar, far, "team-b")}}
    return sidecar


def shows(sidecar, text, name="both.txt"):
    file = sidecar.directory / name
    eventually(lambda: file.exists() and file.read_text() == f"{text}\n", f"{text} in the file")


def identity_of(status, address):
    """The identity that reads from this address."""
    (found,) = [one for one in status["identities"] if one["vault"]["address"] == address]
    return found


def test_one_file_has_the_secrets_of_two_servers_and_both_rotate(server, proxy, two, far):
    two.template("both.txt.j2", BOTH)
    two.web["socket"] = str(two.memory / "web.sock")
    two.start()
    shows(two, "here=first there=far-first")
    for place, value in (("", b"first"), ("&identity=team-b", b"far-first")):
        with closing(UnixConnection(two.memory / "web.sock", 10.0)) as connection:
            connection.request("GET", f"/secret/db?key=value{place}")
            assert connection.getresponse().read() == value
    status = two.until(lambda s: s["fresh"])
    assert [one["apps"] for one in status["identities"]] == [["web"], ["web"]]
    paths = [secret["path"] for secret in status["apps"]["web"]["secrets"]]
    assert paths == ["secret/testing/db", "team-b:secret/testing/db"]
    far.put("testing/db", value="far-second")
    shows(two, "here=first there=far-second")
    server.put("testing/db", value="second")
    shows(two, "here=second there=far-second")
    tokens = [{r.headers.get("X-Vault-Token") for r in way.requests} - {None} for way in (proxy, far.way)]
    assert not tokens[0] & tokens[1]


def test_an_outage_of_one_server_leaves_the_parts_of_the_other_fresh(server, two, far):
    two.template("both.txt.j2", BOTH)
    two.start()
    shows(two, "here=first there=far-first")
    far.process.kill()
    far.process.wait()
    server.put("testing/db", value="second")
    shows(two, "here=second there=far-first")
    status = two.until(lambda s: not identity_of(s, far.way.address)["vault"]["reachable"] and not s["fresh"])
    assert not status["apps"]["web"]["fresh"]
    assert status["apps"]["web"]["degraded"] is None
    assert any(line.startswith("web (team-b): vault is unavailable") for line in status["problems"])
    far.start()
    far.approle("team-b", READ)
    far.put("testing/db", value="far-back")
    server.put("testing/db", value="third")
    shows(two, "here=third there=far-first")


@pytest.mark.thorough
def test_a_cold_start_waits_for_all_servers_unless_the_template_can_do_without(server, two, far):
    far.stop()
    two.template("both.txt.j2", BOTH)
    two.config["apps"]["other"] = {
        "directory": str(two.memory / "other"),
        "refresh_interval": "200ms",
        "files": [{"template": "other.txt.j2"}],
    }
    (two.disk / "other.txt.j2").write_text(MAY_LACK)
    two.start(wait=False)
    file = two.memory / "other" / "other.txt"
    eventually(lambda: file.exists() and file.read_text() == "here=first\n", "the file without the other server")
    status = two.until(lambda s: s["apps"]["other"]["degraded"] is not None)
    assert status["apps"]["other"]["degraded"].startswith("team-b:secret/testing/db is missing: ")
    assert status["apps"]["web"]["generation"] is None
    assert not status["apps"]["other"]["fresh"]
    server.put("testing/db", value="second")
    eventually(lambda: file.read_text() == "here=second\n", "the fresh part of this server")
    far.start()
    far.put("testing/db", value="far-first")
    two.config["identities"]["team-b"]["auth"] = log_in(two, far, "team-b")
    two.until(lambda s: s["fresh"])
    eventually(lambda: file.read_text() == "here=second there=far-first\n", "the part of the other server")
    shows(two, "here=second there=far-first")
    status = two.until(lambda s: s["fresh"])
    assert status["apps"]["other"]["degraded"] is None


POSTGRES = """
path "database/creds/*"  { capabilities = ["read"] }
path "sys/leases/revoke" { capabilities = ["update"] }
"""


@pytest.fixture
def leased(two, far, postgres):
    """The second server issues database credentials, and what is left of them is removed."""
    before = set(postgres.roles("v-%"))
    postgres.attach(far, role="far", default_ttl="1h", max_ttl="24h")
    two.config["identities"]["team-b"]["auth"] = log_in(two, far, "team-b", READ + POSTGRES)
    text = '{% set db = dynamic("database/creds/far", identity="team-b") %}{{ db.username }} {{ secret("db").value }}\n'
    two.template("both.txt.j2", text)
    yield two
    for role in set(postgres.roles("v-%")) - before:
        postgres.sql(f'DROP ROLE "{role}"', database="simba")


def lease_ids(server):
    try:
        return server.ask("LIST", "sys/leases/lookup/database/creds/far")["data"]["keys"]
    except RuntimeError:
        return []


def user(sidecar):
    return (sidecar.directory / "both.txt").read_text().split()[0]


def test_a_lease_of_another_identity_is_held_replaced_and_revoked_like_one_s_own(server, leased, far):
    leased.start()
    first = user(leased)
    status = leased.until(lambda s: s["fresh"])
    (lease,) = status["leases"]
    assert (lease["path"], lease["apps"]) == ("database/creds/far", ["web"])
    leased.stop()
    leased.start()
    leased.until(lambda s: s["fresh"] and s["leases"])
    assert user(leased) == first
    assert len(lease_ids(far)) == 1
    server.put("testing/db", value="second")
    eventually(lambda: (leased.directory / "both.txt").read_text().split()[1] == "second", "the new value")
    assert user(leased) == first
    leased.template("both.txt.j2", '{{ secret("db").value }}\n')
    leased.write_config()
    shows(leased, "second")
    eventually(lambda: not lease_ids(far), "the end of the lease")
    leased.until(lambda s: len(s["identities"]) == 1 and s["fresh"] and not s["problems"])


def test_an_app_that_moves_to_another_login_keeps_what_others_supply(server, leased, far):
    leased.start()
    first = user(leased)
    leased.web["vault"] = {"auth": log_in(leased, server, "moved")}
    before = {one["id"] for one in leased.status()["identities"]}
    leased.write_config()
    status = leased.until(lambda s: s["fresh"] and len({one["id"] for one in s["identities"]} - before) == 1)
    assert user(leased) == first
    assert len(lease_ids(far)) == 1
    server.put("testing/db", value="second")
    eventually(lambda: (leased.directory / "both.txt").read_text().split()[1] == "second", "the new value")
    assert status["apps"]["web"]["generation"] == 1


@pytest.mark.thorough
def test_a_revoked_lease_of_another_identity_ends_as_the_app_s_on_expiry_says(leased, far, postgres):
    postgres.attach(far, role="far", default_ttl="8s", max_ttl="8s")
    leased.web["on_expiry"] = "remove"
    leased.start()
    user(leased)
    far.process.kill()
    far.process.wait()
    file = leased.directory / "both.txt"
    leased.until(lambda _: not file.exists())
    status = leased.until(lambda s: s["apps"]["web"]["generation"] is None)
    assert not status["fresh"]


def test_after_a_restart_in_an_outage_files_stay_until_an_input_changes(server, two, far):
    two.template("both.txt.j2", MAY_LACK)
    two.start()
    shows(two, "here=first there=far-first")
    far.process.kill()
    far.process.wait()
    two.stop()
    two.start(wait=False)
    two.until(lambda s: s["apps"]["web"]["degraded"])
    shows(two, "here=first there=far-first")
    server.put("testing/db", value="second")
    shows(two, "here=second")
    far.start()


def test_a_deleted_optional_secret_is_no_problem(two, far):
    two.template("both.txt.j2", MAY_LACK)
    two.start()
    shows(two, "here=first there=far-first")
    far.ask("DELETE", "secret/metadata/testing/db")
    shows(two, "here=first")
    status = two.until(lambda s: s["fresh"])
    assert not status["problems"]
    assert status["apps"]["web"]["degraded"] is None
    far.put("testing/db", value="far-again")
    shows(two, "here=first there=far-again")


@pytest.mark.thorough
def test_a_one_shot_command_names_what_another_identity_may_not_read(two, far):
    two.config["identities"]["team-b"]["auth"] = log_in(two, far, "none", POSTGRES)
    two.template("both.txt.j2", BOTH)
    two.write_config()
    done = two.command("render")
    assert done.returncode != 0
    assert "web: " in done.stderr
    assert "secret/testing/db" in done.stderr or "secret/" in done.stderr
    far.stop()
    done = two.command("render", "--timeout", "6s")
    assert done.returncode == 69
    assert "team-b:secret/testing/db: " in done.stderr


def test_a_namespace_and_a_mount_of_one_login(server, sidecar):
    server.ask("POST", "sys/namespaces/team-c", {})
    try:
        server.ask("POST", "team-c/sys/mounts/kv", {"type": "kv", "options": {"version": "2"}})
        server.ask("POST", "sys/mounts/kv-of-team-b", {"type": "kv", "options": {"version": "1"}})
        server.ask("POST", "team-c/kv/data/testing/x", {"data": {"value": "of-team-c"}})
        server.ask("POST", "kv-of-team-b/team/x", {"value": "of-team-b"})
        server.put("testing/x", value="own")
        policy = (
            READ
            + """
            path "team-c/kv/+/testing/*" { capabilities = ["read", "list"] }
            path "kv-of-team-b/team/*" { capabilities = ["read", "list"] }
        """
        )
        sidecar.log_in_by_approle(server, policy)
        sidecar.config["secrets"] = {"mounts": {"kv": {}, "kv-of-team-b": {"prefix": "team/"}}}
        calls = 'secret("x")', 'secret("x", mount="kv-of-team-b")', 'secret("x", namespace="team-c", mount="kv")'
        sidecar.template("both.txt.j2", " ".join(f"{{{{ {call}.value }}}}" for call in calls) + "\n")
        sidecar.start()
        shows(sidecar, "own of-team-b of-team-c")
        server.ask("POST", "team-c/kv/data/testing/x", {"data": {"value": "new-of-team-c"}})
        shows(sidecar, "own of-team-b new-of-team-c")
        server.ask("POST", "kv-of-team-b/team/x", {"value": "new-of-team-b"})
        shows(sidecar, "own new-of-team-b new-of-team-c")
        sidecar.until(lambda s: s["fresh"])
    finally:
        server.ask("DELETE", "sys/mounts/kv-of-team-b")
        server.ask("DELETE", "team-c/sys/mounts/kv")
        server.ask("DELETE", "sys/namespaces/team-c")


def test_the_printed_policies_suffice_for_each_identity(server, two, far):
    two.log_in_by_approle(server, READ)
    two.template("both.txt.j2", MAY_LACK)
    two.write_config()
    checked = two.command("check")
    assert checked.returncode == 0, checked.stderr
    assert "reads secret/testing/db\n" in checked.stdout
    assert "reads team-b:secret/testing/db, optional\n" in checked.stdout
    own, other = two.command("check", "--policy").stdout.split("# Policy for web\n")[1:]
    assert other.startswith(f"# Login: {far.way.address}, ")
    two.log_in_by_approle(server, own)
    two.config["identities"]["team-b"]["auth"] = log_in(two, far, "team-b", other)
    two.start()
    shows(two, "here=first there=far-first")
    far.put("testing/db", value="far-second")
    shows(two, "here=first there=far-second")
    two.until(lambda s: s["fresh"] and not s["problems"])


def test_validate_reads_each_secret_with_the_login_that_the_template_names(two, far):
    two.template("both.txt.j2", BOTH + MAY_LACK)
    two.start()
    shows(two, "here=first there=far-first\nhere=first there=far-first")

    def checked():
        results = json.loads(two.command("validate", "--component", "web", "--format", "json").stdout)["results"]
        return {result["check"]: result for result in results}

    assert checked()["secrets-readable"]["passed"] is True
    two.stop()
    two.config["identities"]["team-b"]["auth"] = log_in(two, far, "none", POSTGRES)
    two.write_config()
    assert checked()["secrets-readable"]["passed"] is False


def test_any_path_can_be_read_under_another_identity(two, far):
    far.ask("POST", "sys/mounts/transit", {"type": "transit"})
    far.ask("POST", "transit/keys/app", {})
    policy = READ + 'path "transit/hmac/app/sha2-256" { capabilities = ["update"] }\n'
    two.config["identities"]["team-b"]["auth"] = log_in(two, far, "team-b", policy)
    call = 'vault("transit/hmac/app/sha2-256", input="aGVsbG8=", every="never", identity="team-b")'
    two.template("both.txt.j2", f'{{{{ secret("db").value }}}} {{{{ {call}.hmac }}}}\n')
    two.start()
    hmac = far.ask("POST", "transit/hmac/app/sha2-256", {"input": "aGVsbG8="})["data"]["hmac"]
    shows(two, f"first {hmac}")
    two.until(lambda s: s["fresh"] and not s["problems"])
