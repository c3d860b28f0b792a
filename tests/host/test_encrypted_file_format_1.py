"""A file that lessee 0.1.0 encrypted is decrypted and replaced; the code of 0.1.0 encrypts it here."""

import pytest

from lessee.core.errors import LesseeError
from lessee.host.encrypted_file import decrypt, encrypt, read
from support.released import run

SEALS = """
import sys
from pathlib import Path
from lessee.host import sealed
sealed.seal(Path(sys.argv[1]), b"label", b"CANARY-0b1d", Path(sys.argv[2]))
"""
READS = """
import sys
from pathlib import Path
from lessee.core.errors import LesseeError
from lessee.host import sealed
file, key = map(Path, sys.argv[1:])
for act in (lambda: sealed.read(file), lambda: sealed.seal(file, b"label", b"", key)):
    try:
        act()
    except LesseeError as exc:
        print(exc)
"""


@pytest.fixture
def key(tmp_path):
    (tmp_path / "keys").mkdir(mode=0o700)
    return tmp_path / "keys" / "host.key"


@pytest.fixture
def file(tmp_path, key):
    path = tmp_path / "snapshots" / "web"
    run("0.1.0", SEALS, path, key)
    return path


def test_a_file_of_0_1_0_is_decrypted_with_the_key_that_it_created(file, key):
    encrypted = read(file)
    assert (encrypted.label, decrypt(encrypted, key)) == (b"label", b"CANARY-0b1d")


def test_it_is_replaced_by_one_of_the_present_format(file, key):
    encrypt(file, b"label", b"content", key)
    assert decrypt(read(file), key) == b"content"
    assert file.read_bytes().startswith(b"lessee encrypted 1\n")


def test_a_changed_label_of_it_is_noticed(file, key):
    file.write_bytes(file.read_bytes().replace(b"label", b"labem"))
    with pytest.raises(LesseeError, match="the file was changed"):
        decrypt(read(file), key)


def test_0_1_0_neither_reads_nor_overwrites_a_file_of_this_version(tmp_path, key):
    file = tmp_path / "snapshots" / "web"
    encrypt(file, b"label", b"content", key)
    before = file.read_bytes()
    said = run("0.1.0", READS, file, key).splitlines()
    assert ["no sealed file of lessee's" in line for line in said] == [True, True]
    assert file.read_bytes() == before


def test_a_file_of_a_newer_version_is_named_as_such(tmp_path):
    file = tmp_path / "web"
    file.write_bytes(b"lessee encrypted 2\nlabel\nx")
    file.chmod(0o600)
    with pytest.raises(LesseeError, match="a newer version of lessee encrypted this file; use that version"):
        read(file)
