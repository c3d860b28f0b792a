"""Actions are recorded in a signed chain, and `lessee audit verify` finds alterations."""

import json
import os
import signal
import subprocess

import pytest
import yaml

from lessee.audit_trail.keys import public_key
from lessee.audit_trail.policy.entries import decode_entry, decode_head
from lessee.audit_trail.policy.file_names import HEAD
from lessee.audit_trail.policy.verification import verify
from lessee.audit_trail.reader import open_audit_trail
from lessee.host.openbao import OpenBao
from support.environments.leak import ENVIRONMENTS as EMERGENCIES
from support.environments.leak import LeakScenario
from support.environments.setup_namespace import AUDIT, CANARY, SetupNamespace
from support.needs import need
from support.programs.mcp_wrap import McpHome
from support.programs.rotator import Service
from support.programs.sidecar import Sidecar, eventually

FORKED_AGENTS = True


@pytest.fixture
def sidecar(bao, tmp_path, memory):
    one = Sidecar(bao.address, tmp_path, memory)
    one.config["audit_trail"] = {"directory": str(tmp_path / "trail"), "key_file": str(tmp_path / "trail.key")}
    yield one
    one.close()


def entries(folder):
    """The complete entries: a killed writer may leave a torn one. None before the writer has created the directory."""
    if not (folder / "trail").exists():
        return []
    with open_audit_trail(folder / "trail") as trail:
        return [entry for line in trail.lines() if (entry := decode_entry(line.text)) is not None]


def names(folder):
    return [entry.action.name for entry in entries(folder)]


def recorded(folder, what, **subject):
    """Wait for an entry of this action with all of this in its subject."""

    def find():
        for entry in entries(folder):
            if entry.action.name == what and subject.items() <= entry.action.subject.items():
                return entry
        return None

    return eventually(find, f"{what} {subject} in the trail")


def test_an_agents_actions_are_recorded_without_a_value(bao, sidecar, tmp_path):
    bao.put("testing/audited/one", password="canary-one")
    sidecar.template("app.txt.j2", '{{ secret("audited/one").password }}\n')
    sidecar.start()
    recorded(tmp_path, "secret read", secret="secret/testing/audited/one", version=1)
    recorded(tmp_path, "generation published", app="web", generation=1)
    bao.put("testing/audited/one", password="canary-two")
    recorded(tmp_path, "generation published", app="web", generation=2)
    assert sidecar.stop() == 0
    assert [names(tmp_path)[0], names(tmp_path)[-1]] == ["agent started", "agent stopped"]
    first = entries(tmp_path)[0].action
    assert (first.actor.kind, first.environment) == ("agent", "testing")
    text = b"".join(file.read_bytes() for file in (tmp_path / "trail").iterdir())
    assert b"canary" not in text
    done = sidecar.command("audit", "verify")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tmp_path}/trail: {len(entries(tmp_path))} entries, intact\n"


