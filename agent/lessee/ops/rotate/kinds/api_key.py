"""API keys of a provider, created, verified and revoked by a recipe."""

from collections.abc import Iterable, Iterator

from lessee.config.grammar.rotation import ApiKey as Config
from lessee.core.errors import LesseeError
from lessee.ops.rotate import recipes
from lessee.ops.rotate.kinds.kind import Case, KindContext, KindDefaults, NewCredential
from lessee.ops.rotate.policy import provider_responses
from lessee.ops.rotate.policy.decision import Traits
from lessee.ops.rotate.policy.journal import Fields
from lessee.ops.rotate.policy.provider_responses import ListedKey
from lessee.ops.rotate.recipe_client import STEP_TIMEOUT, RecipeClient, key_values
from lessee.telemetry.logs import log

_DEAD = frozenset({401, 403, 404})


class ProviderKeys(KindDefaults):
    """A key that the provider's API returns only once.

    A new key is labelled with the rotation's id, so that only an interrupted attempt's key is found and revoked.
    """

    def __init__(self, config: Config, context: KindContext) -> None:
        """Raises ConfigError and LesseeError."""
        recipe = recipes.load(config.recipe, context.folder, whole=True)
        assert recipe.create is not None
        assert recipe.verify is not None
        if config.delete_delay and recipe.disable is None:
            what = f"`delete_delay` needs a recipe with `disable`, and {config.recipe} has none"
            raise LesseeError(what, where=context.name, todo="remove `delete_delay`, or add `disable` to the recipe")
        self.traits = Traits(
            system_generated=True,
            delete_delay=config.delete_delay,
            timeout=STEP_TIMEOUT + recipe.verify.propagation_delay,
        )
        self._name, self._recipe, self._create = context.name, recipe, recipe.create
        self._keys = recipe.create.fields.keys()
        self._client = RecipeClient(context.name, recipe, context.admin)

    def list_credentials(self, case: Case) -> tuple[str, ...]:
        """The keys with this rotation's label; others may create keys at the same time."""
        if not case.retried:
            return ()
        self._client.begin()
        return tuple(self._labelled(case))

    def create(self, case: Case) -> NewCredential:
        self._client.begin()
        self._revoke_leftovers(case, case.leftovers)
        if case.retried and self._recipe.list is None:
            event = "interrupted attempt may have left a key, which the recipe cannot list"
            self._log_manual_step(event, label=self._label(case))
        values = {"label": self._label(case), "id": case.id}
        answer = self._client.send("create", case.secret, values)
        fields, handle = self._client.read("create", provider_responses.new_key, self._create, answer.document)
        return NewCredential(fields, provider_responses.bound_handle(handle, fields))

    def apply(self, case: Case) -> None:
        """The system has created it."""

    def verify(self, fields: Fields) -> bool:
        return self._client.verify(fields, self._keys)

    def revoke(self, case: Case) -> bool:
        self._client.begin()
        # A rotator that was suspended while another continued may have created a key that no journal has.
        self._revoke_leftovers(case, self._labelled(case))
        return self._end_current("disable" if self.traits.delete_delay else "revoke", case)

    def delete(self, case: Case) -> None:
        self._client.begin()
        self._end_current("revoke", case, is_disabled=True)

    def discard(self, case: Case) -> None:
        self._client.begin()
        if any(case.secret.get(key) != case.pending.get(key) for key in self._keys):
            handle = provider_responses.handle_of(case.pending_handle, case.pending, self._keys)
            self._send_for("revoke", case, case.pending, handle)

    def _labelled(self, case: Case) -> list[str]:
        """The handles of the keys with this rotation's label."""
        return [key.handle for key in self._client.keys(case.secret) if key.label == self._label(case)]

    def _revoke_leftovers(self, case: Case, handles: Iterable[str]) -> None:
        """Revoke these, except those that the journal records as the rotation's keys."""
        recorded = {case.handle.partition(" ")[2], case.pending_handle.partition(" ")[2]}
        for handle in handles:
            if handle not in recorded:
                log("warning", "key of an interrupted attempt revoked", target=self._name, label=self._label(case))
                self._send_for("revoke", case, {}, handle)

    def _end_current(self, request: str, case: Case, *, is_disabled: bool = False) -> bool:
        """Disable or revoke the current key, unless it is still published. Whether the request could be sent."""
        current = case.current
        if not all(current.get(key) for key in self._keys):
            return False
        if all(case.secret.get(key) == current[key] for key in self._keys):
            return False
        return self._send_for(request, case, current, self._handle(case, is_disabled=is_disabled))

    def _send_for(self, request: str, case: Case, fields: Fields, handle: str) -> bool:
        template = self._recipe.requests[request]
        if "handle" in template.placeholders and not handle:
            self._log_manual_step("handle of the old key unknown", request=request, rotation=case.id)
            return False
        values = {**key_values(fields, self._keys), **({"handle": handle} if handle else {})}
        self._client.send(request, case.secret, values, also=getattr(template, "missing_status", ()))
        return True

    def _handle(self, case: Case, *, is_disabled: bool) -> str:
        """The handle of the current key; empty where it is not known."""
        published = case.pending_handle.partition(" ")[2]
        found = (
            provider_responses.handle_of(case.handle, case.current, self._keys)
            or self._found(case)
            or self._matching(case, is_disabled=is_disabled)
        )
        return "" if found == published else found

    def _found(self, case: Case) -> str:
        find = self._recipe.find
        if find is None:
            return ""
        answer = self._client.send("find", case.secret, key_values(case.current, self._keys), also=_DEAD)
        if not find.succeeds(answer.status):
            return ""
        return self._client.read("find", provider_responses.handle, find.handle, answer.document)

    def _matching(self, case: Case, *, is_disabled: bool) -> str:
        """The handle of the only key in the list that looks like the current one.

        The current one has to be valid, or disabled by this rotation: who may write the secret could write a text that
        looks like another client's key, and have that key revoked.
        """
        if self._recipe.list is None or self._recipe.list.masked_key is None:
            return ""
        if not is_disabled and not self._client.accepts({**case.secret, **case.current}, self._keys):
            return ""
        values = [str(case.current[key]) for key in self._keys]
        match = provider_responses.matching_key(self._others(case), values[0]) if len(values) == 1 else None
        return match.handle if match is not None else ""

    def _others(self, case: Case) -> Iterator[ListedKey]:
        published = case.pending_handle.partition(" ")[2]
        return (key for key in self._client.keys(case.secret) if key.handle != published)

    def _log_manual_step(self, event: str, **fields: str) -> None:
        log("warning", event, target=self._name, todo="revoke the key in the provider's console", **fields)

    def _label(self, case: Case) -> str:
        return f"lessee-{self._name}-{case.id}"
