"""Keeps this process's memory from its own uid, from core files and from the disk's other readers."""

import ctypes
import os
import resource

from lessee.core.errors import LesseeError
from lessee.core.immutable import Record

_PR_SET_DUMPABLE = 4
_libc = ctypes.CDLL(None, use_errno=True)


class Before(Record, frozen=True):
    """What a program had before it became private, and its child is to have."""

    core: tuple[int, int]
    """The limit of a core file's size, soft and hard."""
    umask: int


def make_private(*, for_good: bool = True) -> Before:
    """Close environ, mem, maps and fd in /proc to others of our uid; no core file; new files ours alone.

    Call it first: what was read before could be read by others. An exec undoes it (prctl(2)), so a helper
    process calls it again. RLIMIT_CORE alone would not stop a piped core_pattern; the dumpable flag does.
    `for_good` False leaves the hard limit of the core file, so that a child can have what there was before.
    """
    if _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise LesseeError(
            f"cannot close this process's memory to its uid: {reason}",
            where="prctl(PR_SET_DUMPABLE)",
            todo="let the container's seccomp profile allow prctl",
        )
    core = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0 if for_good else core[1]))
    return Before(core, os.umask(0o077))
