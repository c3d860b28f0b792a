"""What is amiss with the host that an agent runs on, read from what its kernel says."""

from collections.abc import Iterator
from math import inf

from lessee.core.immutable import Record
from lessee.core.severity import Level

LEAST_FREE = 0.1
"""Of a file system that holds generations; at a change two stand side by side."""


class Mode(Record, frozen=True):
    """Who owns a file or directory, and what its mode lets them do."""

    path: str
    mode: int
    uid: int
    gid: int

    def faults(self, *, allowed: int, uid: int | None, gid: int | None) -> Iterator[str]:
        """What is wrong with it. `allowed`: all permission bits that it may have. None: whoever it is."""
        if excess := self.mode & 0o777 & ~allowed:
            yield f"{self.path} has the mode {self.mode & 0o7777:04o}, of which {_spell(excess)} is too much"
        if uid is not None and self.uid != uid:
            yield f"{self.path} belongs to uid {self.uid} and not to {uid}"
        if gid is not None and self.gid != gid:
            yield f"{self.path} belongs to gid {self.gid} and not to {gid}"


def swaps(proc_swaps: str) -> tuple[str, ...]:
    """What swap lies on, of /proc/swaps; zram is memory and none of it."""
    lines = (line.split() for line in proc_swaps.splitlines()[1:])
    return tuple(words[0] for words in lines if words and not words[0].startswith("/dev/zram"))


def is_noswap(mount_options: str) -> bool:
    """Whether a file system keeps to memory even where there is swap (Linux 6.4): tmpfs says so, and ramfs cannot."""
    return "noswap" in mount_options.split(",")


def options_of(path: str, mountinfo: str) -> str:
    """The options of the file system that an absolute path lies on, of proc_pid_mountinfo(5), its kind in front."""
    best, options = "", ""
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        point = _unescaped(left.split(" ")[4])
        kind, _, rest = right.partition(" ")
        # Of two at the same point the later one is seen.
        if _holds(point, path) and len(point) >= len(best):
            best, options = point, f"{kind},{left.split(' ')[5]},{rest.rpartition(' ')[2]}"
    return options


def core_limit(proc_limits: str) -> float | None:
    """The most bytes that a core file may have, of /proc/PID/limits; None where that does not say."""
    for line in proc_limits.splitlines():
        if line.startswith("Max core file size"):
            soft = line.split()[4]
            return inf if soft == "unlimited" else float(soft)
    return None


def room(free: int, total: int) -> Level | None:
    """How bad it is that no more is free."""
    if not total or free / total >= LEAST_FREE:
        return None
    return Level.WARNING if free else Level.CRITICAL


def _holds(point: str, path: str) -> bool:
    return path == point or path.startswith(point.rstrip("/") + "/")


def _unescaped(text: str) -> str:
    """A blank in a mount's path is written as three octal digits."""
    for code, sign in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        text = text.replace(code, sign)
    return text


def _spell(bits: int) -> str:
    who = {0o700: "its owner's", 0o070: "its group's", 0o007: "everybody's"}
    what = {0o444: "reading", 0o222: "writing", 0o111: "entering"}
    named = [f"{whose} {doing}" for mask, whose in who.items() for kind, doing in what.items() if bits & mask & kind]
    return ", ".join(named)
