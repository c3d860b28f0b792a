"""Reads processes from /proc: their identity and state, and which of them run."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from lessee.core.immutable import ImmutableStruct

TICK = 1 / os.sysconf("SC_CLK_TCK")
"""Seconds to which the kernel rounds down the start of a process."""

COMMAND_BYTES = 4096
"""How much of a command line is read: its process chooses its length, up to megabytes."""

_STAT_BYTES = 4096
_CREDENTIALS_BYTES = 16384
_CREDENTIALS = {b"Uid", b"Gid", b"Groups"}
_STATUS_BYTES = 1 << 20  # The most groups of a process, 65,536, fill 700 KiB.
_KERNEL_THREAD = 0x00200000  # PF_KTHREAD of the kernel's sched.h
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_CGROUP_BYTES = 16384


class ProcessIdentity(ImmutableStruct, frozen=True):
    """One process and no other: the kernel reuses a pid, but not a pid together with a start time."""

    pid: int
    started: float
    """Seconds on CLOCK_BOOTTIME, rounded down to a TICK."""


class Stat(ImmutableStruct, frozen=True):
    """The fields of proc_pid_stat(5) that lessee uses."""

    pid: int
    comm: bytes
    state: str
    parent: int
    session: int
    flags: int
    start_ticks: int

    @property
    def started(self) -> float:
        """Seconds on CLOCK_BOOTTIME, rounded down to a TICK."""
        return self.start_ticks * TICK

    @property
    def identity(self) -> ProcessIdentity:
        """Its pid and its start."""
        return ProcessIdentity(self.pid, self.started)

    @property
    def has_exited(self) -> bool:
        """Whether it is a zombie, or dead."""
        return self.state in {"Z", "X"}


class ProcessInfo(ImmutableStruct, frozen=True):
    """What /proc shows of a process at one moment."""

    hidden = ("command",)

    identity: ProcessIdentity
    parent: int
    session: int
    comm: bytes
    command: bytes
    """The first COMMAND_BYTES of its command line, a zero byte after each word. They may hold secrets."""

    @property
    def argv(self) -> tuple[str, ...]:
        """The words of `command`, of which the last may be cut short."""
        return tuple(os.fsdecode(word) for word in self.command.rstrip(b"\0").split(b"\0"))

    @property
    def pid(self) -> int:
        """The pid of its identity."""
        return self.identity.pid


class Credentials(ImmutableStruct, frozen=True):
    """Whose process it is: credentials(7), as the user namespace of this process names them."""

    uid: int
    """The real uid. That user may signal the process anyway, even while it runs a set-user-ID program."""
    groups: frozenset[int]
    """Its real gid and its supplementary groups."""


def stat(pid: int) -> Stat:
    """Parse /proc/PID/stat. Raises OSError where the process has ended or is hidden (hidepid)."""
    # pid (comm) state ppid pgrp session …; comm may hold blanks and brackets. The start is the 22nd field.
    head, _, tail = _start_of(f"/proc/{pid}/stat", _STAT_BYTES).rpartition(b") ")
    fields = tail.split()
    return Stat(
        pid=pid,
        comm=head.partition(b"(")[2],
        state=fields[0].decode(),
        parent=int(fields[1]),
        session=int(fields[3]),
        flags=int(fields[6]),
        start_ticks=int(fields[19]),
    )


def read_process(pid: int, *, at_most: int = COMMAND_BYTES) -> ProcessInfo | None:
    """None where it has ended, is a zombie or a kernel thread (neither has a command line), or is hidden (hidepid).

    `at_most`: how many bytes of its command line are read.
    """
    try:
        fields = stat(pid)
        command = _start_of(f"/proc/{pid}/cmdline", at_most)
    except OSError:
        return None
    if not command:
        return None
    return ProcessInfo(fields.identity, fields.parent, fields.session, fields.comm, command)


def status(pid: int) -> Mapping[str, str]:
    """The fields of proc_pid_status(5). Raises OSError."""
    # Not splitlines(): a process may have a vertical tab or U+2028 in its name, which would begin a field.
    lines = _start_of(f"/proc/{pid}/status", _STATUS_BYTES).decode(errors="replace").split("\n")
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def credentials(pid: int) -> Credentials:
    """Whose process it is. Raises OSError where it has ended or is hidden (hidepid).

    Of a process with more than a thousand groups, the last ones are left out.
    """
    text = _start_of(f"/proc/{pid}/status", _CREDENTIALS_BYTES)
    if len(text) == _CREDENTIALS_BYTES:
        text = text.rpartition(b" ")[0]  # A group that is cut short would be another one.
    lines = (line.partition(b":\t") for line in text.split(b"\n"))
    ids = {name: list(map(int, value.split())) for name, _, value in lines if name in _CREDENTIALS}
    return Credentials(ids[b"Uid"][0], frozenset([ids[b"Gid"][0], *ids.get(b"Groups", ())]))


def _start_of(path: str, size: int) -> bytes:
    """The first `size` bytes, by one read(2): what is there now, and not what the process adds meanwhile."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, size)
    finally:
        os.close(fd)


def ancestors(pid: int) -> Iterator[int]:
    """The parents of a process, the nearest first, as far as they are visible in this PID namespace."""
    with suppress(OSError):
        while (pid := stat(pid).parent) > 0:
            yield pid


def wait_channel(pid: int) -> str:
    """The kernel function in which the process sleeps, as far as this process may see it. Raises OSError."""
    return Path(f"/proc/{pid}/wchan").read_text()


def cgroup(pid: int) -> str:
    """Its cgroups, one in each line (proc_pid_cgroup(5)); empty if it has ended."""
    with suppress(OSError), Path(f"/proc/{pid}/cgroup").open("rb") as file:
        return file.read(_CGROUP_BYTES).decode(errors="replace")
    return ""


def container_id(pid: int) -> str | None:
    """The id of the innermost container that its cgroup names; None: it runs in none, or has ended."""
    from lessee.core.cgroups import container_of  # noqa: PLC0415  # Few agents look for a container's processes.

    return container_of(cgroup(pid))


def running() -> Iterator[Stat]:
    """Every process but zombies and kernel threads. Nothing of its own choosing is read, except its short name."""
    # Imported only by agents that find an app by its name, command line or container: 2 MiB and 15 ms.
    import psutil  # noqa: PLC0415

    for pid in psutil.pids():
        with suppress(OSError):
            process = stat(pid)
            if not process.has_exited and not process.flags & _KERNEL_THREAD:
                yield process


def zombie_children() -> Iterator[int]:
    """The pids of this process's children that have ended, and were not reaped yet."""
    parent = os.getpid()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                child = stat(int(entry.name))
                if child.state == "Z" and child.parent == parent:
                    yield child.pid


def boot_id() -> str:
    """A name for this boot of the machine, empty where the kernel hides it; CLOCK_BOOTTIME starts at 0 with each."""
    with suppress(OSError):
        return _BOOT_ID.read_text().strip()
    return ""
