"""A credential that a person changes: lessee says when, takes the new value, tries it and publishes it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from lessee.config.grammar.rotation import Manual as Said
from lessee.ops.rotate import recipes
from lessee.ops.rotate.kinds.kind import Case, Made, Setting, SystemRefusedError, SystemUnavailableError
from lessee.ops.rotate.policy.decision import Traits
from lessee.ops.rotate.policy.journal import Fields
from lessee.ops.rotate.recipe_client import Caller
from lessee.ops.rotate.rotator_programs import Program
from lessee.telemetry.logs import log

_PATIENCE = 3600.0
"""Seconds that a person may take to get a new value."""
_PROVING = 60.0


class ByHand:
    """Keys of a secret that are typed in, unseen."""

    traits = Traits(made_by_system=True, patience=_PATIENCE)

    def __init__(self, said: Said, setting: Setting) -> None:
        """Raises ConfigError."""
        self._keys, self._instructions = said.keys, said.instructions
        self._name, self._ask, self._say = setting.name, setting.ask, setting.say
        self._caller = self._program = None
        if said.recipe is not None:
            recipe = recipes.load(said.recipe, setting.folder, whole=False)
            self._caller = Caller(setting.name, recipe.to_prove, setting.admin)
        if said.prove is not None:
            self._program = Program(said.prove, setting.folder, setting.environ)

    def look(self, case: Case) -> tuple[str, ...]:
        """Nothing; but nothing is begun either where nobody could type a value."""
        del case
        self._person()
        return ()

    def create(self, case: Case) -> Made:
        ask = self._person()
        self._tell(self._instructions or f"Get a new value for {self._name}, and leave the old one valid.")
        try:
            fields = {key: ask(f"{self._name}: new {key}: ") for key in self._keys}
        except EOFError:
            raise SystemRefusedError("nothing was typed", where=self._name, todo="begin again") from None
        for key, value in fields.items():
            if not value:
                raise SystemRefusedError(f"nothing was typed for {key}", where=self._name, todo="begin again")
        if all(case.secret.get(key) == value for key, value in fields.items()):
            what = "what was typed stands in the secret already"
            raise SystemRefusedError(what, where=self._name, todo="begin again, with a new value")
        return Made(fields)

    def apply(self, case: Case) -> None:
        """The person has told the system."""

    def prove(self, fields: Fields) -> bool:
        if not all(fields.get(key) for key in self._keys):
            return False
        if self._caller is not None:
            return self._caller.proves(fields, self._keys)
        if self._program is not None:
            return self._proved(self._program, fields)
        log("warning", "taken as it was typed: nothing says how to try it", target=self._name)
        return True

    def retire(self, case: Case) -> None:
        if case.current:
            self._by_hand("the old value is still valid in the system")

    def remove(self, case: Case) -> None:
        """A person does."""

    def discard(self, case: Case) -> None:
        del case
        self._by_hand("the value that was typed is not published, and may be valid in the system")

    def lock(self) -> AbstractContextManager[None]:
        return nullcontext()

    def close(self) -> None:
        """There is nothing to close."""

    def _person(self) -> Callable[[str], str]:
        if self._ask is None:
            todo = f"run `lessee rotate {self._name}` at a terminal"
            raise SystemRefusedError("it waits for a person", where=self._name, todo=todo)
        return self._ask

    def _proved(self, program: Program, fields: Fields) -> bool:
        done = program.run(fields, _PROVING)
        for line in done.lines:
            log("info" if done.status == 0 else "warning", "the check says", target=self._name, line=line)
        if done.status is None:
            todo = "mend `prove:`, or what it asks"
            raise SystemUnavailableError(f"{program.name} {done.why}", where=self._name, todo=todo)
        return done.status == 0

    def _by_hand(self, what: str) -> None:
        todo = "take it out of use there by hand"
        log("warning", what, target=self._name, todo=todo)
        self._tell(f"{self._name}: {what}; {todo}.")

    def _tell(self, text: str) -> None:
        if self._say is not None:
            self._say(text)
