"""Names a process as the owner of a lock, so that others on this machine can check whether it still runs."""

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from lessee.host import procfs

_PARTS = 5
_LONGEST_START = 30.0
"""Seconds that the start of this program may take on a busy machine."""
_PID = re.compile("[0-9]{1,9}", re.ASCII)
_UNSEEN = "?"
_ENDED = "ended"


def new_owner_id() -> str:
    """A new name for this process, unique for each call."""
    return ":".join((_machine(), _namespace(), str(os.getpid()), _started(os.getpid()), secrets.token_hex(4)))


def has_exited(name: str) -> bool:
    """Whether the process of this name has exited. False where that is not visible from here."""
    parts = name.split(":")
    if len(parts) != _PARTS or parts[:2] != [_machine(), _namespace()] or not _PID.fullmatch(parts[2]):
        return False
    return _is_gone(int(parts[2])) or _started(int(parts[2])) not in {parts[3], _UNSEEN}


def started_at(boot_time: float, now: float) -> float:
    """When this program started, on the clock of `now`. A rotation that was published since then fulfills its request.

    The result is at most 30 s ago: a script that has run for days may have become this program by exec.
    """
    ticks = _started(os.getpid())
    age = boot_time - int(ticks) * procfs.TICK if ticks.isdecimal() else 0.0
    return now - min(max(age, 0.0), _LONGEST_START)


def _machine() -> str:
    # Without a boot id the name is no machine's: no other process takes it for its own.
    return procfs.boot_id().replace("-", "")[:12] or "?" + secrets.token_hex(6)


def _namespace() -> str:
    with suppress(OSError):
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    return "?"


def _is_gone(pid: int) -> bool:
    # Where /proc is mounted with hidepid, it lacks running processes of other users.
    try:
        os.kill(pid, 0)
    except PermissionError:
        return False
    except (ProcessLookupError, OverflowError):
        return True
    return False


def _started(pid: int) -> str:
    """The tick at which the process started; _ENDED if it has exited."""
    try:
        stat = procfs.stat(pid)
    except OSError:
        return _UNSEEN
    return _ENDED if stat.has_exited else str(stat.start_ticks)
