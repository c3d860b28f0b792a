"""Signals the process that is meant, by descriptor, unless it would take that badly."""

import errno
import os
import select
import signal
from collections.abc import Callable
from pathlib import Path

from lessee.core.errors import NotNotifiedError
from lessee.core.immutable import Record
from lessee.host.clock import boot_time
from lessee.notification.process_finder import Absent, Process, Seen, Several, Target, children_of, find, look

_NO_PROCESS = {errno.ESRCH, errno.EINVAL, errno.ENOENT}
_KILLING = 5.0
"""Seconds that SIGKILL may take."""
_RUNTIME_BOOTS = 2.0
"""Seconds in which a program of Go is expected to have said which signals it wants."""
_REAL_TIME = 35  # signal(7): from here to 64; Go leaves out what comes before, for libc has a use for it.
_ALL_REAL_TIME = (1 << (64 - _REAL_TIME + 1)) - 1
_LONGEST_POLL = 86400.0  # poll(2) counts milliseconds in an int.
_INITS = {"tini", "docker-init", "podman-init", "catatonit", "dumb-init"}
# signal(7): these end nobody by default, or are sent to end it. Any other must be caught, or is not sent.
_HARMLESS = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
_STOPPING = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
_ENDING = {signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGQUIT, signal.SIGABRT}
_UNASKED = _HARMLESS | _STOPPING | _ENDING


class Notified(Record, frozen=True):
    """The signal was sent."""

    process: Process


class Restarted(Record, frozen=True):
    """It has ended, so many seconds after SIGTERM; what supervises it starts it anew."""

    process: Process
    killed: bool
    """SIGTERM was not enough."""
    seconds: float


class StartedAfter(Record, frozen=True):
    """It started after the publish, so it has read the new files already; nothing was sent."""

    process: Process


class Booting(Record, frozen=True):
    """It does not catch the signal yet, and may until this time on CLOCK_BOOTTIME."""

    process: Process
    until: float


class WouldDie(Record, frozen=True):
    """It does not catch the signal, whose default is to end it."""

    process: Process
    signal: int


class Ignored(Record, frozen=True):
    """It ignores the signal."""

    process: Process
    signal: int


class Forbidden(Record, frozen=True):
    """The agent may not signal it: same uid or CAP_KILL is needed."""

    process: Process


class Unkillable(Record, frozen=True):
    """It lives on after SIGTERM and SIGKILL; `why` says how that may be, and what to do."""

    process: Process
    why: str


Outcome = Notified | Restarted | StartedAfter | Absent | Several | Booting | WouldDie | Ignored | Forbidden | Unkillable


def tell(target: Target, action: int, *, published_at: float, boot_grace: float, now: float) -> Outcome:
    """Send the signal `action` to the target, unless it needs none or would not survive it.

    Times are in seconds on CLOCK_BOOTTIME. A signal that would end the process by default is sent only to one that
    catches or blocks it, by proc_pid_status(5); TERM, KILL, INT, QUIT and ABRT are meant to end it and are always
    sent. Raises NotNotifiedError where the kernel cannot name a process by descriptor.
    """

    def act(pidfd: int, process: Process) -> Outcome:
        objection = _objection(process, action, boot_grace, now)
        # Where it has ended, what was judged may have been another that got its pid.
        return objection if objection and not _has_ended(pidfd) else _send(pidfd, process, action)

    return _hold(target, action, published_at, act)


def restart(target: Target, *, published_at: float, grace: float) -> Outcome:
    """End the target, unless it started after the publish: by SIGTERM, and after `grace` seconds by SIGKILL.

    Waits for its end, for up to `grace` and 5 seconds. What runs it has to start it anew: a container's restart
    policy, systemd, a supervisor. Raises NotNotifiedError as `tell` does.
    """
    return _hold(target, signal.SIGTERM, published_at, lambda pidfd, process: _end(pidfd, process, grace))


def _hold(target: Target, number: int, published_at: float, act: Callable[[int, Process], Outcome]) -> Outcome:
    """Act on the target by a descriptor, which is of no other process even where its pid has passed on."""
    found = find(target)
    if not isinstance(found, Seen):
        return found
    seen = _behind_init(found, number)
    process = seen.process
    try:
        pidfd = os.pidfd_open(process.pid)
    except OSError as exc:
        if exc.errno in _NO_PROCESS:
            return _gone(process)
        raise NotNotifiedError(
            f"cannot hold process {process.pid}: {os.strerror(exc.errno or 0)}",
            where="pidfd_open(2)",
            todo="use Linux 5.3 or later, and a seccomp profile that allows pidfd_open and pidfd_send_signal",
        ) from None
    try:
        # Looked at again, for the pid may have passed to another before it was held.
        if look(process.pid) != seen:
            return _gone(process)
        # A start is rounded down: what is later by this is later in truth.
        if process.started > published_at:
            return StartedAfter(process)
        return act(pidfd, process)
    finally:
        os.close(pidfd)


