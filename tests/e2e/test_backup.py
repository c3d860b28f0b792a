"""`lessee backup` saves everything that a server returns, and restores it unchanged."""

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from lessee.host.openbao import OpenBao
from support.environments.backups import CANARY, NAMES, canary, contents, make_key, put, without_pruned
from support.needs import need
from support.paths import ROOT
from support.programs.sidecar import eventually


def test_an_archive_is_restored_into_an_empty_server(full, empty, make):
    backups = make(full)
    archive = backups.save()
    backups.config["vault"]["address"] = empty.address
    output = backups.backup("restore", str(archive), "--yes", "--force")
    assert without_pruned(contents(empty)) == without_pruned(contents(full))
    for path in (
        "sys/policies/acl/app",
        "auth/approle/role/web",
        "auth/approle/role/web/role-id",
        "auth/second/role/web",
        "auth/jwt/role/ci",
        "auth/jwt/config",
        "auth/kubernetes/role/web",
        "auth/cert/certs/web",
        "auth/token/roles/short",
        "pki/roles/web",
        "database/roles/simba",
        "team/kv/config",
        "sys/mounts/pki/tune",
        "sys/auth/approle/tune",
    ):
        theirs, ours = (server.ask("GET", path)["data"] for server in (full, empty))
        times = {"modified"}
        assert {k: v or None for k, v in theirs.items() if k not in times} == {
            k: v or None for k, v in ours.items() if k not in times
        }, path
    assert "to be written again by you: auth/userpass/users/anna (its password)" in output
    assert "to be written again by you: database/config/main" in output
    assert "restored" in output


def test_a_second_restore_writes_nothing(full, empty, make):
    backups = make(full)
    backups.save()
    backups.config["vault"]["address"] = empty.address
    backups.backup("restore", "latest", "--yes", "--force")
    assert " with 0 writes" in backups.backup("restore", "latest", "--yes", "--force")
    assert "0 writes in all" in backups.backup("restore", "latest", "--plan", "--force")


def test_save_reports_what_vault_does_not_return(full, make):
    output = make(full).backup("save")
    assert "22 secrets in 26 versions, 6 mounts, 7 auth methods, 2 policies, 11 roles" in output
    for gap in (
        "keys and certificates of pki/",
        "everything in transit/",
        "secret_ids of auth/approle/",
        "secret_ids of auth/second/",
        "passwords of auth/userpass/users/",
        "passwords of database connections",
        "tokens and leases",
    ):
        assert f"  {gap}" in output


def test_an_archive_is_private_and_encrypted(full, make):
    backups = make(full)
    archive = backups.save()
    assert archive.stat().st_mode & 0o777 == 0o600
    assert archive.parent.stat().st_mode & 0o777 == 0o700
    assert CANARY.encode() not in archive.read_bytes()
    assert sorted(path.name for path in archive.parent.iterdir()) == [".lessee-backup.lock", archive.name]


def test_the_age_program_decrypts_an_archive(full, make, tmp_path):
    need(shutil.which("age"), "needs age: apt install age")
    backups = make(full)
    archive = backups.save()
    clear_tar = tmp_path / "opened.tar"
    subprocess.run(["age", "-d", "-i", backups.key, "-o", clear_tar, archive], check=True)
    with tarfile.open(clear_tar) as tar:
        assert tar.getnames() == ["manifest.json", "manifest.hmac", "server.ndjson", "kv.ndjson"]
        assert canary("postgres", 2).encode() in tar.extractfile("kv.ndjson").read()


def test_a_key_of_age_keygen_is_accepted(full, make, tmp_path):
    need(shutil.which("age-keygen"), "needs age: apt install age")
    new_key = tmp_path / "new.txt"
    subprocess.run(["age-keygen", "-o", new_key], check=True, capture_output=True)
    backups = make(full)
    backups.save(env={"LESSEE_BACKUP_KEY_FILE": str(new_key)})
    assert "restored and equal" in backups.backup("verify", "latest", "--key-file", str(new_key))


