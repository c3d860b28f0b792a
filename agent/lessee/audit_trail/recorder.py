"""Records what a service does, beside it: it never waits for the trail."""

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lessee.audit_trail.operator_acts import actor
from lessee.audit_trail.policy.acts import ACTS, spelled, subject_of
from lessee.audit_trail.policy.entries import Act, Kind, Outcome
from lessee.config.grammar.audit_trail import Trail
from lessee.core.errors import LesseeError
from lessee.core.immutable import replace
from lessee.core.redaction import Redactor
from lessee.host.clock import wall_time
from lessee.telemetry.logs import log, witnessed

if TYPE_CHECKING:
    from lessee.audit_trail.writer import Writer

_MOST = 10_000
"""Acts that wait while the trail cannot be written; then the oldest are dropped, and counted."""
_AT_ONCE = 64
_AGAIN = 5.0
LEAVE = 2.0
"""Seconds at the end for what is still to be written."""


class Noting:
    """One thread that writes; whoever acts only leaves a word."""

    def __init__(
        self, trail: Trail, kind: Kind, environment: str | None, redactor: Redactor, environ: Mapping[str, str]
    ) -> None:
        self._trail = trail
        self._blank = Act("", actor(kind, environ), environment, "", {}, "done")
        self._redactor = redactor
        self._waiting: deque[Act] = deque()
        self._taken: list[Act] = []
        """Of those, what is being written; the thread's own."""
        self._dropped = 0
        self._news = threading.Condition()
        self._closing = False
        self.problem: str | None = None
        """Why it is not written, for the status."""
        self._thread = threading.Thread(target=self._work, name="lessee-trail", daemon=True)
        self._thread.start()

    def hear(self, event: str, fields: Mapping[str, object]) -> None:
        """One of the log's events, which may be an act."""
        if event in ACTS:
            self.note(event, ACTS[event], fields)

    def note(self, act: str, outcome: Outcome, fields: Mapping[str, object]) -> None:
        """It is written soon."""
        subject = {
            key: self._redactor.clean(value) if isinstance(value, str) else value
            for key, value in subject_of(fields).items()
        }
        made = Act(
            spelled(wall_time()),
            self._blank.actor,
            self._blank.environment,
            self._redactor.clean(act),
            subject,
            outcome,
        )
        with self._news:
            if len(self._waiting) >= _MOST:
                self._waiting.popleft()
                self._dropped += 1
            self._waiting.append(made)
            self._news.notify()

    def close(self) -> None:
        """What is left is written, if that can be done soon."""
        with self._news:
            self._closing = True
            self._news.notify()
        self._thread.join(LEAVE)
        with self._news:
            left = len(self._waiting) + len(self._taken)
        if left:
            log("error", "acts are not in the trail", count=left, reason=self.problem or "no time is left")

    def _work(self) -> None:
        writer = None
        while self._take():
            try:
                writer = writer or self._writer()
                self._tell(writer.add(self._taken))
                self._taken.clear()
            except Exception as exc:  # noqa: BLE001  # Whatever it is, acts go on, and it is tried again.
                self._tell_problem(
                    str(exc) if isinstance(exc, LesseeError) else f"internal error: {type(exc).__name__}"
                )
                with self._news:
                    if self._news.wait_for(lambda: self._closing, _AGAIN):
                        break
            else:
                if self.problem is not None:
                    log("info", "the trail is written again")
                self.problem = None
        if writer is not None:
            writer.close()

    def _writer(self) -> "Writer":
        from lessee.audit_trail.writer import Writer  # noqa: PLC0415  # With its cryptography; here nobody waits for it.

        return Writer(Path(self._trail.directory), Path(self._trail.key_file))

    def _take(self) -> bool:
        """Whether there is something to write: waits for that, or for the end."""
        with self._news:
            self._news.wait_for(lambda: self._taken or self._waiting or self._closing)
            if self._dropped and not self._taken:
                self._taken.append(replace(self._waiting[0], act="acts lost", subject={"count": self._dropped}))
                self._dropped = 0
            while self._waiting and len(self._taken) < _AT_ONCE:
                self._taken.append(self._waiting.popleft())
            return bool(self._taken)

    def _tell(self, said: str) -> None:
        if said:
            log("warning", "the trail was not as it was left", what=said)

    def _tell_problem(self, reason: str) -> None:
        if reason != self.problem:
            log("error", "the trail is not written", reason=reason, note="acts wait; nothing else does")
        self.problem = reason


@contextmanager
def noting(
    trail: Trail, kind: Kind, environment: str | None, redactor: Redactor, environ: Mapping[str, str]
) -> Iterator[Noting]:
    """So long, what is done here is recorded."""
    noted = Noting(trail, kind, environment, redactor, environ)
    noted.note(f"{kind} started", "done", {})
    try:
        with witnessed(noted.hear):
            yield noted
    finally:
        noted.note(f"{kind} stopped", "done", {})
        noted.close()
