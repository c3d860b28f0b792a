"""Finds out in which container the process at the other end of a connection runs."""

import os
import socket
import struct
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic

from lessee.config.containers import is_named
from lessee.config.grammar.app import LabeledContainer
from lessee.core.cgroups import container_of, is_inside
from lessee.core.errors import LesseeError
from lessee.core.immutable import ImmutableStruct
from lessee.host import procfs
from lessee.host.pidfds import has_exited
from lessee.read_api.policy.peers import Peer

_SO_PEERPIDFD = 77
"""Linux 6.5 and later: a pidfd of the process that connected, which no later process with its pid can have."""
_MAX_QUESTIONS = 8
"""Connections of one container that wait for the engine; all containers together have four times as many."""
_REFUSED_AGAIN = 1.0
"""Seconds for which a refused container is refused again without a question to the engine."""
_MAX_REMEMBERED = 1000


class RunningContainer(ImmutableStruct, frozen=True):
    """A container, as the engine describes it."""

    title: str
    pid: int
    """Of its first process."""
    labels: Mapping[str, str]


FindContainer = Callable[[str], RunningContainer | None]
"""Asks the engine for a container by its id; None if it has no such one. Raises LesseeError."""


class Questions:
    """Bounds the questions to the engine: it answers slowly, and refused processes can connect without an end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: Counter[str] = Counter()
        self._refused: OrderedDict[str, tuple[float, str]] = OrderedDict()

    def refused_before(self, cgroup: str) -> str:
        """Why a process of this cgroup was refused a moment ago; empty if none was."""
        with self._lock:
            until, reason = self._refused.get(cgroup, (0.0, ""))
        return reason if monotonic() < until else ""

    def refused(self, cgroup: str, reason: str) -> str:
        """The reason, which is remembered."""
        with self._lock:
            self._refused[cgroup] = monotonic() + _REFUSED_AGAIN, reason
            self._refused.move_to_end(cgroup)
            while len(self._refused) > _MAX_REMEMBERED:
                self._refused.popitem(last=False)
        return reason

    @contextmanager
    def asking(self, cgroup: str) -> Iterator[bool]:
        """In the body, the engine may be asked if the value is True."""
        with self._lock:
            may_ask = self._waiting[cgroup] < _MAX_QUESTIONS and self._waiting.total() < 4 * _MAX_QUESTIONS
            self._waiting[cgroup] += may_ask
        try:
            yield may_ask
        finally:
            with self._lock:
                self._waiting[cgroup] -= may_ask
                if not self._waiting[cgroup]:
                    del self._waiting[cgroup]


def cgroup_of(peer: Peer) -> str:
    """The cgroup of the process with this pid, which may be another one by now; empty if it has ended."""
    return procfs.cgroup(peer.pid) if peer.pid > 0 else ""


def refusal(
    connection: socket.socket,
    peer: Peer,
    containers: tuple[LabeledContainer, ...],
    find: FindContainer,
    questions: Questions,
) -> str:
    """Why a process of no other container than these may read; empty if it runs in one of them."""
    try:
        (process,) = struct.unpack("i", connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD, 4))
    except OSError:
        return "the kernel does not say which process connected; that needs Linux 6.5, and a process that runs"
    try:
        cgroup = cgroup_of(peer)
        if not cgroup or has_exited(process):
            return "the agent does not see the process: it must run in the PID namespace of the host"
    finally:
        os.close(process)
    # A process of a container starts in it, and only root of the host moves it elsewhere.
    if (container := container_of(cgroup)) is None:
        return "the process runs in no container"
    if reason := questions.refused_before(cgroup):
        return reason
    with questions.asking(cgroup) as may_ask:
        if not may_ask:
            return "too many connections wait until the container engine has named their containers; try again"
        try:
            found = find(container)
        except LesseeError as exc:
            return f"the container engine does not answer: {exc}"
    if found is None or not is_inside(cgroup, container, procfs.cgroup(found.pid)):
        return questions.refused(cgroup, "the engine knows no running container with this cgroup")
    if is_named(containers, found.labels):
        return ""
    return questions.refused(cgroup, f"container {found.title} may not read")
