"""Takes file locks."""

import fcntl
import time

from lessee.host.clock import boot_time

_PATIENCE = 5.0
"""Seconds. After SIGKILL of a process its fork ends a little later, and until then holds its locks."""
_POLL = 0.05


def take_lock(fd: int) -> bool:
    """Whether this process has the lock of a file: flock(2). It waits for a holder that was killed and still ends."""
    until = boot_time() + _PATIENCE
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if boot_time() >= until:
                return False
            time.sleep(_POLL)
        else:
            return True
