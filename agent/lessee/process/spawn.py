"""Starts programs, and tells our own children from orphans that were handed to us."""

import os
import signal
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lessee.host import procfs

if TYPE_CHECKING:
    import subprocess

_AGENTS_OWN = ("VAULT_", "BAO_", "LESSEE_")
_lock = threading.Lock()
_ours: dict[int, "subprocess.Popen[bytes]"] = {}


def spawn(command: Sequence[str], **settings: Any) -> "subprocess.Popen[bytes]":
    """Start a program, as Popen does; `over` must be called for it when it was waited for."""
    import subprocess  # noqa: PLC0415  # Most agents start nothing.

    with _lock:  # Else it could end, and be taken for an orphan, before it is known to be ours.
        process = subprocess.Popen(command, **settings)
        _ours[process.pid] = process
    return process


def over(process: "subprocess.Popen[bytes]") -> None:
    """It has ended and its status was collected."""
    with _lock:
        _ours.pop(process.pid, None)


def started() -> frozenset[int]:
    """The pids of all that still run."""
    with _lock:
        return frozenset(_ours)


def kill_all() -> None:
    """Kill the sessions of all programs that still run: nobody will wait for them any more."""
    with _lock:
        for process in _ours.values():
            with suppress(ProcessLookupError, PermissionError):
                if process.returncode is None and os.getsid(process.pid) == process.pid:
                    os.killpg(process.pid, signal.SIGKILL)


def reap_orphans() -> int:
    """Collect the status of dead children that we did not start, as PID 1 must; how many there were."""
    with _lock:
        orphans = [pid for pid in procfs.zombie_children() if pid not in _ours]
        for pid in orphans:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        return len(orphans)


def environ_of_programs(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment without what is the agent's own."""
    return {name: value for name, value in environ.items() if not name.startswith(_AGENTS_OWN)}


def hide(names: Iterable[str]) -> None:
    """From now on no program that is started has these variables."""
    for name in names:
        os.environ.pop(name, None)
