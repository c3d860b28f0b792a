"""`lessee rotate` at a terminal: what is meant, what is told, and with which code it ends."""

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
from support.programs.sidecar import eventually
from support.servers.fault_proxy import Fault, Proxy

CANARY = "canary-7c2d-value"
POLICY = """
path "secret/data/{0}/*" {{ capabilities = ["create", "read", "update"] }}
path "secret/metadata/{0}/*" {{ capabilities = ["create", "read", "update", "delete", "list"] }}
"""


class Desk:
    """Three targets of the kind `vault` in an environment of their own."""

    def __init__(self, bao, folder):
        self.bao, self.folder = bao, folder
        self.environment = f"env-{os.urandom(4).hex()}"
        self.targets = {
            "jwt": {"secret": "auth/jwt", "keys": {"secret": {"previous_key": "old"}}, "rotation_period": "24h"},
            "session": {"secret": "auth/session", "keys": {"key": {}}, "rotation_period": "24h"},
            "cookie": {"secret": "web/cookie", "keys": {"key": {}}},
        }
        for said in self.targets.values():
            said |= {"kind": "vault", "confirmation_timeout": "100ms", "revoke_delay": "0s"}
        self.config = {"environment": self.environment, "vault": {"address": bao.address}, "rotation": self.targets}
        for said in self.targets.values():
            # It has been rotated before, and so its readers have been able to confirm.
            self.put(said["secret"], **dict.fromkeys(said["keys"], CANARY), rotation_count=0)

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
        return {name: self.version(said["secret"]) for name, said in self.targets.items()}

    def journal(self, name):
        return journal.read(self.fields(f"{journal.FOLDER}{name}"))

    def note(self, name, **said):
        """As a rotator leaves it."""
        if said.get("step") in {Step.CREATED, Step.PUBLISHED}:
            said.setdefault("pending", {"secret": CANARY})
        path = f"{journal.FOLDER}{name}"
        body = {"data": journal.written(Journal(**said)), "options": {"cas": self.version(path)}}
        self.bao.ask("POST", f"secret/data/{self.environment}/{path}", body)

    def confirm(self, app, **versions):
        said = {self.targets[name]["secret"]: str(version) for name, version in versions.items()}
        path = f"secret/metadata/{self.environment}/lessee/consumers/{app}/host-1"
        self.bao.ask("POST", path, {"custom_metadata": said})

    def command(self, *arguments, token=ROOT_TOKEN):
        (self.folder / "lessee.yaml").write_text(yaml.safe_dump(self.config, sort_keys=False))
        line = [sys.executable, "-m", "lessee", "rotate", *arguments]
        environ = {"PATH": os.environ["PATH"], "VAULT_TOKEN": token, "HOME": str(self.folder)}
        return line, {"cwd": self.folder, "env": environ, "text": True}

    def rotate(self, *arguments, code=0, **settings):
        line, where = self.command(*arguments, **settings)
        said = subprocess.run(line, **where, capture_output=True, timeout=60, check=False)
        assert said.returncode == code, said.stdout + said.stderr
        assert "internal error" not in said.stderr
        return said

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
        return data, {one["name"]: one for one in data["targets"]}


@pytest.fixture
def desk(bao, tmp_path):
    return Desk(bao, tmp_path)


@pytest.fixture
def away(desk):
    """The same over a way that breaks."""
    with Proxy(desk.bao.port) as proxy:
        desk.config["vault"]["address"] = proxy.address
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
def test_what_is_named_is_rotated_and_nothing_else(desk, words, rotated):
    said = desk.rotate(*words)
    assert {name for name, version in desk.versions.items() if version == 2} == rotated
    assert {line.partition(":")[0] for line in said.stdout.splitlines() if ": rotated; version 2; " in line} == rotated


def test_a_target_s_name_goes_before_a_group_and_a_group_before_a_kind(desk):
    desk.targets["auth"] = {**desk.targets["cookie"], "secret": "vault/other"}
    desk.put("vault/other", key=CANARY)
    desk.rotate("auth")
    assert desk.versions == {"jwt": 1, "session": 1, "cookie": 1, "auth": 2}
    desk.rotate("vault", "--force")
    assert desk.versions == {"jwt": 1, "session": 1, "cookie": 1, "auth": 3}


def test_an_unknown_name_is_64_with_what_there_is(desk):
    said = desk.rotate("jwt", "databse", code=64)
    assert "called 'databse'; targets: jwt, session, cookie; groups: auth, web; kinds: vault" in said.stderr
    assert set(desk.versions.values()) == {1}


