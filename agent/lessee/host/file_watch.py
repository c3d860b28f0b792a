"""Watches templates and configuration files for edits."""

import select
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from lessee.host.inotify import ANY_CHANGE, Inotify
from lessee.host.project import Stamp, stamp

DEBOUNCE = 0.4
"""Seconds: an editor writes a file in several steps, which cause one reload."""
STEP = 0.2
"""Seconds without an event after which the editor has finished."""
START_DELAY = 0.3
"""Seconds until the watch starts."""
POLL = 2.0
"""Seconds between checks without an event: inotify reports nothing on network and some virtual file systems."""
FILES_PER_POLL = 500
"""More files than these are checked less often, so that checks take about a thousandth of a core."""


Changes = Callable[[threading.Event, Iterable[Path], float], Iterator[bool]]
"""Waits for changes in directories, as `inotify_changes` does."""


class Watcher:
    """Watches some files in a thread of its own, and calls a function when one differs from what was read."""

    def __init__(self, changed: Callable[[], None], changes: Changes | None = None) -> None:
        """`changes`: what waits for changes; default: `inotify_changes`."""
        self._changed = changed
        self._changes = changes or inotify_changes
        self._stop = threading.Event()
        self._stamps: Mapping[str, Stamp] = {}
        self._whole_directories = False

    def watch(self, stamps: Mapping[str, Stamp], *, whole_directories: bool = False) -> None:
        """Watch these files instead of others; with `whole_directories` any change in their directories counts."""
        same = self._stamps.keys() == stamps.keys() and not self._stop.is_set()
        self._stamps, self._whole_directories = stamps, whole_directories
        if not same:
            self._stop.set()
            self._stop = threading.Event()
            threading.Thread(target=self._run, args=(self._stop,), name="lessee-watch", daemon=True).start()

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()

    def _run(self, stop: threading.Event) -> None:
        # The first publications come first. The stamps show what was edited meanwhile.
        if stop.wait(START_DELAY):
            return
        # It watches directories, because an editor replaces a file by another. If a file is a link, as in a mounted
        # ConfigMap, it watches the directory of the link's target too.
        paths = list(map(Path, self._stamps))
        directories = {path.parent for path in paths} | {path.resolve().parent for path in paths if path.is_symlink()}
        interval = POLL * max(1.0, len(paths) / FILES_PER_POLL)
        existing = {directory for directory in directories if directory.is_dir()}
        for is_changed in self._changes(stop, existing, interval):
            if (is_changed and self._whole_directories) or self._is_edited():
                self._changed()

    def _is_edited(self) -> bool:
        return any(stamp(path) != before for path, before in self._stamps.items())


def inotify_changes(stop: threading.Event, directories: Iterable[Path], interval: float) -> Iterator[bool]:
    """Whether these directories have changed: immediately, and then each `interval` or sooner, until `stop` is set."""
    try:
        with closing(Inotify()) as inotify:
            for directory in directories:
                inotify.watch(directory, ANY_CHANGE)
            yield False
            while not stop.is_set():
                is_changed = _take_events(inotify, interval)
                if is_changed:
                    _debounce(inotify)
                if not stop.is_set():
                    yield is_changed
    except OSError:
        # A user may have 128 inotify instances: further agents poll.
        before = _stamps(directories)
        yield False
        while not stop.wait(interval):
            now = _stamps(directories)
            yield now != before
            before = now


def _debounce(inotify: Inotify) -> None:
    """Wait until the events pause for STEP seconds, for DEBOUNCE seconds at most."""
    deadline = time.monotonic() + DEBOUNCE
    while (left := deadline - time.monotonic()) > 0 and _take_events(inotify, min(STEP, left)):
        pass


def _take_events(inotify: Inotify, timeout: float) -> bool:
    """Whether there were events, or are some within `timeout` seconds."""
    poll = select.poll()
    poll.register(inotify, select.POLLIN)
    return bool(poll.poll(timeout * 1000)) and any(inotify.read())


def _stamps(directories: Iterable[Path]) -> Mapping[str, Stamp]:
    """Stamps that change when an entry is created, renamed or removed."""
    return {str(directory): stamp(str(directory)) for directory in directories}
