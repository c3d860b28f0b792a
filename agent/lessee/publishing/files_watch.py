"""Watches the directories of apps with inotify(7), for changes of what is published in them."""

import os
import select
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lessee.config.fallback import MARKER
from lessee.core.immutable import ImmutableStruct
from lessee.host.inotify import Inotify
from lessee.publishing.publication import Publisher, VisibleFiles
from lessee.telemetry.logs import log

LIVE = "..data"
"""The name of the link to the live generation, as in Kubernetes' volumes."""
GATHERING_TIME = 0.1
"""Seconds in which events are gathered: the agent's own publication causes a dozen of them."""
OVERFLOW_INTERVAL = 10.0
"""Seconds between two reports of all apps, where one app causes more events than the kernel keeps."""
# By linux/inotify.h.
_MODIFY, _ATTRIB, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE, _MOVE_SELF = 0x2, 0x4, 0x40, 0x80, 0x100, 0x200, 0x800
_ONLYDIR, _DONT_FOLLOW, _MASK_ADD, _IGNORED = 0x1000000, 0x2000000, 0x20000000, 0x8000
_HOW = _ONLYDIR | _DONT_FOLLOW | _MASK_ADD
_ENTRIES = _ATTRIB | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _MOVE_SELF | _HOW
_FILES = _MODIFY | _ENTRIES
_REMOVALS = _MOVED_FROM | _MOVED_TO | _DELETE | _ONLYDIR | _MASK_ADD
_OVERFLOW = -1


class _Followed(ImmutableStruct, frozen=True):
    """What is watched for an app: its directory and the folder of its live generation, by their inodes."""

    directory: tuple[int, int]
    folder: str
    numbers: tuple[int, ...]


class FilesWatch:
    """One inotify instance and one thread for all apps. Where the kernel allows none, nothing is reported."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._followed: dict[str, _Followed] = {}
        self._callbacks: dict[str, Callable[[], None]] = {}
        self._relevant: dict[int, dict[str, frozenset[bytes] | None]] = {}
        """By watch and app: the names whose changes matter, None for all."""
        self._is_closed = False
        self._has_overflowed, self._all_reported_at = False, float("-inf")
        try:
            self._inotify: Inotify | None = Inotify()
        except OSError as exc:
            self._inotify = None
            log("info", "files not watched", reason=str(exc), note="they are compared each refresh_interval")
        else:
            threading.Thread(target=self._run, args=(self._inotify,), name="lessee-files", daemon=True).start()

    def follow(self, app: str, publisher: Publisher, visible: VisibleFiles, touched: Callable[[], None]) -> None:
        """Call `touched` whenever something happens to the files that readers of this app must see.

        Any number of changes within GATHERING_TIME is one call, which another thread makes.
        """
        if self._inotify is None:
            return
        status = os.fstat(publisher.fd)
        key = (status.st_dev, status.st_ino)
        with self._mutex:
            self._callbacks[app] = touched
            known = self._followed.get(app)
            if known is not None and (known.directory, known.folder) == (key, visible.live.folder):
                return
            self._forget(app)
            names = frozenset(map(os.fsencode, (*visible.names, LIVE, MARKER, visible.live.folder)))
            # No `Path`: it would intern the folder's name, which is another one each time.
            directory = f"/proc/self/fd/{publisher.fd}"
            folder = f"{directory}/{visible.live.folder}"
            inner = [f"{folder}/{name}" for name in visible.folders if name]
            # The link in /proc leads to the directory itself, wherever it is now.
            numbers = [self._add(directory, _ENTRIES & ~_DONT_FOLLOW, app, names)]
            numbers += [self._add(each, _FILES, app, None) for each in (folder, *inner)]
            if _may_be_removed(publisher.path, status.st_dev):
                name = frozenset({os.fsencode(publisher.path.name)})
                numbers.append(self._add(publisher.path.parent, _REMOVALS, app, name))
            self._followed[app] = _Followed(key, visible.live.folder, tuple(n for n in numbers if n is not None))

    def forget(self, app: str) -> None:
        """Report no more of this app."""
        with self._mutex:
            self._forget(app)
            self._callbacks.pop(app, None)

    def close(self) -> None:
        """End the thread, and report nothing more."""
        with self._mutex:
            self._callbacks.clear()
            self._is_closed = True
            if self._inotify is not None:
                # The end of a watch is an event, which wakes the thread.
                with suppress(OSError):
                    self._inotify.unwatch(self._inotify.watch(Path("/"), _MOVE_SELF))

    def _add(self, path: str | Path, mask: int, app: str, names: frozenset[bytes] | None) -> int | None:
        assert self._inotify is not None
        with suppress(OSError):  # It does not exist any more, or the kernel allows no further watch.
            number = self._inotify.watch(path, mask)
            self._relevant.setdefault(number, {})[app] = names
            return number
        return None

    def _forget(self, app: str) -> None:
        followed = self._followed.pop(app, None)
        for number in followed.numbers if followed is not None else ():
            apps = self._relevant.get(number, {})
            apps.pop(app, None)
            if not apps and self._inotify is not None:
                self._relevant.pop(number, None)
                self._inotify.unwatch(number)

    def _run(self, inotify: Inotify) -> None:
        poll = select.poll()
        poll.register(inotify, select.POLLIN)
        while not self._is_closed:
            poll.poll(OVERFLOW_INTERVAL * 1000 if self._has_overflowed else None)
            time.sleep(GATHERING_TIME)
            for touched in self._take(inotify):
                touched()
        inotify.close()

    def _take(self, inotify: Inotify) -> list[Callable[[], None]]:
        touched: set[str] = set()
        with self._mutex:
            with suppress(BlockingIOError):
                for number, mask, name in inotify.read_numbered():
                    self._has_overflowed |= number == _OVERFLOW
                    apps = self._relevant.get(number, {}) if not mask & _IGNORED else {}
                    touched.update(app for app, names in apps.items() if not name or names is None or name in names)
            if self._has_overflowed and time.monotonic() - self._all_reported_at >= OVERFLOW_INTERVAL:
                self._has_overflowed, self._all_reported_at = False, time.monotonic()
                touched.update(self._callbacks)
            return [self._callbacks[app] for app in sorted(touched) if app in self._callbacks]


def _may_be_removed(path: Path, device: int) -> bool:
    """Whether the directory is no mount, which cannot be removed."""
    try:
        return path.parent.stat().st_dev == device
    except OSError:
        return False
