"""A truncated, altered or forged archive is refused with its reason, and nothing is written."""

import json
import subprocess
import sys

import pytest

from lessee.host.openbao import OpenBao
from support.environments.backups import CANARY, Backups, canary, fill_secrets, make_key
from support.inputs.forged_archives import NO_ARCHIVE, Forger, cut_or_altered, forged

AUDIT = 'audit "file" "tests" { options { file_path = "%s" } }'
MEMORY_LIMIT = 160 << 20
"""The limit in bytes for the memory of a refusal."""


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """A server with an audit log, its backups, and a forger with an archive."""
    folder = tmp_path_factory.mktemp("before")
    (folder / "memory").mkdir()
    with OpenBao(folder, config=AUDIT % (folder / "audit.log")) as server:
        fill_secrets(server)
        for number in range(4):
            server.put(f"large/{number}", value=canary(number) * 6000)
        backups = Backups(server.address, folder, folder / "memory")
        archive = backups.save()
        server.audit = folder / "audit.log"
        yield server, backups, Forger(backups.key, archive)


@pytest.fixture(scope="module")
def outcomes(before, tmp_path_factory):
    """The output of `restore` for each archive, all write requests, and the peak memory."""
    server, backups, forger = before
    cases = {name: (content, NO_ARCHIVE, text) for name, (content, text) in cut_or_altered(forger).items()}
    cases |= forged(forger)
    folder = tmp_path_factory.mktemp("forged")
    for number, (content, _, _) in enumerate(cases.values()):
        (folder / f"{number}.age").write_bytes(content)
    start = server.audit.stat().st_size
    child = subprocess.run(
        [sys.executable, "-c", _RESTORE_EACH, *(str(folder / f"{number}.age") for number in range(len(cases)))],
        cwd=backups.disk,
        env=backups.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    *said, memory = map(json.loads, child.stdout.splitlines())
    written = [entry for entry in _entries(server, start) if entry["operation"] not in {"read", "list"}]
    return {name: (*one, *case[1:]) for one, (name, case) in zip(said, cases.items(), strict=True)}, written, memory


_RESTORE_EACH = """
import contextlib, io, json, pathlib, sys
from lessee.cli import main
for archive in sys.argv[1:]:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = main(["backup", "restore", archive, "--yes"])
    print(json.dumps([code, said.getvalue()]))
status = pathlib.Path("/proc/self/status").read_text()
print(int(status.partition("VmHWM:")[2].split()[0]) * 1024)
"""


def _entries(server, start):
    with server.audit.open() as log:
        log.seek(start)
        return [entry["request"] for entry in map(json.loads, log) if entry["type"] == "request"]


@pytest.mark.thorough
def test_each_forged_archive_is_refused_with_its_reason_and_without_a_value(outcomes):
    wrong = {
        name: (code, said, wanted, text)
        for name, (code, said, wanted, text) in outcomes[0].items()
        if code != wanted or text not in said or CANARY in said
    }
    assert not wrong, "\n".join(map(str, wrong.items()))
    assert len(outcomes[0]) >= 45


def test_forged_archives_write_nothing_to_the_server(outcomes):
    assert outcomes[1] == []


def test_no_forged_archive_takes_much_memory(outcomes):
    assert outcomes[2] < MEMORY_LIMIT


def test_another_key_does_not_decrypt_the_archive(before, tmp_path):
    _, backups, forger = before
    make_key(tmp_path / "other")
    for action in (("restore", "--yes"), ("verify",)):
        arguments = (action[0], str(forger.archive), *action[1:], "--key-file", str(tmp_path / "other"))
        backups.backup(*arguments, code=65, text="the key does not decrypt this archive")


def test_verify_refuses_forged_archives(before, tmp_path):
    _, backups, forger = before
    for name, (content, code, text) in forged(forger).items():
        if name in {"members swapped", "a manifest changed after its HMAC", "a bomb for a raft snapshot"}:
            (tmp_path / "a.age").write_bytes(content)
            backups.backup("verify", str(tmp_path / "a.age"), code=code, text=text)


def test_verify_prints_what_differs_after_the_restore(before, tmp_path):
    """A server that accepts something and does not return it: here an unknown field."""
    _, backups, forger = before
    lines = forger.members["kv.ndjson"].splitlines(keepends=True)
    secret = json.loads(lines[0])
    secret["settings"]["no_such_setting"] = 5
    changed = json.dumps(secret).encode() + b"\n" + b"".join(lines[1:])
    (tmp_path / "a.age").write_bytes(forger.with_(kv=changed, authenticated=True))
    said = backups.backup("verify", str(tmp_path / "a.age"), code=1)
    assert f"{secret['mount']}{secret['path']}: its no_such_setting differs" in said
    assert "1 DIFFERENCES" in said


def test_verify_reports_an_engine_that_the_scratch_server_lacks(before, tmp_path):
    _, backups, forger = before
    mount = {"kind": "mount", "path": "odd/", "data": {"type": "no-such-plugin"}}
    objects = json.dumps(mount).encode() + b"\n" + forger.members["server.ndjson"]
    manifest = forger.manifest()
    manifest["counts"]["mounts"] += 1
    (tmp_path / "a.age").write_bytes(forger.with_(server=objects, manifest=manifest, authenticated=True))
    said = backups.backup("verify", str(tmp_path / "a.age"))
    assert "restored and equal" in said
    assert "not verified, because a scratch server lacks its engine: odd/" in said


@pytest.mark.parametrize("changes", [{}, {"format": 3}, {"server_version": "99.0.0"}, {"cluster_id": "another"}])
def test_force_accepts_archives_of_other_clusters_and_versions(before, tmp_path, changes):
    server, backups, forger = before
    (tmp_path / "a.age").write_bytes(forger.with_manifest(forger.manifest(**changes), authenticated=bool(changes)))
    server.ask("DELETE", "secret/metadata/states/typed")
    backups.backup("restore", str(tmp_path / "a.age"), "--yes", "--force")
    assert server.ask("GET", "secret/data/states/typed")["data"]["data"]["n"] == 1


@pytest.mark.parametrize(
    ("mode", "content", "text"),
    [
        (0o640, None, "other users may read the key file; run `chmod 600"),
        (0o600, "", "the key file is empty"),
        (0o600, "AGE-SECRET-KEY-1NONSENSE", "has an invalid age identity"),
        (0o600, "-----BEGIN AGE ENCRYPTED FILE-----", "has an invalid age identity"),
    ],
)
def test_an_unsuitable_key_file_is_refused(before, tmp_path, mode, content, text):
    _, backups, forger = before
    key = tmp_path / "key"
    key.write_text(backups.key.read_text() if content is None else content)
    key.chmod(mode)
    backups.backup("verify", str(forger.archive), "--key-file", str(key), code=78, text=text)


def test_without_a_key_the_error_says_how_to_name_one(before):
    _, backups, forger = before
    env = {"LESSEE_BACKUP_KEY_FILE": ""}
    backups.backup("verify", str(forger.archive), code=78, text="with --key-file or $LESSEE_BACKUP_KEY_FILE", env=env)
    backups.backup("save", code=78, text="(`age-keygen -o FILE` creates one)", env=env)


def test_a_missing_archive_is_reported(before):
    _, backups, _ = before
    for name in ("/nowhere/at.age", "nothing.age", "lessee-x-20260101T000000Z.age"):
        backups.backup("verify", name, code=65, text="no such archive")


@pytest.mark.parametrize("archive", ["/dev/zero", "."])
def test_an_archive_must_be_a_regular_file(before, archive):
    _, backups, _ = before
    backups.backup("verify", archive, code=65, text=f"{archive}: not a regular file", timeout=20)


def test_a_key_file_must_be_a_regular_file(before, tmp_path):
    _, backups, forger = before
    text = f"{tmp_path}: the key file is not a regular file"
    backups.backup("verify", str(forger.archive), "--key-file", str(tmp_path), code=78, text=text)
