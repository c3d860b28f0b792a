"""Finds the process that a pid file names, and believes only a file that the process, root or the agent wrote.

An app that may write its pid file could otherwise have the agent end any process: CVE-2018-16888 of systemd.
"""

import errno
import os
import stat
from pathlib import Path

from lessee.host import procfs
from lessee.host.clock import boot_times
from lessee.host.procfs import ProcessInfo, read_process
from lessee.process import spawn

_MAX_BYTES = 64
_SLACK = 2.0  # The coarsest time stamp of a file system in use, FAT's.
_MAX_LINKS = 16
_COMPONENT = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
# A FIFO would hang without O_NONBLOCK.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class PidFileError(Exception):
    """The file names no process of the app. The text says why, and names the file."""


def find_process(path: Path) -> ProcessInfo:
    """The process whose pid is the first line of the file. Raises PidFileError.

    It is never this process, one of its ancestors, or a program that the agent runs. The file counts if the uid of the
    process owns it; one of root or of the agent counts for every process if no other user may write to it.
    """
    try:
        fd = _open(path)
    except OSError as exc:
        reason = "is a symbolic link" if exc.errno == errno.ELOOP else os.strerror(exc.errno or 0)
        raise PidFileError(f"{path}: {reason}") from None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise PidFileError(f"{path}: not a regular file")
        line = os.read(fd, _MAX_BYTES).partition(b"\n")[0].strip()  # postmaster.pid has more lines.
    finally:
        os.close(fd)
    info = _named(int(line) if line.isdigit() else 0)
    if info is None:
        raise PidFileError(f"{path}: its first line is not the pid of a running process")
    # A program writes its pid file while it runs: a process that is younger than the file has only inherited the pid.
    if info.identity.started > boot_times(status.st_mtime)[-1] + _SLACK:
        raise PidFileError(
            f"{path}: older than process {info.pid}, which therefore did not write it;"
            " if the clock was set since then, restart the app"
        )
    _check_writer(path, status, info.pid)
    return info


def _named(pid: int) -> ProcessInfo | None:
    own = os.getpid()
    if pid == own or pid in procfs.ancestors(own):
        return None
    info = read_process(pid)
    return None if info is None or info.session in spawn.running_pids() else info


def _check_writer(path: Path, status: os.stat_result, pid: int) -> None:
    try:
        uid = procfs.credentials(pid).uid
    except OSError:
        raise PidFileError(f"{path}: process {pid} has ended") from None
    if status.st_uid == uid != 0:
        return
    if status.st_uid not in {0, os.geteuid()}:
        owner = f"uid {status.st_uid} owns this file"
        todo = "let the process itself write it, or root"
        raise PidFileError(f"{path}: {owner}, but it names process {pid} of uid {uid}; {todo}")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PidFileError(f"{path}: others than its owner may write to it; chmod go-w {path}")
    # With a second name in another directory, it may be the pid file of another program.
    if status.st_nlink > 1:
        raise PidFileError(f"{path}: the file has {status.st_nlink} names (hard links); remove it")


def _open(path: Path) -> int:
    """Open the file, which is no link; follow a link to a directory only if root or the agent made it.

    Raises OSError, and PidFileError for a link that another user made.
    """
    *steps, name = path.absolute().parts[1:]
    left = steps[::-1]
    current, links = os.open("/", _COMPONENT), 0
    try:
        while left:
            there = os.open(left.pop(), _COMPONENT, dir_fd=current)
            target = _target(there, path)
            if target is None:
                os.close(current)
                current = there
                continue
            os.close(there)
            links += 1
            if links > _MAX_LINKS:
                raise PidFileError(f"{path}: the path has more than {_MAX_LINKS} symbolic links")
            left += [part for part in reversed(target.parts) if part != "/"]
            if target.is_absolute():
                os.close(current)
                current = os.open("/", _COMPONENT)
        return os.open(name, _READ, dir_fd=current)
    finally:
        os.close(current)


def _target(fd: int, path: Path) -> Path | None:
    """Where the open link leads; None where it is no link. It is read by its own descriptor, as the one checked."""
    status = os.fstat(fd)
    if not stat.S_ISLNK(status.st_mode):
        return None
    if status.st_uid not in {0, os.geteuid()}:
        os.close(fd)
        place = "a part of this path is a symbolic link"
        raise PidFileError(f"{path}: {place} that uid {status.st_uid} made; name the real directory")
    return Path(os.readlink("", dir_fd=fd))
