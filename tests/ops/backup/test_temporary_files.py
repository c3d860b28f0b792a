"""What waits on a disk is readable to nobody, and comes back as it was or not at all."""

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
def spool(tmp_path):
    made = EncryptedTemporaryFile("kv.ndjson", tmp_path)
    yield made
    made.close()


@pytest.fixture
def keys():
    identity = pyrage.x25519.Identity.generate()
    return Keys((str(identity),), (str(identity.to_public()),))


def test_it_comes_back_as_it_was_and_says_what_it_is(spool):
    for chunk in (CANARY, b"", b"rest"):
        spool.write(chunk)
    whole = CANARY + b"rest"
    assert b"".join(spool.read()) == b"".join(spool.read()) == whole
    member = spool.member
    assert (member.name, member.size, member.sha256) == ("kv.ndjson", len(whole), hashlib.sha256(whole).hexdigest())


def test_its_file_has_no_name_and_shows_nothing(spool, tmp_path):
    spool.write(CANARY)
    spool._file.flush()
    assert list(tmp_path.iterdir()) == []
    content = Path(f"/proc/self/fd/{spool._file.fileno()}").read_bytes()
    assert len(content) == len(CANARY)
    assert b"canary" not in content


def test_a_file_that_was_altered_is_not_taken(spool):
    spool.write(CANARY)
    spool._file.flush()
    os.pwrite(spool._file.fileno(), b"x", 500)
    with pytest.raises(ArchiveError, match="altered"):
        list(spool.read())


def test_a_disk_that_is_full_is_told():
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(WriteError, match="No space left") as caught:
        encrypt(iter([CANARY]), full, [pyrage.x25519.Identity.generate().to_public()])
    assert "canary" not in str(caught.value)


# In a process of its own: the tests' own output may go to a file too.
FULL = """
import resource, sys, tempfile
from pathlib import Path
import pyrage
from lessee.ops.backup.encryption import encrypt
from lessee.ops.backup.temporary_files import EncryptedTemporaryFile
from lessee.core.errors import WriteError
resource.setrlimit(resource.RLIMIT_FSIZE, (8, 8))
folder = Path(sys.argv[1])
spool = EncryptedTemporaryFile("kv.ndjson", folder)
out = tempfile.TemporaryFile(dir=folder)
def read():
    spool.write(b"x" * 100)
    list(spool.read())
def write():
    encrypt(iter([b"x" * 100]), out, [pyrage.x25519.Identity.generate().to_public()])
for act in (read, write):
    try:
        act()
    except WriteError as exc:
        print(exc)
spool.close()
"""


def test_a_disk_that_is_found_full_only_at_the_end_is_told(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL, tmp_path], capture_output=True, text=True, check=False)
    read, write = done.stdout.splitlines()
    assert f"{tmp_path}: a temporary file cannot be written" in read
    assert "the archive cannot be written" in write


def test_what_goes_wrong_while_it_is_read_is_raised_as_it_was():
    def chunks():
        yield CANARY
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encrypt(chunks(), io.BytesIO(), [pyrage.x25519.Identity.generate().to_public()])


def test_who_stops_reading_leaves_no_thread(keys):
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
