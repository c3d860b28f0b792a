"""Finds the process that the configuration names."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import assert_never

from lessee.config import CmdlineTarget, NameTarget, PidFileTarget
from lessee.core.immutable import ImmutableStruct
from lessee.host import procfs
from lessee.host.procfs import TICK, ProcessIdentity, ProcessInfo, read_process
from lessee.notification.app_users import AppUsers
from lessee.notification.pid_file import PidFileError, find_process
from lessee.process import spawn

_COMM_BYTES = 15
_SHORT_ID = 12
_INTERPRETER = re.compile(r"(python|pypy|node|nodejs|ruby|perl|php|lua|sh|bash|dash|ash|zsh|ksh)[0-9.]*")


class InContainer(ImmutableStruct, frozen=True):
    """The main process of the container with this id (64 hex digits), in the PID namespace that the agent sees."""

    id: str


Target = NameTarget | CmdlineTarget | PidFileTarget | InContainer | ProcessIdentity


class ProcessNotFound(ImmutableStruct, frozen=True):
    """No such process runs; `reason` says why."""

    reason: str


class ForeignProcess(ImmutableStruct, frozen=True):
    """A process matches, but it is another user's; `reason` says what to do."""

    reason: str


class Candidate(ImmutableStruct, frozen=True):
    """One of several processes that match. Its text leaves out the arguments, which may hold secrets."""

    pid: int
    program: str
    container: str | None

    def __str__(self) -> str:
        place = f" in container {self.container[:_SHORT_ID]}" if self.container else ""
        return f"{self.pid} {self.program}{place}"


class AmbiguousProcess(ImmutableStruct, frozen=True):
    """Several unrelated processes match the target."""

    candidates: tuple[Candidate, ...]


Found = ProcessInfo | ProcessNotFound | AmbiguousProcess | ForeignProcess


def find(target: Target, users: AppUsers | None = None) -> Found:
    """Find the target, which is never the agent, one of its ancestors, or a program that the agent itself runs.

    Of processes that descend from each other, such as a master and its workers, it is the topmost. A process of others
    than `users` is not the target, and does not make it ambiguous; None: the users do not matter.
    """
    match target:
        case NameTarget(name):
            return _only(lambda info: _is_called(info, name), users, f"no process is called {name}")
        case CmdlineTarget(pattern):
            search = re.compile(pattern).search
            nothing = f"no process has a command line with {pattern}"
            return _only(lambda info: search(" ".join(info.argv)), users, nothing)
        case PidFileTarget(path):
            return _by_pid_file(Path(path), users)
        case InContainer(container):
            return _main_process(container)
        case ProcessIdentity(pid, started):
            info = read_process(pid)
            # To half a tick: others may have multiplied where we divide.
            same = info is not None and abs(info.identity.started - started) < TICK / 2
            return info if info and same else ProcessNotFound(f"process {pid} has ended")
        case _:
            assert_never(target)


def programs(info: ProcessInfo) -> tuple[str, ...]:
    """The file name of the process' program, and that of the script that the program interprets."""
    # gunicorn and nginx write `gunicorn: master [app]` over their first word.
    program = Path(info.argv[0].partition(": ")[0]).name
    if not _INTERPRETER.fullmatch(program):
        return (program,)
    # `python -m uvicorn app:app` runs uvicorn; the text after -c or -e is no name.
    script = next((word for word in info.argv[1:] if not word.startswith("-") or word in {"-c", "-e"}), "-")
    return (program,) if script.startswith("-") else (program, Path(script).name)


def children_of(parent: int) -> list[ProcessInfo]:
    """The running children of a process, the oldest first."""
    return sorted((info for info in procfs.running() if info.parent == parent), key=_age)


def _is_called(info: ProcessInfo, name: str) -> bool:
    return name in programs(info) or info.comm == os.fsencode(name)[:_COMM_BYTES]


def _only(matches: Callable[[ProcessInfo], object], users: AppUsers | None, not_found: str) -> Found:
    objections: list[str] = []

    def is_meant(info: ProcessInfo) -> bool:
        if not matches(info):
            return False
        objection = users.objection(info.pid) if users is not None else ""
        objections.extend([objection] * bool(objection))
        return not objection

    topmost = _topmost(is_meant)
    if not topmost:
        return ForeignProcess(objections[0]) if objections else ProcessNotFound(not_found)
    return topmost[0] if len(topmost) == 1 else AmbiguousProcess(tuple(map(_candidate, topmost)))


def _candidate(info: ProcessInfo) -> Candidate:
    return Candidate(info.pid, programs(info)[-1], procfs.container_id(info.pid))


def _main_process(container: str) -> ProcessInfo | ProcessNotFound:
    topmost = _topmost(lambda info: procfs.container_id(info.pid) == container)
    # `docker exec` and health checks start processes that descend from no other in the container, but are younger.
    return min(topmost, key=_age, default=None) or ProcessNotFound(
        f"no process of container {container[:_SHORT_ID]} is visible:"
        " the container does not run, or runs in another PID namespace"
    )


def _by_pid_file(path: Path, users: AppUsers | None) -> ProcessInfo | ProcessNotFound | ForeignProcess:
    try:
        info = find_process(path)
    except PidFileError as exc:
        return ProcessNotFound(str(exc))
    objection = users.objection(info.pid) if users is not None else ""
    return ForeignProcess(f"{path}: {objection}") if objection else info


def _topmost(matches: Callable[[ProcessInfo], object]) -> list[ProcessInfo]:
    """The matching processes that descend from no other match."""
    processes = {info.pid: info for info in procfs.running()}
    own = _ancestors(os.getpid(), processes) | {os.getpid()}
    # Each program that the agent runs, such as a check, leads a session; the child of `lessee exec` does not. The
    # sessions are read after the processes, so that no program can start in between.
    sessions = spawn.running_pids()
    found = {
        pid: info
        for pid, info in processes.items()
        if pid not in own and info.session not in sessions and matches(info)
    }
    return [info for pid, info in found.items() if found.keys().isdisjoint(_ancestors(pid, processes))]


def _ancestors(pid: int, processes: dict[int, ProcessInfo]) -> set[int]:
    found: set[int] = set()
    while (info := processes.get(pid)) and info.parent not in found:
        pid = info.parent
        found.add(pid)
    return found


def _age(info: ProcessInfo) -> tuple[float, int]:
    return info.identity.started, info.pid
