"""`lessee emergency` rotates the credentials of real systems immediately, and reports what it cannot rotate."""

import json
from contextlib import ExitStack
from pathlib import Path

import pytest

from lessee.host.openbao import ROOT_TOKEN
from lessee.ops.rotate.policy import journal
from lessee.ops.rotate.policy.journal import Step
from support.environments.leak import ENVIRONMENTS, LeakScenario, attack, is_alive
from support.environments.rotation_targets import rotate
from support.programs.sidecar import Sidecar, eventually
from support.systems.postgres import LoginRoles
from support.systems.redis import AclUser
from support.systems.s3 import AccessKeys


class RotationLeak(LeakScenario):
    """A leak of an environment with three rotation targets, which were rotated before."""

    def __init__(self, folder, postgres, redis, s3):
        super().__init__(folder, postgres)
        self.systems = {"postgres": LoginRoles(postgres), "cache": redis(), "storage": s3()}
        self.targets = {name: {**system.target, "confirmation_timeout": "1h"} for name, system in self.systems.items()}
        self.configure()
        for system in self.systems.values():
            for path, fields in system.secrets().items():
                self.bao.put(f"production/{path}", **fields, rotation_count=0)

    def configure(self, **more):
        blocks = {"setup": {"environments": list(ENVIRONMENTS)}, "rotation": self.targets}
        self.config({"environment": "production", **blocks, **more})

    def fields(self, name):
        path = self.targets[name]["secret"]
        return self.bao.ask("GET", f"secret/data/production/{path}")["data"]["data"]

    def journal(self, name):
        path = f"secret/data/production/{journal.FOLDER}{name}"
        return journal.parse(self.bao.ask("GET", path)["data"]["data"])

    def confirm(self, version):
        versions = {target["secret"]: str(version) for target in self.targets.values()}
        self.bao.ask("POST", "secret/metadata/production/lessee/consumers/simba/host-1", {"custom_metadata": versions})


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    with ExitStack() as stack:
        yield [
            stack.enter_context(kind.started(tmp_path_factory.mktemp(kind.__name__))) for kind in (AclUser, AccessKeys)
        ]


@pytest.fixture
def leak(tmp_path, postgres, started):
    with RotationLeak(tmp_path, postgres, *started) as leak:
        yield leak


@pytest.mark.thorough
def test_old_credentials_are_revoked_immediately_without_retention(leak):
    leak.confirm(2)
    rotate(leak.folder, leak.bao.address, "storage", {})
    assert leak.journal("storage").step is Step.RETAINING
    leak.confirm(1)
    _, tokens = attack(leak)
    old = {name: leak.fields(name) for name in leak.systems}
    session = leak.systems["postgres"].connect(old["postgres"])
    output = leak.emergency("--dry-run").stdout
    assert output.count("\n    target ") == 3
    assert all(system.accepts(old[name]) for name, system in leak.systems.items())
    result = leak.emergency("--yes", "--record", "record.json")
    new = {name: leak.fields(name) for name in leak.systems}
    for name, system in leak.systems.items():
        assert not system.accepts(old[name]), name
        assert system.accepts(new[name]), name
        assert not system.orphans(new[name]), name
        assert leak.journal(name).step is Step.IDLE
    assert leak.systems["storage"].keys() == {new["storage"]["access_key"]: "Active"}
    assert not is_alive(leak, tokens["token"])
    record = (leak.folder / "record.json").read_text()
    done = [event["change"] for event in map(json.loads, record.splitlines()) if event["event"] == "done"]
    assert done[-3:] == [
        f"target {name}, secret/production/{leak.targets[name]['secret']}" for name in sorted(leak.targets)
    ]
    # It reports the admins' credentials, and open sessions.
    left = result.stdout.partition("MANUAL STEPS")[2]
    for path, name in (("database/admin", "postgres"), ("cache/admin", "cache"), ("storage/admin", "storage")):
        assert f"secret/production/{path} (rotation target {name}, its admin): version 1, from today" in left
    assert "postgres: SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IN ('Simba " in left
    assert "cache: CLIENT KILL USER " in left
    assert session.execute("SELECT 1").fetchone() == (1,)
    session.close()
    assert "agents and `lessee rotate --watch` then log in by themselves" in result.stdout
    values = [
        fields[key]
        for credentials in (old, new)
        for fields in credentials.values()
        for key in ("password", "secret_key")
        if key in fields
    ]
    assert not [value for value in (*values, ROOT_TOKEN) if value in result.stdout + result.stderr + record]