def test_public_keys_suffice_to_save_and_each_of_their_identities_decrypts(full, make, tmp_path):
    others = [make_key(tmp_path / f"other-{number}") for number in range(2)]
    backups = make(full, recipients=others)
    backups.environ.pop("LESSEE_BACKUP_KEY_FILE")
    archive = backups.save()
    for number in range(2):
        output = backups.backup("verify", str(archive), "--key-file", str(tmp_path / f"other-{number}"))
        assert "restored and equal" in output
        assert "not authenticated with this key: any client that knows its public key could have made it" in output
    backups.backup("verify", str(archive), "--key-file", str(backups.key), code=65, text="the key does not decrypt")


def test_verify_compares_every_path_and_leaves_no_file(full, make):
    backups = make(full)
    backups.save()
    before = set(Path("/dev/shm").glob("lessee-verify-*"))
    output = backups.backup("verify", "latest")
    assert "restored and equal" in output
    assert "not authenticated" not in output
    # Directories of other tests exist only for a moment; a leftover of this one would stay.
    left = set(Path("/dev/shm").glob("lessee-verify-*")) - before
    eventually(lambda: not any(path.exists() for path in left), "the end of other verifications")


def test_a_restore_plan_writes_nothing_and_prints_the_writes(small, make):
    backups = make(small)
    archive = backups.save()
    put(small, "production/plain", canary("newer"))
    small.ask("DELETE", "secret/metadata/production/a")
    before = contents(small)
    output = backups.backup("restore", str(archive), "--plan")
    assert "new      secret/production/a (1 writes)" in output
    assert "changed  secret/production/plain (1 writes)" in output
    assert "newer on the server, or without versions there: secret/production/plain" in output
    assert contents(small) == before


def test_newer_secrets_are_overwritten_only_with_force(small, make):
    backups = make(small)
    archive = backups.save()
    for name in NAMES[:7]:
        put(small, f"production/{name}", canary("newer"))
    small.ask("DELETE", "secret/metadata/states/mixed")
    before = contents(small)
    text = backups.backup("restore", str(archive), "--yes", code=77)
    assert "the server has newer secrets: secret/production/" in text
    assert " and 2 more; --force" in text
    assert contents(small) == before
    backups.backup("restore", str(archive), "--yes", "--force")
    found = contents(small)
    for name in NAMES[:7]:
        current, _, versions = found[f"secret/production/{name}"]
        assert (current, versions[-1][1]) == (3, {"value": canary(name.encode().hex())})
    assert [version[:1] for version in found["secret/states/mixed"][2]] == [(1,), (2,), (3,)]
    assert " with 0 writes" in backups.backup("restore", str(archive), "--yes")


def test_secrets_without_versions_are_overwritten_only_with_force(small, make):
    backups = make(small)
    archive = backups.save()
    small.ask("POST", "old/one", {"value": canary("newer")})
    backups.backup("restore", str(archive), "--yes", code=77, text="newer secrets: old/one")
    backups.backup("restore", str(archive), "--yes", "--force")
    assert small.ask("GET", "old/one")["data"] == {"value": canary("old", "one")}


def test_restore_with_a_path_restores_only_that_part(small, make):
    backups = make(small)
    archive = backups.save()
    for path in ("production/plain", "states/mixed", "states/typed"):
        small.ask("DELETE", f"secret/metadata/{path}")
    backups.backup("restore", str(archive), "--yes", "--path", "secret/states/")
    found = contents(small)
    assert "secret/production/plain" not in found
    assert found["secret/states/typed"][2][-1][1] == {"n": 1, "f": 1.5, "t": True, "z": None, "l": [1, {"a": CANARY}]}
    assert "secret/states/mixed" in found
    text = "the archive has no secret at secret/none/"
    backups.backup("restore", str(archive), "--yes", "--path", "secret/none/", code=77, text=text)


