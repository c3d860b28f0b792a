"""Evaluates what the kernel reports about the agent's host: file modes, swap, mounts, limits and free space."""

from collections.abc import Iterator
from math import inf

from lessee.core.immutable import ImmutableStruct
from lessee.core.severity import Level

MIN_FREE = 0.1
"""Of a file system with generations; during a change there are two."""


class FileMode(ImmutableStruct, frozen=True):
    """The owner and the mode of a file or directory."""

    path: str
    mode: int
    uid: int
    gid: int

    def problems(self, *, allowed: int, uid: int | None, gid: int | None) -> Iterator[str]:
        """What is wrong. `allowed`: all permission bits that it may have. None: any owner or group."""
        if excess := self.mode & 0o777 & ~allowed:
            yield f"{self.path} has mode {self.mode & 0o7777:04o}, which allows {_spell(excess)}"
        if uid is not None and self.uid != uid:
            yield f"{self.path} belongs to uid {self.uid}, not {uid}"
        if gid is not None and self.gid != gid:
            yield f"{self.path} belongs to gid {self.gid}, not {gid}"


def swap_devices(proc_swaps: str) -> tuple[str, ...]:
    """The swap devices in /proc/swaps, without zram, which is in memory."""
    lines = (line.split() for line in proc_swaps.splitlines()[1:])
    return tuple(words[0] for words in lines if words and not words[0].startswith("/dev/zram"))


def is_noswap(mount_options: str) -> bool:
    """Whether a file system is never swapped out, by an option of tmpfs (Linux 6.4)."""
    return "noswap" in mount_options.split(",")


def mount_options(path: str, mountinfo: str) -> str:
    """The type and options of the file system of an absolute path, from proc_pid_mountinfo(5)."""
    best, options = "", ""
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        point = _unescaped(left.split(" ")[4])
        kind, _, rest = right.partition(" ")
        # Of two mounts at the same point, the later one is visible.
        if _contains(point, path) and len(point) >= len(best):
            best, options = point, f"{kind},{left.split(' ')[5]},{rest.rpartition(' ')[2]}"
    return options


def core_file_limit(proc_limits: str) -> float | None:
    """The maximum size of a core file in bytes, from /proc/PID/limits; None where it is not there."""
    for line in proc_limits.splitlines():
        if line.startswith("Max core file size"):
            soft = line.split()[4]
            return inf if soft == "unlimited" else float(soft)
    return None


def space_level(free: int, total: int) -> Level | None:
    """The level of a file system with too little free space; None where it has enough."""
    if not total or free / total >= MIN_FREE:
        return None
    return Level.WARNING if free else Level.CRITICAL


def _contains(point: str, path: str) -> bool:
    return path == point or path.startswith(point.rstrip("/") + "/")


def _unescaped(text: str) -> str:
    """Special characters of a mount point are written as three octal digits."""
    for code, sign in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        text = text.replace(code, sign)
    return text


def _spell(bits: int) -> str:
    who = {0o700: "its owner", 0o070: "its group", 0o007: "all users"}
    what = {0o444: "read", 0o222: "write", 0o111: "execute"}
    granted = [
        f"{name} to {action}" for mask, name in who.items() for kind, action in what.items() if bits & mask & kind
    ]
    return ", ".join(granted)
