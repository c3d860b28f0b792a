"""Shows on stderr how far a command is that takes longer than two seconds."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO, TypeVar

from lessee.core.progress import Meter, Unit, next_line_delay

DELAY = 2.0
"""Seconds that a command may take without a word."""
_REDRAW = 0.2
"""Seconds between two looks on a terminal."""
_WIDTH = 80
_T = TypeVar("_T")


class Progress:
    """Takes what a command reports of its progress, from any thread, and shows nothing: `progress` gives one that does.

    All of it is printed, so the name of a phase is a fixed text, without paths and values.
    """

    def phase(self, what: str, total: int | None = None, *, unit: Unit = "") -> None:
        """A phase begins, and the last one ends. `total`: its steps or bytes, if they are known."""

    def advance(self, count: int = 1) -> None:
        """So many more steps or bytes of the phase are done."""

    def reach(self, done: int) -> None:
        """So many steps or bytes of the phase are done, unless it was further before."""

    def done(self) -> None:
        """The last phase ends, and its line disappears from a terminal: what follows asks or prints."""

    def print(self, text: str) -> None:
        """Print a line to stdout that does not mix with the line of the phase."""
        print(text, flush=True)  # noqa: T201  # As a command prints its results.

    def track(
        self, items: Iterable[_T], what: str, total: int | None = None, *, size: Callable[[_T], int] | None = None
    ) -> Iterator[_T]:
        """The items, each of which is done when the next one is asked for. `size`: of an item, in bytes."""
        self.phase(what, total, unit="" if size is None else "bytes")
        for item in items:
            yield item
            self.advance(1 if size is None else size(item))
        self.done()


SILENT = Progress()
"""Shows nothing."""


class _Shown(Progress):
    """Shows the phase from its own thread, so that it also shows that nothing moves."""

    def __init__(self, out: TextIO, *, clock: Callable[[], float] = time.monotonic, delay: float = DELAY) -> None:
        self._out, self._clock, self._delay = out, clock, delay
        self._on_terminal = out.isatty()
        self._lock = threading.Lock()
        """Of the line, and held while it is written: a terminal may be stopped."""
        self._counting = threading.Lock()
        self._stopped = threading.Event()
        self._meter: Meter | None = None
        self._done = 0
        self._drawn = 0
        """The length of the line on the terminal."""
        self._thread = threading.Thread(target=self._run, name="lessee-progress", daemon=True)
        self._thread.start()

    def phase(self, what: str, total: int | None = None, *, unit: Unit = "") -> None:
        with self._counting:
            self._meter, self._done = Meter(what, total, unit, self._clock()), 0

    def advance(self, count: int = 1) -> None:
        with self._counting:
            self._done += count

    def reach(self, done: int) -> None:
        with self._counting:
            self._done = max(self._done, done)

    def done(self) -> None:
        with self._lock:
            self._meter = None
            self._erase()

    def print(self, text: str) -> None:
        with self._lock:
            self._erase()
            super().print(text)

    def close(self) -> None:
        """Stop, and leave no line on a terminal."""
        self._stopped.set()
        self.done()
        self._thread.join()

    def _run(self) -> None:
        began, pause = self._clock(), self._delay
        while not self._stopped.wait(pause):
            with self._lock:
                with self._counting:
                    meter, done = self._meter, self._done
                if meter is not None:
                    self._show(meter.describe(done, self._clock()))
            stays = meter is not None and not self._on_terminal
            pause = next_line_delay(self._clock() - began) if stays else _REDRAW

    def _show(self, text: str) -> None:
        if not self._on_terminal:
            self._write(f"{text}\n")
            return
        try:
            width = os.get_terminal_size(self._out.fileno()).columns or _WIDTH
        except (OSError, ValueError):
            width = _WIDTH
        # A line that is as wide as the terminal would wrap, and stay.
        text = text[: width - 1]
        self._write(f"\r{text:<{min(self._drawn, width - 1)}}")
        self._drawn = len(text)

    def _erase(self) -> None:
        if self._drawn:
            self._write(f"\r{'':<{self._drawn}}\r")
            self._drawn = 0

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except (OSError, ValueError):  # The reader is gone, or the stream is closed: the work continues.
            self._stopped.set()


@contextmanager
def progress(*, quiet: bool) -> Iterator[Progress]:
    """Show the progress of what the `with` body reports, once it has taken longer than two seconds.

    On a terminal it is one line that is written over, and disappears. Elsewhere these are lines, rarer and rarer.
    With `quiet`, and with stderr closed, there are none.
    """
    # The original: the terminal's own protection would spell out the carriage return.
    out = sys.__stderr__
    if quiet or out is None or sys.stderr is None:
        yield SILENT
        return
    shown = _Shown(out)
    try:
        yield shown
    finally:
        shown.close()
