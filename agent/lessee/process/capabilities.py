"""Drops the capabilities of a thread, and of all threads and programs that it starts (capabilities(7))."""

import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

from lessee.process.libc import call, prctl

_PR_CAPBSET_DROP = 24
_PR_CAP_AMBIENT, _CLEAR_ALL = 47, 4
_PR_SET_NO_NEW_PRIVS, _PR_GET_NO_NEW_PRIVS = 38, 39
_VERSION_3 = 0x20080522
_LAST = 63


class Capability(IntEnum):
    """The capabilities that a configuration may need, by their numbers in linux/capability.h."""

    CHOWN = 0
    DAC_OVERRIDE = 1
    DAC_READ_SEARCH = 2
    FOWNER = 3
    KILL = 5
    SETGID = 6
    SETUID = 7
    NET_BIND_SERVICE = 10


_SETPCAP = 8
_NAMES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE"
    " NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN"
    " SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE"
    " MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
"""By their numbers, from 0."""


def keep_only(wanted: Iterable[int]) -> frozenset[int]:
    """Drop all capabilities but these from the calling thread. Returns what it has then.

    A seccomp filter may forbid capset(2), as systemd's `~@privileged` does. Then the thread keeps what it had, but a
    program that it starts without being root has none.
    """
    kept = numbers("CapPrm") & frozenset(wanted)
    if _SETPCAP in numbers("CapEff"):
        # Otherwise a program that root starts would have them all again.
        for number in range(_LAST + 1):
            if number not in kept:
                prctl(_PR_CAPBSET_DROP, number)
    prctl(_PR_CAP_AMBIENT, _CLEAR_ALL)
    _set(kept, kept)
    return numbers("CapPrm")


@contextmanager
def suspended() -> Iterator[None]:
    """Take all capabilities from the calling thread for a while, to see what it may do without them."""
    permitted, inheritable = numbers("CapPrm"), numbers("CapInh")
    _set(frozenset(), permitted, inheritable)
    try:
        yield
    finally:
        _set(permitted, permitted, inheritable)


def forbid_new_privileges() -> bool:
    """Let no program that this thread starts gain what it lacks, as by sudo. Whether the kernel has obeyed."""
    return prctl(_PR_SET_NO_NEW_PRIVS, 1) == 0


def has_no_new_privileges() -> bool:
    """Whether no program that this thread starts can gain privileges."""
    return prctl(_PR_GET_NO_NEW_PRIVS) == 1


def name(number: int) -> str:
    """Its name without CAP_, or its number where the kernel is newer than these names."""
    names = _NAMES.split()
    return names[number] if number < len(names) else str(number)


def numbers(field: str) -> frozenset[int]:
    """The capabilities of the calling thread in this field of proc_pid_status(5); none where /proc is hidden."""
    try:
        # As bytes: a process of another user may no longer be able to import an encoding.
        lines = Path("/proc/thread-self/status").read_bytes().splitlines()
    except OSError:
        return frozenset()
    prefix = f"{field}:".encode()
    bits = next((int(line.split()[1], 16) for line in lines if line.startswith(prefix)), 0)
    return frozenset(number for number in range(_LAST + 1) if bits >> number & 1)


def _set(effective: Iterable[int], permitted: Iterable[int], inheritable: Iterable[int] = ()) -> None:
    # What is not inheritable is not ambient either.
    masks = [sum(1 << number for number in one) for one in (effective, permitted, inheritable)]
    halves = [mask >> shift & 0xFFFFFFFF for shift in (0, 32) for mask in masks]
    call("capset", struct.pack("Ii", _VERSION_3, 0), struct.pack("6I", *halves))
