"""Reloads an edited configuration in a running service; an invalid one leaves the previous one in force."""

from collections.abc import Callable, Mapping
from typing import Protocol

from lessee.core.errors import LesseeError
from lessee.host.project import Stamp
from lessee.telemetry.logs import log

Stamps = Mapping[str, Stamp]
"""The stamps of files by path, taken just before they were read."""


class Watcher(Protocol):
    """Requests a reload when one of the files changes."""

    def watch(self, stamps: Stamps, *, whole_directories: bool = False) -> None: ...


class ConfigReloader:
    """Only the thread of the service's loop may call its methods; other threads may read `error`."""

    def __init__(self) -> None:
        self.error: str | None = None
        """Why the edited configuration is not in force."""
        self._watcher: Watcher | None = None

    def watch_with(self, watcher: Watcher, stamps: Stamps) -> None:
        """Watch these files."""
        self._watcher = watcher
        watcher.watch(stamps)

    def watch_further(self, stamps: Stamps) -> None:
        """Watch for edits after these stamps, which were taken just before `reload` gets what is read now."""
        if self._watcher is not None:
            self._watcher.watch(stamps, whole_directories=self.error is not None)

    def reload(self, stamps: Stamps, apply: Callable[[], Stamps | None]) -> None:
        """Call `apply`, which reads the configuration and puts it in force, or raises LesseeError.

        `apply` returns the files to watch from then on; None means the files of `stamps`. These are watched
        after a failure too.
        """
        try:
            stamps = apply() or stamps
        except LesseeError as exc:
            if str(exc) != self.error:
                log("error", "configuration not reloaded", reason=str(exc), note="the previous one stays in force")
            self.error = str(exc)
        else:
            self.error = None
        if self._watcher is not None:
            # A file that did not exist before may repair an invalid configuration.
            self._watcher.watch(stamps, whole_directories=self.error is not None)
