"""Waits until a log file in a directory is written, created or renamed: by inotify, or by polling without it."""

import ctypes
import os
import select
import struct
import threading
from pathlib import Path

POLL = 1.0
"""Seconds between checks without an event: inotify reports nothing on network and some virtual file systems."""
POLL_WITHOUT_INOTIFY = 0.05
"""The same where the kernel allows no further watch."""
_IN_MODIFY, _IN_MOVED_FROM, _IN_MOVED_TO, _IN_CREATE, _IN_DELETE_SELF, _IN_IGNORED = (
    0x2,
    0x40,
    0x80,
    0x100,
    0x400,
    0x8000,
)
_MASK = _IN_MODIFY | _IN_MOVED_FROM | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE_SELF
_HEAD = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class DirectoryWatch:
    """Only one thread may wait on it; others may wake that thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._prefix = os.fsencode(path.name.rpartition(".")[0] or path.name)
        self._mutex = threading.Lock()
        self._woken = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._fd = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        self._watched = False
        self._watch()

    def wait(self) -> None:
        """Wait for an event in the directory, for POLL seconds at most."""
        if not self._watched:
            self._watch()
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        if self._watched:
            poll.register(self._fd, select.POLLIN)
        seconds = POLL if self._watched else POLL_WITHOUT_INOTIFY
        while True:
            ready = [fd for fd, _ in poll.poll(seconds * 1000)]
            if self._fd not in ready or self._woken in ready or self._is_relevant():
                return

    def wake(self) -> None:
        """End the current wait, and each later one. Any thread may call it at any time."""
        with self._mutex:  # A closed descriptor's number soon belongs to another file.
            if self._woken >= 0:
                os.eventfd_write(self._woken, 1)

    def close(self) -> None:
        """Close it, once no thread waits on it."""
        with self._mutex:
            for fd in (self._woken, self._fd):
                if fd >= 0:
                    os.close(fd)
            self._woken = self._fd = -1

    def _watch(self) -> None:
        self._watched = self._fd >= 0 and (
            _libc.inotify_add_watch(self._fd, os.fsencode(self._path.parent), ctypes.c_uint32(_MASK)) >= 0
        )

    def _is_relevant(self) -> bool:
        """Whether an event is about a file whose name begins like the log's."""
        events, position, relevant = os.read(self._fd, 1 << 16), 0, False
        while position < len(events):
            _, mask, _, length = _HEAD.unpack_from(events, position)
            position += _HEAD.size + length
            if mask & (_IN_IGNORED | _IN_DELETE_SELF):
                self._watched, relevant = False, True  # The directory was removed; another may replace it.
            relevant = relevant or events[position - length : position].startswith(self._prefix) or not length
        return relevant
