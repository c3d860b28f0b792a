"""Which file systems count as memory."""

import os
from pathlib import Path

import pytest

from lessee.core.errors import WriteError
from lessee.host.mounts import is_memory, is_memory_at, refuse_disk


@pytest.fixture
def descriptor():
    held = []

    def hold(path):
        held.append(os.open(path, os.O_RDONLY | os.O_DIRECTORY))
        return held[-1]

    yield hold
    for fd in held:
        os.close(fd)


def test_every_mount_is_recognized_by_the_kernels_file_system_type(descriptor):
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    kinds = {fields[1]: fields[2] for fields in mounts}  # What is mounted last at a place hides the others.
    seen = set()
    for place, kind in kinds.items():
        if Path(place).is_dir() and os.access(place, os.R_OK):
            assert is_memory(descriptor(place)) == (kind in {"tmpfs", "ramfs", "devtmpfs"}), place
            seen.add(kind)
    assert "tmpfs" in seen
    assert len(seen) > 1


def test_shared_memory_is_memory_and_proc_is_not(descriptor):
    assert is_memory(descriptor("/dev/shm"))
    assert not is_memory(descriptor("/proc"))


def test_a_directory_on_disk_is_refused_with_the_remedies(descriptor):
    refuse_disk(descriptor("/dev/shm"), Path("/dev/shm"))
    with pytest.raises(WriteError, match=r"^/proc: not in memory.*mount a tmpfs.*allow_disk: true"):
        refuse_disk(descriptor("/proc"), Path("/proc"))


def test_a_closed_descriptor_is_an_error(descriptor):
    fd = os.dup(descriptor("/proc"))
    os.close(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        is_memory(fd)


def test_a_directory_that_is_not_there_is_as_the_one_in_which_it_would_be_made(memory):
    assert is_memory_at(memory) is True
    assert is_memory_at(memory / "a/b") is True
    (memory / "file").write_text("")
    assert is_memory_at(memory / "file/b") is True
    assert is_memory_at(Path("/proc/self/no/such")) is False
