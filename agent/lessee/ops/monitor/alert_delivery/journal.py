"""Records delivered notifications as soon as they are sent, so that a kill does not send them again."""

import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path

from lessee.telemetry.logs import log

_MAX_NAMES = 4000


class DeliveryJournal:
    """A small file of notification names. Any thread may add to it."""

    def __init__(self, path: Path) -> None:
        """An unreadable file counts as empty: a duplicate is better than a lost notification."""
        self._path, self._lock = path, threading.Lock()
        self._names: dict[str, None] = {}
        if path.exists():
            try:
                self._names = dict.fromkeys(str(name) for name in json.loads(path.read_bytes()))
            except (OSError, ValueError, TypeError, RecursionError):
                log("warning", "delivery journal not readable", path=str(path), note="some alerts may be sent twice")

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def add(self, names: Iterable[str]) -> None:
        """Record notifications as delivered."""
        names = list(names)
        if not names:
            return
        with self._lock:
            self._names.update(dict.fromkeys(names))
            for name in list(self._names)[: max(0, len(self._names) - _MAX_NAMES)]:
                del self._names[name]
            self._write()

    def _write(self) -> None:
        path = self._path
        new = path.with_suffix(".new")
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123  # The descriptor sets the mode.
                json.dump(list(self._names), file)
            new.replace(path)
        except OSError as exc:
            log("warning", "delivery journal not saved", path=str(path), reason=exc.strerror)
