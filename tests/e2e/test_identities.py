"""Apps that log in to Vault in different ways, or to different Vaults, have nothing in common but the agent."""

import threading
import time
from pathlib import Path

import psycopg
import pytest

from lessee.host.openbao import OpenBao
from support.programs.sidecar import Sidecar, eventually
from support.servers.fault_proxy import Proxy

FORKED_AGENTS = True
READ = 'path "secret/+/testing/{}/*" {{ capabilities = ["read", "list"] }}\n'
LEASES = """
path "database/creds/*"  { capabilities = ["read"] }
path "sys/leases/revoke" { capabilities = ["update"] }
"""
CREDS = '{% set db = dynamic("database/creds/moving") %}{{ db.username }} {{ db.password }}\n'


@pytest.fixture
def sidecar(proxy, tmp_path, memory):
    agent = Sidecar(proxy.address, tmp_path, memory)
    yield agent
    agent.close()


def identity(sidecar, server, name, policy):
    """A role of this name with a policy of its own, and how to log in with it."""
    files = {"role_id_file": sidecar.disk / f"{name}.role_id", "secret_id_file": sidecar.disk / f"{name}.secret_id"}
    for file, value in zip(files.values(), server.approle(name, policy), strict=True):
        file.write_text(value)
    return {"method": "approle"} | {key: str(file) for key, file in files.items()}


def add(sidecar, server, name, **vault):
    """An app with a secret in a folder of its name."""
    server.put(f"testing/{name}/x", value=f"{name}-first")
    (sidecar.disk / f"{name}.txt.j2").write_text(f'{{{{ secret("{name}/x").value }}}}\n')
    directory = str(sidecar.memory / name)
    files = [{"template": f"{name}.txt.j2"}]
    sidecar.config["apps"][name] = {"directory": directory, "refresh_interval": "200ms", "files": files, "vault": vault}


def shows(sidecar, name, value):
    file = sidecar.memory / name / f"{name}.txt"
    eventually(lambda: file.exists() and file.read_text() == f"{value}\n", f"{value} in the file of {name}")


def of(status, app):
    """The identity that serves an app."""
    (found,) = [one for one in status["identities"] if app in one["apps"]]
    return found


def tokens(proxy, words=""):
    """Who has asked on the paths that hold these words."""
    asked = {request.headers.get("X-Vault-Token") for request in list(proxy.requests) if words in request.path}
    return asked - {None}


@pytest.fixture
def two(server, sidecar):
    """Two apps of two roles, each of which may read the folder of its own app."""
    del sidecar.config["apps"]["web"]
    for name in ("one", "two"):
        add(sidecar, server, name, auth=identity(sidecar, server, name, READ.format(name)))
    return sidecar


def test_two_roles_read_their_own_secrets_and_the_status_has_both(proxy, two):
    two.start()
    status = two.until(lambda s: s["fresh"])
    assert sorted(one["apps"] for one in status["identities"]) == [["one"], ["two"]]
    assert len({one["id"] for one in status["identities"]}) == 2
    assert len({one["token"]["accessor"] for one in status["identities"]}) == 2
    assert {one["vault"]["address"] for one in status["identities"]} == {proxy.address}
    assert status["totals"]["logins"] == 2
    for name in ("one", "two"):
        shows(two, name, f"{name}-first")
    asked = tokens(proxy, "testing/one/"), tokens(proxy, "testing/two/")
    assert [len(who) for who in asked] == [1, 1]
    assert asked[0] != asked[1]


def test_a_denied_path_of_another_role_is_a_problem_of_its_app_alone(server, two):
    (two.disk / "two.txt.j2").write_text('{{ secret("one/x").value }}\n')
    two.start(wait=False)
    status = two.until(lambda s: s["apps"]["one"]["generation"] and any("403" in line for line in s["problems"]))
    assert all(line.startswith("two: ") for line in status["problems"])
    assert status["apps"]["two"]["generation"] is None
    server.put("testing/one/x", value="one-second")
    shows(two, "one", "one-second")


