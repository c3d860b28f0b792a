"""The monitor's loop: takes what the sources read, hands it to the sinks, and keeps how far it came."""

import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, assert_never

from lessee.core.immutable import replace
from lessee.host.clock import boot_time, wall_time
from lessee.host.config_reload import Reloading, Stamps, Watcher
from lessee.host.project import stamp
from lessee.ops.monitor.batch import Piece
from lessee.ops.monitor.checkpoint import LEAP, Keeper, Kept, Saver, Standing
from lessee.ops.monitor.policy.access import Line
from lessee.ops.monitor.service import Project, sinks, source
from lessee.ops.monitor.sink import Sink
from lessee.ops.monitor.sources import Ended, Event, Heard, Source, Stood
from lessee.ops.monitor.view import status
from lessee.telemetry.logs import log

TICK = 1.0
"""Seconds between ticks, and between saves."""
STANDS_STILL = 30.0
"""Seconds without a turn of the loop after which /healthz is red."""


class _Note(Enum):
    """What the loop itself is told."""

    STOP = "stop"
    RELOAD = "reload"


_Mail = _Note | tuple[object, Event]
"""An event comes with what tells its source from another that had its name before."""


class Monitoring:
    """Owns all sources and sinks: what becomes of them does so in the thread that runs the loop."""

    def __init__(self, load: Callable[[], Project], *, once: bool = False) -> None:
        """`load` reads the configuration, and raises LesseeError. `once`: end where the logs end now.

        Raises LesseeError where what was kept cannot be read, or is another monitor's.
        """
        self._load, self._once = load, once
        self._project = load()
        self._mail: queue.SimpleQueue[_Mail] = queue.SimpleQueue()
        self._mutex = threading.Lock()  # Of the sinks: who asks for the status does so from other threads.
        self._keeper = Keeper(Path(self._project.monitor.state))
        self._saver = Saver(self._keeper)
        kept = self._keeper.load()
        self._standings, self._was_whole = dict(kept.sources), kept.is_whole
        self._sunk = dict(kept.sinks)
        """What the sinks have to keep, of those too that the configuration has no more."""
        self._rubbish_told: set[str] = set()
        self._sources: dict[str, Source] = {}
        self._tokens: dict[str, object] = {}
        self._errors: dict[str, str | None] = {}
        """Of the sources that have said how they stand."""
        self._ended: set[str] = set()
        self._sinks: list[Sink] = []
        self._turned_at = self._ticked_at = boot_time()
        self._reloading = Reloading()

    @property
    def project(self) -> Project:
        """The one in force."""
        return self._project

    # What other threads may call.

    def stop(self) -> None:
        """End the loop. A signal's handler may call it."""
        self._mail.put(_Note.STOP)

    def reload(self) -> None:
        """Read the configuration again. A signal's handler may call it."""
        self._mail.put(_Note.RELOAD)

    def alive(self) -> bool:
        """Whether the loop turns."""
        return boot_time() - self._turned_at < STANDS_STILL

    def status(self) -> Mapping[str, Any]:
        """status.json."""
        with self._mutex:
            told = [sink.status() for sink in self._sinks]
            standings = {name: self._standings[name] for name in self._sources}
            project, errors = self._project, dict(self._errors)
        problems = [text for text in (self._reloading.trouble, self._saver.trouble) if text is not None]
        return status(project, standings, errors, told, problems)

    def logs(self) -> Sequence[Mapping[str, Any]]:
        """As the sinks may ask."""
        return [
            {"name": name, "error": self._errors.get(name), "last_at": self._standings[name].last_at}
            for name in tuple(self._sources)
        ]

    def errors(self) -> list[str]:
        """Why logs cannot be read."""
        return [error for error in self._errors.values() if error is not None]

    # The loop.

    def watch_with(self, watcher: Watcher) -> None:
        """Have the configuration's file watched."""
        self._reloading.watch_with(watcher, self._stamps())

    def run(self) -> None:
        """Until it is stopped, or all logs have come to their end. Raises WriteError: the end could not be saved."""
        try:
            self._take_up(self._project)
            self._save(is_whole=False)
            while self._turn():
                self._tick()
            self._leave()
        finally:
            # What goes wrong in the middle of lines is not kept: they are read again.
            for one in self._sources.values():
                one.close()
            try:
                self._saver.close()
            finally:
                self._keeper.close()

    def _turn(self) -> bool:
        """Whether to go on."""
        notes = set()
        for mail in self._collect(self._ticked_at + TICK - boot_time()):
            if isinstance(mail, _Note):
                notes.add(mail)
            else:
                self._hear(*mail)
        self._turned_at = boot_time()
        if _Note.RELOAD in notes:
            self._reloading.reload(self._stamps(), self._take_up_edits)
        return _Note.STOP not in notes and not self._ended >= self._sources.keys()

    def _collect(self, wait: float) -> Iterator[_Mail]:
        try:
            yield self._mail.get(timeout=wait) if wait > 0 else self._mail.get_nowait()
            for _ in range(self._mail.qsize()):
                yield self._mail.get_nowait()
        except queue.Empty:
            return

    def _hear(self, token: object, event: Event) -> None:
        if self._tokens.get(event.source) is not token:
            return  # It is no longer read.
        match event:
            case Heard(name, piece):
                self._take(name, piece)
                self._stands(name, None)
                self._sources[name].taken()
            case Stood(name, error):
                self._stands(name, error)
            case Ended(name):
                self._ended.add(name)
            case _:
                assert_never(event)

    def _take(self, name: str, piece: Piece) -> None:
        standing = self._standings[name]
        first = standing.number + 1
        lines = [Line(name, number, access) for number, access in enumerate(piece.accesses, first)]
        with self._mutex:
            if lines:
                for sink in self._sinks:
                    sink.take(lines)
            self._standings[name] = replace(
                standing,
                place=piece.place,
                number=standing.number + len(lines),
                accesses=standing.accesses + len(lines),
                lines=standing.lines + piece.lines,
                rubbish=standing.rubbish + piece.rubbish,
                gaps=standing.gaps + piece.gaps,
                last_at=lines[-1].access.at if lines else standing.last_at,
            )
        if standing.place is None and piece.place is not None:
            # Whatever is rotated from now on is our concern, whoever ends us.
            self._save(is_whole=False)
            self._saver.wait()
        if piece.rubbish and name not in self._rubbish_told:
            self._rubbish_told.add(name)
            log("warning", "not a line of an audit log", source=name, note="such lines are left out, and counted")

    def _stands(self, name: str, error: str | None) -> None:
        before = self._errors.get(name)
        self._errors[name] = error
        if error is not None and error != before:
            log("error", "audit log cannot be read", source=name, reason=error)
        if error is None and before is not None:
            log("info", "audit log can be read again", source=name)

    def _tick(self) -> None:
        if boot_time() - self._ticked_at < TICK:
            return
        self._ticked_at, now = boot_time(), wall_time()
        with self._mutex:
            for sink in self._sinks:
                sink.tick(now)
        self._save(is_whole=False)

    def _save(self, *, is_whole: bool) -> None:
        with self._mutex:
            self._sunk |= {sink.name: sink.state() for sink in self._sinks}
        self._saver.save(Kept(is_whole=is_whole, sources=self._standings, sinks=self._sunk))

    def _leave(self) -> None:
        for one in self._sources.values():
            one.close()
        self._drain()
        for sink in self._sinks:
            sink.close()
        self._save(is_whole=True)

    # Configurations.

    def _take_up_edits(self) -> None:
        project = self._load()
        if project.config != self._project.config:
            _tell_what_needs_a_start(self._project, project)
            self._take_up(project)
            log("info", "configuration taken up", sources=", ".join(project.logs))

    def _take_up(self, project: Project) -> None:
        """Logs that stay the same are read on, and what all sinks know goes over to those that follow them."""
        logs = {name: project.log_of(name) for name in project.logs}
        gone = [name for name in self._sources if self._standings[name].log != logs.get(name)]
        for name in gone:
            self._sources[name].close()
        self._drain()
        with self._mutex:
            for name in gone:
                del self._sources[name], self._tokens[name], self._errors[name]
            for sink in self._sinks:
                sink.close()
            self._sunk |= {sink.name: sink.state() for sink in self._sinks}
            self._sinks = sinks(project, self.logs)
            for sink in self._sinks:
                self._restore(sink)
            self._project = project
        self._ended.intersection_update(logs)
        for name in logs.keys() - self._sources.keys():
            self._begin(name, logs[name])

    def _begin(self, name: str, log_of_it: str) -> None:
        standing = self._standings.get(name, Standing(log_of_it))
        if standing.log != log_of_it:
            standing = replace(standing, log=log_of_it, place=None)
        is_heard_once = self._project.logs[name].file is None
        if is_heard_once and not self._was_whole:
            # Nobody can go back there: numbers that may have been given since are not given again.
            standing = replace(standing, number=(standing.number // LEAP + 1) * LEAP)
        token = object()
        one = source(self._project, name, standing, lambda event: self._mail.put((token, event)), once=self._once)
        with self._mutex:
            self._standings[name], self._sources[name], self._tokens[name] = standing, one, token
        if is_heard_once:
            self._save(is_whole=False)
            self._saver.wait()
        one.start()

    def _drain(self) -> None:
        """Take what those have posted that will not be asked any more."""
        notes = []
        for mail in self._collect(0.0):
            if isinstance(mail, _Note):
                notes.append(mail)
            else:
                self._hear(*mail)
        for note in notes:
            self._mail.put(note)

    def _restore(self, sink: Sink) -> None:
        if sink.name not in self._sunk:
            return
        try:
            sink.restore(self._sunk[sink.name])
        except ValueError:
            log("warning", "begins anew", sink=sink.name, reason="what was kept of it is not what it keeps")

    def _stamps(self) -> Stamps:
        return {self._project.path: stamp(self._project.path)}


def _tell_what_needs_a_start(old: Project, new: Project) -> None:
    mine, its = (old.config.status, old.monitor.state), (new.config.status, new.monitor.state)
    if mine != its:
        log("warning", "takes effect at the next start", key="status, monitor.state")
