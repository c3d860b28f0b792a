"""The runner gets the values to mask before any other output."""

import os
import subprocess
import sys

import pytest

from support.programs.sidecar import eventually, pass_by

MASKS = """
import sys
from lessee.host import job_masking
job_masking._READ_TIMEOUT = float(sys.argv[1])
job_masking.redactor_for("github", {"GITHUB_ACTIONS": "true"}).learn("secret x", ["canary-1", "canary-2"])
print("continued", flush=True)
"""


@pytest.fixture
def masking():
    """A function that starts it: with the seconds for which it waits."""
    started = []

    def start(patience):
        command = [sys.executable, "-c", MASKS, str(patience)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_it_continues_once_the_runner_has_read_a_line_after_the_masks(masking):
    process = masking(60)
    os.set_blocking(process.stdout.fileno(), False)
    assert os.read(process.stderr.fileno(), 65536).count(b"::add-mask::canary-") == 2
    # It may not have looked at them yet: that takes one more read.
    pass_by(0.3)
    assert process.stdout.read() is None
    assert os.read(process.stderr.fileno(), 65536).count(b"\n") == 1
    eventually(lambda: process.stdout.read() == b"continued\n", "the end")


def test_without_a_reader_it_fails(masking):
    process = masking(0.1)
    assert process.wait(30) != 0
    said = process.communicate()
    assert said[0] == b""
    assert b"the runner does not read the values to mask" in said[1]
