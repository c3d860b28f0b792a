"""A full disk, as one process sees it: no file grows beyond a size.

Python must not write bytecode there: it keeps a file that was cut off, and later imports of that module fail.
"""

import resource
import signal
import sys
from contextlib import contextmanager


@contextmanager
def no_file_may_grow_beyond(size):
    """So many bytes, in this process and until the end of the block."""
    limits, writes_no_bytecode = resource.getrlimit(resource.RLIMIT_FSIZE), sys.dont_write_bytecode
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    sys.dont_write_bytecode = True
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        sys.dont_write_bytecode = writes_no_bytecode
        signal.signal(signal.SIGXFSZ, handler)


def starting_with_a_full_disk(size):
    """What starts a command whose files do not grow beyond so many bytes."""
    return ["prlimit", f"--fsize={size}", "env", "PYTHONDONTWRITEBYTECODE=1"]
