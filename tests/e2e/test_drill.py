"""`lessee drill` plays an outage, a leak, a rotation and a restore in a private server made from the newest backup."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lessee.host.openbao import ROOT_TOKEN, OpenBao, free_port
from lessee.ops.drill import scenes as drill_scenes
from support.environments.drills import CANARY, Drills, fill
from support.needs import need
from support.programs.sidecar import PATIENCE, eventually
from support.servers.certificate_authority import Authority
from support.servers.fault_proxy import Proxy

LISTENER = """
listener "tcp" {{
  address       = "127.0.0.1:{port}"
  tls_cert_file = "{folder}/server.pem"
  tls_key_file  = "{folder}/server.pem"
}}
"""
REPORTS = 'path "secret/metadata/production/lessee/consumers/*" { capabilities = ["create", "update", "delete"] }'
SCENES = ("outage", "leak", "rotation", "restore")


@pytest.fixture(scope="module")
def vault(tmp_path_factory):
    """The real server, behind a proxy that counts what reaches it."""
    with OpenBao(tmp_path_factory.mktemp("vault")) as server:
        role_id = fill(server)
        with Proxy(server.port) as proxy:
            proxy.role_id, proxy.server = role_id, server
            yield proxy


@pytest.fixture
def drills(vault, tmp_path, memory):
    made = Drills(vault.address, tmp_path, memory)
    (tmp_path / "role_id").write_text(vault.role_id)
    made.save()
    return made


def scene(report, name):
    return next(one for one in report["scenes"] if one["scene"] == name)


def felt(report, name):
    return {app["app"]: app for app in scene(report, name)["apps"]}


def test_a_drill_plays_four_scenes_and_the_real_systems_get_no_request(vault, drills):
    before = vault.connections, len(vault.requests)
    output = drills.drill()
    assert (vault.connections, len(vault.requests)) == before
    assert not drills.touched.exists()
    assert not list(drills.memory.iterdir())
    report = drills.report()
    assert [one["scene"] for one in report["scenes"]] == list(SCENES)
    assert report["not_played"] == []
    assert report["complete"]
    objectives = {one["name"]: one for one in report["objectives"]}
    assert objectives.keys() == {
        "rto", "rpo", "time_to_revoke", "outage_recovery", "rotation", "without_credential"
    }  # fmt: skip
    assert all(one["met"] for one in report["objectives"]), output
    assert report["met"]
    assert set(felt(report, "outage")) == {"simba", "assistant", "dashboard"}
    # Another client writes what one of them reads.
    assert felt(report, "outage")["assistant"]["stale_for"] > 0
    assert felt(report, "outage")["assistant"]["stale_uses"] > 0
    assert felt(report, "outage")["assistant"]["without_credential"] == 0
    assert felt(report, "outage")["simba"]["loads"] == 0
    for app in ("simba", "assistant"):
        assert felt(report, "leak")[app]["without_credential"] > 0
        assert felt(report, "leak")[app]["loads"] == 1
        assert felt(report, "rotation")[app]["loads"] == 1
        assert felt(report, "rotation")[app]["without_credential"] == 0
        # What was rotated is older in the archive, and is rotated again.
        assert felt(report, "restore")[app]["loads"] == 2
        assert felt(report, "restore")[app]["without_credential"] > 0
    assert felt(report, "rotation")["simba"]["notifications"] >= 1
    assert felt(report, "rotation")["assistant"]["notifications"] == 0
    assert all(app["missing"] == 0 for name in SCENES for app in felt(report, name).values())
    assert "dashboard: with the policies of the restored role production-dashboard" in report["notes"]
    assert any("pki" in note for note in report["notes"])
    assert any("database" in note for note in report["notes"])
    assert "OBJECTIVES" in output
    assert f"report: {drills.reports}" in output


@pytest.mark.thorough
def test_the_report_is_a_page_to_train_with(drills):
    output = drills.drill("--scene", "leak", "--json")
    assert json.loads(output) == drills.report()
    (page,) = drills.reports.glob("*.md")
    text = page.read_text()
    assert page.stat().st_mode & 0o777 == 0o600
    assert "`lessee emergency --environment production --yes`" in text
    assert "To discuss:" in text
    assert "| `time_to_revoke` |" in text


def test_a_missed_objective_is_an_exit_code_and_a_metric(drills):
    drills.config["drill"]["objectives"] = {"rpo": "0s"}
    drills.drill("--scene", "restore", code=1, text="MISSED rpo")
    report = drills.report()
    assert not report["met"]
    assert {one["name"]: one["met"] for one in report["objectives"]} == {"rto": True, "rpo": False}
    assert samples(drills)["lessee_drill_last_failed"] == 1


@pytest.mark.thorough
def test_the_metrics_say_when_the_last_drill_was_and_what_it_measured(drills):
    drills.config["drill"]["period"] = "7d"
    began = time.time()
    drills.drill("--scene", "rotation")
    found = samples(drills)
    assert began <= found["lessee_drill_last_timestamp_seconds"] <= time.time()
    assert found["lessee_drill_period_seconds"] == 7 * 86400
    assert found["lessee_drill_last_failed"] == 0
    assert found["lessee_drill_rotation_seconds"] > 0
    # A drill that cannot begin leaves the time of the last one.
    shutil.rmtree(drills.disk / "archives")
    drills.drill(code=65, text="no archive with a seal of this key")
    after = samples(drills)
    assert after["lessee_drill_last_failed"] == 1
    assert after["lessee_drill_last_timestamp_seconds"] == found["lessee_drill_last_timestamp_seconds"]


def samples(drills):
    text = (drills.metrics / "lessee_drill_production.prom").read_text()
    need(shutil.which("promtool"), "needs promtool: apt install --no-install-recommends prometheus")
    said = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout + said.stderr) == (0, "")
    return {
        name: float(value)
        for name, value in re.findall(r'^(\w+)\{environment="production"\} (\S+)$', text, re.MULTILINE)
    }


@pytest.mark.thorough
def test_an_app_whose_secret_the_archive_lacks_is_not_played_and_named(drills):
    (drills.disk / "late.env.j2").write_text('A={{ secret("written/after-the-archive").value }}\n')
    drills.config["apps"]["late"] = {
        "directory": str(drills.memory / "late"),
        "files": [{"template": "late.env.j2"}],
    }
    drills.drill("--scene", "outage", code=75, text="not played: late: the server has no secret")
    assert drills.report()["not_played"] == [
        {"app": "late", "reason": "the server has no secret secret/production/written/after-the-archive"}
    ]


def test_a_rotation_without_a_secret_to_rotate_is_not_reported_as_played(drills):
    tls = {"directory": str(drills.memory / "tls"), "files": [{"template": "tls/server.pem.j2"}]}
    drills.config |= {"apps": {"tls": tls}, "rotation": {}}
    drills.drill("--scene", "rotation", "--scene", "outage", code=75, text="not played: the rotation: no app reads")
    assert not drills.report()["complete"]
    assert felt(drills.report(), "outage")["tls"]["uses"] > 0


@pytest.mark.thorough
def test_an_app_that_the_restored_policies_deny_is_not_played_with_the_reason(vault, drills):
    policy = 'path "secret/data/other/*" { capabilities = ["read"] }'
    role_id, _ = vault.server.approle("production-denied", policy)
    (drills.disk / "role_id").write_text(role_id)
    drills.save()
    drills.drill("--scene", "outage", code=75, text="not played: dashboard: ")
    (found,) = drills.report()["not_played"]
    assert found["app"] == "dashboard"
    assert "secret/production/frontend/app: permission denied (403)" in found["reason"]


def own_logins(vault, drills, denied=()):
    """Give each of four apps a login of its own, as `lessee setup` does, and save a backup."""
    drills.config["rotation"] = {}
    templates = {
        "assistant": 'KEY={{ secret("api-keys/openrouter").api_key }}\n',
        "dashboard": 'SESSION={{ secret("frontend/app").session_secret }}\n',
        "postgres": 'PASSWORD={{ secret("database/postgres").password }}\n',
        "simba": 'PASSWORD={{ secret("database/postgres").password }}\n',
    }
    drills.config["apps"] = {}
    for app, text in templates.items():
        drills.write_template(f"{app}.env.j2", text)
        path = "other" if app in denied else "production"
        policy = f'path "secret/data/{path}/*" {{ capabilities = ["read"] }}\n{REPORTS}'
        role_id, _ = vault.server.approle(f"production-own-{app}", policy)
        (drills.disk / f"{app}.role_id").write_text(role_id)
        drills.config["apps"][app] = {
            "directory": str(drills.memory / app),
            "refresh_interval": "200ms",
            "files": [{"template": f"{app}.env.j2"}],
            "vault": {"auth": {"method": "approle", "role_id_file": str(drills.disk / f"{app}.role_id")}},
        }
    drills.config["apps"]["simba"]["notify"] = {"process": {"pid_file": "simba.pid"}, "action": "SIGHUP"}
    drills.save()


@pytest.mark.thorough
def test_each_app_with_a_login_of_its_own_is_played(vault, drills):
    own_logins(vault, drills)
    auth = drills.config["apps"]["assistant"]["vault"]["auth"]
    # What the machine of the drill does not have, or has used.
    auth |= {"secret_id_file": str(drills.disk / "none"), "wrapped": True}
    drills.config["apps"]["dashboard"]["vault"]["auth"] = {
        "method": "jwt", "role": "dashboard", "jwt_file": str(drills.disk / "none")
    }  # fmt: skip
    drills.drill()
    assert drills.report()["complete"]
    for name in SCENES:
        assert set(felt(drills.report(), name)) == {"assistant", "dashboard", "postgres", "simba"}
    assert felt(drills.report(), "restore")["dashboard"]["loads"] == 2


@pytest.mark.thorough
def test_no_scene_waits_for_apps_that_are_not_played(vault, drills):
    # The first one too, whose login would be that of the configuration.
    own_logins(vault, drills, denied={"assistant", "simba"})
    drills.drill(code=75, text="not played: assistant: secret/production/api-keys/openrouter: permission denied (403)")
    report = drills.report()
    assert {one["app"] for one in report["not_played"]} == {"assistant", "simba"}
    assert report["met"]
    for name in SCENES:
        assert set(felt(report, name)) == {"dashboard", "postgres"}
        assert scene(report, name)["problems"] == []
    # `simba` reads what is rotated for `postgres`.
    assert felt(report, "rotation")["postgres"]["loads"] == 1
    assert felt(report, "restore")["postgres"]["loads"] == 2


@pytest.mark.thorough
def test_a_scene_that_fails_is_a_problem_of_the_report_and_the_others_are_played(drills):
    drills.config["drill"]["outage"] = "5s"
    process = drills.begin()
    assert next(line for line in iter(process.stdout.readline, "") if "starts again without Vault" in line)
    folder = folders_of(process.pid)
    for pid in pids():
        if f"--config\0{folder}/lessee.yaml" in cmdline(pid):
            os.kill(pid, signal.SIGKILL)
    output = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 1, output
    report = drills.report()
    (problem,) = scene(report, "outage")["problems"]
    assert problem.startswith("it did not end: the agent of the drill has ended")
    assert not report["met"]
    assert [one["scene"] for one in report["scenes"]] == list(SCENES)
    assert not [one for one in report["scenes"] if one["scene"] != "outage" and one["problems"]]


@pytest.mark.thorough
def test_the_audit_trail_has_the_hashes_of_the_report(drills):
    drills.config["audit_trail"] = {"directory": str(drills.disk / "trail"), "key_file": str(drills.disk / "trail.key")}
    drills.drill("--scene", "outage")
    lines = "".join(file.read_text() for file in (drills.disk / "trail").glob("*.jsonl"))
    for file in drills.reports.iterdir():
        done = subprocess.run(["sha256sum", file], capture_output=True, text=True, check=True)
        assert f"wrote {file}, sha256 {done.stdout.split()[0]}" in lines
    assert drills.command("audit", "verify").returncode == 0


@pytest.mark.thorough
@pytest.mark.parametrize("scene_name", ["outage", "rotation"])
def test_a_killed_drill_leaves_no_process_and_the_next_one_removes_its_files(drills, scene_name):
    drills.config["drill"]["outage"] = "600s" if scene_name == "outage" else "1s"
    process = drills.begin("--scene", scene_name)
    folder = eventually(lambda: folders_of(process.pid), "the drill's folder")
    eventually(lambda: any((folder / "ready").iterdir()), "an app")
    names = {str(folder), *map(str, Path("/dev/shm").glob("lessee-verify-*"))}
    running = {pid for pid in pids() if any(name in cmdline(pid) for name in names)}
    assert len(running) > 3  # The agent, its stand-ins, and the server.
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=PATIENCE)
    eventually(lambda: not any(str(folder) in cmdline(pid) for pid in pids()), "the end of all its processes")
    # What it rendered is in memory, and nothing of it is on a disk.
    assert not [path for path in drills.disk.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]
    os.utime(folder, (0, 0))
    drills.config["drill"]["outage"] = "1s"
    drills.drill("--scene", "outage")
    assert not folder.exists()


@pytest.mark.thorough
def test_an_interrupted_drill_removes_everything(drills):
    drills.config["drill"]["outage"] = "600s"
    process = drills.begin()
    folder = eventually(lambda: folders_of(process.pid), "the drill's folder")
    eventually(lambda: any((folder / "ready").iterdir()), "an app")
    process.terminate()
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert not folder.exists()
    eventually(lambda: not any(str(folder) in cmdline(pid) for pid in pids()), "the end of all its processes")


@pytest.mark.thorough
def test_every_repeats_a_drill_when_the_last_report_is_old_enough(drills):
    process = drills.begin("--every", "30d", "--scene", "outage")
    try:
        lines = iter(process.stdout.readline, "")
        assert next(line for line in lines if line.startswith("report: "))
        assert next(line for line in lines if line.startswith("next drill at "))
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert samples(drills)["lessee_drill_period_seconds"] == 30 * 86400
    # A restart plays none before it is due.
    process = drills.begin("--every", "30d", "--scene", "outage")
    try:
        assert process.stdout.readline().startswith("next drill at ")
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)
    assert len(list(drills.reports.glob("*.json"))) == 1


def test_what_is_wrong_is_named_before_anything_starts(drills):
    drills.drill("--output", "none/there", code=73, text="not a directory that this user can write")
    drills.drill("--every", "1s", code=64, text="--every must be from 1m to 366d")
    drills.drill(LESSEE_BACKUP_KEY_FILE="", code=78, text="no key to decrypt archives")
    del drills.config["backup"]
    drills.drill(code=78, text="no store for archives")
    drills.config["apps"] = {}
    drills.drill(code=78, text="the configuration has no apps")


def folders_of(pid):
    """The drill's folder: its processes name it."""
    found = {
        match[0]
        for other in pids()
        if (match := re.search(r"/dev/shm/lessee-drill-\w+", cmdline(other))) and pid in ancestors(other)
    }
    return Path(found.pop()) if found else None


