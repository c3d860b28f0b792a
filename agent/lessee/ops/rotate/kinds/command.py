"""A rotator of one's own: a program that is started once a step, with JSON on its stdin and stdout.

It gets `{"step": …, "id": …, "current": {…}, "pending": {…}, "secret": {…}}`. `secret` is all that the apps read.

- `describe`: it may answer `{"fields": [names], "overlaps": true}`, and need not know the step: then it ends with
  another status than 0.
- `create`: it answers the new fields, `{"password": "…"}`, and has made them in the system. With the same `id` again it
  gives or makes the same, or removes what it made before. `current` is the whole secret.
- `prove`: whether `pending`, the whole secret with the new fields, is let in. 0: yes; 77: it is refused.
- `retire`: `current` is taken out of use, and `pending` stays. With a credential that is gone it ends with 0.

Another status than 0 is a failure that is tried again; 77 says that it will not help to try again soon.
"""

import json
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import msgspec

from lessee.config.grammar.rotation import Own as Said
from lessee.core.errors import LesseeError
from lessee.ops.rotate.kinds.kind import Case, Made, Setting, SystemRefusedError, SystemUnavailableError
from lessee.ops.rotate.policy.decision import Traits
from lessee.ops.rotate.policy.journal import Fields, holds
from lessee.ops.rotate.rotator_programs import REFUSED, Finished, Program
from lessee.telemetry.logs import log

_BESIDE = 5.0
"""Seconds that a step may take beside its program."""
_OURS = frozenset({"rotation_timestamp", "rotation_count"})


class _Described(msgspec.Struct, forbid_unknown_fields=True):
    fields: list[str] = []
    overlaps: bool = True


class OwnProgram:
    """Whatever the program does is made by it: nothing else tells the system of a new value."""

    def __init__(self, said: Said, setting: Setting) -> None:
        """Raises LesseeError where the program cannot be started, or its answer to `describe` is no use."""
        self._name, self._timeout = setting.name, said.timeout
        self._program = Program(said.command, setting.folder, setting.environ)
        described = self._described()
        self._fields = frozenset(described.fields)
        self.traits = Traits(made_by_system=True, overlaps=described.overlaps, patience=said.timeout + _BESIDE)

    def look(self, case: Case) -> tuple[str, ...]:
        """The program knows its own by the id."""
        del case
        return ()

    def create(self, case: Case) -> Made:
        done = self._run("create", case.id, case.current or case.secret, {}, case.secret)
        self._check("create", done)
        return Made(self._made(self._read("create", done), case))

    def apply(self, case: Case) -> None:
        """The program has made it."""

    def prove(self, fields: Fields) -> bool:
        done = self._run("prove", "", {}, fields, fields)
        if done.status == REFUSED:
            return False
        self._check("prove", done)
        return True

    def retire(self, case: Case) -> None:
        if case.current and not holds(case.secret, case.current):
            self._check("retire", self._run("retire", case.id, case.current, case.pending, case.secret))

    def remove(self, case: Case) -> None:
        """`retire` has done it."""

    def discard(self, case: Case) -> None:
        """What was never published is retired instead of the current one, which stays."""
        if not holds(case.secret, case.pending):
            self._check("retire", self._run("retire", case.id, case.pending, case.current, case.secret))

    def lock(self) -> AbstractContextManager[None]:
        """The program may have one of its own."""
        return nullcontext()

    def close(self) -> None:
        """It runs no longer than a step."""

    def _described(self) -> _Described:
        done = self._run("describe", "", {}, {}, {})
        if not done.started:
            raise LesseeError(f"{self._program.name} {done.why}", where=self._name, todo="mend `command:`")
        if done.status is None:
            raise self._away("describe", done)
        if done.status or not done.answer.strip():
            return _Described()
        try:
            return msgspec.convert(self._read("describe", done), _Described)
        except msgspec.ValidationError:
            todo = 'it is {"fields": ["names"], "overlaps": true}, and both may be left out'
            raise LesseeError(self._unlike("describe"), where=self._name, todo=todo) from None

    def _made(self, answer: Any, case: Case) -> Fields:
        if not isinstance(answer, dict) or not answer:
            raise self._wrong("create", 'it is an object of the new fields: {"password": "…"}')
        unfit = sorted(key for key, value in answer.items() if not isinstance(value, str | int | float) or value == "")
        if unfit:
            raise self._wrong("create", f"a text, a number, true or false is wanted for {', '.join(unfit)}")
        if self._fields and answer.keys() != self._fields:
            raise self._wrong("create", f"by `describe` it has {', '.join(sorted(self._fields))} and nothing else")
        if _OURS & answer.keys():
            raise self._wrong("create", f"{' and '.join(sorted(_OURS))} are lessee's own")
        if all(case.secret.get(key) == value for key, value in answer.items()):
            raise self._wrong("create", "it is what stands in the secret already: a new value is wanted")
        return answer

    def _run(self, step: str, id_: str, current: Fields, pending: Fields, secret: Fields) -> Finished:
        given = {"step": step, "id": id_, "current": current, "pending": pending, "secret": secret}
        done = self._program.run(given, self._timeout)
        for line in done.lines:
            log("info" if done.status == 0 else "warning", "the rotator says", target=self._name, step=step, line=line)
        return done

    def _check(self, step: str, done: Finished) -> None:
        if done.status == REFUSED:
            todo = "see what it says, in the log above"
            raise SystemRefusedError(f"{self._program.name} refuses to {step}", where=self._name, todo=todo)
        if done.status != 0:
            raise self._away(step, done)

    def _away(self, step: str, done: Finished) -> SystemUnavailableError:
        todo = "it is tried again; see what it says, in the log above"
        return SystemUnavailableError(f"{step}: {self._program.name} {done.why}", where=self._name, todo=todo)

    def _read(self, step: str, done: Finished) -> Any:
        try:
            return json.loads(done.answer, parse_constant=_no_number)
        except (ValueError, RecursionError):
            raise self._wrong(step, "it is no JSON; what is for people goes to stderr") from None

    def _wrong(self, step: str, why: str) -> SystemRefusedError:
        return SystemRefusedError(self._unlike(step), where=self._name, todo=why)

    def _unlike(self, step: str) -> str:
        return f"the answer of {self._program.name} to {step} is not as expected"


def _no_number(name: str) -> None:
    raise ValueError(name)
