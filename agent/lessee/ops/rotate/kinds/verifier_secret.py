"""The secret that verifiers read: what they accept, and whether they have loaded it.

A verifier is a server that accepts a credential: an sshd, a web server, what checks signatures. Its agent renders what
it accepts from a secret of its own, and confirms the version that the server has loaded. So a new credential is
accepted before any client uses it, and the old one until no client uses it any more.
"""

import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from datetime import UTC, datetime

from lessee.config.grammar.rotation import VerifiedTarget
from lessee.core.consumers import confirmation_status
from lessee.core.errors import DeniedError
from lessee.core.timestamps import parse_timestamp
from lessee.ops.rotate.documents import ConsumerStore, Document, DocumentStore
from lessee.ops.rotate.kinds.kind import KindContext, SystemRefusedError, Unconfirmed
from lessee.ops.rotate.policy.journal import MAX_CLOCK_SKEW, Fields

_TIME = "rotation_timestamp"
MARK = "rotation_count"
"""Agents confirm the versions of secrets with this key. A secret without it was written by an operator."""
_FIRST = 1
"""The mark's value from the first new credential until the first old one is removed."""
RETIRED = "retired"
"""The ids of credentials that are no longer used, each with the time in seconds since 1970 when it is removed."""
TIMEOUT = 30.0
"""Seconds for the requests of one step to Vault."""


class VerifierSecret:
    """One target's secret of the verifiers. Its methods raise DeniedError and VaultUnreachableError."""

    def __init__(self, config: VerifiedTarget, context: KindContext) -> None:
        self.path = config.verifier_secret
        self._verifiers = config.verifiers
        self._store = DocumentStore(context.vault, context.mount)
        self._where = f"{context.prefix}{self.path}"
        self._consumers = ConsumerStore(context.vault, context.mount, context.prefix)

    def read(self) -> Document:
        """The newest version. Raises SystemRefusedError where the secret was deleted."""
        document = self._store.read(self._where)
        if document.version and not document.fields:
            todo = f"restore it: bao kv undelete; or remove it for good: bao kv metadata delete PATH/{self.path}"
            raise SystemRefusedError("the verifiers' secret was deleted", where=self.path, todo=todo)
        return document

    def write(self, before: Document, fields: Fields) -> None:
        """Write what has changed. Raises ConcurrentWriteError where another process has written the secret."""
        if fields == before.fields and MARK in fields:
            return
        count = fields.get(MARK)
        marks = {
            _TIME: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            MARK: count + 1 if isinstance(count, int) else 1,
        }
        self._store.write(self._where, {**fields, **marks}, before.version)
        if before.version == 0:
            with suppress(DeniedError):  # An older policy of the rotator; the next `lessee setup` sets it.
                self._store.require_check_and_set(self._where)

    def confirmation(self, document: Document) -> bool | Unconfirmed:
        """True where all verifiers have loaded this version.

        Agents confirm only versions with the mark, so it is written where an operator has left it out. Raises
        ConcurrentWriteError. Since then not all may have reported, unless the configuration names them.
        """
        if MARK not in document.fields:
            self._store.write(self._where, {**document.fields, MARK: 0}, document.version)
            return Unconfirmed()
        status = confirmation_status(self._consumers.read(), self.path, document.version, self._verifiers)
        are_known = bool(self._verifiers) or document.fields[MARK] != _FIRST
        if status.is_complete and are_known:
            return True
        since = parse_timestamp(str(document.fields.get(_TIME)))
        return Unconfirmed(status.missing, status.confirmed, since or 0.0)


def retention(delete_delay: float) -> float:
    """The delay until a rotation removes what is retired; 0: it removes it immediately.

    It is longer than `delete_delay`: the time of the removal is recorded a moment later, maybe by another clock.
    """
    return delete_delay + MAX_CLOCK_SKEW if delete_delay else 0.0


def retire(fields: Fields, id_: str, at: float) -> Fields:
    """The verifiers' secret, from which this credential is to be removed at a time."""
    return {**fields, RETIRED: {**_retired(fields), id_: at}}


def prune(
    fields: Fields, used: Collection[str], remove: Callable[[Fields, str], Fields], *, immediate: bool = False
) -> Fields:
    """The verifiers' secret without retired credentials whose time has come. `used`: ids that are in use again.

    `immediate`: without all that are retired.
    """
    now, left = time.time(), {}
    for id_, at in _retired(fields).items():
        if id_ in used:
            continue
        if immediate or at <= now:
            fields = remove(fields, id_)
        else:
            left[id_] = at
    without = {key: value for key, value in fields.items() if key != RETIRED}
    return {**without, RETIRED: left} if left else without


def lines(text: object) -> list[str]:
    """The lines of a text in a secret, which an operator may have edited."""
    return text.splitlines() if isinstance(text, str) else []


def text(some: Iterable[str]) -> str:
    """A text of these lines."""
    return "".join(f"{line}\n" for line in some)


def _retired(fields: Fields) -> dict[str, float]:
    """What is retired; an operator may have edited it."""
    found = fields.get(RETIRED)
    pairs = found.items() if isinstance(found, dict) else ()
    return {id_: float(at) for id_, at in pairs if isinstance(at, int | float)}
