"""Runs a command of Docker for a limited time, and ends it with all programs that it has started."""

import os
import resource
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

_INTERRUPT_TIMEOUT = 10.0
"""Seconds in which `docker compose up` can end well after Ctrl-C."""
_MOST_LOOKS, _POLL = 200, 0.01


def run_limited(
    command: Sequence[str],
    environ: Mapping[str, str],
    *,
    timeout: float,
    folder: Path | None = None,
    memory: int | None = None,
    pass_fds: Sequence[int] = (),
    stdin: int | IO[bytes] = subprocess.DEVNULL,
) -> "subprocess.CompletedProcess[bytes]":
    """Run it without a terminal, in a session of its own. Raises OSError and subprocess.TimeoutExpired.

    `memory`: the most address space of each of its processes, in bytes. A bomb in YAML needs more.
    """
    process = subprocess.Popen(
        command,
        env=dict(environ),
        cwd=folder,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=tuple(pass_fds),
        start_new_session=True,
    )
    with process:
        try:
            if memory is not None:
                with suppress(ProcessLookupError):
                    # In the parent: nothing may run between fork and exec of a process with threads.
                    resource.prlimit(process.pid, resource.RLIMIT_AS, (memory, memory))
            output, errors = process.communicate(timeout=timeout)
        except KeyboardInterrupt:
            # The terminal's signal does not reach it in its own session.
            _signal_session(process.pid, signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=_INTERRUPT_TIMEOUT)
            _end(process)
            raise
        except BaseException:
            _end(process)
            raise
    return subprocess.CompletedProcess(list(command), process.returncode, output, errors)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill the whole session: `docker` gives its plugins process groups of their own."""
    for _ in range(_MOST_LOOKS):
        if not _signal_session(process.pid, signal.SIGKILL):
            return
        time.sleep(_POLL)


def _signal_session(session: int, number: signal.Signals) -> int:
    """Send a signal to all processes of a session, and return how many have it."""
    members = _members(session)
    for pid in members:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
    return len(members)


def _members(session: int) -> list[int]:
    """The processes of a session that still run. A zombie waits for its parent alone."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            with suppress(OSError):
                # The name in the second field may have spaces and brackets.
                state, _, _, own = Path(entry.path, "stat").read_text(errors="replace").rpartition(") ")[2].split()[:4]
                if int(own) == session and state not in {"Z", "X"}:
                    found.append(int(entry.name))
    return found
