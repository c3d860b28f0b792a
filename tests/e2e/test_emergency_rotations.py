"""After a leak the credentials of real systems are other ones at once, and what cannot be rotated is told."""

import json
from contextlib import ExitStack
from pathlib import Path

import pytest

from lessee.host.openbao import ROOT_TOKEN
from lessee.ops.rotate.policy import journal
from lessee.ops.rotate.policy.journal import Step
from support.environments.leak import ENVIRONMENTS, attack, is_alive
from support.environments.rotation_targets import rotate
from support.programs.sidecar import Sidecar, eventually
from support.systems.postgres import LoginRoles
from support.systems.redis import AclUser
from support.systems.s3 import AccessKeys


class Leak(World):
    """Production has a target of each kind, and each has been rotated before."""

    def __init__(self, folder, postgres, redis, s3):
        super().__init__(folder, postgres)
        self.systems = {"postgres": LoginRoles(postgres), "cache": redis(), "storage": s3()}
        self.targets = {name: {**one.target, "confirmation_timeout": "1h"} for name, one in self.systems.items()}
        self.configure()
        for one in self.systems.values():
            for path, fields in one.secrets().items():
                self.bao.put(f"production/{path}", **fields, rotation_count=0)

    def configure(self, **more):
        said = {"setup": {"environments": list(ENVIRONMENTS)}, "rotation": self.targets}
        self.config({"environment": "production", **said, **more})

    def fields(self, name):
        path = self.targets[name]["secret"]
        return self.bao.ask("GET", f"secret/data/production/{path}")["data"]["data"]

    def journal(self, name):
        path = f"secret/data/production/{journal.FOLDER}{name}"
        return journal.read(self.bao.ask("GET", path)["data"]["data"])

    def confirm(self, version):
        said = {one["secret"]: str(version) for one in self.targets.values()}
        self.bao.ask("POST", "secret/metadata/production/lessee/consumers/simba/host-1", {"custom_metadata": said})


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    with ExitStack() as stack:
        yield [
            stack.enter_context(kind.started(tmp_path_factory.mktemp(kind.__name__))) for kind in (AclUser, AccessKeys)
        ]


@pytest.fixture
def leak(tmp_path, postgres, started):
    with Leak(tmp_path, postgres, *started) as leak:
        yield leak


def test_the_old_ones_are_dead_at_once_even_where_they_are_kept_otherwise(leak):
    leak.confirm(2)
    rotate(leak.folder, leak.bao.address, "storage", {})
    assert leak.journal("storage").step is Step.RETAINING
    leak.confirm(1)
    _, tokens = attack(leak)
    old = {name: leak.fields(name) for name in leak.systems}
    session = leak.systems["postgres"].connect(old["postgres"])
    said = leak.emergency("--dry-run").stdout
    assert said.count("\n    target ") == 3
    assert all(one.accepts(old[name]) for name, one in leak.systems.items())
    said = leak.emergency("--yes", "--record", "what.json")
    new = {name: leak.fields(name) for name in leak.systems}
    for name, one in leak.systems.items():
        assert not one.accepts(old[name]), name
        assert one.accepts(new[name]), name
        assert not one.orphans(new[name]), name
        assert leak.journal(name).step is Step.IDLE
    assert leak.systems["storage"].keys() == {new["storage"]["access_key"]: "Active"}
    assert not is_alive(leak, tokens["token"])
    record = (leak.folder / "what.json").read_text()
    done = [one["what"] for one in map(json.loads, record.splitlines()) if one["event"] == "done"]
    assert done[-3:] == [
        f"target {name}, secret/production/{leak.targets[name]['secret']}" for name in sorted(leak.targets)
    ]
    # What lives on is told: who may change these, and who is in already.
    left = said.stdout.partition("BY HAND")[2]
    for path, name in (("database/admin", "postgres"), ("cache/admin", "cache"), ("storage/admin", "storage")):
        assert f"secret/production/{path} (rotation target {name}, its admin): version 1, of today" in left
    assert "postgres: SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IN ('Simba " in left
    assert "cache: CLIENT KILL USER " in left
    assert session.execute("SELECT 1").fetchone() == (1,)
    session.close()
    assert "agents, and `lessee rotate --watch`, log in by themselves" in said.stdout
    values = [
        fields[key]
        for some in (old, new)
        for fields in some.values()
        for key in ("password", "secret_key")
        if key in fields
    ]
    assert not [value for value in (*values, ROOT_TOKEN) if value in said.stdout + said.stderr + record]


