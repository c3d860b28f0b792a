"""The monitor's loop: passes what the sources read to the sinks, and saves checkpoints."""

import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from functools import cache
from math import inf, nextafter
from pathlib import Path
from typing import Any, assert_never

from lessee.core.errors import ConfigError, LesseeError
from lessee.core.immutable import replace
from lessee.host.clock import boot_time, wall_time
from lessee.host.config_reload import ConfigReloader, Stamps, Watcher
from lessee.host.project import stamp
from lessee.ops.monitor.batch import Batch
from lessee.ops.monitor.checkpoint import (
    NUMBER_GAP,
    Checkpoint,
    CheckpointStore,
    CheckpointWriter,
    Owner,
    SourceProgress,
)
from lessee.ops.monitor.policy.access import LogEntry
from lessee.ops.monitor.policy.cluster import Cluster
from lessee.ops.monitor.policy.timestamps import rfc3339
from lessee.ops.monitor.sink import Sink
from lessee.ops.monitor.sources import Event, LinesRead, Source, SourceEnded, SourceIdle
from lessee.ops.monitor.view import build_status
from lessee.ops.monitor.wiring import ActiveConfig, build_sinks, build_source, service_logins
from lessee.telemetry.logs import log

TICK_INTERVAL = 1.0
"""Seconds between ticks, and between checkpoints."""
_ALIVE_TIMEOUT = 30.0
"""Seconds without an iteration of the loop after which /healthz fails."""


class _Request(Enum):
    """A request to the loop itself."""

    STOP = "stop"
    RELOAD = "reload"


_Message = _Request | tuple[object, Event]
"""An event has a token, which tells its source from an earlier one with the same name."""


