"""Telling a runner what to hide: nothing goes on before it has been heard."""

import os
import subprocess
import sys

import pytest

from support.programs.sidecar import eventually, pass_by

TELLS = """
import sys
from lessee.host import job_masking
job_masking._READ_TIMEOUT = float(sys.argv[1])
job_masking.redactor_for("github", {"GITHUB_ACTIONS": "true"}).learn("secret x", ["canary-1", "canary-2"])
print("gone on", flush=True)
"""


@pytest.fixture
def telling():
    """A function that starts it: with the seconds for which it waits."""
    started = []

    def start(patience):
        command = [sys.executable, "-c", TELLS, str(patience)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_it_goes_on_when_the_runner_has_come_back_for_more_than_the_masks(telling):
    process = telling(60)
    os.set_blocking(process.stdout.fileno(), False)
    assert os.read(process.stderr.fileno(), 65536).count(b"::add-mask::canary-") == 2
    # It may not have looked at them yet: that takes one more read.
    pass_by(0.3)
    assert process.stdout.read() is None
    assert os.read(process.stderr.fileno(), 65536).count(b"\n") == 1
    eventually(lambda: process.stdout.read() == b"gone on\n", "the end")


def test_it_does_not_go_on_where_nobody_reads(telling):
    process = telling(0.1)
    assert process.wait(30) != 0
    said = process.communicate()
    assert said[0] == b""
    assert b"the runner does not read the values to mask" in said[1]
