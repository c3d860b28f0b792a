"""Takes from this thread, and all that it starts, the right to write outside some directories (landlock(7))."""

import os
import struct
from collections.abc import Iterable

from lessee.process.libc import call

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # The same on all architectures.
_CREATE_RULESET_VERSION, _PATH_BENEATH = 1, 1
_OLDEST = 2
"""The first version in which a file can be moved to another directory at all, as the agent does."""
# By linux/landlock.h: write a file, remove and make entries of each kind, move them, and truncate (from version 3 on).
_WRITE_FILE, _REMOVE_AND_MAKE, _REFER, _TRUNCATE = 1 << 1, 0x1FF0, 1 << 13, 1 << 14
ALL = _WRITE_FILE | _REMOVE_AND_MAKE | _REFER | _TRUNCATE
"""The rights to write."""
REMOVE_FILE = 1 << 5
"""The right to remove files alone."""


def restrict_writes(directories: Iterable[tuple[int, int]]) -> str:
    """Allow writing to devices, and beneath these open directories what the rights of each allow.

    Empty, or why the kernel does not restrict it: then nothing was taken from `directories`. A descriptor is used
    before the next one is taken. The thread needs no_new_privs. What is open stays writable, and reading is not
    restricted.
    """
    found = version()
    if found < _OLDEST:
        return "the kernel has no Landlock" if found == 0 else "the kernel's Landlock is older than Linux 5.19"
    handled = ALL if found > _OLDEST else ALL & ~_TRUNCATE
    attributes = struct.pack("Q", handled)
    ruleset = _syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    if ruleset < 0:
        return "the kernel refuses a ruleset"
    try:
        devices = os.open("/dev", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _allow(ruleset, devices, handled & (_WRITE_FILE | _TRUNCATE))
        finally:
            os.close(devices)
        for directory, rights in directories:
            _allow(ruleset, directory, handled & rights)
        return "" if _syscall(_RESTRICT_SELF, ruleset, 0) == 0 else "the kernel refuses the ruleset"
    finally:
        os.close(ruleset)


def version() -> int:
    """The version of the kernel's Landlock; 0 without it."""
    return max(0, _syscall(_CREATE_RULESET, 0, 0, _CREATE_RULESET_VERSION))


def _allow(ruleset: int, directory: int, rights: int) -> None:
    _syscall(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, directory), 0)


def _syscall(number: int, *arguments: int | bytes) -> int:
    return call("syscall", number, *arguments)
