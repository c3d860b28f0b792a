"""Replaces this process with a program that has a network namespace of its own and ends with its parent.

`python -I network_namespace.py ROOT PROGRAM ARGUMENT…`: ROOT becomes the root directory of the program, which must be
statically linked. It exits with 77 if the kernel does not allow that. With `-` for ROOT the program sees all files,
and keeps the network if the kernel allows no namespace.
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
    """Never returns, except by SystemExit."""
    parent = os.getppid()
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)  # The parent ended before prctl took effect.
    opened = os.open(program, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _isolate_network()
        if root != ANY:
            os.chroot(root)
            os.chdir("/")
    except OSError:
        if root != ANY:
            sys.exit(REFUSED)
    os.execve(opened, [program, *arguments], os.environ)  # noqa: S606  # Without a shell, as intended.


def _isolate_network() -> None:
    """Raises OSError."""
    uid, gid = os.getuid(), os.getgid()
    if _libc.unshare(_CLONE_NEWNET) != 0:
        # A process without CAP_SYS_ADMIN has it in a user namespace of its own.
        if _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1", encoding="ascii")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


if __name__ == "__main__":
    main(*sys.argv[1:])