@pytest.mark.thorough
def test_unavailable_and_refusing_systems_are_reported_and_the_others_rotated(leak):
    leak.bao.put("production/cache/admin", host="127.0.0.1", port=9, username="rotator", password="x")
    leak.bao.put("production/storage/admin", **leak.systems["storage"].admin(secret_key="wrong"))
    _, tokens = attack(leak)
    old = {name: leak.fields(name) for name in leak.systems}
    output = leak.emergency("--yes", "--record", "record.json", code=75).stdout
    not_done = output.partition("NOT DONE")[2].partition("MANUAL STEPS")[0]
    assert "target cache, secret/production/cache/redis: " in not_done
    assert "Redis does not answer" in not_done
    assert "target storage, secret/production/storage/minio: " in not_done
    assert "target postgres" not in not_done
    assert not leak.systems["postgres"].accepts(old["postgres"])
    assert not is_alive(leak, tokens["token"])
    left = output.partition("MANUAL STEPS")[2]
    assert "secret/production/cache/redis (rotation target cache): version 1, from today" in left
    assert "CLIENT KILL" not in left
    for system in leak.systems.values():
        for path, fields in system.secrets().items():
            if path.endswith("/admin"):
                leak.bao.put(f"production/{path}", **fields)
    leak.emergency("--yes", "--record", "again.json")
    assert not any(system.accepts(old[name]) for name, system in leak.systems.items())
    assert all(system.accepts(leak.fields(name)) for name, system in leak.systems.items())


@pytest.mark.thorough
def test_an_agent_with_a_new_secret_id_gets_the_new_password(leak, memory):
    disk = leak.folder / "agent"
    disk.mkdir()
    agent = Sidecar(leak.bao.address, disk, memory, environment="production")
    agent.template("db.json.j2", '{{ secret("database/postgres") | json }}')
    files = {name: disk / name for name in ("role_id", "secret_id")}
    files["role_id"].write_text(leak.role_id())
    files["secret_id"].write_text(leak.secret_id())
    agent.config["vault"]["auth"] = {"method": "approle", **{f"{name}_file": str(file) for name, file in files.items()}}

    def rendered():
        return json.loads(Path(agent.directory / "db.json").read_text())

    try:
        agent.start()
        old = rendered()
        leak.emergency("--yes")
        assert not leak.systems["postgres"].accepts(old)
        assert rendered() == old
        files["secret_id"].write_text(leak.secret_id())
        eventually(lambda: leak.systems["postgres"].accepts(rendered()), "the new password", 60)
    finally:
        agent.close()


def test_a_user_outside_roles_and_an_unknown_password_are_reported(leak):
    """A rotation changes neither, and both may be the attacker's."""
    leak.systems["postgres"].sql("CREATE ROLE {stranger} LOGIN PASSWORD {first}", stranger=f"stranger {leak.number}")
    old = {**leak.fields("postgres"), "username": f"stranger {leak.number}"}
    leak.db_roles.append(old["username"])
    leak.bao.put("production/database/postgres", **old)
    cache = leak.systems["cache"]
    cache.server.ask("ACL", "SETUSER", cache.user, ">an-attacker-added-it")
    result = leak.emergency("--yes", "--record", "record.json", code=75)
    not_done = result.stdout.partition("NOT DONE")[2].partition("MANUAL STEPS")[0]
    text = "is not in `roles`, and can still log in; the apps have the new credential; revoke the old one"
    assert f"stranger {leak.number} {text}" in not_done
    assert "target cache" not in not_done
    assert "unknown passwords not revoked" in result.stderr
    assert old["password"] not in result.stdout + result.stderr
    assert "an-attacker-added-it" not in result.stdout + result.stderr
    assert leak.systems["postgres"].accepts(leak.fields("postgres"))
    leak.emergency("--yes", "--record", "again.json")
