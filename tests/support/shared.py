"""What all workers of a test run share: a folder, and what one of them makes for all."""

import fcntl
import os
from contextlib import contextmanager


def run_folder(tmp_path_factory):
    """The folder of the whole test run. A worker's own folder is in it."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@contextmanager
def locked(file):
    """Lock this file, which is created if necessary, against all other processes."""
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
