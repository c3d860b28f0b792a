"""A command ends in time, with all that it has started, whatever that is."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from lessee.host.limited_command import run_limited

ENVIRON = {"PATH": os.environ["PATH"]}


def alive(marker):
    """The processes that have this word in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if marker.encode() in path.read_bytes().split(b"\0"):
                found.append(path.parent.name)
    return found


def test_what_a_command_says_is_returned(tmp_path):
    done = run_limited(["sh", "-c", "pwd; echo e >&2; exit 3"], ENVIRON, folder=tmp_path, timeout=60)
    assert (done.returncode, done.stdout.decode().strip(), done.stderr) == (3, str(tmp_path), b"e\n")


def test_a_command_that_is_not_there_is_an_error():
    with pytest.raises(FileNotFoundError):
        run_limited(["no-such-program"], ENVIRON, timeout=60)


def test_a_command_that_takes_too_long_ends_with_all_programs_of_its_session():
    marker = f"lessee-marker-{os.getpid()}"
    # A process group of its own, as a plugin of docker has; and one whose parent has ended.
    inner = f"import os, time; os.setpgid(0, 0); os.fork(); time.sleep(600)  # {marker}"
    script = f"{sys.executable} -c '{inner}' {marker} & sh -c '{sys.executable} -c \"{inner}\" {marker} &' ; wait"
    with pytest.raises(subprocess.TimeoutExpired):
        run_limited(["sh", "-c", script], ENVIRON, timeout=1.5)
    assert alive(marker) == []


def test_a_command_that_takes_too_much_memory_fails():
    command = [sys.executable, "-c", "import subprocess, sys; bytearray(1 << 29)"]
    assert run_limited(command, ENVIRON, timeout=60, memory=1 << 32).returncode == 0
    assert run_limited(command, ENVIRON, timeout=60, memory=1 << 28).returncode != 0
