"""An encrypted file can be decrypted only with this host's key, and is complete or missing."""

import os
import stat
import threading
from pathlib import Path

import pytest

from lessee.core.errors import LesseeError, WriteError
from lessee.host.encrypted_file import DEFAULT_KEY_FILE, decrypt, encrypt, key_file, read

CANARY = b"canary-33aa"
LABEL = b'{"app":"web"}'


@pytest.fixture
def file(tmp_path):
    return tmp_path / "snapshots" / "web"


@pytest.fixture
def key(tmp_path):
    (tmp_path / "keys").mkdir(mode=0o700)
    return tmp_path / "keys" / "host.key"


@pytest.fixture
def encrypted(file, key):
    encrypt(file, LABEL, CANARY, key)
    return file


def open_(file, key):
    found = read(file)
    return found.label, decrypt(found, key)


def refused(file, key):
    with pytest.raises(LesseeError) as caught:
        open_(file, key)
    assert CANARY.decode() not in str(caught.value)
    return str(caught.value)


def names(folder):
    return [path.name for path in folder.iterdir()]


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_an_encrypted_file_can_be_decrypted_and_hides_its_content_on_disk(encrypted, key):
    assert open_(encrypted, key) == (LABEL, CANARY)
    assert CANARY not in encrypted.read_bytes()
    assert (mode(encrypted), mode(encrypted.parent), mode(key), len(key.read_bytes())) == (0o600, 0o700, 0o600, 32)
    assert names(encrypted.parent) == ["web"]
    assert names(key.parent) == ["host.key"]


def test_each_encryption_differs_and_the_key_stays(encrypted, key):
    before, secret = encrypted.read_bytes(), key.read_bytes()
    encrypt(encrypted, LABEL, CANARY, key)
    assert encrypted.read_bytes() != before
    assert key.read_bytes() == secret


def test_any_changed_bit_or_length_is_detected(encrypted, key):
    whole = encrypted.read_bytes()
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 1 << at % 8
        encrypted.write_bytes(changed)
        assert refused(encrypted, key)
        encrypted.write_bytes(whole[:at])
        assert refused(encrypted, key)
    encrypted.write_bytes(whole + b"x")
    assert "the file was changed or truncated, or encrypted with another key" in refused(encrypted, key)
    encrypted.write_bytes(whole)
    assert open_(encrypted, key) == (LABEL, CANARY)


def test_a_changed_label_is_detected(encrypted, key):
    content = encrypted.read_bytes()
    encrypted.write_bytes(content.replace(b'"web"', b'"wob"'))
    assert read(encrypted).label == b'{"app":"wob"}'
    assert "the file was changed" in refused(encrypted, key)


def test_another_key_decrypts_nothing_and_a_missing_one_is_reported(encrypted, key):
    key.write_bytes(os.urandom(32))
    assert f"encrypted with another key than {key}" in refused(encrypted, key)
    key.unlink()
    assert refused(encrypted, key) == f"{key}: the key does not exist; $LESSEE_HOST_KEY_FILE names another"
    assert not key.exists(), "a key is created to encrypt, never to decrypt"
    key.write_bytes(b"short")
    key.chmod(0o600)
    assert "a key has at least 32 bytes" in refused(encrypted, key)


def test_any_file_of_random_bytes_is_a_key(file, key):
    key.write_bytes(os.urandom(500))
    key.chmod(0o400)
    encrypt(file, LABEL, CANARY, key)
    assert open_(file, key) == (LABEL, CANARY)


@pytest.mark.parametrize("bits", [0o604, 0o602, 0o620, 0o666])
def test_a_key_or_file_that_other_users_may_read_or_write_is_refused(encrypted, key, bits):
    key.chmod(bits)
    assert f"{key}: other users own it, or may read or write it" in refused(encrypted, key)
    with pytest.raises(LesseeError, match="other users own it"):
        encrypt(encrypted, LABEL, CANARY, key)
    key.chmod(0o600)
    encrypted.chmod(bits)
    assert f"{encrypted}: other users own it, or may read or write it" in refused(encrypted, key)


