"""Finds out which process asks: held by its pidfd, so that no other process can be taken for it."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from lessee.core.immutable import ImmutableStruct
from lessee.core.issue_messages import MAX_PACKET, PATIENCE, Hello, Request, decode, encode
from lessee.host import procfs
from lessee.host.peers import CREDENTIALS, peer_credentials
from lessee.host.pidfds import has_exited
from lessee.ops.issue.policy.issued import Holder


class Peer(ImmutableStruct, frozen=True):
    """A process that asks. `cgroup`: the text of proc_pid_cgroup(5)."""

    pid: int
    uid: int
    started: float
    cgroup: str
    wanted: str
    """The role that it names; empty: the only one."""


class UnknownPeerError(Exception):
    """It cannot be said which process asks. The text is for its own log."""


def uid_of(connection: socket.socket) -> int:
    """The user that connected."""
    return peer_credentials(connection)[1]


def cgroup_of_connection(connection: socket.socket) -> str:
    """The cgroup of the process with the pid that connected, without any promise that it is still that process."""
    return procfs.cgroup(peer_credentials(connection)[0])


def runs(holder: Holder) -> bool:
    """Whether this process still runs."""
    with suppress(OSError):
        found = procfs.stat(holder.pid)
        return found.started == holder.started and not found.has_exited
    return False


@contextmanager
def asking(connection: socket.socket) -> Iterator[Peer]:
    """The process that asks; in the body it has not been replaced by another one. Raises UnknownPeerError.

    What the kernel says of a connection (SO_PEERCRED) names a pid, which another process may have by now. So the
    service takes hold of the process first. Then the process must answer a nonce, and the kernel says who does
    (SCM_CREDENTIALS). If the process that is held still runs after that, it is the one that answered.
    """
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    connection.settimeout(PATIENCE)
    connected = peer_credentials(connection)
    with _held(connected[0]) as process:
        nonce = os.urandom(16).hex()
        connection.sendall(encode(Hello(nonce)))
        packet, ancillary, _, _ = connection.recvmsg(MAX_PACKET, socket.CMSG_SPACE(CREDENTIALS.size))
        request = decode(packet, Request)
        if request is None or request.nonce != nonce:
            raise UnknownPeerError("the request does not repeat the nonce of the service")
        sent_by = [
            CREDENTIALS.unpack(data[: CREDENTIALS.size])
            for level, kind, data in ancillary
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS and len(data) >= CREDENTIALS.size
        ]
        if sent_by != [connected]:
            raise UnknownPeerError("another process than the one that connected has sent the request")
        pid, uid, _ = connected
        try:
            peer = Peer(pid, uid, procfs.stat(pid).started, procfs.cgroup(pid), request.role)
        except OSError:
            raise UnknownPeerError("the process has ended") from None
        if has_exited(process):
            raise UnknownPeerError("the process has ended")
        yield peer


@contextmanager
def _held(pid: int) -> Iterator[int]:
    try:
        process = os.pidfd_open(pid)
    except (OSError, ValueError):  # ValueError: pid 0, which is in no PID namespace that this process sees.
        text = "the service does not see the process: it must run in the PID namespace of the host"
        raise UnknownPeerError(text) from None
    try:
        yield process
    finally:
        os.close(process)
