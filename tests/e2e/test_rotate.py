"""`lessee rotate` as a command: the selection of targets, its output and its exit codes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from lessee.host.openbao import ROOT_TOKEN
from lessee.ops.rotate.policy import journal
from lessee.ops.rotate.policy.journal import Journal, Step
from support.programs.forks import run_lessee, start_lessee
from support.programs.sidecar import PATIENCE, eventually, fork_of
from support.servers.fault_proxy import Fault, Proxy
from support.shared import locked

CANARY = "canary-7c2d-value"
POLICY = """
path "secret/data/{0}/*" {{ capabilities = ["create", "read", "update"] }}
path "secret/metadata/{0}/*" {{ capabilities = ["create", "read", "update", "delete", "list"] }}
"""


class RotationProject:
    """Three targets of the kind `vault` in their own environment, and the command."""

    def __init__(self, bao, folder):
        self.bao, self.folder = bao, folder
        self.environment = f"env-{os.urandom(4).hex()}"
        self.targets = {
            "jwt": {"secret": "auth/jwt", "keys": {"secret": {"previous_key": "old"}}, "rotation_period": "24h"},
            "session": {"secret": "auth/session", "keys": {"key": {}}, "rotation_period": "24h"},
            "cookie": {"secret": "web/cookie", "keys": {"key": {}}},
        }
        for target in self.targets.values():
            target |= {"kind": "vault", "confirmation_timeout": "100ms", "revoke_delay": "0s"}
        self.config = {"environment": self.environment, "vault": {"address": bao.address}, "rotation": self.targets}
        for target in self.targets.values():
            # As after an earlier rotation, so that agents confirm the secret's versions.
            self.put(target["secret"], **dict.fromkeys(target["keys"], CANARY), rotation_count=0)

    def put(self, path, **fields):
        return self.bao.put(f"{self.environment}/{path}", **fields)

    def fields(self, path):
        return self.bao.ask("GET", f"secret/data/{self.environment}/{path}")["data"]["data"]

    def version(self, path):
        try:
            return self.bao.ask("GET", f"secret/metadata/{self.environment}/{path}")["data"]["current_version"]
        except RuntimeError:
            return 0

    @property
    def versions(self):
        return {name: self.version(target["secret"]) for name, target in self.targets.items()}

    def journal(self, name):
        return journal.parse(self.fields(f"{journal.FOLDER}{name}"))

    def write_journal(self, name, **fields):
        """Write a journal, as a rotator does."""
        if fields.get("step") in {Step.CREATED, Step.PUBLISHED}:
            fields.setdefault("pending", {"secret": CANARY})
        path = f"{journal.FOLDER}{name}"
        body = {"data": journal.serialize(Journal(**fields)), "options": {"cas": self.version(path)}}
        self.bao.ask("POST", f"secret/data/{self.environment}/{path}", body)

    def confirm(self, app, **versions):
        confirmed = {self.targets[name]["secret"]: str(version) for name, version in versions.items()}
        path = f"secret/metadata/{self.environment}/lessee/consumers/{app}/host-1"
        self.bao.ask("POST", path, {"custom_metadata": confirmed})

    def command(self, *arguments, token=ROOT_TOKEN):
        (self.folder / "lessee.yaml").write_text(yaml.safe_dump(self.config, sort_keys=False))
        line = [sys.executable, "-m", "lessee", "rotate", *arguments]
        environ = {"PATH": os.environ["PATH"], "VAULT_TOKEN": token, "HOME": str(self.folder)}
        return line, {"cwd": self.folder, "env": environ, "text": True}

    def rotate(self, *arguments, code=0, **settings):
        line, where = self.command(*arguments, **settings)
        result = run_lessee(*line[3:], cwd=where["cwd"], env=where["env"])
        assert result.returncode == code, result.stdout + result.stderr
        assert "internal error" not in result.stderr
        return result

    def token(self, policy=POLICY):
        self.bao.ask("PUT", f"sys/policies/acl/{self.environment}", {"policy": policy.format(self.environment)})
        body = {"policies": [self.environment], "ttl": "1h"}
        return self.bao.ask("POST", "auth/token/create", body)["auth"]["client_token"]

    def log_in_by_approle(self):
        files = {}
        given = self.bao.approle(self.environment, POLICY.format(self.environment))
        for name, value in zip(("role_id", "secret_id"), given, strict=True):
            (self.folder / name).write_text(value)
            files[f"{name}_file"] = name
        self.config["vault"]["auth"] = {"method": "approle", **files}

    def status(self, **settings):
        data = json.loads(self.rotate("--status", "--json", **settings).stdout)
        return data, {target["name"]: target for target in data["targets"]}


@pytest.fixture
def project(bao, tmp_path):
    return RotationProject(bao, tmp_path)


@pytest.fixture
def proxy(project):
    """A proxy between the command and Vault."""
    with Proxy(project.bao.port) as proxy:
        project.config["vault"]["address"] = proxy.address
        yield proxy


@pytest.mark.parametrize(
    ("words", "rotated"),
    [
        (["jwt"], {"jwt"}),
        (["auth"], {"jwt", "session"}),
        (["vault"], {"jwt", "session", "cookie"}),
        (["web", "jwt"], {"jwt", "cookie"}),
        (["--all"], {"jwt", "session", "cookie"}),
        ([], {"jwt", "session"}),
    ],
    ids=["a target", "a group", "a kind", "both", "all", "nothing"],
)
def test_only_selected_targets_are_rotated(project, words, rotated):
    result = project.rotate(*words)
    assert {name for name, version in project.versions.items() if version == 2} == rotated
    assert {
        line.partition(":")[0] for line in result.stdout.splitlines() if ": rotated; version 2; " in line
    } == rotated


def test_a_word_selects_a_target_before_a_group_before_a_kind(project):
    project.targets["auth"] = {**project.targets["cookie"], "secret": "vault/other"}
    project.put("vault/other", key=CANARY)
    project.rotate("auth")
    assert project.versions == {"jwt": 1, "session": 1, "cookie": 1, "auth": 2}
    project.rotate("vault", "--force")
    assert project.versions == {"jwt": 1, "session": 1, "cookie": 1, "auth": 3}


def test_an_unknown_name_exits_with_64_and_lists_the_known_ones(project):
    result = project.rotate("jwt", "databse", code=64)
    assert "called 'databse'; targets: jwt, session, cookie; groups: auth, web; kinds: vault" in result.stderr
    assert set(project.versions.values()) == {1}


def test_without_names_only_due_targets_are_rotated(project):
    project.rotate()
    lines = project.rotate().stdout.splitlines()
    assert lines[0].startswith("jwt: not due; next 20")
    assert lines[2] == "cookie: not due; no `rotation_period`"
    assert project.versions == {"jwt": 2, "session": 2, "cookie": 1}
    count = project.journal("jwt").count
    project.write_journal("jwt", rotated_at=time.time() - 25 * 3600, count=count, published_version=2)
    project.rotate()
    assert project.versions == {"jwt": 3, "session": 2, "cookie": 1}


def test_already_rotated_is_a_success_and_force_rotates_again(project):
    project.rotate("jwt")
    assert project.rotate("jwt").stdout.startswith("jwt: already rotated; version 2; ")
    assert project.rotate("jwt", "--force").stdout.startswith("jwt: rotated; version 3; ")


_HELD = """
import fcntl, sys
from lessee.cli import dispatch, main
run = dispatch.run_command
def held(words):
    with open({gate!r}) as gate:
        fcntl.flock(gate, fcntl.LOCK_SH)
    return run(words)
