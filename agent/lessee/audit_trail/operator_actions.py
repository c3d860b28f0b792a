"""Records an operator's command in the audit trail: before it starts, for each step, and when it ends."""

import os
import pwd
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lessee.audit_trail.policy.actions import RECORDED_EVENTS, rfc3339, subject_of
from lessee.audit_trail.policy.entries import Action, Actor, Kind, Outcome, truncate
from lessee.config.grammar.audit_trail import AuditTrail
from lessee.core.errors import LesseeError, WriteError
from lessee.core.immutable import replace
from lessee.core.redaction import Redactor
from lessee.host.clock import wall_time

if TYPE_CHECKING:
    from lessee.audit_trail.writer import AuditTrailWriter


def actor(kind: Kind, environ: Mapping[str, str]) -> Actor:
    """The actor of this process. Under sudo, it also names the calling user."""
    uid, user = os.geteuid(), ""
    with suppress(KeyError):  # In a container, a uid often has no name.
        user = pwd.getpwuid(uid).pw_name
    if caller := environ.get("SUDO_USER"):
        user = f"{user}, sudo by {caller}"
    return Actor(kind, uid, truncate(user), truncate(os.uname().nodename))


class OperatorAction:
    """A running action."""

    def __init__(self, record: "_Log | None") -> None:
        self._record = record
        self.outcome: Outcome = "done"

    def step(self, what: str, *, environment: str | None = None) -> None:
        """Record a completed step. An action that has started continues even if it cannot be recorded."""
        if self._record is not None:
            self._record.add("done", {"step": truncate(what.strip())}, environment)

    def record_event(self, event: str, fields: Mapping[str, object], redactor: Redactor) -> None:
        """Record a log event, if the audit trail records events of this name."""
        if self._record is not None and event in RECORDED_EVENTS:
            clean = {key: redactor.clean(str(value)) for key, value in fields.items() if value is not None}
            self._record.add(RECORDED_EVENTS[event], subject_of({"step": event, **clean}))

    def fail(self, reason: str) -> None:
        """The action did not succeed completely."""
        self.outcome = "failed"
        if self._record is not None:
            self._record.subject["reason"] = truncate(reason)


@contextmanager
def recorded_action(
    trail: AuditTrail | None,
    environ: Mapping[str, str],
    name: str,
    environment: str | None,
    kind: Kind = "operator",
    /,
    **subject: object,
) -> Iterator[OperatorAction]:
    """Record an action before it starts, and its outcome when it ends.

    If the audit trail cannot be written, this prints a warning to stderr. If it is `required`, this raises WriteError:
    before the action, which then does not start; or after it, if a part of it is not recorded.
    """
    if trail is None:
        yield OperatorAction(None)
        return
    blank = Action("", actor(kind, environ), environment, name, {}, "started")
    with closing(_Log(trail, blank, subject_of(subject))) as record:
        record.add("started")
        record.raise_if_required()
        action = OperatorAction(record)
        try:
            yield action
        except BaseException as exc:
            action.fail(str(exc) if isinstance(exc, LesseeError) else type(exc).__name__)
            record.add("failed")
            raise
        record.add(action.outcome)
        record.raise_if_required()


class _Log:
    def __init__(self, trail: AuditTrail, blank: Action, subject: dict[str, str | int]) -> None:
        self._trail = trail
        self._blank = blank
        self.subject = subject
        self._writer: AuditTrailWriter | None = None
        self._last_warning = ""
        self._missing = 0

    def add(
        self, outcome: Outcome, more: Mapping[str, str | int] | None = None, environment: str | None = None
    ) -> None:
        subject = {**self.subject, **(more or {})}
        if self._missing:
            subject["not_recorded"] = self._missing
        action = replace(self._blank, at=rfc3339(wall_time()), subject=subject, outcome=outcome)
        if environment is not None:
            action = replace(action, environment=environment)
        try:
            self._writer = self._writer or self._opened()
            self._warn(self._writer.add([action]))
        except LesseeError as exc:
            self._missing += 1
            self._warn(f"cannot be written: {exc}")

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def raise_if_required(self) -> None:
        if self._missing and self._trail.required:
            todo = "fix this, or set `audit_trail.required: false` to continue with a warning"
            raise WriteError(f"the audit trail {self._last_warning}", where="audit_trail", todo=todo)

    def _opened(self) -> "AuditTrailWriter":
        from lessee.audit_trail.writer import AuditTrailWriter  # noqa: PLC0415  # Few configurations have an audit trail.

        return AuditTrailWriter(Path(self._trail.directory), Path(self._trail.key_file))

    def _warn(self, what: str) -> None:
        if what and what != self._last_warning:
            self._last_warning = what
            print(f"lessee: warning: the audit trail {what}", file=sys.stderr)  # noqa: T201  # A command prints its warnings.
