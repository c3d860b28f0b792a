"""The process that was started ends as the fork that does its work."""

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import os, sys
from lessee.process.protected_fork import enter
enter()
{end}
"""


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("pass", 0),
        ("sys.exit(3)", 3),
        *((f"os.kill(os.getpid(), {int(number)})", -number) for number in (signal.SIGTERM, signal.SIGKILL)),
        (f"os.kill(os.getpid(), {int(signal.SIGSEGV)})", -signal.SIGSEGV),
    ],
    ids=["the end", "exit", "SIGTERM", "SIGKILL", "SIGSEGV"],
)
def test_the_first_process_ends_as_its_fork(end, code):
    program = PROGRAM.format(end=end)
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == code
