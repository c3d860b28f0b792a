"""Finds the process that reads an app's files, judges whether it will take a signal well, and sends it."""

import errno
import os
import re
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from lessee.core.errors import NotNotified
from lessee.core.record import Record

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_COMM_BYTES = 15
_PID_FILE_BYTES = 64
_PID_FILE_SLACK = 2.0  # The coarsest time stamp of a file system in use, FAT's.
_INTERPRETER = re.compile(r"(python|pypy|node|nodejs|ruby|perl|php|lua|sh|bash|dash|ash|zsh|ksh)[0-9.]*")
# signal(7): these end nobody by default, or are sent to end it. Any other must be caught, or is not sent.
_HARMLESS = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
_STOPPING = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
_ENDING = {signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGQUIT, signal.SIGABRT}
_UNASKED = _HARMLESS | _STOPPING | _ENDING


class ByName(Record, frozen=True):
    """The process of this name: its comm, or its program's file name, or that of the script it interprets."""

    name: str


class ByPidFile(Record, frozen=True):
    """The process whose pid stands in the first line of this file."""

    path: Path


class Process(Record, frozen=True):
    """A process and no other: a pid comes again, a pid with its start (seconds on CLOCK_BOOTTIME) not."""

    pid: int
    started: float


class Told(Record, frozen=True):
    """The signal was sent."""

    process: Process


class StartedAfter(Record, frozen=True):
    """It started after the publish, so it has read the new files already; nothing was sent."""

    process: Process


class Absent(Record, frozen=True):
    """There is no such process; `what` says why."""

    what: str


class Several(Record, frozen=True):
    """The name does not tell which process is meant."""

    processes: tuple[Process, ...]


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


Outcome = Told | StartedAfter | Absent | Several | Booting | WouldDie | Ignored | Forbidden


def tell(target: ByName | ByPidFile, action: int, *, published_at: float, boot_grace: float, now: float) -> Outcome:
    """Send the signal `action` to the target, unless it needs none or would not survive it.

    Times are in seconds on CLOCK_BOOTTIME. A signal that would end the process by default is sent only to one that
    catches or blocks it, by proc_pid_status(5); TERM, KILL, INT, QUIT and ABRT are meant to end it and are always
    sent. Raises NotNotified where the kernel cannot name a process by descriptor.
    """
    found = _by_name(target.name) if isinstance(target, ByName) else _by_pid_file(target.path)
    if not isinstance(found, _Seen):
        return found
    seen = found if action in _UNASKED else _behind_init(found, action)
    return _tell(seen, action, published_at=published_at, boot_grace=boot_grace, now=now)


class _Seen(Record, frozen=True):
    """What /proc shows of a process at one moment."""

    process: Process
    parent: int
    comm: bytes
    programs: frozenset[str]

    def is_called(self, name: str) -> bool:
        return name in self.programs or self.comm == os.fsencode(name)[:_COMM_BYTES]


def _tell(seen: _Seen, action: int, *, published_at: float, boot_grace: float, now: float) -> Outcome:
    process = seen.process
    try:
        pidfd = os.pidfd_open(process.pid)
    except OSError as exc:
        if exc.errno in {errno.ESRCH, errno.EINVAL, errno.ENOENT}:
            return _gone(process)
        raise NotNotified(
            f"cannot hold process {process.pid}: {os.strerror(exc.errno or 0)}",
            where="pidfd_open(2)",
            todo="use Linux 5.3 or later, and a seccomp profile that allows pidfd_open and pidfd_send_signal",
        ) from None
    try:
        # Looked at again, for the pid may have passed to another before it was held.
        if _look(process.pid) != seen:
            return _gone(process)
        # A start is rounded down to a tick: what is later than this is later in truth.
        if process.started > published_at + _TICK:
            return StartedAfter(process)
        return _objection(process, action, boot_grace, now) or _send(pidfd, process, action)
    finally:
        os.close(pidfd)


def _objection(process: Process, action: int, boot_grace: float, now: float) -> Ignored | Booting | WouldDie | None:
    if action in _UNASKED:
        return None
    signals = _signals(process.pid, action)
    if signals.ignored:
        return Ignored(process, action)
    if signals.caught or signals.blocked:
        return None
    until = process.started + boot_grace
    return Booting(process, until) if now < until else WouldDie(process, action)


def _send(pidfd: int, process: Process, action: int) -> Told | Absent | Forbidden:
    try:
        signal.pidfd_send_signal(pidfd, action)
    except ProcessLookupError:
        return _gone(process)
    except PermissionError:
        return Forbidden(process)
    return Told(process)


