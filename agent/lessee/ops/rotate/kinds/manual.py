"""A credential that a user rotates: lessee says when, asks for the new value, verifies it and publishes it."""

from collections.abc import Callable

from lessee.config.grammar.rotation import Manual as Config
from lessee.core.errors import UsageError
from lessee.ops.rotate import recipes
from lessee.ops.rotate.kinds.kind import Case, KindContext, KindDefaults, NewCredential, SystemUnavailableError
from lessee.ops.rotate.policy.decision import Traits
from lessee.ops.rotate.policy.journal import Fields
from lessee.ops.rotate.recipe_client import STEP_TIMEOUT, RecipeClient
from lessee.ops.rotate.rotator_programs import Program
from lessee.telemetry.logs import log

_VERIFY_TIMEOUT = 60.0


class ManualCredential(KindDefaults):
    """Keys of a secret that a user enters without echo."""

    def __init__(self, config: Config, context: KindContext) -> None:
        """Raises ConfigError."""
        self._keys, self._instructions = config.keys, config.instructions
        self._name, self._ask, self._say = context.name, context.ask, context.say
        self._client = self._program = None
        self._entered: Fields = {}
        timeout = _VERIFY_TIMEOUT
        self._secret = config.secret
        if config.recipe is not None:
            recipe = recipes.load(config.recipe, context.folder, whole=False)
            self._client = RecipeClient(context.name, recipe.verification, context.admin)
            timeout = STEP_TIMEOUT + (recipe.verify.propagation_delay if recipe.verify is not None else 0.0)
        if config.verify is not None:
            self._program = Program(config.verify, context.folder, context.environ)
        self.traits = Traits(is_entered=True, timeout=timeout)

    def create(self, case: Case) -> NewCredential:
        """What the user enters. Raises UsageError where that is no new value."""
        fields = self._entered or self._enter()
        if all(case.secret.get(key) == value for key, value in fields.items()):
            what = "the secret has the entered value already"
            raise UsageError(what, where=self._name, todo="run it again with a new value")
        self._entered = fields  # After an outage of Vault, the user is not asked again.
        return NewCredential(fields)

    def apply(self, case: Case) -> None:
        """The user has set it in the system."""

    def verify(self, fields: Fields) -> bool:
        if not all(fields.get(key) for key in self._keys):
            return False
        if self._client is not None:
            return self._client.verify(fields, self._keys)
        if self._program is not None:
            return self._run_check(self._program, fields)
        known = self._known_recipe()
        hint = {"todo": f"add `recipe: {known}` to test it with a request to the provider"} if known else {}
        log("warning", "credential not verified", target=self._name, reason="no `recipe` and no `verify`", **hint)
        return True

    def revoke(self, case: Case) -> bool:
        if case.current:
            self._log_manual_step("old credential still valid")
        return False

    def discard(self, case: Case) -> None:
        del case
        self._log_manual_step("entered credential not published, and may be valid")

    def _enter(self) -> Fields:
        ask = self._terminal()
        self._print(self._instructions or f"Create a new value for {self._name}, and leave the old one valid.")
        try:
            fields = {key: ask(f"{self._name}: new {key}: ") for key in self._keys}
        except EOFError:
            raise UsageError("no value was entered", where=self._name, todo="run it again") from None
        for key, value in fields.items():
            if not value:
                raise UsageError(f"no value was entered for {key}", where=self._name, todo="run it again")
        return fields

    def _terminal(self) -> Callable[[str], str]:
        if self._ask is None:
            todo = f"run `lessee rotate {self._name} --enter` at a terminal, or with the value on stdin"
            raise UsageError("a user must enter the new value", where=self._name, todo=todo)
        return self._ask

    def _known_recipe(self) -> str | None:
        """The recipe that the secret's name suggests. It is not used by itself: a guess must send no key to anyone."""
        name = self._secret.rpartition("/")[2]
        found = (one for one in recipes.names() if f"{name}-".startswith(f"{one}-"))
        return "openai-project" if name == "openai" else next(found, None)

    def _run_check(self, program: Program, fields: Fields) -> bool:
        done = program.run(fields, _VERIFY_TIMEOUT)
        done.report("verify exited", owner=self._name, program="verify")
        if done.status is None:
            todo = "correct `verify`, or the system that it uses"
            raise SystemUnavailableError(f"{program.name} {done.reason}", where=self._name, todo=todo)
        return done.status == 0

    def _log_manual_step(self, event: str) -> None:
        todo = "revoke it in the system"
        log("warning", event, target=self._name, todo=todo)
        self._print(f"{self._name}: {event}; {todo}.")

    def _print(self, text: str) -> None:
        if self._say is not None:
            self._say(text)
