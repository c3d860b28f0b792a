"""Who acts here, and an operator's act from its beginning to its end."""

import os
import pwd
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lessee.audit_trail.policy.acts import ACTS, spelled, subject_of
from lessee.audit_trail.policy.entries import Act, Actor, Kind, Outcome, cut
from lessee.config.grammar.audit_trail import Trail
from lessee.core.errors import LesseeError, WriteError
from lessee.core.immutable import replace
from lessee.core.redaction import Redactor
from lessee.host.clock import wall_time

if TYPE_CHECKING:
    from lessee.audit_trail.writer import Writer


def actor(kind: Kind, environ: Mapping[str, str]) -> Actor:
    """Of this process. With sudo, the user is who it says has called it."""
    uid, user = os.geteuid(), ""
    with suppress(KeyError):  # In a container, many a uid has no name.
        user = pwd.getpwuid(uid).pw_name
    if caller := environ.get("SUDO_USER"):
        user = f"{user}, by sudo of {caller}"
    return Actor(kind, uid, cut(user), cut(os.uname().nodename))


class Doing:
    """An act that is under way."""

    def __init__(self, record: "_Record | None") -> None:
        self._record = record
        self.outcome: Outcome = "done"

    def step(self, what: str, *, environment: str | None = None) -> None:
        """A part of it is done. An act that has begun is not left in the middle for the trail's sake."""
        if self._record is not None:
            self._record.add("done", {"step": cut(what.strip())}, environment)

    def hear(self, event: str, fields: Mapping[str, object], redactor: Redactor) -> None:
        """One of the log's events, which may be a part of it."""
        if self._record is not None and event in ACTS:
            said = {key: redactor.clean(str(value)) for key, value in fields.items() if value is not None}
            self._record.add(ACTS[event], subject_of({"step": event, **said}))

    def fail(self, reason: str) -> None:
        """Not all of it could be done."""
        self.outcome = "failed"
        if self._record is not None:
            self._record.subject["reason"] = cut(reason)


@contextmanager
def acting(
    trail: Trail | None, environ: Mapping[str, str], act: str, environment: str | None, **subject: object
) -> Iterator[Doing]:
    """Recorded before it begins, and again with what came of it.

    What cannot be recorded is told on stderr. Raises WriteError where the trail is `required`: before the act, which
    then does not begin; or after it, where some of it is not recorded.
    """
    if trail is None:
        yield Doing(None)
        return
    blank = Act("", actor("operator", environ), environment, act, {}, "begun")
    with closing(_Record(trail, blank, subject_of(subject))) as record:
        record.add("begun")
        record.refuse_untold()
        doing = Doing(record)
        try:
            yield doing
        except BaseException as exc:
            doing.fail(str(exc) if isinstance(exc, LesseeError) else type(exc).__name__)
            record.add("failed")
            raise
        record.add(doing.outcome)
        record.refuse_untold()


class _Record:
    def __init__(self, trail: Trail, blank: Act, subject: dict[str, str | int]) -> None:
        self._trail = trail
        self._blank = blank
        self.subject = subject
        self._writer: Writer | None = None
        self._told = ""
        self._missing = 0

    def add(
        self, outcome: Outcome, more: Mapping[str, str | int] | None = None, environment: str | None = None
    ) -> None:
        subject = {**self.subject, **(more or {})}
        if self._missing:
            subject["not_recorded"] = self._missing
        act = replace(self._blank, at=spelled(wall_time()), subject=subject, outcome=outcome)
        if environment is not None:
            act = replace(act, environment=environment)
        try:
            self._writer = self._writer or self._opened()
            self._tell(self._writer.add([act]))
        except LesseeError as exc:
            self._missing += 1
            self._tell(f"it is not written: {exc}")

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def refuse_untold(self) -> None:
        if self._missing and self._trail.required:
            todo = "mend that; with `required: false` it is only told"
            raise WriteError(self._told, where="trail", todo=todo)

    def _opened(self) -> "Writer":
        from lessee.audit_trail.writer import Writer  # noqa: PLC0415  # Few have a trail.

        return Writer(Path(self._trail.directory), Path(self._trail.key_file))

    def _tell(self, said: str) -> None:
        if said and said != self._told:
            self._told = said
            print(f"lessee: warning: the trail: {said}", file=sys.stderr)  # noqa: T201  # It is a command's.
