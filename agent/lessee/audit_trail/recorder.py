"""Records a service's actions in the audit trail, in a thread of its own: the service never waits for it."""

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lessee.audit_trail.operator_actions import actor
from lessee.audit_trail.policy.actions import RECORDED_EVENTS, rfc3339, subject_of
from lessee.audit_trail.policy.entries import Action, Kind, Outcome
from lessee.config.grammar.audit_trail import AuditTrail
from lessee.core.errors import LesseeError
from lessee.core.immutable import replace
from lessee.core.redaction import Redactor
from lessee.host.clock import wall_time
from lessee.telemetry.logs import log, log_listener

if TYPE_CHECKING:
    from lessee.audit_trail.writer import AuditTrailWriter

_MAX_PENDING = 10_000
"""Actions that wait while the audit trail cannot be written; beyond that, the oldest are dropped and counted."""
_BATCH = 64
_RETRY_INTERVAL = 5.0
CLOSE_TIMEOUT = 2.0
"""Seconds at the end to write the pending actions."""


class AuditRecorder:
    """Queues actions for a thread that writes them."""

    def __init__(
        self, trail: AuditTrail, kind: Kind, environment: str | None, redactor: Redactor, environ: Mapping[str, str]
    ) -> None:
        self._trail = trail
        self._blank = Action("", actor(kind, environ), environment, "", {}, "done")
        self._redactor = redactor
        self._pending: deque[Action] = deque()
        self._batch: list[Action] = []
        """The actions that are being written; owned by the thread."""
        self._dropped = 0
        self._changed = threading.Condition()
        self._closing = False
        self.problem: str | None = None
        """Why the audit trail cannot be written, for the status; None if it can."""
        self._thread = threading.Thread(target=self._work, name="lessee-audit", daemon=True)
        self._thread.start()

    def record_event(self, event: str, fields: Mapping[str, object]) -> None:
        """Record a log event, if the audit trail records events of this name."""
        if event in RECORDED_EVENTS:
            self.record(event, RECORDED_EVENTS[event], fields)

    def record(self, action: str, outcome: Outcome, fields: Mapping[str, object]) -> None:
        """Queue an action. Its name is one of lessee's own words, and never redacted."""
        subject = {
            key: self._redactor.clean(value) if isinstance(value, str) else value
            for key, value in subject_of(fields).items()
        }
        recorded = Action(
            rfc3339(wall_time()),
            self._blank.actor,
            self._blank.environment,
            action,
            subject,
            outcome,
        )
        with self._changed:
            if len(self._pending) >= _MAX_PENDING:
                self._pending.popleft()
                self._dropped += 1
            self._pending.append(recorded)
            self._changed.notify()

    def close(self) -> None:
        """Stop after writing the pending actions, or after CLOSE_TIMEOUT."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(CLOSE_TIMEOUT)
        with self._changed:
            unwritten = len(self._pending) + len(self._batch)
        if unwritten:
            log("error", "audit trail incomplete", missing=unwritten, reason=self.problem or "timeout at exit")

    def _work(self) -> None:
        writer = None
        while self._take():
            try:
                writer = writer or self._writer()
                _log_repair(writer.add(self._batch))
                self._batch.clear()
            except Exception as exc:  # noqa: BLE001  # The service continues, and the thread retries.
                self._report(str(exc) if isinstance(exc, LesseeError) else f"internal error: {type(exc).__name__}")
                with self._changed:
                    if self._changed.wait_for(lambda: self._closing, _RETRY_INTERVAL):
                        break
            else:
                if self.problem is not None:
                    log("info", "audit trail writable again")
                self.problem = None
        if writer is not None:
            writer.close()

    def _writer(self) -> "AuditTrailWriter":
        from lessee.audit_trail.writer import AuditTrailWriter  # noqa: PLC0415  # Imports cryptography.

        return AuditTrailWriter(Path(self._trail.directory), Path(self._trail.key_file))

    def _take(self) -> bool:
        """Wait for actions or for the end; False if there is nothing left to write."""
        with self._changed:
            self._changed.wait_for(lambda: self._batch or self._pending or self._closing)
            if self._dropped and not self._batch:
                self._batch.append(replace(self._pending[0], name="actions dropped", subject={"count": self._dropped}))
                self._dropped = 0
            while self._pending and len(self._batch) < _BATCH:
                self._batch.append(self._pending.popleft())
            return bool(self._batch)

    def _report(self, reason: str) -> None:
        if reason != self.problem:
            log("error", "audit trail not writable", reason=reason, note="actions are queued; the service continues")
        self.problem = reason


def _log_repair(what: str) -> None:
    if what:
        log("warning", "audit trail repaired or altered", what=what)


@contextmanager
def record_service(
    trail: AuditTrail, kind: Kind, environment: str | None, redactor: Redactor, environ: Mapping[str, str]
) -> Iterator[AuditRecorder]:
    """Record the start and stop of a service, and its log events within this context."""
    recorder = AuditRecorder(trail, kind, environment, redactor, environ)
    recorder.record(f"{kind} started", "done", {})
    try:
        with log_listener(recorder.record_event):
            yield recorder
    finally:
        recorder.record(f"{kind} stopped", "done", {})
        recorder.close()
