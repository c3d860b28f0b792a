"""Continues in a fork, whose memory no other process could open before it was closed to them.

A program's memory is open to its uid from exec(2) until prctl(PR_SET_DUMPABLE), and a descriptor of /proc/PID/mem,
environ or maps that was opened by then keeps working (proc_pid_mem(5)). It belongs to the memory of the process that
was started, so this process hides itself, forks, and only the fork reads secrets. The first process stays behind:
it forwards signals, reaps orphans where it is PID 1, and exits as the fork did.

Imported before all other modules, and without `ctypes`, `signal` and `typing`: what the first process has loaded stays
in its memory, next to each app.
"""

from __future__ import annotations

import _ctypes
import _signal  # type: ignore[import-not-found]  # The part of `signal` in C.
import os
import sys

from lessee.process.libc import address_of, prctl, symbol

TYPE_CHECKING = False  # `typing` is as large as all that the first process loads.
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NoReturn

_PR_SET_DUMPABLE = 4
_PR_SET_PDEATHSIG = 1
_USER = 0
"""The greatest si_code of a signal that a process sent; the kernel's are greater (sigaction(2))."""
# The fork gets what the terminal sends to its group. Faults are the own ones of a process.
_NOT_FORWARDED = {
    _signal.SIGKILL, _signal.SIGSTOP, _signal.SIGTSTP, _signal.SIGTTIN, _signal.SIGTTOU, _signal.SIGCONT,
    _signal.SIGSEGV, _signal.SIGBUS, _signal.SIGFPE, _signal.SIGILL, _signal.SIGTRAP, _signal.SIGSYS, _signal.SIGABRT,
}  # fmt: skip
_SIGNALS = 65
_CAP_SYS_PTRACE = 19
_OS_ERROR = 71
"""EX_OSERR of sysexits(3)."""
_TERMINAL = "/dev/tty"
_READY = _signal.SIGUSR2
"""What the fork sends to the first process, so that it notifies the service manager."""
_RETRY = 0.1
"""Seconds until the next attempt where the queue of the service manager is full."""

_handover: int | None = None
"""A file without a name, in which the fork leaves the program that replaces the first process."""
_core: tuple[int, int] | None = None
_first: int | None = None
"""In the fork: the pid of the first process."""


def enter() -> None:
    """Hide this process, and return in its fork; the first process never returns, and exits as the fork does.

    Without prctl(2) it returns in this process: `hardening.harden` says what is wrong. Raises SystemExit where the
    kernel allows no second process, or where another process traces this one.
    """
    if prctl(_PR_SET_DUMPABLE, 0) != 0:
        return
    global _handover  # noqa: PLW0603  # One process has one.
    if sys.argv[1:2] == ["run"] or (sys.argv[1:2] == ["exec"] and "--once" in sys.argv):
        _handover = os.memfd_create("lessee")
    signals = {number for number in range(1, _SIGNALS) if number not in _NOT_FORWARDED} & _signal.valid_signals()
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)  # Where it is ignored, a child leaves no status.
    before = _signal.pthread_sigmask(_signal.SIG_BLOCK, signals)
    first, has_terminal = os.getpid(), _has_terminal()
    try:
        fork = os.fork()
    except OSError as exc:
        _refuse(f"fork(2): cannot start the process that reads the secrets: {exc.strerror}; raise the pids limit")
    if fork:
        _stay_behind(fork, signals, has_terminal=has_terminal)
    _begin(first, before, has_terminal=has_terminal)


def inherited_core_limit() -> tuple[int, int] | None:
    """The limits of a core file with which the first process started; None in a process without `enter`."""
    return _core


def renew() -> None:
    """Repeat what the kernel undoes when a process changes its gid or uid (prctl(2))."""
    prctl(_PR_SET_DUMPABLE, 0)
    if _first is not None:
        prctl(_PR_SET_PDEATHSIG, _signal.SIGKILL)
        if os.getppid() != _first:
            os._exit(1)


def notify_ready() -> bool:
    """Let the first process send READY=1 to $NOTIFY_SOCKET: by default a unit accepts it only from its main process.

    See NotifyAccess= in systemd.service(5). False in a process without `enter`.
    """
    if _first is not None:
        os.kill(_first, _READY)
    return _first is not None


def hand_over(program: bytes) -> None:
    """End, and let the first process, which has the pid that others know, call `child.replace_as_written` with this.

    Returns where there is no first process.
    """
    if _handover is None:
        return
    with os.fdopen(_handover, "wb") as file:
        file.write(program)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _begin(first: int, mask: Iterable[int], *, has_terminal: bool) -> None:
    """The fork: it ends with the first process, writes no core file, and is traced by no other process."""
    import resource  # noqa: PLC0415  # The first process does not need it.

    global _core, _first  # noqa: PLW0603  # As above.
    _first = first
    prctl(_PR_SET_PDEATHSIG, _signal.SIGKILL)
    if os.getppid() != first:
        os._exit(1)  # It ended before prctl took effect.
    _core = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, _core[1]))
    _refuse_tracer()
    if not has_terminal:
        # What is sent to the group of the first process is forwarded once.
        os.setpgid(0, 0)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)