def _objection(process: Process, action: int, boot_grace: float, now: float) -> Ignored | Booting | WouldDie | None:
    if action in _UNASKED:
        return None
    signals = _signals(process.pid, action)
    if signals.ignored:
        return Ignored(process, action)
    until = process.started + boot_grace
    if signals.by_runtime:
        # What is sent before the program has asked for it, ends it all the same.
        until = min(until, process.started + _RUNTIME_BOOTS)
        return Booting(process, until) if now < until else None
    if signals.caught or signals.blocked:
        return None
    return Booting(process, until) if now < until else WouldDie(process, action)


def _send(pidfd: int, process: Process, number: int) -> Notified | Absent | Forbidden:
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return _gone(process)
    except PermissionError:
        return Forbidden(process)
    return Notified(process)


def _end(pidfd: int, process: Process, grace: float) -> Restarted | Unkillable | Absent | Forbidden:
    began = boot_time()
    sent = _send(pidfd, process, signal.SIGTERM)
    if not isinstance(sent, Notified):
        return sent
    killed = not _has_ended(pidfd, grace) and isinstance(_send(pidfd, process, signal.SIGKILL), Notified)
    if not _has_ended(pidfd, _KILLING if killed else 0.0):
        return Unkillable(process, _why_alive(process.pid))
    return Restarted(process, killed, boot_time() - began)


def _has_ended(pidfd: int, patience: float = 0.0) -> bool:
    """Waits so many seconds for it; a zombie has ended."""
    ended = select.poll()
    ended.register(pidfd, select.POLLIN)
    return bool(ended.poll(min(patience, _LONGEST_POLL) * 1000))


def _gone(process: Process) -> Absent:
    return Absent(f"process {process.pid} ended, or became another, while it was looked at")


def _why_alive(pid: int) -> str:
    if pid == 1:  # pid_namespaces(7)
        return "PID 1 gets from its own namespace no SIGKILL, and no SIGTERM that it does not catch; put an init there"
    try:
        return f"the kernel holds it, in state {_status(pid)['State']}"
    except OSError:
        return "its state is not to be seen"


def _behind_init(seen: Seen, number: int) -> Seen:
    """Give the child of one like tini or docker-init, which sends on what it is sent; else `seen`.

    Such a one ends when its child does; but killed it would leave the child behind, and as PID 1 it cannot be. It
    blocks every signal and takes them with sigtimedwait(2). Measured: while it waits, the kernel takes what it waits
    for out of SigBlk, and wchan alone shows the waiting, to those who may trace it; hence the names. It does not
    show what is waited for, so for a signal that may kill it is the child who is judged and told.
    """
    if not _INITS.isdisjoint(seen.programs()):
        return next(iter(children_of(seen.process.pid)), seen)
    if number in _UNASKED or not _signals(seen.process.pid, number).awaited:
        return seen
    children = children_of(seen.process.pid)
    return children[0] if len(children) == 1 else seen


class _Signals(Record, frozen=True):
    """What a process does with one signal."""

    caught: bool = False
    ignored: bool = False
    blocked: bool = False
    awaited: bool = False
    by_runtime: bool = False
    """It is caught as all others are, as Go does before the program's own code begins."""


def _signals(pid: int, number: int) -> _Signals:
    """Read proc_pid_status(5); all False where the process is gone, so that nothing is sent."""
    try:
        waits_in = Path(f"/proc/{pid}/wchan").read_text()
        fields = _status(pid)
    except OSError:
        return _Signals()

    def has(field: str) -> bool:
        return bool(int(fields[field], 16) >> (number - 1) & 1)

    caught, blocked = has("SigCgt"), has("SigBlk")
    awaited = not caught and fields["Threads"] == "1" and (blocked or "sigtimedwait" in waits_in)
    by_runtime = caught and int(fields["SigCgt"], 16) >> (_REAL_TIME - 1) == _ALL_REAL_TIME
    return _Signals(caught, has("SigIgn"), blocked, awaited, by_runtime)


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)
