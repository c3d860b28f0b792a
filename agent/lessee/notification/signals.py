"""Signals or restarts a process by its pidfd, unless the signal would terminate it unintentionally."""

import errno
import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice

from lessee.core.errors import NotNotifiedError
from lessee.core.immutable import ImmutableStruct
from lessee.host import procfs
from lessee.host.clock import boot_time
from lessee.host.procfs import ProcessIdentity, ProcessInfo, read_process
from lessee.notification.app_users import AppUsers
from lessee.notification.process_finder import (
    AmbiguousProcess,
    ForeignProcess,
    ProcessNotFound,
    Target,
    TooManyProcesses,
    children_of,
    find,
    programs,
)

_NO_PROCESS = {errno.ESRCH, errno.EINVAL, errno.ENOENT}
_SIGKILL_TIMEOUT = 5.0
"""Seconds in which a process must have ended after SIGKILL."""
_GO_START_PERIOD = 2.0
"""Seconds in which a program in Go is expected to have chosen the signals that it handles."""
_REAL_TIME = 35  # signal(7): from here to 64. Go leaves out the signals before, which libc uses itself.
_ALL_REAL_TIME = (1 << (64 - _REAL_TIME + 1)) - 1
_LONGEST_POLL = 86400.0  # poll(2) counts milliseconds in an int.
_INITS = {"tini", "docker-init", "podman-init", "catatonit", "dumb-init"}
# signal(7): these terminate no process by default, or are sent to terminate it. A process must catch any other.
_HARMLESS = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
_STOPPING = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
_TERMINATING = {signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGQUIT, signal.SIGABRT}
_ALWAYS_SENT = _HARMLESS | _STOPPING | _TERMINATING


class SignalSent(ImmutableStruct, frozen=True):
    """The process was sent the signal."""

    process: ProcessIdentity


class Restarted(ImmutableStruct, frozen=True):
    """The process ended so many seconds after the stop signal; its supervisor starts it again."""

    process: ProcessIdentity
    killed: bool
    """It did not end before SIGKILL."""
    seconds: float


class StartedAfterPublish(ImmutableStruct, frozen=True):
    """The process started after the publish and has read the new files; it was sent nothing."""

    process: ProcessIdentity


class StillStarting(ImmutableStruct, frozen=True):
    """The process does not catch the signal yet, and may not until this time on CLOCK_BOOTTIME."""

    process: ProcessIdentity
    until: float


class WouldTerminate(ImmutableStruct, frozen=True):
    """The process does not catch the signal, which would terminate it."""

    process: ProcessIdentity
    signal: int


class SignalIgnored(ImmutableStruct, frozen=True):
    """The process ignores the signal."""

    process: ProcessIdentity
    signal: int


class SignalForbidden(ImmutableStruct, frozen=True):
    """The agent may not signal the process: it needs the same uid, or CAP_KILL."""

    process: ProcessIdentity


class StillRunning(ImmutableStruct, frozen=True):
    """The process survived the stop signal and SIGKILL; `reason` says how, and what to do."""

    process: ProcessIdentity
    reason: str


Outcome = (
    SignalSent
    | Restarted
    | StartedAfterPublish
    | ProcessNotFound
    | AmbiguousProcess
    | ForeignProcess
    | TooManyProcesses
    | StillStarting
    | WouldTerminate
    | SignalIgnored
    | SignalForbidden
    | StillRunning
)


def send(
    target: Target,
    number: int,
    *,
    published_at: float,
    start_period: float,
    now: float,
    users: AppUsers | None = None,
) -> Outcome:
    """Send a signal to the target, unless it has read the new files already or the signal would terminate it.

    A process of others than `users` is sent nothing; None: the agent knows that the target is the app.

    Times are in seconds on CLOCK_BOOTTIME. A signal that terminates a process by default is sent only to one that
    catches or blocks it, by proc_pid_status(5). TERM, KILL, INT, QUIT and ABRT are meant to terminate it and are always
    sent. Raises NotNotifiedError where the kernel has no pidfd_open(2).
    """

    def act(pidfd: int, process: ProcessIdentity) -> Outcome:
        objection = _objection(process, number, start_period, now)
        # If the process has ended, /proc may have described another one with its pid.
        return objection if objection and not _has_ended(pidfd) else _send(pidfd, process, number)

    return _with_pidfd(target, number, published_at, users, act)


def restart(
    target: Target,
    *,
    published_at: float,
    stop_grace_period: float,
    stop_signal: int = signal.SIGTERM,
    users: AppUsers | None = None,
) -> Outcome:
    """Stop the target, unless it started after the publish: by `stop_signal`, and after `stop_grace_period` by SIGKILL.

    Waits until it has ended, for up to `stop_grace_period` and 5 seconds. Its supervisor has to start it again: a
    container's restart policy, systemd. `users` as in `send`. Raises NotNotifiedError as `send` does.
    """

    def act(pidfd: int, process: ProcessIdentity) -> Outcome:
        return _stop(pidfd, process, stop_signal, stop_grace_period)

    return _with_pidfd(target, stop_signal, published_at, users, act)


