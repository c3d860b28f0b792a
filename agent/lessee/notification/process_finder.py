"""Finds the process that the configuration names.

Every local user starts processes, and chooses their number and their command lines, to which a pattern may take
quadratic time. So a process is known by its uid first, and of the command lines only so much is read and searched.
"""

import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import assert_never

from lessee.config import CmdlineTarget, NameTarget, PidFileTarget
from lessee.core.immutable import ImmutableStruct
from lessee.core.printable import spelled_out
from lessee.host import procfs
from lessee.host.procfs import COMMAND_BYTES, TICK, ProcessIdentity, ProcessInfo, Stat, read_process
from lessee.notification.app_users import AppUsers
from lessee.notification.pid_file import PidFileError, find_process
from lessee.process import spawn

_COMM_BYTES = 15
_SHORT_ID = 12
_SHOWN_CANDIDATES = 5
_SHOWN_NAME = 40
_COMPARED_NAMES = 300
_KIB = 1024
_SEARCHED_BYTES = 1024 * _KIB
"""Of all command lines of the app's user together."""
_LEAST_BYTES = 64
"""For so many bytes each process counts at least, which bounds their number too."""
_SEARCHED_SECONDS = 0.1
"""Processor time of a search. A process of the largest size takes 2 ms for a quadratic pattern."""
_FOREIGN_COMMAND_BYTES = 512
_FOREIGN_BYTES = 32 * _KIB
"""As above, of other users' processes, which are looked at only to report them."""
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
    """The first few of them."""
    more: int = 0
    """How many others match."""


class TooManyProcesses(ImmutableStruct, frozen=True):
    """The processes are too many, or their command lines too long, to search all; `reason` says what to do."""

    reason: str


Found = ProcessInfo | ProcessNotFound | AmbiguousProcess | ForeignProcess | TooManyProcesses


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
    first, *words = info.argv
    program = Path(first.partition(": ")[0]).name
    if not _INTERPRETER.fullmatch(program):
        return (program,)
    # `python -m uvicorn app:app` runs uvicorn; the text after -c or -e is no name.
    script = next((word for word in words if not word.startswith("-") or word in {"-c", "-e"}), "-")
    return (program,) if script.startswith("-") else (program, Path(script).name)


def similar_name(name: str, users: AppUsers | None) -> str:
    """The name of a running process of the users that is most like this one; empty without one."""
    from difflib import get_close_matches  # noqa: PLC0415  # Only errors need it.

    own = {os.getpid(), os.getppid()}
    names: set[str] = set()
    for stat in procfs.running():
        if stat.pid not in own and (users is None or not users.objection(stat.pid)):
            names.add(os.fsdecode(stat.comm))
        if len(names) == _COMPARED_NAMES:
            break
    return spelled_out(next(iter(get_close_matches(name[:_COMM_BYTES], sorted(names - {name}), n=1, cutoff=0.7)), ""))


def children_of(parent: int) -> Iterator[ProcessInfo]:
    """The running children of a process, the oldest first, each read when it is asked for."""
    for stat in sorted((stat for stat in procfs.running() if stat.parent == parent), key=_age):
        if (info := read_process(stat.pid)) and info.identity == stat.identity:
            yield info


def _is_called(info: ProcessInfo, name: str) -> bool:
    encoded = os.fsencode(name)
    # Most command lines do not have it at all: programs() takes a hundred times as long as to see that.
    return (encoded in info.command and name in programs(info)) or info.comm == encoded[:_COMM_BYTES]


def _only(matches: Callable[[ProcessInfo], object], users: AppUsers | None, not_found: str) -> Found:
    foreign: list[Stat] = []
    search = _Search(matches, _SEARCHED_BYTES, COMMAND_BYTES)

    def look_at(stat: Stat) -> ProcessInfo | None:
        if users is not None and users.objection(stat.pid):
            foreign.append(stat)
            return None
        return search.look_at(stat)

    topmost = list(_topmost(look_at))
    if search.has_stopped:
        whose = f"the processes of {users}" if users is not None else "the processes"
        return TooManyProcesses(
            f"{whose} are too many, or their command lines too long, to search them all;"
            " end those that are not meant, simplify the pattern, or use a pid_file"
        )
    if len(topmost) == 1:
        return topmost[0]
    if topmost:
        shown = tuple(map(_candidate, topmost[:_SHOWN_CANDIDATES]))
        return AmbiguousProcess(shown, len(topmost) - len(shown))
    among_foreign = _Search(matches, _FOREIGN_BYTES, _FOREIGN_COMMAND_BYTES)
    others = filter(None, map(among_foreign.look_at, foreign))
    if users is not None and (other := next(others, None)) and (objection := users.objection(other.pid)):
        return ForeignProcess(objection)
    unseen = "; of other users' processes, some were not looked at" if among_foreign.has_stopped else ""
    return ProcessNotFound(not_found + unseen)


class _Search:
    """Looks for matches among processes, until they have cost too much."""

    def __init__(self, matches: Callable[[ProcessInfo], object], total: int, each: int) -> None:
        """`total`: the bytes of all command lines that are searched; `each`: those that are read of each."""
        self._matches = matches
        self._bytes_left = total
        self._each = each
        self._seconds_left = _SEARCHED_SECONDS
        self.has_stopped = False

    def look_at(self, stat: Stat) -> ProcessInfo | None:
        """What /proc shows of the process if it matches; None if not, or once the search has stopped."""
        if self._bytes_left <= 0 or self._seconds_left <= 0:
            self.has_stopped = True
            return None
        info = read_process(stat.pid, at_most=self._each)
        if info is None or info.identity != stat.identity:
            return None
        began = time.thread_time()
        found = self._matches(info)
        self._seconds_left -= time.thread_time() - began
        self._bytes_left -= max(len(info.command), _LEAST_BYTES)
        return info if found else None


def _candidate(info: ProcessInfo) -> Candidate:
    program = programs(info)[-1]
    cut = program if len(program) <= _SHOWN_NAME else f"{program[:_SHOWN_NAME]}…"
    return Candidate(info.pid, spelled_out(cut), procfs.container_id(info.pid))


def _main_process(container: str) -> ProcessInfo | ProcessNotFound:
    topmost = _topmost(lambda stat: read_process(stat.pid) if procfs.container_id(stat.pid) == container else None)
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


def _topmost(look_at: Callable[[Stat], ProcessInfo | None]) -> Iterator[ProcessInfo]:
    """The matching processes that descend from no other match; whatever descends from a match is not looked at."""
    processes = {stat.pid: stat for stat in procfs.running()}
    own = _ancestors(os.getpid(), processes) | {os.getpid()}
    # Each program that the agent runs, such as a check, leads a session; the child of `lessee exec` does not. The
    # sessions are read after the processes, so that no program can start in between.
    sessions = spawn.running_pids()
    children: dict[int, list[Stat]] = {}
    for stat in sorted(processes.values(), key=_age):
        children.setdefault(stat.parent if stat.parent in processes else 0, []).append(stat)
    # Each process follows its parent, and is taken once, however deep a user has made the tree.
    left = deque(children.get(0, ()))
    while left:
        stat = left.popleft()
        info = None if stat.pid in own or stat.session in sessions else look_at(stat)
        if info is not None:
            yield info
        else:
            left.extend(children.get(stat.pid, ()))


def _ancestors(pid: int, processes: dict[int, Stat]) -> set[int]:
    found: set[int] = set()
    while (stat := processes.get(pid)) and stat.parent not in found:
        pid = stat.parent
        found.add(pid)
    return found


def _age(process: Stat | ProcessInfo) -> tuple[float, int]:
    return process.identity.started, process.pid
