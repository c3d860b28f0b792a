"""Watches templates and configuration files for edits."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from lessee.host.project import Stamp, stamp

DEBOUNCE_MS = 400
"""An editor writes a file in several steps, which cause one reload."""
STEP_MS = 200
START_DELAY = 0.3
"""Seconds until the watch starts."""
POLL_MS = 2000
"""The interval of checks without an event: inotify reports nothing on network and some virtual file systems."""


class Watcher:
    """Watches some files in a thread of its own, and calls a function when one differs from what was read."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._stop = threading.Event()
        self._stamps: Mapping[Path, Stamp] = {}
        self._whole_directories = False

    def watch(self, stamps: Mapping[Path, Stamp], *, whole_directories: bool = False) -> None:
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
        # The first publications come before this import. The stamps show what was edited meanwhile.
        if stop.wait(START_DELAY):
            return
        # It watches directories, because an editor replaces a file by another. If a file is a link, as in a mounted
        # ConfigMap, it watches the directory of the link's target too.
        directories = {directory for path in self._stamps for directory in (path.parent, path.resolve().parent)}
        for changes in _changes(stop, {directory for directory in directories if directory.is_dir()}):
            if (changes and self._whole_directories) or self._is_edited():
                self._changed()

    def _is_edited(self) -> bool:
        return any(stamp(path) != before for path, before in self._stamps.items())


def _changes(stop: threading.Event, directories: Iterable[Path]) -> Iterator[object]:
    """The changes in some directories, or none: immediately, and then at least every POLL_MS, until `stop` is set."""
    from watchfiles import watch  # noqa: PLC0415

    yield None
    try:
        yield from watch(
            *directories,
            stop_event=stop,
            debounce=DEBOUNCE_MS,
            step=STEP_MS,
            rust_timeout=POLL_MS,
            yield_on_timeout=True,
            recursive=False,
            watch_filter=None,
        )
    except (OSError, RuntimeError):
        # A user may have 128 inotify instances: further agents poll.
        before = _stamps(directories)
        while not stop.wait(POLL_MS / 1000):
            now = _stamps(directories)
            yield now != before
            before = now


def _stamps(directories: Iterable[Path]) -> Mapping[Path, Stamp]:
    """Stamps that change when an entry is created, renamed or removed."""
    return {directory: stamp(directory) for directory in directories}
