"""Rotates one target after the other, goes on after errors, and tells what came of each."""

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial

from lessee.core.errors import LesseeError, NotNotifiedError, WriteError
from lessee.core.immutable import ImmutableStruct, replace
from lessee.host.console import say
from lessee.ops.rotate.command.context import Patience, foreseen, told
from lessee.ops.rotate.journals import read_journal
from lessee.ops.rotate.policy.decision import Outcome
from lessee.ops.rotate.policy.journal import Step
from lessee.ops.rotate.policy.report import Result, line, not_due
from lessee.ops.rotate.policy.selection import Wish, refuse_too_often, wish
from lessee.ops.rotate.ports import BusyError
from lessee.ops.rotate.targets import Project, rotator
from lessee.vault.admin import AdminClient


class How(ImmutableStruct, frozen=True):
    """What was asked for, with its options. `wished_at`: seconds since 1970."""

    due_only: bool
    force: bool
    waits: bool
    """For consumers."""
    timeout: float
    wished_at: float


class Acting:
    """Rotates, and tells it on stdout and stderr."""

    def __init__(self, project: Project, client: AdminClient, how: How, patience: Patience) -> None:
        self._project = project
        self._client = client
        self._how = how
        self._patience = patience
        self._code = 0
        self._untold: BrokenPipeError | WriteError | None = None

    def act(self, names: Sequence[str]) -> int:
        """The worst exit code of all.

        Of several, all are published first, and then it is waited for who reads them: they confirm meanwhile.
        Raises BrokenPipeError or WriteError at the end, where what came of it could not be told.
        """
        waits = self._how.waits and len(names) == 1
        open_still = []
        for name in names:
            result = self._try(name, partial(self._rotate, name, waits=waits))
            if result is not None and result.journal.step is Step.PUBLISHED and self._how.waits and not waits:
                open_still.append(result)
            elif result is not None:
                self._tell(result)
        for result in open_still:
            finished = self._try(result.name, partial(self._finish, result))
            if finished is not None:
                self._tell(finished)
        if self._untold is not None:
            raise self._untold
        return self._code

    def _try(self, name: str, doing: Callable[[], Result | None]) -> Result | None:
        try:
            with foreseen():
                return doing()
        except LesseeError as exc:
            self._code = max(self._code, exc.exit_code)
            with suppress(OSError):
                print(f"lessee: {self._project.redactor.clean(told(name, exc))}", file=sys.stderr, flush=True)
            return None

    def _tell(self, result: Result) -> None:
        self._say(line(result))
        if result.outcome is Outcome.WAITING and not result.other:
            self._code = max(self._code, NotNotifiedError.exit_code)

    def _say(self, text: str) -> None:
        try:
            say(text)
        except (BrokenPipeError, WriteError) as exc:  # No reason to leave targets in the middle.
            self._untold = exc

    def _rotate(self, name: str, *, waits: bool) -> Result | None:
        said, target = self._project.said(name), self._project.target(name)
        journal = self._patience.ask(partial(read_journal, self._project, target, self._client))
        wished = wish(said, journal, time.time()) if self._how.due_only and not self._how.force else Wish.ROTATE
        if wished is Wish.NOTHING:
            self._say(not_due(name, said, journal, time.time()))
            return None
        if wished is Wish.ROTATE and not self._how.force:
            try:
                refuse_too_often(name, said, journal)
            except LesseeError:
                if journal.is_open:
                    self._tell(self._run(name, open_only=True, waits=waits))
                raise
        return self._run(name, open_only=wished is Wish.FINISH, waits=waits)

    def _finish(self, result: Result) -> Result:
        finished = self._run(result.name, open_only=True, waits=True)
        outcome = finished.outcome if result.outcome is Outcome.WAITING else result.outcome
        return replace(finished, outcome=outcome, seconds=result.seconds + finished.seconds)

    def _run(self, name: str, *, open_only: bool, waits: bool) -> Result:
        began, published, other = time.monotonic(), False, ""
        with ExitStack() as stack:
            # One for all tries: what the first holds, the next one need not wait for.
            one = self._patience.ask(lambda: stack.enter_context(rotator(self._project, name, self._client)))

            def once() -> Outcome:
                nonlocal published
                try:
                    return one.run(
                        force=self._how.force,
                        open_only=open_only,
                        may_wait=waits,
                        timeout=0.0 if open_only else self._how.timeout,
                        wished_at=self._how.wished_at,
                    )
                finally:
                    published = published or one.has_published

            try:
                outcome = self._patience.ask(once)
            except BusyError:
                if not open_only:
                    raise
                # Who is at it finishes it.
                outcome, other = Outcome.WAITING, one.journal.holder
        outcome = Outcome.ROTATED if published else outcome
        return Result(name, outcome, one.journal, one.confirmation, time.monotonic() - began, other)
