"""An identity of age: what encrypts has the recipient, and what decrypts has the identities, old ones too."""

import time
from contextlib import suppress

from lessee.config.grammar.rotation import AgeIdentity as Config
from lessee.ops.rotate.kinds import library
from lessee.ops.rotate.kinds.kind import Case, KindContext, KindDefaults, NewCredential, SystemRefusedError, Unconfirmed
from lessee.ops.rotate.kinds.verifier_secret import TIMEOUT, VerifierSecret, lines, prune, retention, retire, text
from lessee.ops.rotate.policy.decision import Traits
from lessee.ops.rotate.policy.journal import Fields

_KEY = "identities"


class AgeIdentities(KindDefaults):
    """`recipient` in the secret; `identities` in the verifiers' secret, the newest first.

    The identity is generated where it stays, so that no other secret and no journal ever has it.
    """

    def __init__(self, config: Config, context: KindContext) -> None:
        self._pyrage = library("pyrage")
        self._delete_delay = config.delete_delay
        delete_delay = retention(config.delete_delay or 0.0)
        self.traits = Traits(system_generated=True, delete_delay=delete_delay, timeout=TIMEOUT)
        self._verifiers = VerifierSecret(config, context)

    def list_credentials(self, case: Case) -> tuple[str, ...]:
        """The recipients."""
        del case
        return tuple(self._by_recipient(self._verifiers.read().fields))

    def create(self, case: Case) -> NewCredential:
        document, published = self._verifiers.read(), str(case.secret.get("recipient") or "")
        known = self._by_recipient(document.fields)
        if published and published not in known:
            todo = "add it there, so that what is encrypted for it can still be decrypted"
            raise SystemRefusedError("it lacks the identity of the recipient", where=self._verifiers.path, todo=todo)
        fields = document.fields
        for leftover in set(case.leftovers) - {published}:
            fields = self._remove(fields, leftover)
        identity = self._pyrage.x25519.Identity.generate()
        new = text([str(identity), *lines(fields.get(_KEY))])
        self._verifiers.write(document, {**fields, _KEY: new})
        return NewCredential({"recipient": str(identity.to_public())})

    def apply(self, case: Case) -> None:
        """`create` has added it."""

    def verify(self, fields: Fields) -> bool | Unconfirmed:
        document = self._verifiers.read()
        is_known = fields.get("recipient") in self._by_recipient(document.fields)
        return is_known and self._verifiers.confirmation(document)

    def revoke(self, case: Case) -> bool:
        old = str(case.current.get("recipient") or "")
        document = self._verifiers.read()
        fields = document.fields
        is_retired = bool(old) and old not in self._in_use(case) and self._delete_delay is not None
        if is_retired:
            # Also after a leak: what is encrypted for it still has to be decrypted.
            fields = retire(fields, old, time.time() + (self._delete_delay or 0.0))
        self._verifiers.write(document, prune(fields, self._in_use(case), self._remove))
        return is_retired

    def delete(self, case: Case) -> None:
        document = self._verifiers.read()
        self._verifiers.write(document, prune(document.fields, self._in_use(case), self._remove))

    def discard(self, case: Case) -> None:
        pending = str(case.pending.get("recipient") or "")
        document = self._verifiers.read()
        if pending != case.secret.get("recipient"):
            self._verifiers.write(document, self._remove(document.fields, pending))

    def _in_use(self, case: Case) -> set[str]:
        return {str(fields.get("recipient") or "") for fields in (case.secret, case.pending)}

    def _remove(self, fields: Fields, recipient: str) -> Fields:
        identity = self._by_recipient(fields).get(recipient)
        left = (line for line in lines(fields.get(_KEY)) if line.strip() != identity)
        return {**fields, _KEY: text(left)}

    def _by_recipient(self, fields: Fields) -> dict[str, str]:
        """The identities by their recipients. Comments, and what is no identity of X25519, are left out."""
        found = {}
        for line in lines(fields.get(_KEY)):
            with suppress(self._pyrage.IdentityError):
                identity = self._pyrage.x25519.Identity.from_str(line.strip())
                found[str(identity.to_public())] = line.strip()
        return found