def _gone(process: Process) -> Absent:
    return Absent(f"process {process.pid} ended, or became another, while it was looked at")


def _by_name(name: str) -> _Seen | Absent | Several:
    everyone = {seen.process.pid: seen for seen in _processes()}
    ours = _ancestors(os.getpid(), everyone) | {os.getpid()}
    matches = {pid: seen for pid, seen in everyone.items() if pid not in ours and seen.is_called(name)}
    # Of a master and its workers, the master is meant.
    tops = [seen for pid, seen in matches.items() if matches.keys().isdisjoint(_ancestors(pid, everyone))]
    if not tops:
        return Absent(f"no process is called {name}")
    return tops[0] if len(tops) == 1 else Several(tuple(seen.process for seen in tops))


def _by_pid_file(path: Path) -> _Seen | Absent:
    try:
        # A FIFO would hang without O_NONBLOCK.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        return Absent(f"{path}: {'is a link' if exc.errno == errno.ELOOP else os.strerror(exc.errno or 0)}")
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return Absent(f"{path}: no regular file")
        line = os.read(fd, _PID_FILE_BYTES).partition(b"\n")[0].strip()  # postmaster.pid goes on after it.
    finally:
        os.close(fd)
    pid = int(line) if line.isdigit() else 0
    seen = None if pid == os.getpid() else _look(pid)
    if seen is None:
        return Absent(f"{path}: its first line is no pid of a process to be told")
    # Who writes a pid file tells of a process that runs: one that is younger has only inherited the pid.
    booted_at = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    if booted_at + seen.process.started > status.st_mtime + _PID_FILE_SLACK:
        return Absent(f"{path}: older than process {pid}, which is another than it names")
    return seen


def _behind_init(seen: _Seen, action: int) -> _Seen:
    """Give the only child of one like tini or docker-init, which sends on what it is sent; else `seen`.

    They block every signal and take them with sigtimedwait(2). Measured: while they wait, the kernel takes
    what they wait for out of SigBlk, and wchan alone shows the waiting. It does not show what they wait for,
    so for a signal that may kill it is the child who is judged and told.
    """
    if not _signals(seen.process.pid, action).awaited:
        return seen
    children = [child for child in _processes() if child.parent == seen.process.pid]
    return children[0] if len(children) == 1 else seen


def _processes() -> Iterator[_Seen]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (seen := _look(int(entry.name))):
            yield seen


def _look(pid: int) -> _Seen | None:
    """None where it has ended, is a zombie or a kernel thread (no command line), or is hidden (hidepid)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    # proc_pid_stat(5): pid (comm) state ppid …; comm may hold blanks and brackets. The start is the 22nd.
    head, _, tail = text.rpartition(b") ")
    fields = tail.split()
    if words == [b""]:
        return None
    process, parent = Process(pid, int(fields[19]) * _TICK), int(fields[1])
    return _Seen(process, parent, head.partition(b"(")[2], _programs([os.fsdecode(word) for word in words]))


def _programs(words: list[str]) -> frozenset[str]:
    # gunicorn and nginx write `gunicorn: master [app]` over their first word.
    program = Path(words[0].partition(": ")[0]).name
    if not _INTERPRETER.fullmatch(program):
        return frozenset({program})
    # `python -m uvicorn app:app` runs uvicorn; the text after -c or -e is no name.
    script = next((word for word in words[1:] if not word.startswith("-") or word in {"-c", "-e"}), "")
    return frozenset({program, Path(script).name})


def _ancestors(pid: int, everyone: dict[int, _Seen]) -> set[int]:
    found: set[int] = set()
    while (seen := everyone.get(pid)) and seen.parent not in found:
        pid = seen.parent
        found.add(pid)
    return found


class _Signals(Record, frozen=True):
    """What a process does with one signal."""

    caught: bool = False
    ignored: bool = False
    blocked: bool = False
    awaited: bool = False


def _signals(pid: int, number: int) -> _Signals:
    """Read proc_pid_status(5); all False where the process is gone, so that nothing is sent."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
        waits_in = Path(f"/proc/{pid}/wchan").read_text()
    except OSError:
        return _Signals()
    fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)

    def has(field: str) -> bool:
        return bool(int(fields[field], 16) >> (number - 1) & 1)

    caught, blocked = has("SigCgt"), has("SigBlk")
    awaited = not caught and fields["Threads"] == "1" and (blocked or "sigtimedwait" in waits_in)
    return _Signals(caught, has("SigIgn"), blocked, awaited)
