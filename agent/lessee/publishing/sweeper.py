"""Removes unneeded folders from an app's directory, in bounded steps: the app may have filled them."""

import os
import queue
import stat
import threading
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from pathlib import Path

from lessee.publishing.generations import OWN_PREFIX
from lessee.telemetry.logs import log

QUICK_ENTRIES = 256
"""A folder with more entries is removed in the background: all apps wait for the loop's thread."""
MAX_DEPTH = 32
"""Levels of nested folders that are open at a time; what is deeper is moved up, and removed by itself."""
TIMEOUT = 60.0
"""Seconds for one call in the background. What is left then is tried again at the next start."""
_SLICE = 200
_PAUSE = 0.01
"""Seconds between two slices, so that the thread leaves the processor to others."""
_DELAY = 1.0
"""Seconds before the first folder: the publications of a start come first."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_quickly(folder: str, directory: int) -> bool:
    """Remove a folder of few files and folders from the open directory. False: some of it is left for `sweep`."""
    return _remove_few(folder, directory, QUICK_ENTRIES, MAX_DEPTH) >= 0


def _remove_few(folder: str, directory: int, left: int, depth: int) -> int:
    """How many more than the folder's entries could be removed; negative where the folder is left."""
    try:
        fd = os.open(folder, _FOLDER, dir_fd=directory)
    except OSError:
        return -1
    try:
        with os.scandir(fd) as listed:
            entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in islice(listed, left + 1)]
        left -= len(entries)
        for name, is_folder in entries:
            if left < 0:
                return left
            if not is_folder:
                os.unlink(name, dir_fd=fd)
            else:
                left = _remove_few(name, fd, left, depth - 1) if depth else -1
        if left >= 0:
            os.rmdir(folder, dir_fd=directory)
    except OSError:  # One of them belongs to another user, or was replaced.
        return -1
    finally:
        os.close(fd)
    return left


def sweep(folders: Iterable[str], directory: int, path: Path) -> None:
    """Remove the folders from the open directory in the background; `path` names it in the log."""
    with _lock:
        _queue.put((list(folders), os.dup(directory), path))
        if _thread_ended.is_set():
            _thread_ended.clear()
            threading.Thread(target=_serve, name="lessee-sweeper", daemon=True).start()


_lock = threading.Lock()
_queue: queue.SimpleQueue[tuple[list[str], int, Path]] = queue.SimpleQueue()
_thread_ended = threading.Event()
_thread_ended.set()


def _serve() -> None:
    time.sleep(_DELAY)
    while True:
        with _lock:
            if _queue.empty():
                _thread_ended.set()
                return
            folders, directory, path = _queue.get()
        try:
            if not _Sweep(directory).remove(folders):
                note = "another user's, or too many; the next start tries again"
                log("warning", "leftovers not removed", directory=str(path), note=note)
        finally:
            os.close(directory)


class _Sweep:
    """One call, with its time."""

    def __init__(self, directory: int) -> None:
        self._directory = directory
        self._deadline = time.monotonic() + TIMEOUT
        self._left = _SLICE
        self._moved: deque[str] = deque()

    def remove(self, folders: Iterable[str]) -> bool:
        """Whether all of them are gone."""
        waiting = deque(folders)
        is_complete = True
        while waiting and time.monotonic() < self._deadline:
            is_complete &= self._remove(waiting.popleft(), self._directory, 0)
            waiting += self._moved
            self._moved.clear()
        return is_complete and not waiting

    def _remove(self, folder: str, parent: int, depth: int) -> bool:
        try:
            fd = os.open(folder, _FOLDER, dir_fd=parent)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        try:
            while names := self._slice(fd):
                removed = [self._remove_entry(name, fd, depth) for name in names]
                # Without progress, other users' entries are all that is left.
                if not any(removed):
                    return False
        except OSError:
            return False
        finally:
            os.close(fd)
        with suppress(OSError):
            os.rmdir(folder, dir_fd=parent)
            return True
        return False

    def _slice(self, fd: int) -> list[tuple[str, bool]]:
        if time.monotonic() >= self._deadline:
            return []
        with os.scandir(fd) as listed:
            return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in islice(listed, _SLICE)]

    def _remove_entry(self, entry: tuple[str, bool], parent: int, depth: int) -> bool:
        name, is_folder = entry
        self._left -= 1
        if self._left <= 0:
            self._left = _SLICE
            time.sleep(_PAUSE)
        try:
            if not is_folder:
                os.unlink(name, dir_fd=parent)
            elif depth < MAX_DEPTH:
                return self._remove(name, parent, depth + 1)
            else:
                moved = f"{OWN_PREFIX}{os.urandom(8).hex()}"
                os.rename(name, moved, src_dir_fd=parent, dst_dir_fd=self._directory)
                self._moved.append(moved)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True


def is_folder(entry: str, directory: int) -> bool:
    """Whether the entry of the open directory is a folder, and not a link. Raises OSError."""
    return stat.S_ISDIR(os.stat(entry, dir_fd=directory, follow_symlinks=False).st_mode)
