"""What is sealed can be opened with this host's key alone, and is whole or not there."""

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
    return tmp_path / "kept" / "web"


@pytest.fixture
def key(tmp_path):
    (tmp_path / "keys").mkdir(mode=0o700)
    return tmp_path / "keys" / "host.key"


@pytest.fixture
def sealed(file, key):
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


def test_what_is_sealed_comes_back_and_cannot_be_read_on_the_disk(sealed, key):
    assert open_(sealed, key) == (LABEL, CANARY)
    assert CANARY not in sealed.read_bytes()
    assert (mode(sealed), mode(sealed.parent), mode(key), len(key.read_bytes())) == (0o600, 0o700, 0o600, 32)
    assert names(sealed.parent) == ["web"]
    assert names(key.parent) == ["host.key"]


def test_each_sealing_looks_different_and_the_key_stays(sealed, key):
    before, secret = sealed.read_bytes(), key.read_bytes()
    encrypt(sealed, LABEL, CANARY, key)
    assert sealed.read_bytes() != before
    assert key.read_bytes() == secret


def test_whatever_bit_or_length_of_it_is_changed_it_is_refused(sealed, key):
    whole = sealed.read_bytes()
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 1 << at % 8
        sealed.write_bytes(changed)
        assert refused(sealed, key)
        sealed.write_bytes(whole[:at])
        assert refused(sealed, key)
    sealed.write_bytes(whole + b"x")
    assert "the file was changed or truncated, or encrypted with another key" in refused(sealed, key)
    sealed.write_bytes(whole)
    assert open_(sealed, key) == (LABEL, CANARY)


def test_another_label_is_not_believed(sealed, key):
    content = sealed.read_bytes()
    sealed.write_bytes(content.replace(b'"web"', b'"wob"'))
    assert read(sealed).label == b'{"app":"wob"}'
    assert "the file was changed" in refused(sealed, key)


def test_another_key_opens_nothing_and_none_says_where_it_should_be(sealed, key):
    key.write_bytes(os.urandom(32))
    assert f"encrypted with another key than {key}" in refused(sealed, key)
    key.unlink()
    assert refused(sealed, key) == f"{key}: the key does not exist; $LESSEE_HOST_KEY_FILE names another"
    assert not key.exists(), "a key is created to encrypt, never to decrypt"
    key.write_bytes(b"short")
    key.chmod(0o600)
    assert "a key has at least 32 bytes" in refused(sealed, key)


def test_any_file_of_random_bytes_is_a_key(file, key):
    key.write_bytes(os.urandom(500))
    key.chmod(0o400)
    encrypt(file, LABEL, CANARY, key)
    assert open_(file, key) == (LABEL, CANARY)


@pytest.mark.parametrize("bits", [0o604, 0o602, 0o620, 0o666])
def test_what_others_may_read_or_write_is_no_key_and_nothing_kept(sealed, key, bits):
    key.chmod(bits)
    assert f"{key}: other users own it, or may read or write it" in refused(sealed, key)
    with pytest.raises(LesseeError, match="other users own it"):
        encrypt(sealed, LABEL, CANARY, key)
    key.chmod(0o600)
    sealed.chmod(bits)
    assert f"{sealed}: other users own it, or may read or write it" in refused(sealed, key)


def test_a_link_a_folder_and_a_fifo_are_not_read(sealed, key, tmp_path):
    real = sealed.rename(tmp_path / "real")
    sealed.symlink_to(real)
    assert refused(sealed, key) == f"{sealed}: it is a symbolic link"
    sealed.unlink()
    os.mkfifo(sealed, 0o600)
    assert "it is not a regular file" in refused(sealed, key)
    sealed.unlink()
    sealed.mkdir()
    assert "it is not a regular file" in refused(sealed, key)
    sealed.rmdir()
    assert "no snapshot exists yet" in refused(sealed, key)


def test_what_is_too_large_is_not_read(sealed, key):
    with sealed.open("r+b") as stream:
        stream.truncate(65 * 2**20)
    assert "it is larger than" in refused(sealed, key)


def test_a_link_at_its_place_is_replaced_and_not_followed(file, key, tmp_path):
    file.parent.mkdir(mode=0o700)
    (tmp_path / "else").write_text("untouched")
    file.symlink_to(tmp_path / "else")
    encrypt(file, LABEL, CANARY, key)
    assert not file.is_symlink()
    assert (tmp_path / "else").read_text() == "untouched"


@pytest.mark.parametrize("content", [b"a: 1\n", b"l", b"\0" * 99])
def test_what_another_keeps_there_is_not_written_over(file, key, content):
    file.parent.mkdir(mode=0o700)
    file.write_bytes(content)
    with pytest.raises(
        LesseeError, match=f"{file}: not overwritten, as it is not a file that lessee encrypted.*name another"
    ):
        encrypt(file, LABEL, CANARY, key)
    assert file.read_bytes() == content
    assert names(file.parent) == ["web"]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_nor_is_what_is_no_file(file, key, make):
    file.parent.mkdir(mode=0o700)
    make(file)
    with pytest.raises(LesseeError, match="not overwritten"):
        encrypt(file, LABEL, CANARY, key)
    assert names(file.parent) == ["web"]


def test_an_empty_file_and_what_was_sealed_and_cut_are_written_anew(file, key):
    file.parent.mkdir(mode=0o700)
    for content in (b"", b"lessee encrypted 1\n{", b"lessee encrypted 0\n{}\nbox"):
        file.write_bytes(content)
        encrypt(file, LABEL, CANARY, key)
        assert open_(file, key) == (LABEL, CANARY)


def test_it_never_lies_beside_its_key(key, tmp_path):
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


def test_where_no_key_can_be_made_the_way_out_is_told(file, tmp_path):
    with pytest.raises(WriteError, match="create its directory, or name another key with"):
        encrypt(file, LABEL, CANARY, tmp_path / "none" / "key")
    assert not file.exists()


def test_what_fails_half_way_leaves_what_was_there(sealed, key, monkeypatch):
    before = sealed.read_bytes()
    monkeypatch.setattr(os, "rename", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "no room")))
    with pytest.raises(WriteError, match="No space left"):
        encrypt(sealed, LABEL, b"new", key)
    assert sealed.read_bytes() == before
    assert names(sealed.parent) == ["web"]


def test_of_two_that_make_the_key_at_once_both_have_the_same(key, tmp_path):
    files = [tmp_path / f"kept{number}" / "web" for number in range(8)]
    threads = [threading.Thread(target=encrypt, args=(file, LABEL, CANARY, key)) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {open_(file, key) for file in files} == {(LABEL, CANARY)}
    assert names(key.parent) == ["host.key"]


def test_the_key_is_where_the_environment_says_or_in_its_usual_place():
    assert key_file({"LESSEE_HOST_KEY_FILE": "/run/credentials/lessee/key"}) == Path("/run/credentials/lessee/key")
    assert key_file({"LESSEE_HOST_KEY_FILE": ""}) == key_file({}) == DEFAULT_KEY_FILE
