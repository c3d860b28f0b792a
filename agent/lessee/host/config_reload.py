"""How what runs until it is stopped takes up a configuration that was edited: a broken one leaves the old in force."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from lessee.core.errors import LesseeError
from lessee.host.project import Stamp
from lessee.telemetry.logs import log

Stamps = Mapping[Path, Stamp]
"""Files as they were just before they were read."""


class Watcher(Protocol):
    """Has a reload done when one of the files changes."""

    def watch(self, stamps: Stamps, *, all_beside: bool = False) -> None: ...


class Reloading:
    """For the thread of a loop; the others may read `trouble`."""

    def __init__(self) -> None:
        self.trouble: str | None = None
        """Why the configuration is not in force as it stands there."""
        self._watcher: Watcher | None = None

    def watch_with(self, watcher: Watcher, stamps: Stamps) -> None:
        """Have these files watched."""
        self._watcher = watcher
        watcher.watch(stamps)

    def reload(self, stamps: Stamps, take_up: Callable[[], Stamps | None]) -> None:
        """`take_up` reads it and puts it in force, or raises LesseeError.

        It gives what is to be watched from then on: None for the files of `stamps`, which are watched too where it
        fails, as they were before it began.
        """
        try:
            stamps = take_up() or stamps
        except LesseeError as exc:
            if str(exc) != self.trouble:
                log("error", "configuration not taken up", reason=str(exc), note="the old one stays in force")
            self.trouble = str(exc)
        else:
            self.trouble = None
        if self._watcher is not None:
            # What is broken may be mended by a file that was not there before.
            self._watcher.watch(stamps, all_beside=self.trouble is not None)
