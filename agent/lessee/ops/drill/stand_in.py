"""Plays an app in a drill: it reads its files as the app does, and reports what it notices.

`python -I -S stand_in.py DIRECTORY PID_FILE READY_FILE signal|poll FILE…`. It uses its files 50 times a second: with
`signal` what it read at its start and at the last SIGHUP, with `poll` what is published now. It prints a line of JSON
for each notification and load, and four times a second, without any value or its hash.
"""

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path

_PERIOD = 0.02
_HEARTBEAT = 0.25


class StandIn:
    """The app: what it holds in memory, and how often it has used it."""

    def __init__(self, directory: Path, ready: Path, files: list[str], *, polls: bool) -> None:
        self._directory, self._ready, self._polls = directory, ready, polls
        self._files = [directory / file for file in files]
        self._key = os.urandom(16)
        self._held = b""
        self._generation = ""
        self._is_missing = False
        self._uses = 0
        self.is_notified = False

    def run(self) -> None:
        """Use the files until the process is killed."""
        reported = 0.0
        while True:
            if self.is_notified:
                self.is_notified = False
                self._report("notified")
                self._load()
            elif self._polls or not self._held:
                self._follow()
            self._uses += bool(self._held)
            if time.monotonic() >= reported + _HEARTBEAT:
                reported = time.monotonic()
                self._report("alive")
            time.sleep(_PERIOD)

    def _follow(self) -> None:
        """Load what is published, if that changed."""
        if self._live() != self._generation or self._is_missing:
            self._load()

    def _live(self) -> str:
        """The name of the published generation; empty without one."""
        try:
            return os.readlink(self._directory / "..data")  # noqa: PTH115  # As text, 50 times a second.
        except OSError:
            return ""

    def _load(self) -> None:
        digest = hashlib.blake2b(key=self._key)
        generation = self._live()
        try:
            for file in self._files:
                content = file.read_bytes()
                digest.update(f"{len(content)} ".encode() + content)
        except OSError:
            self._missing()
            return
        self._is_missing = False
        held, self._held, self._generation = self._held, digest.digest(), generation
        self._ready.touch()
        self._report("loaded", changed=held != self._held)

    def _missing(self) -> None:
        """Report that files cannot be read, once; at the start there are none yet."""
        if self._held and not self._is_missing:
            self._report("missing")
        self._is_missing = True

    def _report(self, event: str, *, changed: bool = False) -> None:
        line = {"at": time.monotonic(), "event": event, "changed": changed, "uses": self._uses}
        line["generation"] = self._generation
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def main(directory: str, pid_file: str, ready: str, mode: str, *files: str) -> None:
    """Never returns."""
    app = StandIn(Path(directory), Path(ready), list(files), polls=mode == "poll")

    def notify(*_: object) -> None:
        app.is_notified = True

    signal.signal(signal.SIGHUP, notify)
    # Ctrl-C ends the drill, which ends its apps.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Path(pid_file).write_text(f"{os.getpid()}\n", encoding="ascii")
    app.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
