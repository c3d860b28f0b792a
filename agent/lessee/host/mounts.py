"""Checks whether a directory is in memory (tmpfs or ramfs)."""

import ctypes
import os
from pathlib import Path

from lessee.core.errors import WriteError

_MEMORY = frozenset({0x01021994, 0x858458F6})  # TMPFS_MAGIC and RAMFS_MAGIC of linux/magic.h
_STATFS_BYTES = 256  # struct statfs is 120 bytes on 64-bit Linux; its first word is f_type
_libc = ctypes.CDLL(None, use_errno=True)


def is_memory(fd: int) -> bool:
    """Whether `fd` is on tmpfs or ramfs. It calls fstatfs(2), because os.fstatvfs does not return the type."""
    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    if _libc.fstatfs(fd, buffer) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return ctypes.c_long.from_buffer(buffer).value & 0xFFFFFFFF in _MEMORY


def is_memory_at(folder: Path) -> bool | None:
    """Whether the directory, or the one in which it will be made, is in memory; None if it cannot be looked at."""
    for place in (folder, *folder.parents):
        try:
            descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            return None
        try:
            return is_memory(descriptor)
        finally:
            os.close(descriptor)
    return None


def refuse_disk(fd: int, where: Path, key: str = "") -> None:
    """Raise WriteError if `fd` is on a file system that may write to a disk; `key` is that of the configuration."""
    if not is_memory(fd):
        named = f"name a directory in /dev/shm in `{key}`, which is in memory on any Linux" if key else ""
        raise WriteError(
            "not in memory (tmpfs or ramfs)",
            where=f"{key}: {where}" if key else str(where),
            todo=f"{named}{', or ' if named else ''}mount a tmpfs there (Compose: a volume with `type: tmpfs`;"
            " Kubernetes: an emptyDir with `medium: Memory`), or set `allow_disk: true`",
        )
