"""The spans of one identity: one for each request to Vault, and one with children for each update of an app.

An update begins with the reads for it. Other apps may share them, so the update is linked to the reads' spans. It ends
when no command of it is running: ready, notified, rolled back, or failed. A later command, such as another attempt to
notify the app, is linked to it.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry.trace import Link, Span, SpanContext, Status, StatusCode, Tracer, set_span_in_context

from lessee.protocol import commands as cmd
from lessee.protocol import events as ev
from lessee.telemetry.spans import Attributes, needs, span_end, span_start

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from lessee.core.paths import Need

_Key = int | tuple[str, int]
"""The id of a request, or an app and its job. A rollback has no job, and gets 0."""
_ROLLBACK = 0


@dataclass(slots=True, eq=False)
class _Update:
    span: Span
    running: int = 0
    outcome: str = "unchanged"
    failed: bool = False
    ended: bool = False


@dataclass(slots=True, eq=False)
class _OpenSpan:
    span: Span
    command: cmd.Command
    update: _Update | None
    started: int


@dataclass(slots=True)
class _Read:
    """A read that an update can begin with; its times in nanoseconds of the wall clock."""

    context: SpanContext
    started: int
    ended: int


class IdentityTracer:
    """Owned by the main thread; no method blocks."""

    def __init__(self, tracer: Tracer, identity: str) -> None:
        self._tracer = tracer
        self._common: Attributes = {"lessee.identity": identity}
        self._open: dict[_Key, _OpenSpan] = {}
        self._reads: dict[Need, _Read] = {}
        self._rendered: dict[str, int] = {}
        """When the rendering of an app's last update started, as in `_Read`."""
        self._jobs: dict[str, tuple[int, _Update]] = {}
        """The job under which an app is rendered, checked and published."""
        self._published: dict[str, _Update] = {}
        """The update that an app's readers see."""
        self._open_updates: list[_Update] = []

    def start(self, command: cmd.Command) -> None:
        """Start the span of a command that is about to be executed."""
        match command:
            case cmd.AbandonRequest():
                self._end(command.request_id, "abandoned", failed=True)
                return
            case cmd.CancelProbe():
                self._end((command.app, command.job), "canceled", failed=False)
                return
            case _:
                pass
        span = span_start(command)
        key = _key_of(command)
        if span is None or key is None:
            return
        now = time.time_ns()
        if isinstance(command, cmd.Render | cmd.RenderFallback):
            self._jobs[command.app] = command.job, self._start_update(command, now)
        update = self._update_of(command)
        parent = set_span_in_context(update.span) if update is not None and not update.ended else None
        links = [Link(update.span.get_span_context())] if update is not None and update.ended else []
        started = self._start_span(span.name, span.attributes, now, links, parent)
        running_in = update if parent is not None else None
        self._open[key] = _OpenSpan(started, command, running_in, now)
        if running_in is not None:
            running_in.running += 1

    def end(self, event: ev.Event) -> None:
        """End the span whose command this event answers."""
        key, end = _key_of(event), span_end(event)
        if key is None or end is None or (opened := self._open.get(key)) is None:
            return
        if isinstance(event, ev.SecretRead | ev.SecretIssued) and isinstance(
            opened.command, cmd.ReadSecret | cmd.IssueSecret
        ):
            need: Need = opened.command.ref if isinstance(opened.command, cmd.ReadSecret) else opened.command.need
            self._reads[need] = _Read(opened.span.get_span_context(), opened.started, time.time_ns())
        if (update := opened.update) is not None:
            if isinstance(event, ev.Published):
                update.span.set_attributes(end.attributes)
                if event.changed:
                    self._published[event.app] = update
            if end.outcome not in {"rendered", "check passed"} and update.outcome != "rolled back":
                update.outcome, update.failed = end.outcome, end.failed
        self._end(key, end.outcome, failed=end.failed, attributes=end.attributes)

    def end_updates(self) -> None:
        """End the updates without a running command; called when no event is left to process."""
        for update in [update for update in self._open_updates if not update.running]:
            self._end_update(update)

    def close(self) -> None:
        """End all open spans at exit."""
        for key in list(self._open):
            self._end(key, "unfinished", failed=False)
        self.end_updates()

    def _start_update(self, command: cmd.Render | cmd.RenderFallback, now: int) -> _Update:
        since, self._rendered[command.app] = self._rendered.get(command.app, 0), now
        wanted = needs(command) if isinstance(command, cmd.Render) else frozenset()
        reads = [read for need in wanted if (read := self._reads.get(need)) is not None and read.ended > since]
        started = min((read.started for read in reads), default=now)
        attributes: Attributes = {"lessee.app": command.app, "lessee.secrets": len(wanted)}
        links = [Link(read.context) for read in sorted(reads, key=lambda read: read.started)]
        update = _Update(self._start_span("update", attributes, started, links))
        self._open_updates.append(update)
        return update

    def _update_of(self, command: cmd.Command) -> _Update | None:
        match command:
            case cmd.Render() | cmd.RenderFallback() | cmd.RunCheck() | cmd.Publish():
                job, update = self._jobs.get(command.app, (None, None))
                return update if job == command.job else None
            case cmd.Notify() | cmd.Probe() | cmd.RollBack():
                return self._published.get(command.app)
            case _:
                return None

    def _start_span(
        self, name: str, attributes: Attributes, at: int, links: Sequence[Link], parent: "Context | None" = None
    ) -> Span:
        return self._tracer.start_span(
            name, context=parent, attributes={**self._common, **attributes}, links=links, start_time=at
        )

    def _end(self, key: _Key, outcome: str, *, failed: bool, attributes: Attributes | None = None) -> None:
        if (opened := self._open.pop(key, None)) is None:
            return
        if opened.update is not None:
            opened.update.running -= 1
        _finish(opened.span, outcome, failed=failed, attributes=attributes or {})

    def _end_update(self, update: _Update) -> None:
        update.ended = True
        self._open_updates.remove(update)
        _finish(update.span, update.outcome, failed=update.failed, attributes={})


def _finish(span: Span, outcome: str, *, failed: bool, attributes: Attributes) -> None:
    span.set_attributes({**attributes, "lessee.outcome": outcome})
    if failed:
        span.set_status(Status(StatusCode.ERROR))
    span.end()


def _key_of(message: cmd.Command | ev.Event) -> _Key | None:
    if isinstance(message, cmd.RollBack | ev.RolledBack | ev.RollbackFailed):
        return message.app, _ROLLBACK
    if (request_id := getattr(message, "request_id", None)) is not None:
        return int(request_id)
    if (job := getattr(message, "job", None)) is not None:
        return str(message.app), int(job)  # type: ignore[union-attr]  # A command with a job has an app.
    return None