def test_two_servers_get_their_own_tokens_and_one_s_outage_does_not_affect_the_other(server, proxy, two, tmp_path):
    (tmp_path / "far").mkdir()
    with OpenBao(tmp_path / "far") as far, Proxy(far.port) as way:
        add(two, far, "two", address=way.address, auth=identity(two, far, "two", READ.format("two")))
        far.put("testing/two/x", value="two-far")
        two.start()
        shows(two, "two", "two-far")
        status = two.until(lambda s: s["fresh"])
        assert of(status, "one")["vault"]["address"] == proxy.address
        assert of(status, "two")["vault"]["address"] == way.address
        assert not tokens(proxy) & tokens(way)
        assert not proxy.count("testing/two/")
        assert not way.count("testing/one/")
        far.stop()
        status = two.until(lambda s: not of(s, "two")["vault"]["reachable"])
        assert of(status, "one")["vault"]["reachable"]
        server.put("testing/one/x", value="one-second")
        shows(two, "one", "one-second")
        shows(two, "two", "two-far")


def test_a_revoked_token_does_not_affect_the_other_identity(server, two):
    two.start()
    before = two.until(lambda s: s["fresh"])
    revoked, kept = (of(before, name)["token"]["accessor"] for name in ("one", "two"))
    server.ask("POST", "auth/token/revoke-accessor", {"accessor": revoked})
    for name in ("one", "two"):
        server.put(f"testing/{name}/x", value=f"{name}-second")
        shows(two, name, f"{name}-second")
    after = two.until(lambda s: s["fresh"] and of(s, "one")["token"])
    assert of(after, "one")["token"]["accessor"] != revoked
    assert of(after, "two")["token"]["accessor"] == kept
    assert after["totals"]["logins"] == 3


@pytest.fixture
def attached(server, postgres):
    """The server with a role `moving`, and what is left of it removed."""
    before = set(postgres.roles("v-%"))
    postgres.attach(server, role="moving", default_ttl="1h", max_ttl="24h")
    yield server
    for role in set(postgres.roles("v-%")) - before:
        postgres.sql(f'DROP ROLE "{role}"', database="simba")


@pytest.fixture
def moving(attached, sidecar, app):
    """An app with database credentials in one identity, and a running process that is notified of new ones."""
    sidecar.config["vault"]["auth"] = identity(sidecar, attached, "before", LEASES)
    sidecar.template("db.txt.j2", CREDS)
    sidecar.web["notify"] = {"process": {"name": "moving-app"}, "action": "SIGHUP"}
    sidecar.start()
    sidecar.reader = app("moving-app", sidecar.directory / "db.txt")
    sidecar.moved = {"auth": identity(sidecar, attached, "after", LEASES)}
    return sidecar


class Client:
    """Logs in to Postgres with what is in the file, again and again."""

    def __init__(self, sidecar, postgres):
        self._sidecar, self._postgres = sidecar, postgres
        self.logins, self.failed = 0, []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _run(self):
        while not self._over.wait(0.05):
            try:
                self._postgres.connect(*credentials(self._sidecar)).close()
            except (OSError, psycopg.OperationalError) as exc:
                self.failed.append(str(exc))
            self.logins += 1


def credentials(sidecar):
    return (sidecar.directory / "db.txt").read_text().split()


def lease_ids(server):
    """What the server knows."""
    try:
        return server.ask("LIST", "sys/leases/lookup/database/creds/moving")["data"]["keys"]
    except RuntimeError:
        return []


def knows(server, accessor):
    """Whether the token is one that the server knows."""
    return accessor in server.ask("LIST", "auth/token/accessors")["data"]["keys"]


def stored_records(sidecar):
    """Of what lives in Vault, as the state store records it: the kind, and its identity."""
    kinds = ("identity", "token", "lease")
    return {tuple(file.name.split("-")[:2]) for kind in kinds for file in sidecar.state.glob(f"{kind}-*")}


