"""Credential files that every user can read are found, and no others."""

import os
import tempfile
from pathlib import Path

import pytest

from lessee.config.parsing import parse
from lessee.host.exposed_credentials import exposed_credentials


@pytest.fixture
def public():
    """A directory that every user may enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory(prefix="lessee-test-", dir="/dev/shm") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def file(path, mode):
    path.write_text("x")
    path.chmod(mode)
    return str(path)


def found(auth, **others):
    vault = {"address": "https://vault.test", "auth": auth}
    config = parse(str({"vault": vault} | others), source="x", environ={})
    return [(Path(one.path).name, one.mode) for one in exposed_credentials(config)]


def approle(folder, mode):
    role, secret = file(folder / "role_id", 0o644), file(folder / "secret_id", mode)
    return {"method": "approle", "role_id_file": role, "secret_id_file": secret}


@pytest.mark.parametrize(("mode", "exposed"), [(0o644, True), (0o604, True), (0o640, False), (0o600, False)])
def test_a_file_that_every_user_can_read_is_found(public, mode, exposed):
    assert found(approle(public, mode)) == ([("secret_id", mode)] if exposed else [])


def test_a_token_file_and_that_of_the_status_are_found(public):
    status = {"socket": "/run/x.sock", "listen": "127.0.0.1:9999", "token_file": file(public / "status", 0o444)}
    assert found({"method": "token", "token_file": file(public / "token", 0o644)}, status=status) == [
        ("token", 0o644),
        ("status", 0o444),
    ]


def test_the_files_of_sources_and_of_a_read_socket_are_found(public):
    sources = {
        "files": {"kind": "sops", "directory": "/secrets", "age_key_file": file(public / "age", 0o644)},
        "cloud": {"kind": "aws-ssm", "region": "eu-1", "credentials_file": file(public / "aws", 0o604)},
        "own": {"kind": "sops", "directory": "/secrets", "age_key_file": file(public / "private", 0o600)},
    }
    listen = {"path": "/run/x.sock", "listen": "127.0.0.1:8300", "token_file": file(public / "token", 0o444)}
    app = {"directory": "/dev/shm/x", "files": [{"template": "x.j2"}], "socket": listen}
    exposed = found({"method": "token"}, environment="test", sources=sources, apps={"web": app})
    assert exposed == [("age", 0o644), ("aws", 0o604), ("token", 0o444)]


def test_a_file_in_a_directory_that_others_cannot_enter_is_not_exposed(public):
    (public / "private").mkdir(mode=0o700)
    assert found(approle(public / "private", 0o644)) == []
    (public / "link").symlink_to(public / "private" / "secret_id")
    assert found({"method": "token", "token_file": str(public / "link")}) == []


def test_a_link_to_an_exposed_file_and_one_to_nothing(public):
    (public / "link").symlink_to(file(public / "token", 0o644))
    assert found({"method": "token", "token_file": str(public / "link")}) == [("link", 0o644)]
    (public / "token").unlink()
    assert found({"method": "token", "token_file": str(public / "link")}) == []


def test_a_fifo_does_not_stall_the_check(public):
    os.mkfifo(public / "token", 0o644)
    assert found({"method": "token", "token_file": str(public / "token")}) == []
