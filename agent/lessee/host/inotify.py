"""inotify(7): events in directories, and a wait until a log file in one of them is written, created or renamed."""

import ctypes
import os
import select
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

POLL = 1.0
"""Seconds between checks without an event: inotify reports nothing on network and some virtual file systems."""
POLL_WITHOUT_INOTIFY = 0.05
"""The same where the kernel allows no further watch."""
_IN_MODIFY, _IN_ATTRIB, _IN_CLOSE_WRITE, _IN_MOVED_FROM, _IN_MOVED_TO = 0x2, 0x4, 0x8, 0x40, 0x80
_IN_CREATE, _IN_DELETE, _IN_DELETE_SELF, _IN_IGNORED = 0x100, 0x200, 0x400, 0x8000
_LOG_CHANGES = _IN_MODIFY | _IN_MOVED_FROM | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE_SELF
ANY_CHANGE = _LOG_CHANGES | _IN_ATTRIB | _IN_CLOSE_WRITE | _IN_DELETE
"""The mask of all events by which a directory, or a file in it, is changed."""
_HEAD = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class Inotify:
    """An inotify instance. A user may have 128 of them, and a limited number of watches."""

    def __init__(self) -> None:
        """Raises OSError if the kernel allows no further instance."""
        self._fd = _checked(_libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))

    def watch(self, directory: str | Path, mask: int) -> int:
        """Report these events in the directory, under the returned number.

        Raises OSError if it does not exist or the kernel allows no watch.
        """
        return _checked(_libc.inotify_add_watch(self._fd, os.fsencode(directory), ctypes.c_uint32(mask)))

    def unwatch(self, number: int) -> None:
        """Report no more events of this watch, which may have ended by itself."""
        _libc.inotify_rm_watch(self._fd, number)

    def fileno(self) -> int:
        """Readable while there are events."""
        return self._fd

    def read(self) -> Iterator[tuple[int, bytes]]:
        """The mask of each event that is there, and the name of the file in the directory. Raises BlockingIOError."""
        for _, mask, name in self.read_numbered():
            yield mask, name

    def read_numbered(self) -> Iterator[tuple[int, int, bytes]]:
        """The same, after the number of the watch; -1 where the kernel has dropped events."""
        events, position = os.read(self._fd, 1 << 16), 0
        while position < len(events):
            number, mask, _, length = _HEAD.unpack_from(events, position)
            position += _HEAD.size + length
            yield number, mask, events[position - length : position].rstrip(b"\0")

    def close(self) -> None:
        """No thread may use it any longer."""
        os.close(self._fd)


class DirectoryWatch:
    """Only one thread may wait on it; others may wake that thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._prefix = os.fsencode(path.name.rpartition(".")[0] or path.name)
        self._mutex = threading.Lock()
        self._woken = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            self._inotify: Inotify | None = Inotify()
        except OSError:
            self._inotify = None
        self._watched = False
        self._watch()

    def wait(self) -> None:
        """Wait for an event in the directory, for POLL seconds at most."""
        if not self._watched:
            self._watch()
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        if self._watched and self._inotify is not None:
            poll.register(self._inotify, select.POLLIN)
        seconds = POLL if self._watched else POLL_WITHOUT_INOTIFY
        while True:
            ready = [fd for fd, _ in poll.poll(seconds * 1000)]
            if not ready or self._woken in ready or self._is_relevant():
                return

    def wake(self) -> None:
        """End the current wait, and each later one. Any thread may call it at any time."""
        with self._mutex:  # A closed descriptor's number soon belongs to another file.
            if self._woken >= 0:
                os.eventfd_write(self._woken, 1)

    def close(self) -> None:
        """Close it, once no thread waits on it."""
        with self._mutex:
            if self._woken >= 0:
                os.close(self._woken)
                self._woken = -1
                if self._inotify is not None:
                    self._inotify.close()

    def _watch(self) -> None:
        if self._inotify is not None:
            try:
                self._inotify.watch(self._path.parent, _LOG_CHANGES)
            except OSError:
                return
            self._watched = True

    def _is_relevant(self) -> bool:
        """Whether an event is about a file whose name begins like the log's."""
        relevant = False
        assert self._inotify is not None
        for mask, name in self._inotify.read():
            if mask & (_IN_IGNORED | _IN_DELETE_SELF):
                self._watched, relevant = False, True  # The directory was removed; another may replace it.
            relevant = relevant or name.startswith(self._prefix) or not name
        return relevant


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
