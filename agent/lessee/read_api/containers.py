"""Finds out in which container the process at the other end of a connection runs."""

import os
import select
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from lessee.config.containers import is_named
from lessee.config.grammar.app import LabeledContainer
from lessee.core.cgroups import container_of, is_inside
from lessee.core.errors import LesseeError
from lessee.core.immutable import ImmutableStruct
from lessee.read_api.policy.peers import Peer

_SO_PEERPIDFD = 77
"""Linux 6.5 and later: a pidfd of the process that connected, which no later process with its pid can have."""
_CGROUP_BYTES = 16384


class RunningContainer(ImmutableStruct, frozen=True):
    """A container, as the engine describes it."""

    title: str
    pid: int
    """Of its first process."""
    labels: Mapping[str, str]


FindContainer = Callable[[str], RunningContainer | None]
"""Asks the engine for a container by its id; None if it has no such one. Raises LesseeError."""


def refusal(
    connection: socket.socket, peer: Peer, containers: tuple[LabeledContainer, ...], find: FindContainer
) -> str:
    """Why a process of no other container than these may read; empty if it runs in one of them."""
    try:
        (process,) = struct.unpack("i", connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD, 4))
    except OSError:
        return "the kernel does not say which process connected; that needs Linux 6.5, and a process that runs"
    try:
        cgroup = _cgroup_of(peer.pid) if peer.pid > 0 else ""
        if not cgroup or select.select([process], [], [], 0)[0]:
            return "the agent does not see the process: it must run in the PID namespace of the host"
    finally:
        os.close(process)
    # A process of a container starts in it, and only root of the host moves it elsewhere.
    if (container := container_of(cgroup)) is None:
        return "the process runs in no container"
    try:
        found = find(container)
    except LesseeError as exc:
        return f"the container engine does not answer: {exc}"
    if found is None or not is_inside(cgroup, container, _cgroup_of(found.pid)):
        return "the engine knows no running container with this cgroup"
    return "" if is_named(containers, found.labels) else f"container {found.title} may not read"


def _cgroup_of(pid: int) -> str:
    """Empty if the process has ended."""
    with suppress(OSError), Path(f"/proc/{pid}/cgroup").open("rb") as file:
        return file.read(_CGROUP_BYTES).decode(errors="replace")
    return ""
