"""Which process is at the other end of a Unix socket (unix(7), SO_PEERCRED)."""

import socket
import struct

CREDENTIALS = struct.Struct("iII")
"""struct ucred: pid, uid and gid."""


def peer_credentials(connection: socket.socket) -> tuple[int, int, int]:
    """Its pid, uid and gid, as the kernel noted them when it connected; pid 0: it is in another PID namespace."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    pid, uid, gid = CREDENTIALS.unpack(found)
    return pid, uid, gid
