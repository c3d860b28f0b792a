"""Becomes another program that reaches no network but a loopback of its own, and ends with who started it.

`python -I isolated.py ROOT PROGRAM ARGUMENT…`: ROOT is the folder that the program, which must need no
library, takes for all there is; where the kernel does not allow any of that, it ends with 77. With `-` for ROOT it
sees all files, and goes on with the network that there is.
"""

import ctypes
import fcntl
import os
import signal
import socket
import struct
import sys
from pathlib import Path

REFUSED = 77
ANY = "-"

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_PDEATHSIG = 1
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1
_libc = ctypes.CDLL(None, use_errno=True)


def main(root: str, program: str, *arguments: str) -> None:
    """Does not return, unless by SystemExit."""
    parent = os.getppid()
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)  # It was gone before it could be asked for.
    opened = os.open(program, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _leave_network()
        if root != ANY:
            os.chroot(root)
            os.chdir("/")
    except OSError:
        if root != ANY:
            sys.exit(REFUSED)
    os.execve(opened, [program, *arguments], os.environ)  # noqa: S606  # No shell is wanted.


def _leave_network() -> None:
    """Raises OSError."""
    uid, gid = os.getuid(), os.getgid()
    if _libc.unshare(_CLONE_NEWNET) != 0:
        # Who may not, may where it is root of a user namespace of its own.
        if _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1", encoding="ascii")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


if __name__ == "__main__":
    main(*sys.argv[1:])