def pids():
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def cmdline(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


def ancestors(pid):
    found = []
    while pid > 1:
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            break
        found.append(pid)
    return found


@pytest.fixture
def tested(tmp_path, memory):
    """A configuration with a test environment, whose real server has TLS, and may be changed."""
    (folder := tmp_path / "server").mkdir()
    (disk := tmp_path / "disk").mkdir()
    port = free_port()
    Authority(disk / "ca.pem").issue(folder / "server.pem", days=1)
    with OpenBao(folder, config=LISTENER.format(port=port, folder=folder)) as server:
        for environment in ("production", "testing"):
            server.put(f"{environment}/api-keys/own", api_key=f"{CANARY}-{environment}")
        server.approle("testing-app", 'path "secret/data/testing/*" { capabilities = ["read"] }')
        server.approle("production-app", 'path "secret/data/production/*" { capabilities = ["read"] }')
        made = Drills(f"https://localhost:{port}", disk, memory)
        made.config["vault"]["ca_file"] = "ca.pem"
        made.server = server
        made.config["apps"] = {
            "simba": {
                "directory": str(memory / "simba"),
                "refresh_interval": "200ms",
                "files": [{"template": "assistant.json.j2"}],
                "notify": {"command": ["false"]},
                # The login of the configuration reads nothing.
                "vault": {"auth": {"method": "approle", "role_id": "none"}},
            }
        }
        made.write_template("assistant.json.j2", '{"key": {{ secret("api-keys/own").api_key | tojson }}}\n')
        made.config["rotation"] = {
            "own": {"kind": "vault", "secret": "api-keys/own", "keys": {"api_key": {}}, "revoke_delay": "1s"}
        }
        made.config["drill"]["test_environments"] = ["testing"]
        made.save()
        yield made


def value(server, environment):
    return server.ask("GET", f"secret/data/{environment}/api-keys/own")["data"]


@pytest.mark.thorough
def test_a_test_environment_loses_its_logins_and_gets_its_newest_values_back(tested):
    server = tested.server
    production, testing = (
        server.ask("POST", "auth/token/create", {"policies": [f"{name}-app"], "no_parent": True})["auth"]
        for name in ("production", "testing")
    )
    before = value(server, "production")
    tested.drill("--against", "testing", "--yes", VAULT_TOKEN=ROOT_TOKEN)
    report = tested.report()
    assert report["environment"] == "testing"
    assert [one["scene"] for one in report["scenes"]] == list(SCENES)
    assert report["met"]
    assert felt(report, "leak")["simba"]["loads"] == 1
    assert felt(report, "rotation")["simba"]["loads"] == 1
    assert any("lessee setup --only environment=testing" in note for note in report["notes"])
    assert len(list(tested.reports.glob("*-emergency.json"))) == 1
    # The archive has the first value, and the newest one is of the last rotation.
    assert value(server, "testing")["data"]["api_key"] not in {f"{CANARY}-testing", ""}
    assert value(server, "production") == before
    assert server.ask("GET", "auth/token/lookup-self", token=production["client_token"])
    with pytest.raises(RuntimeError, match="403"):
        server.ask("GET", "auth/token/lookup-self", token=testing["client_token"])
    assert "lessee-drill/" not in server.ask("GET", "sys/auth")["data"]
    assert not [name for name in server.ask("LIST", "sys/policies/acl")["data"]["keys"] if "lessee-drill" in name]


@pytest.mark.parametrize("environment", ["production", "none"])
def test_an_environment_that_is_not_named_as_a_test_environment_is_refused(tested, environment):
    before = value(tested.server, "production")
    text = f"{environment} is not named as a test environment"
    tested.drill("--against", environment, "--yes", code=64, text=text, VAULT_TOKEN=ROOT_TOKEN)
    assert value(tested.server, "production") == before


def test_a_test_environment_is_played_only_after_its_name_was_typed(tested):
    before = value(tested.server, "testing")
    tested.drill("--against", "testing", code=64, text="no terminal to ask", VAULT_TOKEN=ROOT_TOKEN)
    assert value(tested.server, "testing") == before


@pytest.mark.thorough
def test_a_scene_that_takes_longer_than_its_bound_is_a_problem_and_the_next_one_is_played(drills):
    assert drill_scenes._LIMIT == 600.0  # docs/how-to/drills.md says so.
    drills.write_config()
    # The bound of the drill in this process has passed when a scene begins.
    program = (
        "import sys; from lessee.ops.drill import scenes; scenes._LIMIT = -60.0; "
        "from lessee.cli import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", program, "drill", "--quiet", "--scene", "outage", "--scene", "rotation"]
    environ = {**drills.environ, "VAULT_TOKEN": ""}
    done = subprocess.run(command, cwd=drills.disk, env=environ, capture_output=True, timeout=PATIENCE, check=False)
    assert done.returncode == 1, done.stderr
    outage, rotation = drills.report()["scenes"]
    for one in (outage, rotation):
        [problem] = [text for text in one["problems"] if "it did not end" in text]
        assert "it took more than" in problem
        assert one["steps"] == []
