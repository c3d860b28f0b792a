"""A custom rotator: a program that lessee starts for each step, with JSON on its stdin and stdout.

Its stdin is `{"step": …, "id": …, "current": {…}, "pending": {…}, "secret": {…}}`; `secret` is what the apps read.

- `describe` (optional): it answers `{"fields": [names], "overlaps": true}`. A program without this step exits with a
  status other than 0.
- `create`: it creates new fields in the system, and answers them: `{"password": "…"}`. Called again with the same `id`,
  it returns the same fields, or deletes what it created before. `current` is the whole secret.
- `verify`: whether the system accepts `pending`, the whole secret with the new fields. 0: yes; 77: rejected.
- `revoke`: it revokes `current`, and leaves `pending` valid. It exits with 0 where `current` does not exist.

Any other status is a failure that is retried. 77 says that an early retry would not help.
"""

import json
from typing import Any

import msgspec

from lessee.config.grammar.rotation import MARKS
from lessee.config.grammar.rotation import CustomRotation as Config
from lessee.core.errors import LesseeError
from lessee.ops.rotate.kinds.kind import (
    Case,
    KindContext,
    KindDefaults,
    NewCredential,
    SystemRefusedError,
    SystemUnavailableError,
)
from lessee.ops.rotate.policy.decision import Traits
from lessee.ops.rotate.policy.journal import Fields, contains
from lessee.ops.rotate.rotator_programs import REFUSED, Finished, Program
from lessee.process.program_output import hint

_OVERHEAD = 5.0
"""Seconds that a step may take in addition to its program."""


class _Described(msgspec.Struct, forbid_unknown_fields=True):
    fields: list[str] = []
    overlaps: bool = True


class RotatorCommand(KindDefaults):
    """The program creates, verifies and revokes the credential in the system."""

    def __init__(self, config: Config, context: KindContext) -> None:
        """Raises LesseeError where the program cannot be started, or its answer to `describe` is invalid."""
        self._name, self._timeout = context.name, config.timeout
        self._program = Program(config.command, context.folder, context.environ)
        described = self._described()
        self._fields = frozenset(described.fields)
        self.traits = Traits(system_generated=True, overlaps=described.overlaps, timeout=config.timeout + _OVERHEAD)

    def create(self, case: Case) -> NewCredential:
        done = self._run("create", case.id, case.current or case.secret, {}, case.secret)
        self._check("create", done)
        return NewCredential(self._new_fields(self._read("create", done), case))

    def apply(self, case: Case) -> None:
        """The program has created it."""

    def verify(self, fields: Fields) -> bool:
        done = self._run("verify", "", {}, fields, fields)
        if done.status == REFUSED:
            return False
        self._check("verify", done)
        return True

    def revoke(self, case: Case) -> bool:
        if not case.current or contains(case.secret, case.current):
            return False
        self._check("revoke", self._run("revoke", case.id, case.current, case.pending, case.secret))
        return True

    def discard(self, case: Case) -> None:
        """Revoke the credential that was never published; the current one stays valid."""
        if not contains(case.secret, case.pending):
            self._check("revoke", self._run("revoke", case.id, case.pending, case.current, case.secret))

    def _described(self) -> _Described:
        done = self._run("describe", "", {}, {}, {})
        if not done.started:
            raise LesseeError(f"{self._program.name} {done.reason}", where=self._name, todo="correct `command`")
        if done.status is None:
            raise self._unavailable("describe", done)
        if done.status or not done.answer.strip():
            return _Described()
        try:
            return msgspec.convert(self._read("describe", done), _Described)
        except msgspec.ValidationError:
            todo = 'expected {"fields": ["names"], "overlaps": true}, both optional'
            raise LesseeError(self._invalid("describe"), where=self._name, todo=todo) from None

    def _new_fields(self, answer: Any, case: Case) -> Fields:
        if not isinstance(answer, dict) or not answer:
            raise self._invalid_answer("create", 'expected an object with the new fields: {"password": "…"}')
        invalid = sorted(
            key for key, value in answer.items() if not isinstance(value, str | int | float) or value == ""
        )
        if invalid:
            raise self._invalid_answer("create", f"expected a string, number or boolean for {', '.join(invalid)}")
        if self._fields and answer.keys() != self._fields:
            raise self._invalid_answer(
                "create", f"expected only the fields of `describe`: {', '.join(sorted(self._fields))}"
            )
        if MARKS & answer.keys():
            raise self._invalid_answer("create", f"lessee writes {' and '.join(sorted(MARKS))} itself")
        if all(case.secret.get(key) == value for key, value in answer.items()):
            raise self._invalid_answer("create", "expected new values; the secret has these already")
        return answer

    def _run(self, step: str, id_: str, current: Fields, pending: Fields, secret: Fields) -> Finished:
        given = {"step": step, "id": id_, "current": current, "pending": pending, "secret": secret}
        done = self._program.run(given, self._timeout)
        done.report("rotator exited", owner=self._name, program=step, step=step)
        return done

    def _check(self, step: str, done: Finished) -> None:
        if done.status == REFUSED:
            todo = hint(self._name, done.line_count).removeprefix("; ") or "let it print to stderr why it does"
            raise SystemRefusedError(f"{self._program.name} refuses the step {step}", where=self._name, todo=todo)
        if done.status != 0:
            raise self._unavailable(step, done)

    def _unavailable(self, step: str, done: Finished) -> SystemUnavailableError:
        todo = f"lessee retries it{hint(self._name, done.line_count)}"
        return SystemUnavailableError(f"{step}: {self._program.name} {done.reason}", where=self._name, todo=todo)

    def _read(self, step: str, done: Finished) -> Any:
        try:
            return json.loads(done.answer, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            raise self._invalid_answer(step, "expected JSON on stdout; write messages to stderr") from None

    def _invalid_answer(self, step: str, todo: str) -> SystemRefusedError:
        return SystemRefusedError(self._invalid(step), where=self._name, todo=todo)

    def _invalid(self, step: str) -> str:
        return f"the answer of {self._program.name} to the step {step} is invalid"


def _refuse_constant(name: str) -> None:
    raise ValueError(name)