def is_moved(server, sidecar, before):
    """Nothing is left of the identity before: neither in Vault nor in the state store."""
    accessor, lease, key = before
    status = sidecar.until(lambda s: s["fresh"] and len(s["identities"]) == 1 and not s["problems"])
    assert status["token"]["accessor"] != accessor
    assert not knows(server, accessor)
    assert len(lease_ids(server)) == 1
    assert lease not in str(status["leases"])
    eventually(lambda: sidecar.reader.hears() == " ".join(credentials(sidecar)), "the news of it")
    assert key not in {whose for _, whose in stored_records(sidecar)}
    assert len(stored_records(sidecar)) == 3


def standing(sidecar):
    """The token, the lease and the key of the only identity."""
    status = sidecar.status()
    (key,) = {whose for _, whose in stored_records(sidecar)}
    return status["token"]["accessor"], status["leases"][0]["lease_id"], key


@pytest.mark.thorough
def test_an_app_moved_to_another_identity_always_has_valid_credentials(attached, moving, postgres):
    before, first = standing(moving), credentials(moving)
    with Client(moving, postgres) as client:
        moving.web["vault"] = moving.moved
        moving.write_config()
        eventually(lambda: credentials(moving) != first, "new credentials")
        assert len(lease_ids(attached)) == 2
        assert knows(attached, before[0])
        eventually(lambda: first[0] not in postgres.roles("v-%"), "the end of the old ones")
        is_moved(attached, moving, before)
        eventually(lambda: client.logins > 50, "so many logins")
    assert client.failed == []


@pytest.mark.thorough
def test_an_app_moved_while_the_agent_is_stopped_always_has_valid_credentials(attached, moving, postgres):
    before, first = standing(moving), credentials(moving)
    with Client(moving, postgres) as client:
        moving.stop()
        moving.web["vault"] = moving.moved
        moving.start()
        eventually(lambda: credentials(moving) != first, "new credentials")
        eventually(lambda: first[0] not in postgres.roles("v-%"), "the end of the old ones")
        is_moved(attached, moving, before)
        eventually(lambda: client.logins > 50, "so many logins")
    assert client.failed == []


@pytest.mark.thorough
def test_an_app_moved_there_and_back_ends_with_one_valid_lease(attached, moving, postgres):
    before, first = standing(moving), credentials(moving)
    with Client(moving, postgres) as client:
        moving.web["vault"] = moving.moved
        moving.write_config()
        moving.until(lambda s: len(s["identities"]) == 2)
        del moving.web["vault"]
        moving.write_config()
        status = moving.until(lambda s: len(s["identities"]) == 1 and s["fresh"] and len(s["leases"]) == 1)
        eventually(lambda: len(lease_ids(attached)) == 1, "one lease")
    assert status["token"]["accessor"] == before[0]
    assert client.failed == []
    assert postgres.can_log_in(*credentials(moving))
    assert postgres.can_log_in(*first) == (credentials(moving) == first)
    assert {whose for _, whose in stored_records(moving)} == {before[2]}


@pytest.mark.parametrize("down", [False, True], ids=["while it runs", "while it is down"])
def test_an_app_whose_new_login_fails_retains_its_lease(attached, moving, postgres, down):
    postgres.attach(attached, role="short", default_ttl="20s", max_ttl="1h")
    moving.template("db.txt.j2", CREDS.replace("moving", "short"))
    eventually(lambda: "-short-" in credentials(moving)[0], "credentials that are short-lived")
    issued, first = time.monotonic(), credentials(moving)
    secret_id = Path(moving.moved["auth"]["secret_id_file"])
    secret_id.write_text("00000000-0000-0000-0000-000000000000")
    if down:
        moving.stop()
    moving.web["vault"] = moving.moved
    moving.start(wait=False) if down else moving.write_config()
    with Client(moving, postgres) as client:
        moving.until(lambda s: any("login failed" in line for line in s["problems"]))
        eventually(lambda: time.monotonic() > issued + 20.5, "the end of the ttl")
        assert credentials(moving) == first
    assert client.failed == []
