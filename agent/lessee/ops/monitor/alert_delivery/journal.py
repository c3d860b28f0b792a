"""Which tellings have gone out, kept the moment they have: after a kill they are not told again."""

import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path

from lessee.telemetry.logs import log

_MOST = 4000


class Notified:
    """A small file. Any thread may add."""

    def __init__(self, path: Path) -> None:
        """What cannot be read has not been told: twice is better than not at all."""
        self._path, self._lock = path, threading.Lock()
        self._names: dict[str, None] = {}
        if path.exists():
            try:
                self._names = dict.fromkeys(str(name) for name in json.loads(path.read_bytes()))
            except (OSError, ValueError, TypeError):
                log("warning", "what was told cannot be read", path=str(path), note="some may be told twice")

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def add(self, names: Iterable[str]) -> None:
        """These have been told."""
        names = list(names)
        if not names:
            return
        with self._lock:
            self._names.update(dict.fromkeys(names))
            for name in list(self._names)[: max(0, len(self._names) - _MOST)]:
                del self._names[name]
            self._write()

    def _write(self) -> None:
        path = self._path
        beside = path.with_suffix(".new")
        try:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123  # It has been opened with its mode.
                json.dump(list(self._names), file)
            beside.replace(path)
        except OSError as exc:
            log("warning", "what was told cannot be kept", path=str(path), reason=exc.strerror)