def test_what_is_away_or_refuses_is_told_and_the_rest_is_done(leak):
    leak.bao.put("production/cache/admin", host="127.0.0.1", port=9, username="rotator", password="x")
    leak.bao.put("production/storage/admin", **leak.systems["storage"].admin(secret_key="wrong"))
    _, tokens = attack(leak)
    old = {name: leak.fields(name) for name in leak.systems}
    said = leak.emergency("--yes", "--record", "what.json", code=75).stdout
    undone = said.partition("NOT DONE")[2].partition("BY HAND")[0]
    assert "target cache, secret/production/cache/redis: " in undone
    assert "Redis does not answer" in undone
    assert "target storage, secret/production/storage/minio: " in undone
    assert "target postgres" not in undone
    assert not leak.systems["postgres"].accepts(old["postgres"])
    assert not is_alive(leak, tokens["token"])
    left = said.partition("BY HAND")[2]
    assert "secret/production/cache/redis (rotation target cache): version 1, of today" in left
    assert "CLIENT KILL" not in left
    for one in leak.systems.values():
        for path, fields in one.secrets().items():
            if path.endswith("/admin"):
                leak.bao.put(f"production/{path}", **fields)
    leak.emergency("--yes", "--record", "again.json")
    assert not any(one.accepts(old[name]) for name, one in leak.systems.items())
    assert all(one.accepts(leak.fields(name)) for name, one in leak.systems.items())


def test_an_agent_gets_the_new_one_once_it_has_a_new_secret_id(leak, memory):
    disk = leak.folder / "agent"
    disk.mkdir()
    agent = Sidecar(leak.bao.address, disk, memory, environment="production")
    agent.template("db.json.j2", '{{ secret("database/postgres") | json }}')
    files = {name: disk / name for name in ("role_id", "secret_id")}
    files["role_id"].write_text(leak.role_id())
    files["secret_id"].write_text(leak.secret_id())
    agent.config["vault"]["auth"] = {"method": "approle", **{f"{name}_file": str(file) for name, file in files.items()}}

    def shown():
        return json.loads(Path(agent.directory / "db.json").read_text())

    try:
        agent.start()
        old = shown()
        leak.emergency("--yes")
        assert not leak.systems["postgres"].accepts(old)
        assert shown() == old
        files["secret_id"].write_text(leak.secret_id())
        eventually(lambda: leak.systems["postgres"].accepts(shown()), "the new password", 60)
    finally:
        agent.close()


def test_an_old_credential_that_is_of_nobody_s_turn_and_a_password_that_nobody_knows_are_told(leak):
    """Neither is changed by a rotation, and both may be the attacker's."""
    leak.systems["postgres"].sql("CREATE ROLE {stranger} LOGIN PASSWORD {first}", stranger=f"stranger {leak.number}")
    old = {**leak.fields("postgres"), "username": f"stranger {leak.number}"}
    leak.made.append(old["username"])
    leak.bao.put("production/database/postgres", **old)
    cache = leak.systems["cache"]
    cache.server.ask("ACL", "SETUSER", cache.user, ">an-attacker-added-it")
    said = leak.emergency("--yes", "--record", "what.json", code=75)
    undone = said.stdout.partition("NOT DONE")[2].partition("BY HAND")[0]
    told = "is none of the roles, and can still log in; the apps have the new one; take the old one out of use by hand"
    assert f"stranger {leak.number} {told}" in undone
    assert "target cache" not in undone
    assert "passwords of others" in said.stderr
    assert old["password"] not in said.stdout + said.stderr
    assert "an-attacker-added-it" not in said.stdout + said.stderr
    assert leak.systems["postgres"].accepts(leak.fields("postgres"))
    leak.emergency("--yes", "--record", "again.json")
