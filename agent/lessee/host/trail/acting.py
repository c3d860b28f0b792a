"""Who acts here, and an operator's act from its beginning to its end."""

import os
import pwd
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from lessee.core.config.grammar.trail import Trail
from lessee.core.errors import CannotWrite, LesseeError
from lessee.core.record import replace
from lessee.core.trail.acts import spelled, subject_of
from lessee.core.trail.entries import Act, Actor, Kind, Outcome, cut
from lessee.host.clock import wall_time


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
        """A part of it is done."""
        if self._record is not None:
            self._record.add("done", {"step": what}, environment)

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

    Raises CannotWrite or ConfigError where the trail is `required` and cannot be written: before the act, or after it;
    where it is not, that is told on stderr.
    """
    if trail is None:
        yield Doing(None)
        return
    blank = Act("", actor("operator", environ), environment, act, {}, "begun")
    record = _Record(trail, blank, subject_of(subject))
    record.add("begun")
    doing = Doing(record)
    try:
        yield doing
    except BaseException as exc:
        doing.fail(str(exc) if isinstance(exc, LesseeError) else type(exc).__name__)
        with suppress(LesseeError):  # What went wrong comes first.
            record.add("failed")
        raise
    record.add(doing.outcome)


class _Record:
    def __init__(self, trail: Trail, blank: Act, subject: dict[str, str | int]) -> None:
        self._trail = trail
        self._blank = blank
        self.subject = subject
        self._told = ""

    def add(
        self, outcome: Outcome, more: Mapping[str, str | int] | None = None, environment: str | None = None
    ) -> None:
        from lessee.host.trail.writing import Writer  # noqa: PLC0415  # Few have a trail.

        act = replace(self._blank, at=spelled(wall_time()), subject={**self.subject, **(more or {})}, outcome=outcome)
        if environment is not None:
            act = replace(act, environment=environment)
        try:
            writer = Writer(Path(self._trail.directory), Path(self._trail.key_file))
            try:
                said = writer.add([act])
            finally:
                writer.close()
        except LesseeError as exc:
            if self._trail.required:
                todo = "mend that, or leave out `trail: {required: true}`"
                raise CannotWrite(f"the trail cannot be written: {exc}", todo=todo) from None
            said = f"not written: {exc}"
        if said and said != self._told:
            self._told = said
            print(f"lessee: warning: the trail: {said}", file=sys.stderr)  # noqa: T201  # It is a command's.