def _with_pidfd(
    target: Target,
    number: int,
    published_at: float,
    users: AppUsers | None,
    act: Callable[[int, ProcessIdentity], Outcome],
) -> Outcome:
    """Act on the target by a descriptor, which never refers to another process, even if the kernel reuses the pid."""
    found = find(target, users)
    if not isinstance(found, ProcessInfo):
        return found
    info = _skip_init(found, number)
    process = info.identity
    try:
        pidfd = os.pidfd_open(process.pid)
    except OSError as exc:
        if exc.errno in _NO_PROCESS:
            return _vanished(process)
        raise NotNotifiedError(
            f"cannot open process {process.pid}: {os.strerror(exc.errno or 0)}",
            where="pidfd_open(2)",
            todo="use Linux 5.3 or later, and a seccomp profile that allows pidfd_open and pidfd_send_signal",
        ) from None
    try:
        # Read again: another process may have got the pid before the descriptor was opened.
        if read_process(process.pid) != info:
            return _vanished(process)
        # The kernel rounds a start down, so a start that is later than the publish by /proc is later in truth.
        if process.started > published_at:
            return StartedAfterPublish(process)
        # The descriptor holds this process: whose it is now decides, and not whose it was while it was searched.
        if objection := users.objection(process.pid) if users is not None else "":
            return ForeignProcess(objection)
        return act(pidfd, process)
    finally:
        os.close(pidfd)


def _objection(
    process: ProcessIdentity, number: int, start_period: float, now: float
) -> SignalIgnored | StillStarting | WouldTerminate | None:
    if number in _ALWAYS_SENT:
        return None
    disposition = _disposition(process.pid, number)
    if disposition.ignored:
        return SignalIgnored(process, number)
    until = process.started + start_period
    if disposition.by_runtime:
        # A signal before the program has chosen its handlers still terminates it.
        until = min(until, process.started + _GO_START_PERIOD)
        return StillStarting(process, until) if now < until else None
    if disposition.caught or disposition.blocked:
        return None
    return StillStarting(process, until) if now < until else WouldTerminate(process, number)


def _send(pidfd: int, process: ProcessIdentity, number: int) -> SignalSent | ProcessNotFound | SignalForbidden:
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return _vanished(process)
    except PermissionError:
        return SignalForbidden(process)
    return SignalSent(process)


def _stop(
    pidfd: int, process: ProcessIdentity, stop_signal: int, stop_grace_period: float
) -> Restarted | StillRunning | ProcessNotFound | SignalForbidden:
    began = boot_time()
    outcome = _send(pidfd, process, stop_signal)
    if not isinstance(outcome, SignalSent):
        return outcome
    killed = not _has_ended(pidfd, stop_grace_period) and isinstance(_send(pidfd, process, signal.SIGKILL), SignalSent)
    if not _has_ended(pidfd, _SIGKILL_TIMEOUT if killed else 0.0):
        return StillRunning(process, _why_running(process.pid))
    return Restarted(process, killed, boot_time() - began)


def _has_ended(pidfd: int, timeout: float = 0.0) -> bool:
    """Wait so many seconds for the end of the process; a zombie has ended."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(min(timeout, _LONGEST_POLL) * 1000))


def _vanished(process: ProcessIdentity) -> ProcessNotFound:
    return ProcessNotFound(f"process {process.pid} ended, or its pid was reused, before it could be signaled")


def _why_running(pid: int) -> str:
    if pid == 1:  # pid_namespaces(7)
        return (
            "the kernel sends PID 1 no SIGKILL from its own namespace, and no SIGTERM that it does not catch;"
            " run an init as PID 1 (Compose: `init: true`)"
        )
    try:
        return f"it is in kernel state {procfs.status(pid)['State']}"
    except OSError:
        return "its state is not visible in /proc"


def _skip_init(info: ProcessInfo, number: int) -> ProcessInfo:
    """Return the child of an init such as tini or docker-init, which forwards each signal; else `info`.

    An init ends when its child does. SIGKILL to it would leave the child running, and does not reach PID 1. An init
    blocks every signal and takes it with sigtimedwait(2). Measured: while it waits, the kernel takes the awaited
    signals out of SigBlk, and only wchan shows the waiting, to those who may trace it; hence the names. /proc does not
    show which signals it awaits, so a signal that may terminate a process is judged by, and sent to, the child.
    """
    if not _INITS.isdisjoint(programs(info)):
        return next(_children_of(info), info)
    if number in _ALWAYS_SENT or not _disposition(info.pid, number).awaited:
        return info
    children = list(islice(_children_of(info), 2))
    return children[0] if len(children) == 1 else info


def _children_of(info: ProcessInfo) -> Iterator[ProcessInfo]:
    """Those whom it may signal itself, as an init does: an app can call itself tini, and start `sudo`."""
    with suppress(OSError):
        uid = procfs.credentials(info.pid).uid
        for child in children_of(info.pid):
            if uid in {0, procfs.credentials(child.pid).uid}:
                yield child


class _Disposition(ImmutableStruct, frozen=True):
    """What a process does with one signal."""

    caught: bool = False
    ignored: bool = False
    blocked: bool = False
    awaited: bool = False
    by_runtime: bool = False
    """It is caught together with all others, as Go's runtime does before the program's own code begins."""


def _disposition(pid: int, number: int) -> _Disposition:
    """Read proc_pid_status(5); all False where the process has ended, so that it is sent nothing."""
    try:
        wait_channel = procfs.wait_channel(pid)
        fields = procfs.status(pid)
    except OSError:
        return _Disposition()

    def has(field: str) -> bool:
        return bool(int(fields[field], 16) >> (number - 1) & 1)

    caught, blocked = has("SigCgt"), has("SigBlk")
    awaited = not caught and fields["Threads"] == "1" and (blocked or "sigtimedwait" in wait_channel)
    by_runtime = caught and int(fields["SigCgt"], 16) >> (_REAL_TIME - 1) == _ALL_REAL_TIME
    return _Disposition(caught, has("SigIgn"), blocked, awaited, by_runtime)
