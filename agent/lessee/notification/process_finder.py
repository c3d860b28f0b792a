"""Finds the process that is meant, in what /proc shows."""

import errno
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import assert_never

from lessee.config import ByCmdline, ByName, ByPidFile
from lessee.core.immutable import Record
from lessee.process import spawn

TICK = 1 / os.sysconf("SC_CLK_TCK")
"""Seconds to which the start of a process is rounded down."""

_COMM_BYTES = 15
_PID_FILE_BYTES = 64
_PID_FILE_SLACK = 2.0  # The coarsest time stamp of a file system in use, FAT's.
_SHORT_ID = 12
_INTERPRETER = re.compile(r"(python|pypy|node|nodejs|ruby|perl|php|lua|sh|bash|dash|ash|zsh|ksh)[0-9.]*")
# docker/ID, docker-ID.scope, ../ID, libpod-ID.scope/container; but conmon watches a container from outside.
_CONTAINER = re.compile(r"(?<![0-9a-f])(?<!conmon-)[0-9a-f]{64}(?![0-9a-f])")


class InContainer(Record, frozen=True):
    """The main process of the container with this id (64 hex digits), in the PID namespace that the agent sees."""

    id: str


class Exactly(Record, frozen=True):
    """The process that got this pid at this time, in seconds on CLOCK_BOOTTIME."""

    pid: int
    started: float


Target = ByName | ByCmdline | ByPidFile | InContainer | Exactly


class Process(Record, frozen=True):
    """A process and no other: a pid comes again, a pid with its start (seconds on CLOCK_BOOTTIME) not."""

    pid: int
    started: float


class Seen(Record, frozen=True):
    """What /proc shows of a process at one moment."""

    hidden = ("words",)

    process: Process
    parent: int
    session: int
    comm: bytes
    words: tuple[str, ...]
    """Its command line, which may hold what nobody else is to read."""

    def is_called(self, name: str) -> bool:
        return name in self.programs() or self.comm == os.fsencode(name)[:_COMM_BYTES]

    def programs(self) -> tuple[str, ...]:
        """The file name of its program, and that of the script which it interprets."""
        # gunicorn and nginx write `gunicorn: master [app]` over their first word.
        program = Path(self.words[0].partition(": ")[0]).name
        if not _INTERPRETER.fullmatch(program):
            return (program,)
        # `python -m uvicorn app:app` runs uvicorn; the text after -c or -e is no name.
        script = next((word for word in self.words[1:] if not word.startswith("-") or word in {"-c", "-e"}), "-")
        return (program,) if script.startswith("-") else (program, Path(script).name)


class Absent(Record, frozen=True):
    """There is no such process; `what` says why."""

    what: str


class Candidate(Record, frozen=True):
    """One of several; as text without its arguments, which may hold secrets."""

    pid: int
    program: str
    container: str | None

    def __str__(self) -> str:
        place = f" in container {self.container[:_SHORT_ID]}" if self.container else ""
        return f"{self.pid} {self.program}{place}"


class Several(Record, frozen=True):
    """The target does not tell which of these is meant."""

    candidates: tuple[Candidate, ...]


def find(target: Target) -> Seen | Absent | Several:
    """Give the one that is meant: never the agent, who started it, or a program that it runs itself.

    Of processes that descend from each other, such as a master and its workers, the first is meant.
    """
    match target:
        case ByName(name):
            return _only(lambda seen: seen.is_called(name), f"no process is called {name}")
        case ByCmdline(pattern):
            search = re.compile(pattern).search
            return _only(lambda seen: search(" ".join(seen.words)), f"no process has a command line with {pattern}")
        case ByPidFile(path):
            return _by_pid_file(Path(path))
        case InContainer(container):
            return _main_process(container)
        case Exactly(pid, started):
            seen = look(pid)
            # To half a tick: others may have multiplied where we divide.
            same = seen is not None and abs(seen.process.started - started) < TICK / 2
            return seen if seen and same else Absent(f"process {pid} has ended")
        case _:
            assert_never(target)


def look(pid: int) -> Seen | None:
    """None where it has ended, is a zombie or a kernel thread (no command line), or is hidden (hidepid)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return None
    # proc_pid_stat(5): pid (comm) state ppid pgrp session …; comm may hold blanks and brackets. The start is the 22nd.
    head, _, tail = text.rpartition(b") ")
    fields = tail.split()
    if not words:
        return None
    return Seen(
        process=Process(pid, int(fields[19]) * TICK),
        parent=int(fields[1]),
        session=int(fields[3]),
        comm=head.partition(b"(")[2],
        words=tuple(os.fsdecode(word) for word in words.rstrip(b"\0").split(b"\0")),
    )


def children_of(parent: int) -> list[Seen]:
    """Those that run, the oldest first."""
    return sorted((seen for seen in _everyone() if seen.parent == parent), key=_age)


def _only(is_meant: Callable[[Seen], object], absent: str) -> Seen | Absent | Several:
    tops = _tops(is_meant)
    if not tops:
        return Absent(absent)
    return tops[0] if len(tops) == 1 else Several(tuple(_candidate(seen) for seen in tops))


def _candidate(seen: Seen) -> Candidate:
    return Candidate(seen.process.pid, seen.programs()[-1], _container(seen.process.pid))


def _main_process(container: str) -> Seen | Absent:
    tops = _tops(lambda seen: _container(seen.process.pid) == container)
    # What `docker exec` starts in a container, a health check too, descends from no other; but it is younger.
    return min(tops, key=_age, default=None) or Absent(
        f"no process of container {container[:_SHORT_ID]} is seen: it does not run, or in another PID namespace"
    )


def _by_pid_file(path: Path) -> Seen | Absent:
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
    seen = None if pid == os.getpid() else look(pid)
    if seen is None:
        return Absent(f"{path}: its first line is no pid of a process to be told")
    # Who writes a pid file tells of a process that runs: one that is younger has only inherited the pid.
    booted_at = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    if booted_at + seen.process.started > status.st_mtime + _PID_FILE_SLACK:
        return Absent(f"{path}: older than process {pid}, which is another than it names")
    return seen


def _tops(is_meant: Callable[[Seen], object]) -> list[Seen]:
    """Those that are meant and descend from no other that is."""
    everyone = {seen.process.pid: seen for seen in _everyone()}
    ours = _ancestors(os.getpid(), everyone) | {os.getpid()}
    # Of what `check` and the like run, each leads a session; the child of `lessee exec` does not. Asked after the look,
    # else one could start between.
    sessions = spawn.started()
    matches = {
        pid: seen
        for pid, seen in everyone.items()
        if pid not in ours and seen.session not in sessions and is_meant(seen)
    }
    return [seen for pid, seen in matches.items() if matches.keys().isdisjoint(_ancestors(pid, everyone))]


def _everyone() -> Iterator[Seen]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (seen := look(int(entry.name))):
            yield seen


def _ancestors(pid: int, everyone: dict[int, Seen]) -> set[int]:
    found: set[int] = set()
    while (seen := everyone.get(pid)) and seen.parent not in found:
        pid = seen.parent
        found.add(pid)
    return found


def _age(seen: Seen) -> tuple[float, int]:
    return seen.process.started, seen.process.pid


def _container(pid: int) -> str | None:
    try:
        ids = _CONTAINER.findall(Path(f"/proc/{pid}/cgroup").read_text())
    except OSError:
        return None
    return ids[-1] if ids else None  # The innermost, where one runs in another.