class MonitorLoop:
    """Owns all sources and sinks. Only the thread of the loop changes them."""

    def __init__(
        self,
        load: Callable[[], ActiveConfig],
        *,
        once: bool = False,
        since: float | None = None,
        take_ownership: bool = False,
    ) -> None:
        """`load` reads the configuration, and raises LesseeError. `once`: stop at the current end of the logs.

        `since`: where to begin in a log that was never read before, in seconds since 1970.
        `take_ownership`: take over a state of another configuration or cluster.

        Raises LesseeError if the state is not readable or belongs to another configuration, or another monitor uses it.
        """
        self._load, self._once, self._since = load, once, since
        self._active = load()
        self._mailbox: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self._mutex = threading.Lock()  # Guards the sinks, because other threads ask for the status.
        self._store = CheckpointStore(Path(self._active.monitor.state_dir))
        self._writer = CheckpointWriter(self._store)
        checkpoint = self._store.load()
        self._take_ownership = take_ownership
        self._owner = self._active.owner()
        if checkpoint.owner not in {None, self._owner} and not take_ownership:
            raise self._foreign_state(checkpoint.owner)
        self._progress, self._was_final = dict(checkpoint.sources), checkpoint.is_final
        self._sink_states = dict(checkpoint.sinks)
        """The states of all sinks, also of those that the configuration no longer has."""
        self._reported_invalid: set[str] = set()
        self._sources: dict[str, Source] = {}
        self._tokens: dict[str, object] = {}
        self._errors: dict[str, str | None] = {}
        """The error of each source that has reported its state."""
        self._ended: set[str] = set()
        self._clusters: dict[str, Cluster] = {}
        self._refused: set[str] = set()
        """The sources whose log is of another cluster than before."""
        self._idle: set[str] = set()
        """The sources that have read their log to its end."""
        self._sinks: list[Sink] = []
        self._iterated_at = self._ticked_at = boot_time()
        self._config_reloader = ConfigReloader()
        self._logins = cache(service_logins)

    @property
    def active(self) -> ActiveConfig:
        """The configuration in effect."""
        return self._active

    # Other threads may call these.

    def stop(self) -> None:
        """Stop the loop. A signal handler may call it."""
        self._mailbox.put(_Request.STOP)

    def reload(self) -> None:
        """Reload the configuration. A signal handler may call it."""
        self._mailbox.put(_Request.RELOAD)

    def is_alive(self) -> bool:
        """Whether the loop iterates."""
        return boot_time() - self._iterated_at < _ALIVE_TIMEOUT

    def status(self) -> Mapping[str, Any]:
        """The content of status.json."""
        with self._mutex:
            sink_statuses = [sink.status() for sink in self._sinks]
            progress = {name: self._progress[name] for name in self._sources}
            active, errors = self._active, dict(self._errors)
        problems = [text for text in (self._config_reloader.error, self._writer.error) if text is not None]
        return build_status(active, progress, errors, sink_statuses, problems)

    def log_status(self) -> Sequence[Mapping[str, Any]]:
        """The name, error and last_at of each log, and whether it is read to its end, for the sinks."""
        return [
            {
                "name": name,
                "error": self._errors.get(name),
                "last_at": self._progress[name].last_at,
                "idle": name in self._idle,
            }
            for name in tuple(self._sources)
        ]

    def errors(self) -> list[str]:
        """Why logs cannot be read."""
        return [error for error in self._errors.values() if error is not None]

    # The loop.

    def watch_with(self, watcher: Watcher) -> None:
        """Watch the configuration file."""
        self._config_reloader.watch_with(watcher, self._stamps())

    def run(self) -> None:
        """Run until `stop`, or the end of all logs. Raises WriteError if the last checkpoint is not saved."""
        try:
            self._apply(self._active)
            self._save(is_final=False)
            while self._iterate():
                self._tick()
            self._finish()
        finally:
            # After an error in the middle of a batch nothing is saved: the next start reads the batch again.
            for source in self._sources.values():
                source.close()
            try:
                self._writer.close()
            finally:
                self._store.close()

    def _iterate(self) -> bool:
        """Process messages. Returns whether to continue."""
        requests = set()
        for message in self._receive(self._ticked_at + TICK_INTERVAL - boot_time()):
            if isinstance(message, _Request):
                requests.add(message)
            else:
                self._process(*message)
        self._iterated_at = boot_time()
        if _Request.RELOAD in requests:
            self._config_reloader.reload(self._stamps(), self._apply_edits)
        return _Request.STOP not in requests and not self._ended >= self._sources.keys()

    def _receive(self, timeout: float) -> Iterator[_Message]:
        try:
            yield self._mailbox.get(timeout=timeout) if timeout > 0 else self._mailbox.get_nowait()
            for _ in range(self._mailbox.qsize()):
                yield self._mailbox.get_nowait()
        except queue.Empty:
            return

    def _process(self, token: object, event: Event) -> None:
        if self._tokens.get(event.source) is not token:
            return  # The source is closed.
        match event:
            case LinesRead(name) if name in self._refused:
                self._sources[name].acknowledge()
            case LinesRead(name, batch) if (error := self._clusters[name].check(batch.accesses)) is not None:
                # Nothing of it is counted, and the position stays before it. A socket remains open, because a server
                # without an audit device that accepts its entries answers no request.
                self._refused.add(name)
                self._set_error(name, error)
                self._sources[name].acknowledge()
            case LinesRead(name, batch):
                self._idle.discard(name)
                self._take(name, batch)
                self._set_error(name, None)
                self._sources[name].acknowledge()
            case SourceIdle(name) if name in self._refused:
                pass
            case SourceIdle(name, error):
                self._idle.add(name)
                self._set_error(name, error)
            case SourceEnded(name):
                self._idle.add(name)
                self._ended.add(name)
            case _:
                assert_never(event)

    def _take(self, name: str, batch: Batch) -> None:
        progress = self._progress[name]
        first = progress.number + 1
        accesses = batch.accesses
        if progress.since:
            accesses = [access for access in accesses if access.at >= progress.since]
        entries = [
            LogEntry(name, number, access, is_history=access.at < progress.history_until)
            for number, access in enumerate(accesses, first)
        ]
        with self._mutex:
            if entries:
                for sink in self._sinks:
                    sink.take(entries)
            self._progress[name] = replace(
                progress,
                position=batch.position,
                number=progress.number + len(entries),
                accesses=progress.accesses + len(entries),
                lines=progress.lines + batch.lines,
                invalid_lines=progress.invalid_lines + batch.invalid_lines,
                gaps=progress.gaps + batch.gaps,
                last_at=entries[-1].access.at if entries else progress.last_at,
                cluster=self._clusters[name].known,
            )
        if progress.position is None and batch.position is not None:
            # From now on a kill must not lose what is rotated away, nor what others have read since the last tick.
            self._tick_sinks()
            self._save(is_final=False)
            self._writer.wait()
        if batch.invalid_lines and name not in self._reported_invalid:
            self._reported_invalid.add(name)
            log("warning", "invalid audit lines skipped", source=name, note="invalid_lines in the status counts them")

    def _set_error(self, name: str, error: str | None) -> None:
        before = self._errors.get(name)
        self._errors[name] = error
        if error is not None and error != before:
            log("error", "audit log not readable", source=name, reason=error)
        if error is None and before is not None:
            log("info", "audit log recovered", source=name)

    def _tick(self) -> None:
        if boot_time() - self._ticked_at < TICK_INTERVAL:
            return
        self._ticked_at = boot_time()
        self._tick_sinks()
        self._save(is_final=False)

    def _tick_sinks(self) -> None:
        now = wall_time()
        with self._mutex:
            for sink in self._sinks:
                sink.tick(now)

    def _save(self, *, is_final: bool) -> None:
        with self._mutex:
            self._sink_states |= {sink.name: sink.state() for sink in self._sinks}
        self._writer.save(
            Checkpoint(
                is_final=is_final,
                owner=self._owner,
                sources=self._progress,
                sinks=self._sink_states,
            )
        )

    def _finish(self) -> None:
        for source in self._sources.values():
            source.close()
        self._drain()
        # What was read since the last tick is evaluated, saved, and only then delivered.
        self._tick_sinks()
        self._save(is_final=False)
        self._writer.wait()
        self._tick_sinks()
        for sink in self._sinks:
            sink.close()
        self._save(is_final=True)

    # Configurations.

    def _apply_edits(self) -> None:
        active = self._load()
        if active.owner() != self._owner:
            raise self._foreign_state(self._owner)
        if active.config != self._active.config:
            _warn_of_restart(self._active, active)
            self._apply(active)
            log("info", "configuration reloaded", sources=", ".join(active.logs))

    def _apply(self, active: ActiveConfig) -> None:
        """Continue unchanged logs, and pass the state of each sink to its successor."""
        locations = {name: active.log_location(name) for name in active.logs}
        removed = [name for name in self._sources if self._progress[name].location != locations.get(name)]
        for name in removed:
            self._sources[name].close()
        self._drain()
        self._tick_sinks()  # A sink has no state of what it has not evaluated.
        with self._mutex:
            for name in removed:
                del self._sources[name], self._tokens[name], self._errors[name]
                self._refused.discard(name)
                self._idle.discard(name)
            for sink in self._sinks:
                sink.close()
            self._sink_states |= {sink.name: sink.state() for sink in self._sinks}
            self._sinks = build_sinks(active, self.log_status, self._logins)
            for sink in self._sinks:
                self._restore(sink)
            self._active = active
        self._ended.intersection_update(locations)
        for name in locations.keys() - self._sources.keys():
            self._start_source(name, locations[name])

    def _start_source(self, name: str, location: str) -> None:
        progress = self._progress.get(name)
        if progress is None:
            progress = self._first_progress(name, location)
        elif progress.location != location:
            # The log has moved: what follows the last entry is new.
            since = nextafter(progress.last_at, inf) if progress.last_at else 0.0
            progress = replace(progress, location=location, position=None, since=since)
        elif self._since is not None:
            note = "it continues where it stopped; to read it again, use another state_dir"
            log("warning", "--since has no effect", source=name, note=note)
        is_rereadable = self._active.logs[name].file is not None
        if not is_rereadable and not self._was_final:
            # Entries after the last checkpoint are lost. Their numbers must not be used again.
            progress = replace(progress, number=(progress.number // NUMBER_GAP + 1) * NUMBER_GAP)
        self._clusters[name] = Cluster(progress.cluster, replaceable=self._take_ownership)
        token = object()
        source = build_source(
            self._active, name, progress, lambda event: self._mailbox.put((token, event)), once=self._once
        )
        with self._mutex:
            self._progress[name], self._sources[name], self._tokens[name] = progress, source, token
        if not is_rereadable:
            self._save(is_final=False)
            self._writer.wait()
        source.start()

    def _first_progress(self, name: str, location: str) -> SourceProgress:
        """The first start begins at the log's end, unless --since or `start_at` says otherwise."""
        reads_back = self._since is not None or self._active.monitor.start_at == "beginning"
        if not reads_back or self._active.logs[name].socket is not None:
            return SourceProgress(location)
        since, now = self._since or 0.0, wall_time()
        log("info", "audit log opened", source=name, since=rfc3339(since) or "the start of the file",
            note="what happened before now raises one alert at most, a summary")  # fmt: skip
        return SourceProgress(location, since=since, history_until=now)

    def _foreign_state(self, owner: Owner | None) -> ConfigError:
        what = f"the monitor's state belongs to another configuration: {owner}"
        todo = (
            "set another `monitor: {state_dir: …}`; if this configuration replaces it, start with --take-ownership once"
        )
        return ConfigError([LesseeError(what, where=self._active.monitor.state_dir, todo=todo)])

    def _drain(self) -> None:
        """Process what closed sources have posted."""
        requests = []
        for message in self._receive(0.0):
            if isinstance(message, _Request):
                requests.append(message)
            else:
                self._process(*message)
        for request in requests:
            self._mailbox.put(request)

    def _restore(self, sink: Sink) -> None:
        if sink.name not in self._sink_states:
            return
        try:
            sink.restore(self._sink_states[sink.name])
        except ValueError:
            log("warning", "sink state discarded", sink=sink.name, reason="it is not valid for this version of lessee")

    def _stamps(self) -> Stamps:
        path = str(self._active.path)
        return {path: stamp(path)}


def _warn_of_restart(old: ActiveConfig, new: ActiveConfig) -> None:
    if (old.config.status, old.monitor.state_dir) != (new.config.status, new.monitor.state_dir):
        log("warning", "restart required", key="status, monitor.state_dir", note="the edit has no effect before")