def test_without_a_name_it_is_done_again_only_when_it_is_due(desk):
    desk.rotate()
    said = desk.rotate().stdout.splitlines()
    assert said[0].startswith("jwt: not due; next 20")
    assert said[2] == "cookie: not due; when asked for, for it has no `every`"
    assert desk.versions == {"jwt": 2, "session": 2, "cookie": 1}
    late = desk.journal("jwt")
    desk.note("jwt", rotated_at=time.time() - 25 * 3600, count=late.count, published_version=2)
    desk.rotate()
    assert desk.versions == {"jwt": 3, "session": 2, "cookie": 1}


def test_just_rotated_is_said_and_is_no_failure_and_force_rotates_all_the_same(desk):
    desk.rotate("jwt")
    assert desk.rotate("jwt").stdout.startswith("jwt: just rotated; version 2; ")
    assert desk.rotate("jwt", "--force").stdout.startswith("jwt: rotated; version 3; ")


@pytest.mark.parametrize("words", [("jwt",), ("jwt", "--force"), ()], ids=["named", "forced", "due"])
def test_twenty_at_once_make_one_rotation_and_all_are_content(desk, words):
    """Nor does any of them wait for the consumers for whom the one waits already."""
    desk.targets["jwt"]["confirmation_timeout"] = "1h"
    desk.confirm("simba", jwt=1)
    line, where = desk.command(*words, "--log-level", "error")
    several = [subprocess.Popen(line, **where, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(20)]
    eventually(lambda: sum(one.poll() is not None for one in several) == 19, "the end of all but one", 60)
    desk.confirm("simba", jwt=2)
    said = [one.communicate(timeout=60) for one in several]
    assert [one.returncode for one in several] == [0] * 20, said
    assert desk.version("auth/jwt") == 2
    assert "".join(out for out, _ in said).count("jwt: rotated; version 2; ") == 1


def test_who_confirms_and_who_does_not_is_told(desk):
    desk.confirm("simba", jwt=2)
    desk.confirm("nala", session=1)
    said = desk.rotate("auth").stdout
    assert re.search(r"^jwt: rotated; version 2; \d+\.\d s; confirmed by simba/host-1$", said, re.MULTILINE)
    assert re.search(r"^session: rotated; version 2; \d+\.\d s; NOT confirmed by nala/host-1$", said, re.MULTILINE)
    assert re.search(r"; nobody is known to read it$", desk.rotate("cookie").stdout)


def test_of_several_all_are_published_before_the_first_is_waited_for(desk):
    for name in ("jwt", "session"):
        desk.targets[name]["confirmation_timeout"] = "40s"
    desk.confirm("simba", jwt=1, session=1)
    line, where = desk.command("auth")
    with subprocess.Popen(line, **where, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        eventually(lambda: desk.version("auth/session") == 2, "the second")
        assert desk.journal("jwt").step is Step.PUBLISHED
        desk.confirm("simba", jwt=2, session=2)
        said = process.communicate(timeout=30)[0]
    assert process.returncode == 0
    assert said.count("confirmed by simba/host-1") == 2


def test_without_waiting_the_old_one_is_left_for_the_next_time(desk):
    desk.targets["jwt"]["confirmation_timeout"] = "1h"
    desk.confirm("simba", jwt=1)
    said = desk.rotate("jwt", "--no-wait").stdout
    assert "jwt: rotated; version 2; " in said
    assert "the old one stays valid for simba/host-1 until the next" in said
    assert desk.journal("jwt").step is Step.PUBLISHED
    desk.note("jwt", **{**_fields(desk.journal("jwt")), "rotated_at": time.time() - 3600})
    assert "jwt: waiting for consumers; " in desk.rotate("jwt", "--no-wait", code=75).stdout
    desk.confirm("simba", jwt=2)
    said = desk.rotate().stdout
    assert re.search(r"^jwt: finished; version 2; ", said, re.MULTILINE)
    assert desk.journal("jwt").step is Step.IDLE
    assert desk.version("auth/jwt") == 2


def _fields(noted):
    return {name: getattr(noted, name) for name in noted.__struct_fields__}


def test_what_was_left_open_is_finished_though_it_is_not_due(desk):
    del desk.targets["jwt"]["rotation_period"]
    fields, value = desk.fields("auth/jwt"), "made-before-it-was-killed"
    pending = {"secret": value, "old": CANARY}
    desk.note("jwt", step=Step.CREATED, id="a1", current=fields, pending=pending, started_at=time.time())
    desk.rotate()
    assert desk.fields("auth/jwt")["secret"] == value


def test_one_that_fails_does_not_stop_the_others_and_the_worst_code_is_told(desk):
    desk.put(f"{journal.FOLDER}jwt", no="journal")
    desk.targets["keys"] = {"kind": "redis", "secret": "auth/redis", "admin_secret": "auth/nobody", "rotation_period": "1h"}
    said = desk.rotate(code=78)
    assert f"lessee: jwt: secret/{desk.environment}/lessee/rotation/jwt: it is no journal of lessee's" in said.stderr
    assert f"lessee: keys: secret/{desk.environment}/auth/nobody: the admin's secret is not there" in said.stderr
    assert "session: rotated; version 2" in said.stdout


def test_a_period_shorter_than_what_it_takes_to_reach_all_is_refused(desk):
    desk.targets["jwt"]["rotation_period"] = "2s"
    desk.note("jwt", rotated_at=1.0, propagation_times=(0.5, 3.25))
    for words in ([], ["jwt"]):
        said = desk.rotate(*words, code=78)
        assert "rotation.jwt: not rotated: until all its apps had a new credential it took 3.2 s" in said.stderr
    assert desk.version("auth/jwt") == 1
    desk.rotate("jwt", "--force")
    assert desk.version("auth/jwt") == 2


def test_another_environment_is_meant_by_name_and_a_mistyped_one_is_refused(desk):
    other = f"{desk.environment}-b"
    desk.config["setup"] = {"environments": [desk.environment, other]}
    desk.rotate("jwt", "--environment", other)
    assert desk.version("auth/jwt") == 1
    assert desk.bao.ask("GET", f"secret/data/{other}/auth/jwt")["data"]["metadata"]["version"] == 1
    said = desk.rotate("jwt", "--environment", "prodution", code=64)
    assert f"there is no environment 'prodution'; there are: {desk.environment}, {other}" in said.stderr
    del desk.config["environment"]
    desk.rotate("session", "--environment", other)
    said = desk.rotate("session", code=78)
    assert "environment: missing, but secrets.prefix contains {environment}; write `environment: NAME`" in said.stderr


def test_the_configuration_s_own_environment_may_be_named(desk):
    desk.rotate("jwt", "--environment", desk.environment)
    assert desk.version("auth/jwt") == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--force"], "--force rotates what is not due; name a TARGET, or take --all"),
        (["--all", "jwt"], "--all means all targets"),
        (["--json"], "--json says nothing without --status"),
        (["--status", "--dry-run"], "not allowed with"),
        (["--watch", "--all"], "--watch is for all targets of the configuration"),
        (["--timeout", "soon"], "is no duration"),
    ],
    ids=" ".join,
)
def test_options_that_make_no_sense_are_64(desk, words, told):
    assert told in desk.rotate(*words, code=64).stderr


