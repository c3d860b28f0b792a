"""Rotates one target after another, continues after errors, and prints the result of each."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial

from lessee.core.errors import LesseeError, NotNotifiedError, UsageError, WriteError
from lessee.core.immutable import ImmutableStruct, replace
from lessee.host.console import print_line
from lessee.ops.rotate.command.context import OutageRetry, error_text, translate_unexpected_errors
from lessee.ops.rotate.policy.decision import Outcome
from lessee.ops.rotate.policy.report import Result, line, not_due
from lessee.ops.rotate.policy.selection import DueOperation, check_period, due_operation
from lessee.ops.rotate.ports import BusyError
from lessee.ops.rotate.targets import Project, open_rotation, read_journal
from lessee.process.program_output import print_on_terminal
from lessee.telemetry.logs import log
from lessee.vault.admin import AdminClient


class RunOptions(ImmutableStruct, frozen=True):
    """The command's options. `requested_at`: seconds since 1970."""

    due_only: bool
    force: bool
    wait: bool
    """Wait for consumers."""
    timeout: float
    requested_at: float
    to_version: int | None = None
    """Set the credential of this version of the secret again."""


class RotationRunner:
    """Rotates targets, and prints the results on stdout and the errors on stderr."""

    def __init__(self, project: Project, client: AdminClient, options: RunOptions, retry: OutageRetry) -> None:
        self._project = project
        self._client = client
        self._options = options
        self._retry = retry
        self._exit_code = 0
        self._output_error: BrokenPipeError | WriteError | None = None

    def run(self, names: Sequence[str]) -> int:
        """The highest exit code of all targets.

        Of several targets, all are published first, and their consumers confirm while the others are published. Raises
        BrokenPipeError or WriteError at the end, where results could not be printed.
        """
        wait = self._options.wait and len(names) == 1
        still_open = []
        for name in names:
            result = self._try(name, partial(self._rotate, name, wait=wait))
            if result is not None and result.journal.is_open and self._options.wait and not wait:
                still_open.append(result)
            elif result is not None:
                self._report(result)
        for result in still_open:
            finished = self._try(result.name, partial(self._finish, result))
            if finished is not None:
                self._report(finished)
        if self._output_error is not None:
            raise self._output_error
        return self._exit_code

    def _try(self, name: str, action: Callable[[], Result | None]) -> Result | None:
        try:
            with translate_unexpected_errors():
                return action()
        except LesseeError as exc:
            self._exit_code = max(self._exit_code, exc.exit_code)
            with suppress(OSError):
                print(f"lessee: {self._project.redactor.clean(error_text(name, exc))}", file=sys.stderr, flush=True)
                print_on_terminal(name)
            return None

    def _report(self, result: Result) -> None:
        self._print(line(result))
        if result.outcome is Outcome.WAITING and not result.lock_owner:
            self._exit_code = max(self._exit_code, NotNotifiedError.exit_code)

    def _print(self, text: str) -> None:
        try:
            print_line(text)
        except (BrokenPipeError, WriteError) as exc:  # The other targets are still rotated.
            self._output_error = exc

    def _rotate(self, name: str, *, wait: bool) -> Result | None:
        options, config, target = self._options, self._project.config_of(name), self._project.target(name)
        journal = self._retry.call(partial(read_journal, self._project, target, self._client))
        if journal.is_open:
            # It may wait for minutes, and only after it a user is asked for a new value.
            log("info", "open rotation continued", target=name, id=journal.id, step=journal.step.value)
        operation = DueOperation.ROTATE
        if options.due_only and not options.force:
            operation = due_operation(config, journal, time.time())
        if operation is DueOperation.NOTHING:
            self._print(not_due(name, config, journal, time.time()))
            return None
        if operation is DueOperation.ROTATE and not options.force:
            try:
                check_period(name, config, journal)
            except LesseeError:
                if journal.is_open:
                    self._report(self._run(name, finish_only=True, wait=wait))
                raise
        return self._run(name, finish_only=operation is DueOperation.FINISH, wait=wait)

    def _earlier(self, name: str) -> Mapping[str, object] | None:
        """The fields of the version that is to be restored. Raises UsageError where Vault does not have it."""
        version = self._options.to_version
        if version is None:
            return None
        path = f"{self._project.config.secrets.mount}/data/{self._project.target(name).path}"
        found = (self._client.read(path, {"version": str(version)}) or {}).get("data")
        if not found:
            what, todo = (
                f"Vault has no version {version} any more",
                "see `bao kv metadata get`, or use `bao kv undelete`",
            )
            raise UsageError(what, where=path, todo=todo)
        self._project.redactor.learn(f"version {version} of {name}", found.values())
        return dict(found)

    def _finish(self, result: Result) -> Result:
        finished = self._run(result.name, finish_only=True, wait=True)
        outcome = finished.outcome if result.outcome is Outcome.WAITING else result.outcome
        return replace(finished, outcome=outcome, seconds=result.seconds + finished.seconds)

    def _run(self, name: str, *, finish_only: bool, wait: bool) -> Result:
        started, published, lock_owner = time.monotonic(), False, ""
        restored = self._retry.call(partial(self._earlier, name))
        with ExitStack() as stack:
            # One rotation for all attempts: a later attempt need not wait for the lock of an earlier one.
            rotation = self._retry.call(lambda: stack.enter_context(open_rotation(self._project, name, self._client)))

            def attempt() -> Outcome:
                nonlocal published
                try:
                    return rotation.run(
                        force=self._options.force,
                        finish_only=finish_only,
                        wait=wait,
                        timeout=0.0 if finish_only else self._options.timeout,
                        requested_at=self._options.requested_at,
                        restored=restored,
                    )
                finally:
                    published = published or rotation.has_published

            try:
                outcome = self._retry.call(attempt)
            except BusyError:
                if not finish_only:
                    raise
                # The lock's owner finishes it.
                outcome, lock_owner = Outcome.WAITING, rotation.journal.lock_owner
        outcome = Outcome.ROTATED if published else outcome
        seconds = time.monotonic() - started
        stays_valid = self._project.config_of(name).stays_valid
        return Result(name, outcome, rotation.journal, rotation.confirmation, seconds, lock_owner, stays_valid)