@pytest.mark.thorough
@pytest.mark.parametrize(("typed", "code"), [("", 77), ("yes\n", 77), ("NAME\n", 0)])
def test_restore_asks_for_the_name_of_the_cluster(small, make, typed, code):
    backups = make(small)
    archive = backups.save()
    small.ask("DELETE", "secret/metadata/production/plain")
    name = small.ask("GET", "sys/seal-status")["cluster_name"]
    output = subprocess.run(
        [sys.executable, "-m", "lessee", "backup", "restore", archive],
        cwd=backups.disk,
        env=backups.environ,
        input=typed.replace("NAME", name),
        capture_output=True,
        text=True,
        check=False,
    )
    assert output.returncode == code, output.stderr
    assert f"This writes to the cluster {name}." in output.stdout
    assert ("secret/production/plain" in contents(small)) == (code == 0)


def test_with_stdin_or_stdout_closed_restore_is_refused_and_save_works(small, make):
    backups = make(small)
    archive = backups.save()
    small.ask("DELETE", "secret/metadata/production/plain")
    for arguments, code in ((f"restore {archive} <&-", 77), ("save >&-", 0)):
        output = subprocess.run(
            ["sh", "-c", f"{sys.executable} -m lessee backup {arguments}"],
            cwd=backups.disk,
            env=backups.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert output.returncode == code, output.stderr
    assert "secret/production/plain" not in contents(small)


def test_another_cluster_s_archive_is_refused_unless_forced(full, empty, make):
    backups = make(full)
    archive = backups.save()
    backups.config["vault"]["address"] = empty.address
    backups.backup("restore", str(archive), "--yes", code=77, text="the archive is of another cluster")
    assert "old/" not in empty.ask("GET", "sys/mounts")["data"]


def test_a_different_mount_at_the_path_is_not_changed(small, make, tmp_path_factory):
    backups = make(small)
    archive = backups.save()
    with OpenBao(tmp_path_factory.mktemp("third")) as third:
        third.ask("POST", "sys/mounts/old", {"type": "kv", "options": {"version": "2"}})
        backups.config["vault"]["address"] = third.address
        text = "old/: the server has kv 2, and the archive kv 1"
        backups.backup("restore", str(archive), "--yes", "--force", code=77, text=text)
        assert "team/kv/" not in third.ask("GET", "sys/mounts")["data"]


def test_a_token_that_may_not_read_everything_gets_no_incomplete_archive(full, make):
    full.ask("PUT", "sys/policies/acl/half", {"policy": 'path "sys/*" { capabilities = ["read", "list"] }'})
    token = full.ask("POST", "auth/token/create", {"policies": ["half"]})["auth"]["client_token"]
    backups = make(full)
    try:
        text = backups.backup("save", code=77, env={"VAULT_TOKEN": token})
    finally:
        full.ask("DELETE", "sys/policies/acl/half")
    assert "permission denied (403); set $VAULT_TOKEN to a token whose policy grants this" in text
    assert backups.found() == []


def test_the_documented_policy_suffices_to_save(full, make):
    text = (ROOT / "docs/how-to/operations/back-up.md").read_text()
    policy = text.partition("that may only `save`")[2].partition("```hcl\n")[2].partition("```")[0]
    more = "".join(f'path "{mount}*" {{ capabilities = ["read", "list"] }}\n' for mount in ("old/", "team/kv/"))
    full.ask("PUT", "sys/policies/acl/page", {"policy": policy + more})
    try:
        token = full.ask("POST", "auth/token/create", {"policies": ["page"]})["auth"]["client_token"]
        output = make(full).backup("save", env={"VAULT_TOKEN": token})
    finally:
        full.ask("DELETE", "sys/policies/acl/page")
    assert "22 secrets in 26 versions, 6 mounts, 7 auth methods, 3 policies, 11 roles" in output
    assert "identity: entities" not in output
