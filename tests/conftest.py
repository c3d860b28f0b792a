"""What all tests share: a real OpenBao server, and folders on a real tmpfs."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from lessee.host.openbao import OpenBao

MEMORY = Path("/dev/shm")


@pytest.fixture(scope="session")
def bao(tmp_path_factory):
    """One server for the whole run; a test that breaks a server starts one of its own."""
    with OpenBao(tmp_path_factory.mktemp("openbao")) as server:
        yield server


@pytest.fixture
def memory():
    """A folder on tmpfs, gone after the test."""
    if not os.access(MEMORY, os.W_OK):
        need("a writable tmpfs at /dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="lessee-test-", dir=MEMORY))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def need(what):
    """Skip for want of something; in CI that is a failure, for there all is to be had."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"this test needs {what}")
    pytest.skip(f"needs {what}")