def _refuse_tracer() -> None:
    """Who traced the first process before it was hidden may trace its forks too (PTRACE_O_TRACEFORK in ptrace(2))."""
    tracer = _status_field("self", b"TracerPid", 10)
    # With CAP_SYS_PTRACE it may trace any process, as `strace -f` does as root.
    if tracer and not _status_field(str(tracer), b"CapEff", 16) & 1 << _CAP_SYS_PTRACE:
        _refuse(f"process {tracer} traces this one, and could read each secret; end it, or trace as root")


def _status_field(process: str, name: bytes, base: int) -> int:
    """A number in /proc/PID/status; 0 without the field, or without /proc."""
    try:
        with open(f"/proc/{process}/status", "rb") as status:  # noqa: PTH123  # pathlib is not imported yet.
            return int(status.read().partition(b"\n" + name + b":")[2].split(None, 1)[0], base)
    except (OSError, IndexError, ValueError):
        return 0


def _refuse(why: str) -> NoReturn:
    print(f"lessee: {why}", file=sys.stderr)  # noqa: T201  # No log is open yet.
    raise SystemExit(_OS_ERROR)


def _has_terminal() -> bool:
    """Whether a terminal controls this process and sends signals to its group."""
    try:
        os.close(os.open(_TERMINAL, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        pass
    else:
        return True
    for descriptor in range(3):
        try:
            os.tcgetpgrp(descriptor)
        except OSError:
            continue
        return True
    return False


def _stay_behind(fork: int, signals: Iterable[int], *, has_terminal: bool) -> NoReturn:
    if _handover is None:
        # Its copies would keep a pipe open that the fork closes.
        _close_all()
    manager, is_pending = os.environ.get("NOTIFY_SOCKET", ""), False
    _wipe_environment()
    while True:
        is_pending = is_pending and not _is_notified(manager)
        received = _signal.sigtimedwait(signals, _RETRY) if is_pending else _signal.sigwaitinfo(signals)
        if received is None:
            continue
        if received.si_signo == _READY and received.si_pid == fork:
            is_pending = True
        elif received.si_signo == _signal.SIGCHLD:
            status = _reap(fork)
            if status is not None:
                _end(os.waitstatus_to_exitcode(status))
        elif received.si_code <= _USER or not has_terminal:
            try:
                os.kill(fork, received.si_signo)  # It was not reaped, so no other process can have its pid.
            except OSError:
                continue


def _is_notified(manager: str) -> bool:
    """Send READY=1. False if the queue of the service manager is full; the fork has found all other errors."""
    import _socket  # noqa: PLC0415  # Without a service manager, the first process has no need of it.

    sending = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
    try:
        sending.sendto(b"READY=1", notify_address(manager))
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        sending.close()
    return True


def notify_address(manager: str) -> str:
    """The address in $NOTIFY_SOCKET for a socket: a leading @ means the NUL of the abstract namespace, unix(7)."""
    return f"\0{manager[1:]}" if manager.startswith("@") else manager


def _close_all() -> None:
    """Without close_range(2), which old kernels lack: there os.closerange would try each number."""
    try:
        names = os.listdir("/proc/self/fd")  # noqa: PTH208  # pathlib is not imported yet.
    except OSError:
        names = ["0", "1", "2"]
    for name in names:
        try:
            os.close(int(name))
        except OSError:
            continue


def _reap(fork: int) -> int | None:
    """Reap all children that have ended, as PID 1 must. The status of the fork, if it is among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == fork:
            found = status


def _end(code: int) -> NoReturn:
    if code < 0:
        if -code != _signal.SIGKILL:  # signal(2) refuses it.
            _signal.signal(-code, _signal.SIG_DFL)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, {-code})
        os.kill(os.getpid(), -code)
        os._exit(128 - code)  # PID 1 gets no signal that it does not handle.
    if code == 0 and _handover is not None and os.fstat(_handover).st_size:
        from lessee.process.child import replace_as_written  # noqa: PLC0415  # Most processes have no need of it.

        os.lseek(_handover, 0, os.SEEK_SET)
        with os.fdopen(_handover, "rb") as file:
            code = replace_as_written(file.read())
    os._exit(code)


def _wipe_environment() -> None:
    """Overwrite the environment where exec(2) has put it, which /proc/PID/environ shows, and Python's copy of it."""
    memset, strlen = symbol("memset"), symbol("strlen")

    def wipe(address: int, length: int) -> None:
        _ctypes.call_function(memset, (_Pointer(address), 0, length))

    at = _Pointer.from_address(symbol("environ")).value
    while at and (text := _Pointer.from_address(at).value):
        wipe(text, _ctypes.call_function(strlen, (_Pointer(text),)))
        at += _POINTER_SIZE
    for value in os.environ._data.values():  # type: ignore[attr-defined]  # noqa: SLF001  # Its bytes, not copies.
        if len(value) > 1:  # Python shares the shorter ones.
            wipe(address_of(value), len(value))


class _Pointer(_ctypes._SimpleCData):  # type: ignore[type-arg]  # noqa: SLF001  # As `ctypes` does.
    """A `void *`."""

    _type_ = "P"


_POINTER_SIZE = _ctypes.sizeof(_Pointer)