def test_a_configuration_without_targets_is_78(desk):
    desk.config["rotation"] = {}
    assert "lessee.yaml: there is nothing to rotate; write `rotation:`" in desk.rotate(code=78).stderr


def test_a_mount_that_keeps_no_versions_is_refused(desk):
    mount = f"kv-{desk.environment}"
    desk.bao.ask("POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": "1"}})
    desk.config["secrets"] = {"mount": mount}
    for words in (["jwt"], ["--dry-run"], ["--status"]):
        said = desk.rotate(*words, code=77)
        assert f"{mount}: rotation needs KV version 2" in said.stderr


def test_a_token_without_rights_is_77_with_the_path(desk):
    assert (
        "secret: there is no such mount, or the token's policy grants nothing"
        in desk.rotate("jwt", token=desk.token("# nothing"), code=77).stderr
    )
    token = desk.token(POLICY.replace('"create", "read", "update"', '"read"', 1))
    said = desk.rotate("jwt", token=token, code=77)
    assert f"secret/{desk.environment}/lessee/rotation/jwt: permission denied" in said.stderr
    assert desk.version("auth/jwt") == 1


def test_vault_away_is_69_after_the_time_that_it_may_take(desk, away):
    away.fault = Fault.DROP
    said = desk.rotate("jwt", "--timeout", "1s", code=69)
    assert "Vault is away, and is asked again" in said.stderr
    assert said.stdout == ""