dispatch.run_command = held
sys.exit(main())
"""


@pytest.mark.parametrize("words", [("jwt",), ("jwt", "--force"), ()], ids=["named", "forced", "due"])
def test_twenty_concurrent_commands_make_one_rotation_and_all_succeed(project, words, tmp_path):
    """Only one of them waits for the consumers."""
    project.targets["jwt"]["confirmation_timeout"] = "1h"
    project.confirm("simba", jwt=1)
    line, where = project.command(*words, "--log-level", "error")
    gate, outputs = tmp_path / "gate", [tmp_path / str(number) for number in range(20)]
    how = {"cwd": where["cwd"], "env": where["env"], "program": _HELD.format(gate=str(gate))}
    with locked(gate):
        processes = [start_lessee(*line[3:], **how, streams=[os.devnull, output, output]) for output in outputs]
        for process in processes:
            fork_of(process)
    eventually(lambda: sum(process.poll() is not None for process in processes) == 19, "the end of all but one")
    project.confirm("simba", jwt=2)
    codes = [process.wait(PATIENCE) for process in processes]
    said = "".join(output.read_text() for output in outputs)
    assert codes == [0] * 20, said
    assert project.version("auth/jwt") == 2
    assert said.count("jwt: rotated; version 2; ") == 1


def test_consumers_with_and_without_confirmation_are_printed(project):
    project.confirm("simba", jwt=2)
    project.confirm("nala", session=1)
    output = project.rotate("auth").stdout
    assert re.search(r"^jwt: rotated; version 2; \d+\.\d s; confirmed by simba/host-1$", output, re.MULTILINE)
    assert re.search(r"^session: rotated; version 2; \d+\.\d s; NOT confirmed by nala/host-1$", output, re.MULTILINE)
    assert re.search(r"; no consumer is known$", project.rotate("cookie").stdout)


def test_several_targets_are_published_before_the_first_wait(project):
    for name in ("jwt", "session"):
        project.targets[name]["confirmation_timeout"] = "40s"
    project.confirm("simba", jwt=1, session=1)
    line, where = project.command("auth")
    with subprocess.Popen(line, **where, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        eventually(lambda: project.version("auth/session") == 2, "the second")
        assert project.journal("jwt").step is Step.PUBLISHED
        project.confirm("simba", jwt=2, session=2)
        output = process.communicate(timeout=30)[0]
    assert process.returncode == 0
    assert output.count("confirmed by simba/host-1") == 2


def test_with_no_wait_the_next_command_finishes_the_rotation(project):
    project.targets["jwt"]["confirmation_timeout"] = "1h"
    project.confirm("simba", jwt=1)
    output = project.rotate("jwt", "--no-wait").stdout
    assert "jwt: rotated; version 2; " in output
    assert "the old credential stays valid for simba/host-1 until the next" in output
    assert project.journal("jwt").step is Step.PUBLISHED
    project.write_journal("jwt", **{**_fields(project.journal("jwt")), "rotated_at": time.time() - 3600})
    assert "jwt: waiting for consumers; " in project.rotate("jwt", "--no-wait", code=75).stdout
    project.confirm("simba", jwt=2)
    output = project.rotate().stdout
    assert re.search(r"^jwt: finished; version 2; ", output, re.MULTILINE)
    assert project.journal("jwt").step is Step.IDLE
    assert project.version("auth/jwt") == 2


def _fields(found):
    return {name: getattr(found, name) for name in found.__struct_fields__}


def test_an_open_rotation_is_finished_before_it_is_due(project):
    del project.targets["jwt"]["rotation_period"]
    fields, value = project.fields("auth/jwt"), "created-before-the-kill"
    pending = {"secret": value, "old": CANARY}
    project.write_journal("jwt", step=Step.CREATED, id="a1", current=fields, pending=pending, started_at=time.time())
    project.rotate()
    assert project.fields("auth/jwt")["secret"] == value


def test_a_failure_stops_no_other_target_and_the_highest_code_is_returned(project):
    project.put(f"{journal.FOLDER}jwt", no="journal")
    keys = {
        "kind": "redis",
        "secret": "auth/redis",
        "admin_secret": "auth/missing",
        "user": "app",
        "rotation_period": "1h",
    }
    project.targets["keys"] = keys
    result = project.rotate(code=78)
    assert (
        f"lessee: jwt: secret/{project.environment}/lessee/rotation/jwt: not a rotation journal of lessee"
        in result.stderr
    )
    assert f"lessee: keys: secret/{project.environment}/auth/missing: the admin's secret does not" in result.stderr
    assert "session: rotated; version 2" in result.stdout


def test_a_period_shorter_than_the_propagation_time_is_rejected(project):
    project.targets["jwt"]["rotation_period"] = "2s"
    project.write_journal("jwt", rotated_at=1.0, propagation_times=(0.5, 3.25, 4.0, 5.0))
    for words in ([], ["jwt"]):
        result = project.rotate(*words, code=78)
        assert "rotation.jwt: not rotated: in its last 3 rotations its apps took at least 3.2 s" in result.stderr
    assert project.version("auth/jwt") == 1
    project.rotate("jwt", "--force")
    assert project.version("auth/jwt") == 2


def test_another_environment_can_be_selected_and_an_unknown_one_is_rejected(project):
    other = f"{project.environment}-b"
    project.config["setup"] = {"environments": [project.environment, other]}
    project.rotate("jwt", "--environment", other)
    assert project.version("auth/jwt") == 1
    assert project.bao.ask("GET", f"secret/data/{other}/auth/jwt")["data"]["metadata"]["version"] == 1
    result = project.rotate("jwt", "--environment", "prodution", code=64)
    known = f"the environments of `setup.environments` are: {project.environment}, {other}"
    assert f"unknown environment 'prodution'; {known}" in result.stderr
    del project.config["environment"]
    project.rotate("session", "--environment", other)
    result = project.rotate("session", code=78)
    assert "environment: missing, but secrets.prefix contains {environment}; write `environment: NAME`" in result.stderr


def test_the_configuration_s_own_environment_can_be_selected(project):
    project.rotate("jwt", "--environment", project.environment)
    assert project.version("auth/jwt") == 2


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--force"], "--force needs targets, since it rotates what is not due; name a TARGET, or use --all"),
        (["--all", "jwt"], "--all and targets exclude each other"),
        (["--json"], "--json needs --status"),
        (["--status", "--dry-run"], "not allowed with"),
        (["--watch", "--all"], "--watch rotates all targets of the configuration"),
        (["--timeout", "soon"], "is not a duration"),
    ],
    ids=" ".join,
)
def test_contradictory_options_exit_with_64(project, words, text):
    assert text in project.rotate(*words, code=64).stderr


def test_a_configuration_without_targets_exits_with_78(project):
    project.config["rotation"] = {}
    assert "lessee.yaml: no rotation targets; add a `rotation` block" in project.rotate(code=78).stderr


def test_a_mount_without_versions_is_rejected(project):
    mount = f"kv-{project.environment}"
    project.bao.ask("POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": "1"}})
    project.config["secrets"] = {"mount": mount}
    for words in (["jwt"], ["--dry-run"], ["--status"]):
        result = project.rotate(*words, code=77)
        assert f"{mount}: KV version 1; rotation needs KV version 2" in result.stderr


def test_a_token_without_permissions_exits_with_77_and_the_path(project):
    assert (
        "secret: there is no such mount, or the token's policy grants nothing"
        in project.rotate("jwt", token=project.token("# nothing"), code=77).stderr
    )
    token = project.token(POLICY.replace('"create", "read", "update"', '"read"', 1))
    result = project.rotate("jwt", token=token, code=77)
    assert f"secret/{project.environment}/lessee/rotation/jwt: permission denied" in result.stderr
    assert project.version("auth/jwt") == 1


def test_an_unavailable_vault_exits_with_69_after_the_timeout(project, proxy):
    proxy.fault = Fault.DROP
    result = project.rotate("jwt", "--timeout", "1s", code=69)
    assert "vault unavailable" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("logs_in", [False, True], ids=["by token", "by login"])
def test_an_outage_shorter_than_the_timeout_delays_one_rotation(project, proxy, logs_in):
    proxy.fault = Fault.DROP
    if logs_in:
        project.log_in_by_approle()
    line, where = project.command("jwt", "--timeout", "50s", token="" if logs_in else ROOT_TOKEN)
    with subprocess.Popen(line, **where, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        eventually(lambda: len(proxy.requests) > 1, "a second attempt")
        proxy.fault = None
        output = process.communicate(timeout=50)[0]
    assert process.returncode == 0
    assert output.startswith("jwt: rotated; version 2; ")
    assert project.version("auth/jwt") == 2


class CutFirstWrite(list):
    """The requests of a proxy, which cuts the response to the first write of the secret."""

    def __init__(self, proxy, path):
        super().__init__()
        self.proxy, self.path, self.cut = proxy, path, 0

    def append(self, request):
        super().append(request)
        self.proxy.clear()
        if request.method == "POST" and request.path == self.path and not self.cut:
            self.cut += 1
            self.proxy.on_path(self.path, Fault.CUT)


def test_a_lost_response_to_the_publication_causes_no_second_rotation(project, proxy):
    proxy.requests = CutFirstWrite(proxy, f"/v1/secret/data/{project.environment}/auth/jwt")
    result = project.rotate("jwt", "--force")
    assert proxy.requests.cut == 1
    assert "vault unavailable" in result.stderr
    assert result.stdout.startswith("jwt: rotated; version 2; ")
    assert project.version("auth/jwt") == 2


def test_a_wait_for_another_rotator_exits_with_75_after_the_timeout(project):
    project.write_journal("jwt", step=Step.CREATED, lock_owner="elsewhere", locked_until=time.time() + 60, fence=1)
    result = project.rotate("jwt", "--timeout", "300ms", code=75)
    assert "lessee: jwt: another rotator is rotating it" in result.stderr
    assert project.version("auth/jwt") == 1


def test_a_target_published_by_another_rotator_is_not_waited_for(project):
    now = time.time()
    project.write_journal(
        "jwt", step=Step.PUBLISHED, lock_owner="elsewhere", locked_until=now + 60, rotated_at=now, published_version=1
    )
    assert project.rotate("jwt").stdout.startswith("jwt: already rotated; version 1; ")


def test_without_names_a_locked_target_is_left_to_its_rotator(project):
    now = time.time()
    fields = {"lock_owner": "abc:1:42:9:f", "locked_until": now + 60, "rotated_at": now, "published_version": 1}
    project.write_journal("jwt", step=Step.PUBLISHED, **fields)
    line = r"jwt: left to another rotator; version 1; 0.\d s; process 42 on the machine with boot id abc rotates it\n"
    assert re.search(line, project.rotate().stdout)


def test_a_closed_stdout_stops_no_target(project):
    line, where = project.command("--all")
    reader, writer = os.pipe()
    os.close(reader)  # Before the start: a quick program could write everything before.
    with subprocess.Popen(line, **where, stdout=writer, stderr=subprocess.PIPE) as process:
        os.close(writer)
        errors = process.stderr.read()
    assert process.returncode == 141, errors
    assert set(project.versions.values()) == {2}
    assert {project.journal(name).step for name in project.targets} == {Step.IDLE}
    assert "internal error" not in errors + project.rotate("--all", "--dry-run").stderr


def test_a_full_disk_under_stdout_stops_no_target(project):
    line, where = project.command("--all")
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(line, **where, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert result.returncode == 73, result.stderr
    assert result.stderr.splitlines()[-1].startswith("lessee: standard output: No space left on device; free some")
    assert set(project.versions.values()) == {2}
    assert {project.journal(name).step for name in project.targets} == {Step.IDLE}


@pytest.mark.parametrize("words", [["--status"], ["--status", "--json"], ["--all", "--dry-run"]], ids=" ".join)
def test_a_full_disk_under_stdout_is_reported_by_reports(project, words):
    line, where = project.command(*words)
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(line, **where, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert (result.returncode, result.stderr.count("\n")) == (73, 1)
    assert result.stderr.startswith("lessee: standard output: No space left on device; ")


@pytest.mark.parametrize("words", [["jwt"], []], ids=["named", "due"])
def test_a_rotation_with_a_future_timestamp_is_repeated_with_a_warning(project, words):
    project.write_journal(
        "jwt", rotated_at=time.time() + 9 * 86400, count=7, lock_owner="elsewhere", locked_until=time.time() + 9 * 86400
    )
    result = project.rotate(*words)
    assert "jwt: rotated; version 2; " in result.stdout
    assert "journal timestamps in the future" in result.stderr
    assert project.rotate("jwt").stdout.startswith("jwt: already rotated; version 2; ")


def test_a_deleted_secret_is_not_created_again(project):
    project.bao.ask("DELETE", f"secret/data/{project.environment}/auth/jwt")
    result = project.rotate("jwt", code=77)
    assert "the secret was deleted; restore it with bao kv undelete" in result.stderr
    assert project.version("auth/jwt") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_rotation_is_finished_by_the_next_command(project, number):
    project.targets["jwt"]["confirmation_timeout"] = "1h"
    line, where = project.command("jwt", "--log-level", "error")
    reset = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
    with subprocess.Popen([sys.executable, "-c", reset, *line], **where, stderr=subprocess.PIPE) as process:
        eventually(lambda: project.version("auth/jwt") == 2, "the publication")
        process.send_signal(number)
        output = process.communicate(timeout=30)[1]
    assert process.returncode == 130, output
    assert "interrupted: the next `lessee rotate` finishes open rotations" in output
    project.targets["jwt"]["confirmation_timeout"] = "100ms"
    project.rotate()
    assert project.journal("jwt").step is Step.IDLE
    assert project.version("auth/jwt") == 2


# --dry-run


def test_a_dry_run_describes_and_changes_nothing(project):
    project.confirm("simba", jwt=1)
    output = project.rotate("--dry-run").stdout
    path = f"secret/{project.environment}/auth/jwt"
    assert f"jwt: would be rotated: {path} (version 1)\n" in output
    assert "  secret: 48 random characters; the previous value is stored in old until the next rotation\n" in output
    assert "  waits at most 100ms for simba/host-1\n" in output
    assert "cookie: not due" in output
    assert set(project.versions.values()) == {1}
    assert (
        project.bao.ask("GET", f"secret/metadata/{project.environment}/?list=true")["data"]["keys"].count("lessee/")
        == 1
    )
    folders = project.bao.ask("GET", f"secret/metadata/{project.environment}/lessee/?list=true")["data"]["keys"]
    assert folders == ["consumers/"]


def test_a_dry_run_only_asks_for_its_capabilities(project, proxy):
    project.rotate("--all", "--dry-run")
    posted = {request.path for request in proxy.requests if request.method not in {"GET", "LIST"}}
    assert {path.partition("?")[0] for path in posted} == {"/v1/sys/capabilities-self"}


def test_a_dry_run_reports_missing_capabilities_and_secrets(project):
    project.targets["keys"] = {"kind": "redis", "secret": "auth/redis", "admin_secret": "auth/missing", "user": "app"}
    token = project.token(POLICY.replace('"create", "read", "update"', '"read"', 1))
    result = project.rotate("jwt", "keys", "--dry-run", token=token, code=78)
    journal_path = f"secret/data/{project.environment}/lessee/rotation/jwt"
    assert f"lessee: jwt: {journal_path}: the token lacks the capabilities create, update; grant" in result.stderr
    assert "auth/missing: the admin's secret does not exist" in result.stderr
    assert "keys: would be rotated: " in result.stdout
    assert "(does not exist yet)" in result.stdout
    project.rotate("jwt", "--dry-run", token=project.token())


def test_a_dry_run_reports_open_rotations_and_failing_logins(project):
    project.write_journal("jwt", step=Step.PUBLISHED, started_at=1.0, published_version=1)
    project.targets["db"] = {"kind": "postgres", "secret": "db/app", "admin_secret": "db/admin", "roles": ["only"]}
    output = project.rotate("jwt", "db", "--dry-run", code=78).stdout
    assert "open since 1970-01-01T00:00:01Z: the new credential is published" in output
    assert "WARNING: with one role, logins fail until the apps have the new password" in output


# --status


def test_status_has_times_counts_and_confirmations(project):
    project.confirm("simba", jwt=2, session=1)
    project.rotate("jwt")
    project.confirm("nala", jwt=1)
    data, targets = project.status(token=project.token(POLICY.replace('"create", "read", "update"', '"read"')))
    assert data["environment"] == project.environment
    assert data["problems"] == []
    jwt = targets["jwt"]
    assert (jwt["kind"], jwt["rotation_count"], jwt["version"], jwt["state"], jwt["overdue"]) == (
        "vault",
        1,
        2,
        "idle",
        False,
    )
    assert jwt["age"] < 60
    assert _seconds(jwt["next_rotation_at"]) - _seconds(jwt["last_rotated_at"]) == 86400
    assert (jwt["confirmed_consumers"], jwt["unconfirmed_consumers"]) == (["simba/host-1"], ["nala/host-1"])
    assert [entry["version"] for entry in jwt["history"]] == [2]
    assert targets["session"]["last_rotated_at"] is None
    assert targets["session"]["state"] == "never rotated"
    assert targets["cookie"]["next_rotation_at"] is None
    lines = project.rotate("--status").stdout.splitlines()
    assert lines[0].split() == ["TARGET", "KIND", "COUNT", "LAST", "AGE", "PERIOD", "NEXT", "CONFIRMED", "STATE"]
    assert re.match(r"jwt +vault +1 +20\S+Z +\d+s +1d +20\S+Z +1/2 +idle$", lines[1])
    assert lines[2] == "  not yet confirmed by nala/host-1"
    assert re.match(r"session +vault +0 +never +\d+s +1d +now +1/1 +never rotated$", lines[3])


def _seconds(text):
    return datetime.fromisoformat(text).astimezone(UTC).timestamp()


def test_status_has_open_locked_failed_retaining_and_overdue_targets(project):
    now = time.time()
    step = {"step": Step.CREATED, "id": "a1", "started_at": now - 300}
    project.write_journal(
        "jwt", **step, lock_owner="abc:1:4242:99:ff", locked_until=now + 60, rotated_at=now - 30 * 3600, count=4
    )
    project.write_journal("session", **step, failures=3, error="system unavailable", failed_at=now - 5)
    project.write_journal(
        "cookie", step=Step.RETAINING, delete_at=now + 3600, missing=("nala/host-1",), rotated_at=now, count=1
    )
    _, targets = project.status()
    jwt, session, cookie = (targets[name] for name in ("jwt", "session", "cookie"))
    assert (jwt["state"], jwt["overdue"], jwt["step"]) == ("OVERDUE", True, "created")
    assert jwt["lock_owner"] == "abc:1:4242:99:ff"
    assert (session["state"], session["consecutive_failures"], session["error"]) == ("FAILED", 3, "system unavailable")
    assert (cookie["state"], cookie["unconfirmed_at_revocation"]) == ("retaining", ["nala/host-1"])
    output = project.rotate("--status").stdout
    assert "locked by process 4242 on the machine with boot id abc until" in output
    assert "and no rotator has the lock: run `lessee rotate` to finish it" in output
    assert "! 3 consecutive failures, last " in output
    assert ": system unavailable" in output
    assert "not confirmed at the last revocation by nala/host-1" in output
    assert "the old credential is disabled, and deleted after" in output


def test_status_can_be_limited_to_targets(project):
    assert [line.split()[0] for line in project.rotate("web", "--status").stdout.splitlines()] == ["TARGET", "cookie"]


def test_status_reports_what_it_cannot_read(project):
    project.put(f"{journal.FOLDER}jwt", no="journal")
    result = project.rotate("--status", code=77)
    assert "! jwt: " in result.stdout
    assert "session" in result.stdout
    token = project.token('path "secret/data/{0}/*" {{ capabilities = ["read"] }}')
    result = project.rotate("session", "--status", token=token, code=77)
    assert f"! consumers: secret/metadata/{project.environment}/lessee/consumers/: permission denied" in result.stdout
    assert " ?  " in result.stdout


# Values


def test_no_output_has_a_value(project):
    project.put("auth/jwt", secret=CANARY, old=CANARY, note=CANARY)
    values = {CANARY}
    outputs = []
    for words in (["--dry-run"], ["--all"], ["--all", "--force"], ["--status"], ["--status", "--json"]):
        result = project.rotate(*words, "--log-level", "debug")
        outputs.append(result.stdout + result.stderr)
        for target in project.targets.values():
            values |= set(project.fields(target["secret"]).values())
    pending = {"secret": f"{CANARY}-pending", "old": CANARY}
    project.write_journal(
        "jwt", step=Step.CREATED, id="a1", current={"secret": CANARY}, pending=pending, started_at=1.0
    )
    for words in (["--status"], ["--status", "--json"], ["--dry-run"], ["jwt"]):
        result = project.rotate(*words, "--log-level", "debug")
        outputs.append(result.stdout + result.stderr)
    values |= set(pending.values())
    values = {value for value in values if isinstance(value, str) and "T" not in value[10:11]}
    assert len(values) > 5
    assert not [value for value in values for output in outputs if value in output]
