"""Who holds a rotation, so that another on this machine can see whether he is still there."""

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_STARTED = 19
"""Field 22 of /proc/PID/stat, counted behind the name: clock ticks from boot to the start of the process."""
_PARTS = 5
_LONGEST_START = 30.0
"""Seconds that the start of a program takes on a busy machine."""
_PID = re.compile("[0-9]{1,9}", re.ASCII)
_UNSEEN = "?"
_ENDED = "ended"


def holder() -> str:
    """A name for this process, with something of its own for each call."""
    return ":".join((_machine(), _namespace(), str(os.getpid()), _started(os.getpid()), secrets.token_hex(4)))


def has_left(name: str) -> bool:
    """Whether the process of this name has ended. False where that cannot be seen from here."""
    parts = name.split(":")
    if len(parts) != _PARTS or parts[:2] != [_machine(), _namespace()] or not _PID.fullmatch(parts[2]):
        return False
    return _is_gone(int(parts[2])) or _started(int(parts[2])) not in {parts[3], _UNSEEN}


def started_at(boot_time: float, now: float) -> float:
    """When this program began, as `now` counts: what others have published since then is what was asked for.

    It is said to be 30 s ago at most: a script that has run for days may have become this program by exec.
    """
    ticks = _started(os.getpid())
    age = boot_time - int(ticks) / os.sysconf("SC_CLK_TCK") if ticks.isdecimal() else 0.0
    return now - min(max(age, 0.0), _LONGEST_START)


def _machine() -> str:
    with suppress(OSError):
        return _BOOT.read_text().strip().replace("-", "")[:12]
    return "?" + secrets.token_hex(6)  # It is nobody's.


def _namespace() -> str:
    with suppress(OSError):
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    return "?"


def _is_gone(pid: int) -> bool:
    # Where /proc is mounted with hidepid, the processes of other users are not in it, and yet alive.
    try:
        os.kill(pid, 0)
    except PermissionError:
        return False
    except (ProcessLookupError, OverflowError):
        return True
    return False


def _started(pid: int) -> str:
    """The tick at which it started; _ENDED where it does nothing any more."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return _UNSEEN
    # The name may hold anything, also parentheses and spaces.
    fields = stat.rpartition(")")[2].split()
    return _ENDED if fields[0] in {"Z", "X"} else fields[_STARTED]
