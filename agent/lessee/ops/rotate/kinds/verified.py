"""A credential that lessee generates and clients use, and that servers verify from a secret of their own."""

import time
from typing import Protocol

from lessee.config.grammar.rotation import VerifiedTarget
from lessee.ops.rotate.kinds.kind import Case, KindContext, KindDefaults, NewCredential, Unconfirmed
from lessee.ops.rotate.kinds.verifier_secret import MARK, RETIRED, TIMEOUT, VerifierSecret, prune, retention, retire
from lessee.ops.rotate.policy.decision import Traits
from lessee.ops.rotate.policy.journal import Fields
from lessee.telemetry.logs import log


class Format(Protocol):
    """How one kind of credential is generated, and what verifiers need of it.

    An id names a credential in the verifiers' secret and is not secret itself.
    """

    def new(self, secret: Fields) -> Fields:
        """A new credential: the secret's keys that change."""
        ...

    def id_of(self, fields: Fields) -> str:
        """The id of the credential in these fields; empty where they have no usable one."""
        ...

    def ids(self, accepted: Fields) -> tuple[str, ...]:
        """The ids of all credentials that the verifiers accept. Raises SystemRefusedError."""
        ...

    def accepts(self, accepted: Fields, fields: Fields) -> bool:
        """Whether the verifiers accept this credential."""
        ...

    def add(self, accepted: Fields, fields: Fields) -> Fields:
        """The verifiers' secret with this credential. What operators have added stays."""
        ...

    def remove(self, accepted: Fields, id_: str) -> Fields:
        """The verifiers' secret without this credential."""
        ...


class VerifiedCredential(KindDefaults):
    """The clients' secret has one credential; the verifiers' secret has all that are accepted."""

    def __init__(
        self, config: VerifiedTarget, context: KindContext, form: Format, *, delete_delay: float = 0.0
    ) -> None:
        """`delete_delay`: seconds for which verifiers accept the old credential once no client uses it."""
        self.traits = Traits(delete_delay=retention(delete_delay), timeout=TIMEOUT)
        self._delete_delay = delete_delay
        self._name, self._immediate, self._form = context.name, context.immediate, form
        self._verifiers = VerifierSecret(config, context)

    def create(self, case: Case) -> NewCredential:
        return NewCredential(self._form.new(case.secret))

    def apply(self, case: Case) -> None:
        document, form = self._verifiers.read(), self._form
        fields = document.fields
        if MARK not in fields and form.id_of(case.secret) and not form.accepts(fields, case.secret):
            # The first rotation: until now the verifiers had what the clients use from elsewhere.
            fields = form.add(fields, case.secret)
        fields = self._pruned(fields, case)
        if not form.accepts(fields, case.pending):
            fields = form.add(fields, case.pending)
        self._verifiers.write(document, fields)

    def verify(self, fields: Fields) -> bool | Unconfirmed:
        document = self._verifiers.read()
        return self._form.accepts(document.fields, fields) and self._verifiers.confirmation(document)

    def revoke(self, case: Case) -> bool:
        document, form, old = self._verifiers.read(), self._form, self._form.id_of(case.current)
        fields, is_revoked = document.fields, False
        if old and old not in self._in_use(case):
            is_revoked = old not in form.ids(fields) or form.accepts(fields, case.current)
            if form.accepts(fields, case.current):
                delay = 0.0 if self._immediate else self._delete_delay
                fields = retire(fields, old, time.time() + delay) if delay else form.remove(fields, old)
            elif old in form.ids(fields):
                todo = f"remove it from {self._verifiers.path} if it is not used"
                log("warning", "old credential changed manually and not revoked", target=self._name, id=old, todo=todo)
        left = self._pruned(fields, case)
        self._verifiers.write(document, left)
        return is_revoked or RETIRED in left

    def delete(self, case: Case) -> None:
        document = self._verifiers.read()
        self._verifiers.write(document, self._pruned(document.fields, case))

    def discard(self, case: Case) -> None:
        document, form, pending = self._verifiers.read(), self._form, self._form.id_of(case.pending)
        if pending != form.id_of(case.secret) and form.accepts(document.fields, case.pending):
            self._verifiers.write(document, form.remove(document.fields, pending))

    def _in_use(self, case: Case) -> set[str]:
        return {self._form.id_of(case.secret), self._form.id_of(case.pending)}

    def _pruned(self, fields: Fields, case: Case) -> Fields:
        return prune(fields, self._in_use(case), self._form.remove, immediate=self._immediate)
