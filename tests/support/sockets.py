"""The connections that a process holds, as the kernel has them."""

from contextlib import suppress
from pathlib import Path

_ESTABLISHED, _CLOSE_WAIT = "01", "08"


def connections(pid, port):
    """How many a process has to a port over IPv4, with those that the other side has closed and it has not."""
    ours = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            ours.add(str(file.readlink()))
    return sum(f"socket:[{inode}]" in ours for inode in _inodes(pid, port))


def _inodes(pid, port):
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        remote, state, inode = fields[2], fields[3], fields[9]
        if int(remote.rpartition(":")[2], 16) == port and state in {_ESTABLISHED, _CLOSE_WAIT}:
            yield inode
