"""Temporary files are encrypted, and are read back unaltered or not at all."""

import hashlib
import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import pyrage
import pytest

from lessee.core.errors import WriteError
from lessee.ops.backup.encryption import CHUNK_SIZE, decrypt, encrypt
from lessee.ops.backup.keys import Keys
from lessee.ops.backup.policy.archive_format import ArchiveError
from lessee.ops.backup.temporary_files import EncryptedTemporaryFile

CANARY = b"canary-9d2f" * 9000


@pytest.fixture
def temporary_file(tmp_path):
    file = EncryptedTemporaryFile("kv.ndjson", tmp_path)
    yield file
    file.close()


@pytest.fixture
def keys():
    identity = pyrage.x25519.Identity.generate()
    return Keys((str(identity),), (str(identity.to_public()),))


def test_content_is_read_back_with_its_size_and_hash(temporary_file):
    for chunk in (CANARY, b"", b"rest"):
        temporary_file.write(chunk)
    whole = CANARY + b"rest"
    assert b"".join(temporary_file.read()) == b"".join(temporary_file.read()) == whole
    member = temporary_file.member
    assert (member.name, member.size, member.sha256) == ("kv.ndjson", len(whole), hashlib.sha256(whole).hexdigest())


def test_the_file_has_no_name_and_is_encrypted(temporary_file, tmp_path):
    temporary_file.write(CANARY)
    temporary_file._file.flush()
    assert list(tmp_path.iterdir()) == []
    content = Path(f"/proc/self/fd/{temporary_file._file.fileno()}").read_bytes()
    assert len(content) == len(CANARY)
    assert b"canary" not in content


def test_an_altered_file_is_refused(temporary_file):
    temporary_file.write(CANARY)
    temporary_file._file.flush()
    os.pwrite(temporary_file._file.fileno(), b"x", 500)
    with pytest.raises(ArchiveError, match="altered"):
        list(temporary_file.read())


def test_a_full_disk_is_reported():
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(WriteError, match="No space left") as caught:
        encrypt(iter([CANARY]), full, [pyrage.x25519.Identity.generate().to_public()])
    assert "canary" not in str(caught.value)


# In a separate process, because the limit would apply to the tests' own output too.
FULL = """
import resource, sys, tempfile
from pathlib import Path
import pyrage
from lessee.ops.backup.encryption import encrypt
from lessee.ops.backup.temporary_files import EncryptedTemporaryFile
from lessee.core.errors import WriteError
sys.dont_write_bytecode = True  # A file that was cut off would stay.
resource.setrlimit(resource.RLIMIT_FSIZE, (8, 8))
folder = Path(sys.argv[1])
temporary_file = EncryptedTemporaryFile("kv.ndjson", folder)
out = tempfile.TemporaryFile(dir=folder)
def read():
    temporary_file.write(b"x" * 100)
    list(temporary_file.read())
def write():
    encrypt(iter([b"x" * 100]), out, [pyrage.x25519.Identity.generate().to_public()])
for act in (read, write):
    try:
        act()
    except WriteError as exc:
        print(exc)
temporary_file.close()
"""


def test_a_full_disk_at_the_end_is_reported(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL, tmp_path], capture_output=True, text=True, check=False)
    read, write = done.stdout.splitlines()
    assert f"{tmp_path}: cannot write a temporary file" in read
    assert "cannot write the archive" in write


def test_errors_of_the_source_are_raised_unchanged():
    def chunks():
        yield CANARY
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encrypt(chunks(), io.BytesIO(), [pyrage.x25519.Identity.generate().to_public()])


def test_a_reader_that_stops_early_leaves_no_thread(keys):
    out = io.BytesIO()
    encrypt(iter([CANARY] * 20), out, [pyrage.x25519.Recipient.from_str(keys.public_keys[0])])

    def stop():
        out.seek(0)
        with decrypt(out, keys, "here") as clear:
            assert clear.read(CHUNK_SIZE) == (CANARY * 2)[:CHUNK_SIZE]
            raise LookupError

    with pytest.raises(LookupError):
        stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "decrypt"]
