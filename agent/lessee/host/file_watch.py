"""Notices edits of templates and configuration."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from lessee.host.project import Stamp, stamp

DEBOUNCE_MS = 400
"""An editor writes a file in several steps: one reload for them all."""
STEP_MS = 200
PATIENCE = 0.3
"""Seconds until the watching starts."""
LOOK_MS = 2000
"""Between looks without an event: inotify is silent on network and some virtual file systems."""


class Watcher:
    """Watches some files in a thread of its own, and calls back when one is no longer as it was read."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._stop = threading.Event()
        self._stamps: Mapping[Path, Stamp] = {}
        self._all_beside = False

    def watch(self, stamps: Mapping[Path, Stamp], *, all_beside: bool = False) -> None:
        """From now on these files; with `all_beside` whatever happens in their folders counts too."""
        same = self._stamps.keys() == stamps.keys() and not self._stop.is_set()
        self._stamps, self._all_beside = stamps, all_beside
        if not same:
            self._stop.set()
            self._stop = threading.Event()
            threading.Thread(target=self._run, args=(self._stop,), name="lessee-watch", daemon=True).start()

    def close(self) -> None:
        """Watch nothing."""
        self._stop.set()

    def _run(self, stop: threading.Event) -> None:
        # The first files come before the import; what is edited meanwhile is seen by its stamp.
        if stop.wait(PATIENCE):
            return
        # The folders, since an editor replaces a file by another; and where a file is a link, as in a mounted
        # ConfigMap, the folder of what it leads to as well.
        folders = {folder for path in self._stamps for folder in (path.parent, path.resolve().parent)}
        for changes in _looks(stop, {folder for folder in folders if folder.is_dir()}):
            if (changes and self._all_beside) or self._is_edited():
                self._changed()

    def _is_edited(self) -> bool:
        return any(stamp(path) != before for path, before in self._stamps.items())


def _looks(stop: threading.Event, folders: Iterable[Path]) -> Iterator[object]:
    """What has changed in some folders, or nothing: at once, and then at least every LOOK_MS, until the event."""
    from watchfiles import watch  # noqa: PLC0415

    yield None
    try:
        yield from watch(
            *folders,
            stop_event=stop,
            debounce=DEBOUNCE_MS,
            step=STEP_MS,
            rust_timeout=LOOK_MS,
            yield_on_timeout=True,
            recursive=False,
            watch_filter=None,
        )
    except (OSError, RuntimeError):
        # A kernel gives 128 of what this needs to all processes of a user: more agents than that only look.
        before = _stamps(folders)
        while not stop.wait(LOOK_MS / 1000):
            now = _stamps(folders)
            yield now != before
            before = now


def _stamps(folders: Iterable[Path]) -> Mapping[Path, Stamp]:
    """They change when something is made, renamed or removed there."""
    return {folder: stamp(folder) for folder in folders}
