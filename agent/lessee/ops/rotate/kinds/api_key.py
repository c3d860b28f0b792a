"""Keys of a provider's API, made, proved and revoked by a recipe."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext

from lessee.config.grammar.rotation import ApiKey as Said
from lessee.core.errors import LesseeError
from lessee.ops.rotate import recipes
from lessee.ops.rotate.kinds.kind import Case, Made, Setting
from lessee.ops.rotate.policy import provider_responses
from lessee.ops.rotate.policy.decision import Traits
from lessee.ops.rotate.policy.journal import Fields
from lessee.ops.rotate.policy.provider_responses import Listed
from lessee.ops.rotate.recipe_client import PATIENCE, Caller, of_key
from lessee.telemetry.logs import log

_DEAD = frozenset({401, 403, 404})


class ProviderKeys:
    """A key of the provider's, which shows it once.

    A new key is labelled with the rotation's id, and so what a killed try left is found, and nothing else is touched.
    """

    def __init__(self, said: Said, setting: Setting) -> None:
        """Raises ConfigError and LesseeError."""
        recipe = recipes.load(said.recipe, setting.folder, whole=True)
        assert recipe.create is not None
        assert recipe.prove is not None
        if said.keep and recipe.disable is None:
            what = f"`keep` wants a recipe that can disable a key, and {said.recipe} says no `disable`"
            raise LesseeError(what, where=setting.name, todo="leave `keep` out, or add `disable` to the recipe")
        self.traits = Traits(made_by_system=True, keep=said.keep, patience=PATIENCE + recipe.prove.settle)
        self._name, self._recipe, self._create = setting.name, recipe, recipe.create
        self._keys = recipe.create.take.keys()
        self._caller = Caller(setting.name, recipe, setting.admin)

    def look(self, case: Case) -> tuple[str, ...]:
        """What bears this rotation's label: it tells ours from all others, which may be made meanwhile by whomever."""
        if not case.retried:
            return ()
        self._caller.begin()
        return tuple(self._labelled(case))

    def create(self, case: Case) -> Made:
        self._caller.begin()
        self._revoke_left(case, case.left)
        if case.retried and self._recipe.list is None:
            what = "a try that was killed may have left a key, and the recipe cannot list"
            self._by_hand(what, label=self._label(case))
        values = {"label": self._label(case), "id": case.id}
        answer = self._caller.send("create", case.secret, values)
        fields, handle = self._caller.read("create", provider_responses.taken, self._create, answer.document)
        return Made(fields, provider_responses.signed(handle, fields))

    def apply(self, case: Case) -> None:
        """The system has made it."""

    def prove(self, fields: Fields) -> bool:
        return self._caller.proves(fields, self._keys)

    def retire(self, case: Case) -> None:
        self._caller.begin()
        # One who stood still while another took over may have made a key that nobody has noted.
        self._revoke_left(case, self._labelled(case))
        self._end("disable" if self.traits.keep else "revoke", case)

    def remove(self, case: Case) -> None:
        self._caller.begin()
        self._end("revoke", case)

    def discard(self, case: Case) -> None:
        self._caller.begin()
        if any(case.secret.get(key) != case.pending.get(key) for key in self._keys):
            handle = provider_responses.handle_of(case.pending_handle, case.pending, self._keys)
            self._take_out("revoke", case, case.pending, handle)

    def lock(self) -> AbstractContextManager[None]:
        """No API has such a lock; the journal's holder is one."""
        return nullcontext()

    def close(self) -> None:
        """There is nothing to close."""

    def _labelled(self, case: Case) -> list[str]:
        """What the API calls the keys that bear this rotation's label."""
        return [key.handle for key in self._caller.listed(case.secret) if key.label == self._label(case)]

    def _revoke_left(self, case: Case, handles: Iterable[str]) -> None:
        """Revoke these, as far as they are not noted as the rotation's keys."""
        noted = {case.handle.partition(" ")[2], case.pending_handle.partition(" ")[2]}
        for handle in handles:
            if handle not in noted:
                log("warning", "a key that a killed try left is revoked", target=self._name, label=self._label(case))
                self._take_out("revoke", case, {}, handle)

    def _end(self, request: str, case: Case) -> None:
        """Take the current key out of use, unless it is the published one after all."""
        current = case.current
        if not all(current.get(key) for key in self._keys):
            return
        if all(case.secret.get(key) == current[key] for key in self._keys):
            return
        self._take_out(request, case, current, self._handle(case))

    def _take_out(self, request: str, case: Case, fields: Fields, handle: str) -> None:
        said = self._recipe.requests[request]
        if "handle" in said.places and not handle:
            self._by_hand(f"nobody knows what the API calls the old key, which {request} wants", was=case.id)
            return
        values = {**of_key(fields, self._keys), **({"handle": handle} if handle else {})}
        self._caller.send(request, case.secret, values, also=getattr(said, "gone", ()))

    def _handle(self, case: Case) -> str:
        """What the API calls the current key; empty where nobody knows."""
        published = case.pending_handle.partition(" ")[2]
        found = (
            provider_responses.handle_of(case.handle, case.current, self._keys)
            or self._found(case)
            or self._hinted(case)
        )
        return "" if found == published else found

    def _found(self, case: Case) -> str:
        find = self._recipe.find
        if find is None:
            return ""
        answer = self._caller.send("find", case.secret, of_key(case.current, self._keys), also=_DEAD)
        if not find.succeeds(answer.status):
            return ""
        return self._caller.read("find", provider_responses.handle, find.handle, answer.document)

    def _hinted(self, case: Case) -> str:
        if self._recipe.list is None or self._recipe.list.hint is None:
            return ""
        values = [str(case.current[key]) for key in self._keys]
        fitting = provider_responses.hinted(self._others(case), values[0]) if len(values) == 1 else None
        return fitting.handle if fitting is not None else ""

    def _others(self, case: Case) -> Iterator[Listed]:
        published = case.pending_handle.partition(" ")[2]
        return (key for key in self._caller.listed(case.secret) if key.handle != published)

    def _by_hand(self, what: str, **told: str) -> None:
        log(
            "warning",
            what,
            target=self._name,
            todo="look for it where the provider shows its keys, and revoke it",
            **told,
        )

    def _label(self, case: Case) -> str:
        return f"lessee-{self._name}-{case.id}"