def test_an_alteration_is_reported_with_its_place(bao, sidecar, tmp_path):
    bao.put("testing/audited/two", password="canary")
    sidecar.template("app.txt.j2", '{{ secret("audited/two").password }}\n')
    sidecar.start()
    recorded(tmp_path, "generation published", app="web")
    sidecar.stop()
    file = tmp_path / "trail" / "000000000001.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    copy = tmp_path / "public.pem"
    copy.write_text(sidecar.command("audit", "key").stdout)
    assert copy.read_text().startswith("-----BEGIN PUBLIC KEY-----")
    file.write_bytes(b"".join([*lines[:1], lines[1].replace(b'"done"', b'"started"'), *lines[2:]]))
    done = sidecar.command("audit", "verify")
    assert done.returncode == 1
    assert f"{file}:2: entry 2: was changed, or was not written by lessee\n" in done.stdout
    assert done.stdout.endswith("ALTERED\n")
    file.write_bytes(b"".join(lines[:-1]))
    done = sidecar.command("audit", "verify", "trail", "--public-key", "public.pem", "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert [(one["line"], one["entry"]) for one in report["findings"]] == [(len(lines), len(lines))]
    file.write_bytes(b"".join(lines))
    assert sidecar.command("audit", "verify", "trail", "--public-key", "public.pem").returncode == 0
    (tmp_path / "trail.key").unlink()
    done = sidecar.command("audit", "verify")
    assert (done.returncode, "could be replaced with it" in done.stderr) == (0, True)
    assert "the audit trail's key is missing" in sidecar.command("audit", "key").stderr
    # A copy of the head reveals a trail that was truncated with its head, and one that was removed.
    (tmp_path / "copy.json").write_bytes((tmp_path / "trail" / "head.json").read_bytes())
    options = ("--public-key", "public.pem", "--head", "copy.json")
    assert sidecar.command("audit", "verify", "trail", *options).returncode == 0
    (tmp_path / "trail" / "head.json").unlink()
    file.unlink()
    done = sidecar.command("audit", "verify", "trail", *options)
    assert done.returncode == 1
    assert "there is no audit trail: it was never written, or was removed completely" in done.stdout


def test_killed_agents_leave_an_intact_trail(bao, sidecar, tmp_path):
    bao.put("testing/audited/three", password="canary")
    sidecar.template("app.txt.j2", '{{ secret("audited/three").password }}\n')
    for round_ in range(3):
        sidecar.start()
        eventually(lambda count=round_ + 1: names(tmp_path).count("agent started") == count, "another start")
        sidecar.stop(signal.SIGKILL)
        with open_audit_trail(tmp_path / "trail") as trail:
            genuine = public_key(tmp_path / "trail" / "public.pem").is_genuine
            assert verify(trail.lines, trail.head, genuine).findings == ()


@pytest.mark.thorough
def test_an_unwritable_trail_is_a_problem_and_stops_no_app(bao, sidecar, tmp_path):
    bao.put("testing/audited/four", password="canary")
    sidecar.template("app.txt.j2", '{{ secret("audited/four").password }}\n')
    (tmp_path / "trail.key").write_text("invalid")
    (tmp_path / "trail.key").chmod(0o600)
    sidecar.start()
    sidecar.until_file("app.txt", "canary\n")
    status = sidecar.until(lambda status: status["problems"])
    assert "\nlessee_audit_trail_writable 0.0\n" in sidecar.get("/metrics")[1]
    assert status["problems"][0].startswith("the audit trail cannot be written: ")
    assert status["ready"]
    (tmp_path / "trail.key").unlink()
    recorded(tmp_path, "generation published", app="web")
    sidecar.until(lambda status: not status["problems"])
    assert "\nlessee_audit_trail_writable 1.0\n" in sidecar.get("/metrics")[1]


STRANGER = 54321


def attack(folder, script):
    """What another user does in its folder."""
    subprocess.run(
        ["/bin/sh", "-ec", script],
        cwd=folder,
        user=STRANGER,
        group=STRANGER,
        extra_groups=[],
        check=True,
        timeout=100,
    )


@pytest.fixture
def watched(bao, sidecar):
    """A sidecar whose trail is somewhere below `open`, a folder that every user may enter; `change` causes entries."""
    need(os.geteuid() == 0, "needs root, to act as another user")

    def change(value):
        bao.put("testing/audited/stranger", password=value)
        sidecar.until_file("app.txt", value)

    sidecar.change = change
    sidecar.template("app.txt.j2", '{{ secret("audited/stranger").password }}')
    bao.put("testing/audited/stranger", password="first")
    # For it, the agent keeps the capabilities with which root writes anywhere and gives files away.
    sidecar.web["owner"] = f"{STRANGER + 1}:{STRANGER + 1}"
    sidecar.open = sidecar.memory / "open"
    sidecar.open.mkdir()
    sidecar.theirs = sidecar.open / "theirs"
    sidecar.theirs.mkdir()
    os.chown(sidecar.theirs, STRANGER, STRANGER)
    return sidecar


def test_no_trail_is_written_into_what_another_user_made_in_a_shared_directory(watched):
    watched.open.chmod(0o1777)
    watched.config["audit_trail"]["directory"] = str(watched.theirs)
    watched.start()
    status = watched.until(lambda status: status["problems"])
    assert f"another user could replace the audit trail: {watched.theirs} belongs to uid {STRANGER}" in str(status)
    watched.change("second")
    assert list(watched.theirs.iterdir()) == []


@pytest.mark.thorough
def test_a_directory_that_another_user_put_in_the_place_of_the_trail_gets_no_entry(watched):
    trail = watched.theirs / "trail"
    watched.config["audit_trail"]["directory"] = str(trail)
    watched.start()
    eventually(lambda: list(trail.glob("*.jsonl")), "the first entries")
    attack(watched.theirs, "mv trail away; mkdir -m 755 trail")
    watched.change("second")
    status = watched.until(lambda status: status["problems"])
    assert "another user has replaced the audit trail's directory" in str(status["problems"])
    assert list(trail.iterdir()) == []
    attack(watched.theirs, "rmdir trail; mv away trail")
    watched.until(lambda status: not status["problems"])


def test_a_file_of_root_in_the_place_of_a_segment_is_neither_given_away_nor_written(watched):
    """The user to whom root gave the directory owns its files, and so may replace them."""
    watched.config["audit_trail"]["directory"] = str(watched.theirs)
    watched.start()

    def settled():
        (segment,) = watched.theirs.glob("*.jsonl")
        head = decode_head((watched.theirs / HEAD).read_bytes())
        is_complete = segment.read_bytes().count(b'"generation published"') == 2
        return segment if is_complete and head.size == segment.stat().st_size else None

    watched.change("second")
    eventually(lambda: list(watched.theirs.glob("*.jsonl")), "the first entries")
    segment = eventually(settled, "the entries of both generations")
    assert segment.stat().st_uid == STRANGER
    victim = watched.theirs / "file-of-root"
    victim.touch(mode=0o600)
    victim.write_bytes(content := b"x" * segment.stat().st_size)
    attack(watched.theirs, f"mv -f file-of-root {segment.name}")
    watched.change("third")
    status = watched.until(lambda status: status["problems"])
    assert f"uid {STRANGER} owns the audit trail's directory, but not this file" in str(status["problems"])
    assert (segment.read_bytes() == content, segment.stat().st_uid) == (True, 0)


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audited")
    with OpenBao(folder, config=AUDIT % (folder / "audit.log")) as server:
        yield server


@pytest.fixture
def ground(audited, tmp_path):
    one = SetupNamespace(audited, f"trail{os.urandom(4).hex()}", tmp_path)
    one.config["audit_trail"] = {"directory": str(tmp_path / "trail"), "key_file": str(tmp_path / "trail.key")}
    return one


def test_each_step_of_setup_is_recorded_and_a_plan_is_not(ground, tmp_path):
    ground.run("--plan")
    assert not (tmp_path / "trail").exists()
    ground.run()
    made = entries(tmp_path)
    assert (made[0].action.name, made[0].action.outcome) == ("set up", "started")
    assert (made[-1].action.name, made[-1].action.outcome) == ("set up", "done")
    assert made[0].action.actor.kind == "operator"
    assert made[0].action.subject["server"] == ground.bao.address
    steps = {(entry.action.environment, entry.action.subject["step"]) for entry in made[1:-1]}
    assert ("production", "+ policy production-app") in steps
    assert ("testing", "+ secret secret/testing/database/postgres") in steps
    text = b"".join(file.read_bytes() for file in (tmp_path / "trail").iterdir())
    assert CANARY.encode() not in text
    assert ground.secret("production/database/postgres")["password"].encode() not in text


def test_with_a_required_but_unwritable_trail_no_action_starts(ground, tmp_path):
    ground.config["audit_trail"]["required"] = True
    (tmp_path / "trail").write_text("a file")
    done = ground.run(code=73)
    assert "audit_trail: the audit trail cannot be written: " in done.stderr
    assert "done: " not in done.stdout
    assert ground.has("GET", "sys/policies/acl/production-app") is None
    ground.config["audit_trail"]["required"] = False
    assert "lessee: warning: the audit trail cannot be written: " in ground.run().stderr


def test_a_manual_rotation_is_recorded_with_its_steps(bao, sidecar, tmp_path):
    bao.put("testing/audited/rotated", password="canary-old", rotation_count=0)
    target = {"kind": "vault", "secret": "audited/rotated", "keys": {"password": {}}, "rotation_period": "24h"}
    del sidecar.config["apps"]
    sidecar.config |= {
        "environment": "testing",
        "rotation": {"audited": target | {"confirmation_timeout": "100ms", "revoke_delay": "0s"}},
    }
    sidecar.write_config()
    done = sidecar.command("rotate", "audited")
    assert done.returncode == 0, done.stderr
    made = [(entry.action.outcome, entry.action.subject.get("step")) for entry in entries(tmp_path)]
    assert made[0] == ("started", None)
    assert made[-1] == ("done", None)
    assert {("started", "rotation started"), ("done", "credential rotated"), ("done", "old credential revoked")} <= set(
        made
    )
    assert b"canary" not in (tmp_path / "trail" / "000000000001.jsonl").read_bytes()


def test_a_rotator_records_its_rotations(bao, tmp_path, memory):
    one = Service(bao, tmp_path, memory, environment=f"env-{os.urandom(4).hex()}")
    one.config["audit_trail"] = {"directory": str(tmp_path / "trail"), "key_file": str(tmp_path / "trail.key")}
    one.target("one", rotation_period="1s", jitter="0s")
    one.start()
    try:
        recorded(tmp_path, "credential rotated", target="one")
        recorded(tmp_path, "old credential revoked", target="one")
        assert one.stop() == 0
    finally:
        one.close()
    assert names(tmp_path)[-1] == "rotator stopped"
    assert {entry.action.actor.kind for entry in entries(tmp_path)} == {"rotator"}
    with open_audit_trail(tmp_path / "trail") as trail:
        genuine = public_key(tmp_path / "trail" / "public.pem").is_genuine
        assert verify(trail.lines, trail.head, genuine).findings == ()


def steps_of(folder):
    return [(entry.action.name, entry.action.outcome, entry.action.subject.get("step")) for entry in entries(folder)]


def test_a_backup_and_its_restore_are_recorded(full, empty, make, tmp_path):
    backups = make(full)
    backups.config["audit_trail"] = {"directory": str(tmp_path / "trail"), "key_file": str(tmp_path / "trail.key")}
    archive = backups.save()
    assert steps_of(tmp_path) == [
        ("backup saved", "started", None),
        ("backup saved", "done", str(archive)),
        ("backup saved", "done", None),
    ]
    backups.config["vault"]["address"] = empty.address
    backups.backup("restore", str(archive), "--plan", "--force")
    assert len(steps_of(tmp_path)) == 3
    backups.backup("restore", str(archive), "--yes", "--force")
    last = steps_of(tmp_path)[3:]
    assert [one[:2] for one in last] == [("backup restored", outcome) for outcome in ("started", "done", "done")]
    assert last[1][2].endswith(" writes")
    assert entries(tmp_path)[-1].action.subject["server"] == empty.address


def test_an_emergency_is_recorded_with_the_path_of_its_own_record(tmp_path, postgres):
    with LeakScenario(tmp_path, postgres) as scenario:
        trail = {"directory": str(tmp_path / "trail"), "key_file": str(tmp_path / "trail.key")}
        scenario.config({"setup": {"environments": list(EMERGENCIES)}, "audit_trail": trail})
        scenario.emergency("--dry-run")
        assert not (tmp_path / "trail").exists()
        scenario.emergency("--yes", "--record", "record.json")
    assert [one[:2] for one in steps_of(tmp_path)] == [
        ("emergency", outcome) for outcome in ("started", "done", "done")
    ]
    assert steps_of(tmp_path)[1][2].endswith("record.json")
    assert entries(tmp_path)[0].action.environment == "production"


def test_the_removal_of_an_environment_and_a_migration_are_recorded(ground, tmp_path):
    ground.run("--only", "mounts")
    ground.ask("POST", "secret/data/app/old", {"data": {"key": CANARY}})
    ground.run("--migrate-from", "secret/app/", "--to", "testing")
    made = [one for one in steps_of(tmp_path) if one[0] == "secrets migrated"]
    assert [one[:2] for one in made] == [("secrets migrated", outcome) for outcome in ("started", "done", "done")]
    assert made[1][2].startswith("+ secret/testing/")
    ground.run()
    ground.run("--remove", "testing", "--yes")
    made = [one for one in steps_of(tmp_path) if one[0] == "environment removed"]
    assert made[0][1:] == ("started", None)
    assert ("environment removed", "done", "- secret secret/testing/database/postgres") in made
    assert made[-1][1:] == ("done", None)
    assert CANARY.encode() not in b"".join(file.read_bytes() for file in (tmp_path / "trail").iterdir())


def test_secrets_moved_from_an_mcp_file_are_recorded(bao, tmp_path, memory):
    wrap = McpHome(bao.address, tmp_path / "home", memory, f"mcp-{os.urandom(4).hex()}")
    trail = {"directory": str(tmp_path / "trail"), "key_file": str(tmp_path / "trail.key")}
    server = {"command": "true", "args": ["-x"], "env": {"API_KEY": CANARY}}
    wrap.write({"one": server})
    wrap("--yes")
    wrap.config.write_text(yaml.safe_dump(yaml.safe_load(wrap.config.read_text()) | {"audit_trail": trail}))
    wrap.write({**json.loads(wrap.file.read_text())["mcpServers"], "two": server})
    wrap("--yes")
    assert steps_of(tmp_path) == [("MCP secrets stored", "started", None), ("MCP secrets stored", "done", None)]
    assert CANARY.encode() not in b"".join(file.read_bytes() for file in (tmp_path / "trail").iterdir())