@pytest.mark.parametrize("logs_in", [False, True], ids=["by token", "by login"])
def test_when_vault_comes_back_in_time_it_is_rotated_once(desk, away, logs_in):
    away.fault = Fault.DROP
    if logs_in:
        desk.log_in_by_approle()
    line, where = desk.command("jwt", "--timeout", "50s", token="" if logs_in else ROOT_TOKEN)
    with subprocess.Popen(line, **where, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        eventually(lambda: len(away.requests) > 1, "a second try")
        away.fault = None
        said = process.communicate(timeout=50)[0]
    assert process.returncode == 0
    assert said.startswith("jwt: rotated; version 2; ")
    assert desk.version("auth/jwt") == 2


class Cutting(list):
    """Requests that a proxy sees: the answer to the first that writes the secret is cut."""

    def __init__(self, proxy, path):
        super().__init__()
        self.proxy, self.path, self.cut = proxy, path, 0

    def append(self, request):
        super().append(request)
        self.proxy.clear()
        if request.method == "POST" and request.path == self.path and not self.cut:
            self.cut += 1
            self.proxy.on_path(self.path, Fault.CUT)


def test_an_answer_that_is_lost_after_the_publication_is_no_second_rotation(desk, away):
    away.requests = Cutting(away, f"/v1/secret/data/{desk.environment}/auth/jwt")
    said = desk.rotate("jwt", "--force")
    assert away.requests.cut == 1
    assert "Vault is away, and is asked again" in said.stderr
    assert said.stdout.startswith("jwt: rotated; version 2; ")
    assert desk.version("auth/jwt") == 2


def test_another_rotator_is_waited_for_and_then_it_is_75(desk):
    desk.note("jwt", step=Step.CREATED, lock_owner="elsewhere", locked_until=time.time() + 60, fence=1)
    said = desk.rotate("jwt", "--timeout", "300ms", code=75)
    assert "lessee: jwt: another rotator is at it" in said.stderr
    assert desk.version("auth/jwt") == 1


def test_who_finds_it_published_by_another_does_not_wait_for_its_consumers(desk):
    now = time.time()
    desk.note("jwt", step=Step.PUBLISHED, lock_owner="elsewhere", locked_until=now + 60, rotated_at=now, published_version=1)
    assert desk.rotate("jwt").stdout.startswith("jwt: just rotated; version 1; ")


def test_without_a_name_nobody_is_waited_for_who_is_at_it(desk):
    now = time.time()
    said = {"lock_owner": "abc:1:42:9:f", "locked_until": now + 60, "rotated_at": now, "published_version": 1}
    desk.note("jwt", step=Step.PUBLISHED, **said)
    told = r"jwt: left to another rotator; version 1; 0.\d s; process 42 on the machine booted as abc is at it\n"
    assert re.search(told, desk.rotate().stdout)


def test_who_reads_only_the_first_line_has_all_targets_rotated_all_the_same(desk):
    line, where = desk.command("--all")
    with subprocess.Popen(line, **where, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline().startswith("jwt: rotated; ")
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 141, said
    assert set(desk.versions.values()) == {2}
    assert {desk.journal(name).step for name in desk.targets} == {Step.IDLE}
    assert "internal error" not in said + desk.rotate("--all", "--dry-run").stderr


def test_a_full_disk_where_it_is_told_stops_no_target(desk):
    line, where = desk.command("--all")
    with Path("/dev/full").open("w") as full:
        said = subprocess.run(line, **where, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert said.returncode == 73, said.stderr
    assert said.stderr.splitlines()[-1].startswith("lessee: standard output: No space left on device; make room")
    assert set(desk.versions.values()) == {2}
    assert {desk.journal(name).step for name in desk.targets} == {Step.IDLE}


@pytest.mark.parametrize("words", [["--status"], ["--status", "--json"], ["--all", "--dry-run"]], ids=" ".join)
def test_a_full_disk_where_it_is_told_is_said_of_what_changes_nothing_too(desk, words):
    line, where = desk.command(*words)
    with Path("/dev/full").open("w") as full:
        said = subprocess.run(line, **where, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert (said.returncode, said.stderr.count("\n")) == (73, 1)
    assert said.stderr.startswith("lessee: standard output: No space left on device; ")


@pytest.mark.parametrize("words", [["jwt"], []], ids=["named", "due"])
def test_a_rotation_that_a_wrong_clock_noted_is_made_again_and_that_is_said(desk, words):
    desk.note(
        "jwt", rotated_at=time.time() + 9 * 86400, count=7, lock_owner="elsewhere", locked_until=time.time() + 9 * 86400
    )
    said = desk.rotate(*words)
    assert "jwt: rotated; version 2; " in said.stdout
    assert "journal timestamps in the future" in said.stderr
    assert desk.rotate("jwt").stdout.startswith("jwt: just rotated; version 2; ")


def test_a_secret_that_was_deleted_is_not_made_anew(desk):
    desk.bao.ask("DELETE", f"secret/data/{desk.environment}/auth/jwt")
    said = desk.rotate("jwt", code=77)
    assert "the secret was deleted; bring it back: bao kv undelete" in said.stderr
    assert desk.version("auth/jwt") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_interrupted_it_says_who_finishes_and_the_next_one_does(desk, number):
    desk.targets["jwt"]["confirmation_timeout"] = "1h"
    line, where = desk.command("jwt", "--log-level", "error")
    reset = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
    with subprocess.Popen([sys.executable, "-c", reset, *line], **where, stderr=subprocess.PIPE) as process:
        eventually(lambda: desk.version("auth/jwt") == 2, "the publication")
        process.send_signal(number)
        said = process.communicate(timeout=30)[1]
    assert process.returncode == 130, said
    assert "interrupted: what has begun is noted" in said
    desk.targets["jwt"]["confirmation_timeout"] = "100ms"
    desk.rotate()
    assert desk.journal("jwt").step is Step.IDLE
    assert desk.version("auth/jwt") == 2


# --dry-run


def test_a_dry_run_tells_and_changes_nothing(desk):
    desk.confirm("simba", jwt=1)
    said = desk.rotate("--dry-run").stdout
    path = f"secret/{desk.environment}/auth/jwt"
    assert f"jwt: would be rotated: {path} (version 1)\n" in said
    assert "  secret: 48 new characters; the old ones stand in old until the next rotation\n" in said
    assert "  waits 100ms at most for simba/host-1\n" in said
    assert "cookie: not due" in said
    assert set(desk.versions.values()) == {1}
    assert desk.bao.ask("GET", f"secret/metadata/{desk.environment}/?list=true")["data"]["keys"].count("lessee/") == 1
    folders = desk.bao.ask("GET", f"secret/metadata/{desk.environment}/lessee/?list=true")["data"]["keys"]
    assert folders == ["consumers/"]


def test_a_dry_run_writes_to_nothing_but_the_question_what_it_may(desk, away):
    desk.rotate("--all", "--dry-run")
    written = {request.path for request in away.requests if request.method not in {"GET", "LIST"}}
    assert {path.partition("?")[0] for path in written} == {"/v1/sys/capabilities-self"}


def test_a_dry_run_tells_what_the_token_lacks_and_what_is_missing(desk):
    desk.targets["keys"] = {"kind": "redis", "secret": "auth/redis", "admin_secret": "auth/nobody"}
    token = desk.token(POLICY.replace('"create", "read", "update"', '"read"', 1))
    said = desk.rotate("jwt", "keys", "--dry-run", token=token, code=78)
    journal_path = f"secret/data/{desk.environment}/lessee/rotation/jwt"
    assert f"lessee: jwt: {journal_path}: the token may not create, update; add it to its policy" in said.stderr
    assert "auth/nobody: the admin's secret is not there" in said.stderr
    assert "keys: would be rotated: " in said.stdout
    assert "(does not exist yet)" in said.stdout
    desk.rotate("jwt", "--dry-run", token=desk.token())


def test_a_dry_run_tells_what_is_open_and_what_loses_logins(desk):
    desk.note("jwt", step=Step.PUBLISHED, started_at=1.0, published_version=1)
    desk.targets["db"] = {"kind": "postgres", "secret": "db/app", "admin_secret": "db/admin", "roles": ["only"]}
    said = desk.rotate("jwt", "db", "--dry-run", code=78).stdout
    assert "open since 1970-01-01T00:00:01Z: the new value is published" in said
    assert "WARNING: with a single role, logins fail from that moment" in said


# --status


def test_status_tells_when_how_often_and_who_has_confirmed(desk):
    desk.confirm("simba", jwt=2, session=1)
    desk.rotate("jwt")
    desk.confirm("nala", jwt=1)
    data, targets = desk.status(token=desk.token(POLICY.replace('"create", "read", "update"', '"read"')))
    assert data["environment"] == desk.environment
    assert data["problems"] == []
    jwt = targets["jwt"]
    assert (jwt["kind"], jwt["rotation_count"], jwt["version"], jwt["state"], jwt["overdue"]) == ("vault", 1, 2, "idle", False)
    assert jwt["age"] < 60
    assert _seconds(jwt["next_rotation_at"]) - _seconds(jwt["last_rotated_at"]) == 86400
    assert (jwt["confirmed_consumers"], jwt["unconfirmed_consumers"]) == (["simba/host-1"], ["nala/host-1"])
    assert [one["version"] for one in jwt["history"]] == [2]
    assert targets["session"]["last_rotated_at"] is None
    assert targets["session"]["state"] == "never rotated"
    assert targets["cookie"]["next_rotation_at"] is None
    lines = desk.rotate("--status").stdout.splitlines()
    assert lines[0].split() == ["TARGET", "KIND", "COUNT", "LAST", "AGE", "PERIOD", "NEXT", "CONFIRMED", "STATE"]
    assert re.match(r"jwt +vault +1 +20\S+Z +\d+s +1d +20\S+Z +1/2 +idle$", lines[1])
    assert lines[2] == "  not yet confirmed by nala/host-1"
    assert re.match(r"session +vault +0 +never +\d+s +1d +now +1/1 +never rotated$", lines[3])


def _seconds(text):
    return datetime.fromisoformat(text).astimezone(UTC).timestamp()


def test_status_tells_of_what_is_open_held_failed_kept_and_overdue(desk):
    now = time.time()
    step = {"step": Step.CREATED, "id": "a1", "started_at": now - 300}
    desk.note("jwt", **step, lock_owner="abc:1:4242:99:ff", locked_until=now + 60, rotated_at=now - 30 * 3600, count=4)
    desk.note("session", **step, failures=3, error="the system is away", failed_at=now - 5)
    desk.note("cookie", step=Step.RETAINING, delete_at=now + 3600, missing=("nala/host-1",), rotated_at=now, count=1)
    _, targets = desk.status()
    jwt, session, cookie = (targets[name] for name in ("jwt", "session", "cookie"))
    assert (jwt["state"], jwt["overdue"], jwt["step"]) == ("OVERDUE", True, "created")
    assert jwt["lock_owner"] == "abc:1:4242:99:ff"
    assert (session["state"], session["consecutive_failures"], session["error"]) == ("FAILED", 3, "the system is away")
    assert (cookie["state"], cookie["unconfirmed_at_revocation"]) == ("retaining", ["nala/host-1"])
    said = desk.rotate("--status").stdout
    assert "locked by process 4242 on the machine with boot id abc until" in said
    assert "and nobody is at it: `lessee rotate` finishes it" in said
    assert "! 3 times in a row, last " in said
    assert ": the system is away" in said
    assert "the last retirement did not wait for nala/host-1" in said
    assert "the old one is kept, disabled, until" in said


def test_status_tells_of_named_targets_alone(desk):
    assert [line.split()[0] for line in desk.rotate("web", "--status").stdout.splitlines()] == ["TARGET", "cookie"]


def test_what_cannot_be_read_is_told_by_status_and_its_code(desk):
    desk.put(f"{journal.FOLDER}jwt", no="journal")
    said = desk.rotate("--status", code=77)
    assert "! jwt: " in said.stdout
    assert "session" in said.stdout
    token = desk.token('path "secret/data/{0}/*" {{ capabilities = ["read"] }}')
    said = desk.rotate("session", "--status", token=token, code=77)
    assert f"! consumers: secret/metadata/{desk.environment}/lessee/consumers/: permission denied" in said.stdout
    assert " ?  " in said.stdout


# Values


def test_no_output_of_any_command_holds_a_value(desk):
    desk.put("auth/jwt", secret=CANARY, old=CANARY, note=CANARY)
    held = {CANARY}
    outputs = []
    for words in (["--dry-run"], ["--all"], ["--all", "--force"], ["--status"], ["--status", "--json"]):
        said = desk.rotate(*words, "--log-level", "debug")
        outputs.append(said.stdout + said.stderr)
        held |= {value for said in desk.targets.values() for value in desk.fields(said["secret"]).values()}
    pending = {"secret": f"{CANARY}-pending", "old": CANARY}
    desk.note("jwt", step=Step.CREATED, id="a1", current={"secret": CANARY}, pending=pending, started_at=1.0)
    for words in (["--status"], ["--status", "--json"], ["--dry-run"], ["jwt"]):
        said = desk.rotate(*words, "--log-level", "debug")
        outputs.append(said.stdout + said.stderr)
    values = {value for value in held | set(pending.values()) if isinstance(value, str) and "T" not in value[10:11]}
    assert len(values) > 5
    assert not [value for value in values for output in outputs if value in output]
