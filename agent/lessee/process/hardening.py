"""Hides this process's memory from other processes of its uid and from core files, and its new files from others."""

import os
import resource

from lessee.core.errors import LesseeError
from lessee.core.immutable import ImmutableStruct
from lessee.process.libc import prctl
from lessee.process.protected_fork import inherited_core_limit

_PR_SET_DUMPABLE = 4


class InheritedLimits(ImmutableStruct, frozen=True):
    """The limits with which this process started, and with which its child starts too."""

    core: tuple[int, int]
    """The soft and hard limit of a core file's size."""
    umask: int


def harden(*, permanent: bool = True) -> InheritedLimits:
    """Close environ, mem, maps and fd in /proc to other processes of this uid; write no core file; umask 077.

    Call it first: other processes may have read what was read before. An exec undoes it (prctl(2)), so a helper
    process calls it again. RLIMIT_CORE alone would not stop a piped core_pattern; the dumpable flag does. With
    `permanent` False the hard limit of the core file stays, so that a child can get the inherited limits.
    """
    if prctl(_PR_SET_DUMPABLE, 0) != 0:
        raise LesseeError(
            "cannot hide this process's memory from its uid",
            where="prctl(PR_SET_DUMPABLE)",
            todo="let the container's seccomp profile allow prctl",
        )
    core = inherited_core_limit() or resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0 if permanent else core[1]))
    return InheritedLimits(core, os.umask(0o077))
