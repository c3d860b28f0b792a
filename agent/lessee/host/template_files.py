"""Opens templates beneath their folder: no link and no `..` leads out of it, and only regular files are read.

The author of a template cannot make the agent read another file of this host. Links that stay inside are followed, as
the volumes of Kubernetes need it: `app.env.j2` → `..data/app.env.j2`, `..data` → `..2026_01_31_12_00_00.1`.
"""

import ctypes
import errno
import os
import stat

from lessee.core.errors import LesseeError

MAX_SIZE = 1 << 22
"""Bytes: more than any template of `MAX_CHARACTERS` has in UTF-8, so that the compiler says what is too long."""
_PIECE = 1 << 16
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_FOLDER = os.O_PATH | os.O_CLOEXEC | os.O_DIRECTORY
_LINK = os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW
_MAX_LINKS = 40
"""As Linux follows at most in one path: path_resolution(7)."""

# openat2(2), Linux 5.6. All architectures of Linux but alpha number the calls from 424 on alike.
_SYS_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_BENEATH = 0x08
_UNKNOWN = frozenset({errno.ENOSYS, errno.EPERM, errno.E2BIG})
"""An older kernel; or a filter of system calls, as old container engines have it."""
_RETRIES = 8
"""Of an open that a concurrent rename interrupts: openat2(2), EAGAIN."""


class OutsideError(OSError):
    """A link, or a part of the name, leads out of the folder."""


class NoTemplateError(LesseeError):
    """The file cannot be a template: it is no regular file, or too large."""


def open_beneath(folder: str, name: str) -> int:
    """A descriptor of a regular file below the folder. Raises OSError, OutsideError or NoTemplateError."""
    file = open_any_beneath(folder, name)
    if stat.S_ISDIR(os.fstat(file).st_mode):
        os.close(file)
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return file


def open_any_beneath(folder: str, name: str) -> int:
    """A descriptor of a regular file or a directory below the folder. Raises as `open_beneath`."""
    try:
        file = _open(folder, name)
    except OSError as exc:
        if exc.errno == errno.ENXIO:
            raise NoTemplateError("a socket or a device, and no regular file") from None
        raise
    if not stat.S_ISREG(mode := os.fstat(file).st_mode) and not stat.S_ISDIR(mode):
        os.close(file)
        raise NoTemplateError(f"{_KINDS.get(stat.S_IFMT(mode), 'something else')}, and no regular file")
    return file


def content_of(file: int) -> bytes:
    """The content of an open file. Raises NoTemplateError for more than MAX_SIZE bytes; it may grow meanwhile."""
    pieces, left = [], MAX_SIZE + 1
    while left and (piece := os.read(file, min(left, _PIECE))):
        pieces.append(piece)
        left -= len(piece)
    if not left:
        raise NoTemplateError(f"larger than {MAX_SIZE >> 20} MiB")
    return b"".join(pieces)


def has_openat2() -> bool:
    """Whether the kernel, and a filter of system calls, are known to have openat2; True until one refused it."""
    return not _refused


def _open(folder: str, name: str) -> int:
    if "/" not in name:
        # Most templates: without a link, there is nothing that could lead out of the folder.
        try:
            return os.open(os.path.join(folder, name), _FLAGS | os.O_NOFOLLOW)  # noqa: PTH118  # As in project.py.
        except OSError as exc:
            if exc.errno != errno.ELOOP:
                raise
    root = os.open(folder, _FOLDER)
    try:
        return _open_with_kernel(root, name) if has_openat2() else _open_by_elements(root, name)
    finally:
        os.close(root)


def _open_with_kernel(root: int, name: str) -> int:
    # A structure of three numbers of 64 bits each: open_how of openat2(2).
    how = (ctypes.c_uint64 * 3)(_FLAGS, 0, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
    for _ in range(_RETRIES):
        file = _libc().syscall(
            ctypes.c_long(_SYS_OPENAT2), ctypes.c_int(root), os.fsencode(name), ctypes.byref(how),
            ctypes.c_size_t(ctypes.sizeof(how)),
        )  # fmt: skip
        if file >= 0:
            return int(file)
        number = ctypes.get_errno()
        if number != errno.EAGAIN:
            break
    if number in _UNKNOWN:
        # EPERM may be the file's own: then the other way says so as well.
        file = _open_by_elements(root, name)
        _refused.add(number)
        return file
    raise OutsideError(number, "outside") if number == errno.EXDEV else OSError(number, os.strerror(number))


def _open_by_elements(root: int, name: str) -> int:
    """The same one element after the other, of which none is opened through a link.

    The folders above the current one are held open, so that `..` leads to the one that was passed, whatever was
    renamed meanwhile.
    """
    above = [os.dup(root)]
    left = name.split("/")[::-1]
    links = 0
    try:
        while True:
            element = left.pop()
            is_last = not any(part not in {"", "."} for part in left)
            if element in {"", "."} and left:
                continue
            if element == "..":
                if len(above) == 1:
                    raise OutsideError(errno.EXDEV, "outside")
                os.close(above.pop())
                if is_last:
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
                continue
            target = _link_target(above[-1], element)
            if target is None:
                if is_last:
                    return os.open(element, _FLAGS | os.O_NOFOLLOW, dir_fd=above[-1])
                above.append(os.open(element, _FOLDER | os.O_NOFOLLOW, dir_fd=above[-1]))
                continue
            links += 1
            if links > _MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            if target.startswith("/"):
                raise OutsideError(errno.EXDEV, "outside")
            left += target.split("/")[::-1]
    finally:
        for folder in above:
            os.close(folder)


def _link_target(folder: int, name: str) -> str | None:
    """Where the link leads; None for what is no link. Raises OSError."""
    entry = os.open(name, _LINK, dir_fd=folder)
    try:
        return os.readlink("", dir_fd=entry) if stat.S_ISLNK(os.fstat(entry).st_mode) else None
    finally:
        os.close(entry)


def _libc() -> ctypes.CDLL:
    if not _loaded:
        _loaded.append(ctypes.CDLL(None, use_errno=True))
    return _loaded[0]


_loaded: list[ctypes.CDLL] = []
_refused: set[int] = set()
_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
