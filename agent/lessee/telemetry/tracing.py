"""The spans of one identity: each request to Vault one of its own, and a round of an app one with children.

A round begins with what was read for it, which other apps may have been given too: it is linked to those reads. It
ends when nothing of it is under way any more: confirmed, told, taken back, or failed. What follows later, such as
another try to tell the app, is linked to it.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry.trace import Link, Span, SpanContext, Status, StatusCode, Tracer, set_span_in_context

from lessee.agent.machine.protocol import commands as cmd
from lessee.agent.machine.protocol import events as ev
from lessee.telemetry.spans import Attributes, begun, ended, needs

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from lessee.core.paths import Need

_Key = int | tuple[str, int]
"""Of a call; or of a job of an app. The way back has no job: it is an app's 0th."""
_BACK = 0


@dataclass(slots=True, eq=False)
class _Round:
    span: Span
    under_way: int = 0
    outcome: str = "unchanged"
    failed: bool = False
    over: bool = False


@dataclass(slots=True, eq=False)
class _Open:
    span: Span
    command: cmd.Command
    round: _Round | None
    began: int


@dataclass(slots=True)
class _Got:
    """What a round may begin with: a read, and when that began and ended, in nanoseconds of the wall clock."""

    context: SpanContext
    began: int
    ended: int


class Traced:
    """Owned by the thread of the loop. Nothing here waits for anybody."""

    def __init__(self, tracer: Tracer, identity: str) -> None:
        self._tracer = tracer
        self._common: Attributes = {"lessee.identity": identity}
        self._open: dict[_Key, _Open] = {}
        self._got: dict[Need, _Got] = {}
        self._rendered: dict[str, int] = {}
        """When an app's last round began to render, as of `_Got`."""
        self._jobs: dict[str, tuple[int, _Round]] = {}
        """The job under which an app is rendered, checked and published."""
        self._shown: dict[str, _Round] = {}
        """The round that an app's readers see."""
        self._going: list[_Round] = []

    def asked(self, command: cmd.Command) -> None:
        """It is about to be obeyed."""
        match command:
            case cmd.Abandon():
                self._end(command.call, "abandoned", failed=True)
                return
            case cmd.CancelProbe():
                self._end((command.app, command.job), "given up", failed=False)
                return
            case _:
                pass
        span = begun(command)
        key = _key_of(command)
        if span is None or key is None:
            return
        now = time.time_ns()
        if isinstance(command, cmd.Render | cmd.FallBack):
            self._jobs[command.app] = command.job, self._begin_round(command, now)
        one = self._round_of(command)
        parent = set_span_in_context(one.span) if one is not None and not one.over else None
        links = [Link(one.span.get_span_context())] if one is not None and one.over else []
        made = self._start(span.name, span.attributes, now, links, parent)
        within = one if parent is not None else None
        self._open[key] = _Open(made, command, within, now)
        if within is not None:
            within.under_way += 1

    def answered(self, event: ev.Event) -> None:
        """It is about to be taken in."""
        key, end = _key_of(event), ended(event)
        if key is None or end is None or (one := self._open.get(key)) is None:
            return
        if isinstance(event, ev.Read | ev.Issued) and isinstance(one.command, cmd.ReadSecret | cmd.Issue):
            need: Need = one.command.ref if isinstance(one.command, cmd.ReadSecret) else one.command.need
            self._got[need] = _Got(one.span.get_span_context(), one.began, time.time_ns())
        if (within := one.round) is not None:
            if isinstance(event, ev.Published):
                within.span.set_attributes(end.attributes)
                if event.changed:
                    self._shown[event.app] = within
            if end.outcome not in {"rendered", "checked"} and within.outcome != "rolled back":
                within.outcome, within.failed = end.outcome, end.failed
        self._end(key, end.outcome, failed=end.failed, attributes=end.attributes)

    def settle(self) -> None:
        """All that has come is taken in: a round of which nothing is under way now is over."""
        for one in [one for one in self._going if not one.under_way]:
            self._end_round(one)

    def close(self) -> None:
        """Nothing more will come: what is under way is not waited for."""
        for key in list(self._open):
            self._end(key, "left", failed=False)
        self.settle()

    def _begin_round(self, command: cmd.Render | cmd.FallBack, now: int) -> _Round:
        since, self._rendered[command.app] = self._rendered.get(command.app, 0), now
        wanted = needs(command) if isinstance(command, cmd.Render) else frozenset()
        reads = [got for need in wanted if (got := self._got.get(need)) is not None and got.ended > since]
        began = min((got.began for got in reads), default=now)
        attributes: Attributes = {"lessee.app": command.app, "lessee.secrets": len(wanted)}
        links = [Link(got.context) for got in sorted(reads, key=lambda got: got.began)]
        one = _Round(self._start("round", attributes, began, links))
        self._going.append(one)
        return one

    def _round_of(self, command: cmd.Command) -> _Round | None:
        match command:
            case cmd.Render() | cmd.FallBack() | cmd.Check() | cmd.Publish():
                job, one = self._jobs.get(command.app, (None, None))
                return one if job == command.job else None
            case cmd.Notify() | cmd.Prove() | cmd.RollBack():
                return self._shown.get(command.app)
            case _:
                return None

    def _start(
        self, name: str, attributes: Attributes, at: int, links: Sequence[Link], parent: "Context | None" = None
    ) -> Span:
        return self._tracer.start_span(
            name, context=parent, attributes={**self._common, **attributes}, links=links, start_time=at
        )

    def _end(self, key: _Key, outcome: str, *, failed: bool, attributes: Attributes | None = None) -> None:
        if (one := self._open.pop(key, None)) is None:
            return
        if one.round is not None:
            one.round.under_way -= 1
        _finish(one.span, outcome, failed=failed, attributes=attributes or {})

    def _end_round(self, one: _Round) -> None:
        one.over = True
        self._going.remove(one)
        _finish(one.span, one.outcome, failed=one.failed, attributes={})


def _finish(span: Span, outcome: str, *, failed: bool, attributes: Attributes) -> None:
    span.set_attributes({**attributes, "lessee.outcome": outcome})
    if failed:
        span.set_status(Status(StatusCode.ERROR))
    span.end()


def _key_of(one: cmd.Command | ev.Event) -> _Key | None:
    if isinstance(one, cmd.RollBack | ev.RolledBack | ev.NotRolledBack):
        return one.app, _BACK
    if (call := getattr(one, "call", None)) is not None:
        return int(call)
    if (job := getattr(one, "job", None)) is not None:
        return str(one.app), int(job)  # type: ignore[union-attr]  # What has a job has an app.
    return None