def test_a_link_a_folder_and_a_fifo_are_not_read(encrypted, key, tmp_path):
    real = encrypted.rename(tmp_path / "real")
    encrypted.symlink_to(real)
    assert refused(encrypted, key) == f"{encrypted}: it is a symbolic link"
    encrypted.unlink()
    os.mkfifo(encrypted, 0o600)
    assert "it is not a regular file" in refused(encrypted, key)
    encrypted.unlink()
    encrypted.mkdir()
    assert "it is not a regular file" in refused(encrypted, key)
    encrypted.rmdir()
    assert "no snapshot exists yet" in refused(encrypted, key)


def test_a_file_that_is_too_large_is_not_read(encrypted, key):
    with encrypted.open("r+b") as stream:
        stream.truncate(65 * 2**20)
    assert "it is larger than" in refused(encrypted, key)


def test_a_link_in_its_place_is_replaced_and_not_followed(file, key, tmp_path):
    file.parent.mkdir(mode=0o700)
    (tmp_path / "else").write_text("untouched")
    file.symlink_to(tmp_path / "else")
    encrypt(file, LABEL, CANARY, key)
    assert not file.is_symlink()
    assert (tmp_path / "else").read_text() == "untouched"


@pytest.mark.parametrize("content", [b"a: 1\n", b"l", b"\0" * 99])
def test_a_file_of_another_program_is_not_overwritten(file, key, content):
    file.parent.mkdir(mode=0o700)
    file.write_bytes(content)
    with pytest.raises(
        LesseeError, match=f"{file}: not overwritten, as it is not a file that lessee encrypted.*name another"
    ):
        encrypt(file, LABEL, CANARY, key)
    assert file.read_bytes() == content
    assert names(file.parent) == ["web"]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_an_entry_that_is_not_a_file_is_not_overwritten(file, key, make):
    file.parent.mkdir(mode=0o700)
    make(file)
    with pytest.raises(LesseeError, match="not overwritten"):
        encrypt(file, LABEL, CANARY, key)
    assert names(file.parent) == ["web"]


def test_an_empty_or_truncated_file_of_lessees_is_overwritten(file, key):
    file.parent.mkdir(mode=0o700)
    for content in (b"", b"lessee encrypted 1\n{", b"lessee encrypted 0\n{}\nbox"):
        file.write_bytes(content)
        encrypt(file, LABEL, CANARY, key)
        assert open_(file, key) == (LABEL, CANARY)


def test_a_file_is_never_in_the_directory_of_its_key(key, tmp_path):
    (tmp_path / "link").symlink_to(key.parent)
    for place in (key.parent / "web", tmp_path / "link" / "web"):
        with pytest.raises(LesseeError, match="the file is in the same directory as its key"):
            encrypt(place, LABEL, CANARY, key)
    assert names(key.parent) == []


def test_a_folder_that_others_may_write_into_is_refused(file, key):
    file.parent.mkdir()
    file.parent.chmod(0o777)
    with pytest.raises(WriteError, match="every user may write into this directory"):
        encrypt(file, LABEL, CANARY, key)


def test_a_key_that_cannot_be_created_is_reported_with_the_remedy(file, tmp_path):
    with pytest.raises(WriteError, match="create its directory, or name another key with"):
        encrypt(file, LABEL, CANARY, tmp_path / "none" / "key")
    assert not file.exists()


def test_a_failed_write_leaves_the_old_file(encrypted, key, monkeypatch):
    before = encrypted.read_bytes()
    monkeypatch.setattr(os, "rename", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "no room")))
    with pytest.raises(WriteError, match="No space left"):
        encrypt(encrypted, LABEL, b"new", key)
    assert encrypted.read_bytes() == before
    assert names(encrypted.parent) == ["web"]


def test_agents_that_create_the_key_concurrently_get_the_same_key(key, tmp_path):
    files = [tmp_path / f"snapshots{number}" / "web" for number in range(8)]
    threads = [threading.Thread(target=encrypt, args=(file, LABEL, CANARY, key)) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {open_(file, key) for file in files} == {(LABEL, CANARY)}
    assert names(key.parent) == ["host.key"]


def test_the_environment_names_the_key_file_or_the_default_applies():
    assert key_file({"LESSEE_HOST_KEY_FILE": "/run/credentials/lessee/key"}) == Path("/run/credentials/lessee/key")
    assert key_file({"LESSEE_HOST_KEY_FILE": ""}) == key_file({}) == DEFAULT_KEY_FILE
