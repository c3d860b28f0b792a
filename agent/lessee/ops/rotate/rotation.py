"""Rotates one target: performs the actions that the policy decides, and passes their results back to it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import inf, nextafter
from typing import assert_never

from msgspec import field

from lessee.core.consumers import ConfirmationStatus, confirmation_status
from lessee.core.errors import DeniedError, LesseeError, UsageError, VaultUnreachableError
from lessee.core.immutable import ImmutableStruct, replace
from lessee.ops.rotate.document_contents import RotationDocuments
from lessee.ops.rotate.documents import ConcurrentWriteError
from lessee.ops.rotate.kinds.kind import (
    Case,
    Kind,
    NewCredential,
    Placing,
    SystemRefusedError,
    SystemUnavailableError,
    Unconfirmed,
)
from lessee.ops.rotate.lock_owner import has_exited
from lessee.ops.rotate.policy import decision as d
from lessee.ops.rotate.policy import journal as j
from lessee.ops.rotate.policy.journal import Journal, Step
from lessee.ops.rotate.ports import BusyError, Ports, Target

_FAST_POLL_PERIOD, _FAST_POLL, _SLOW_POLL = 3.0, 0.1, 1.0
"""For so many seconds, verifiers' confirmations are read in the first interval, and then in the second."""


class _UnconfirmedError(Exception):
    """Servers have not loaded the new credential yet."""

    def __init__(self, unconfirmed: Unconfirmed) -> None:
        super().__init__()
        self.unconfirmed = unconfirmed


class _PublishedError(Exception):
    """The value that is to be restored is published."""


class TargetRotation:
    """One target, its kind, and what is known of both. For one thread."""

    def __init__(self, target: Target, kind: Kind, ports: Ports) -> None:
        self._target = target
        self._kind = kind
        self._ports = ports
        self._documents = RotationDocuments(target, ports, kind.traits.timeout)
        self._rotated = False
        self._restored: j.Fields | None = None
        self._observations = _Observations()
        self._listed_for = ""
        """The id of the rotation for which the system's credentials are listed, and no new one is requested yet."""

    def run(
        self,
        *,
        force: bool = False,
        finish_only: bool = False,
        wait: bool = True,
        timeout: float = 60.0,
        requested_at: float | None = None,
        last_rotation: float | None = None,
        restored: j.Fields | None = None,
    ) -> d.Outcome:
        """Finish an open rotation, and then rotate. Every action is decided from the current state.

        `finish_only`: start no new rotation. `wait` False: a later run waits for the consumers. `timeout`: how long to
        wait for another rotator, in seconds. `requested_at`: when the rotation was requested, in seconds since 1970, by
        default now; a rotation that was published since then fulfills the request. `last_rotation`: the time of the
        last rotation that the caller knows of; any later one fulfills the request. `restored`: an earlier version of
        the secret, whose credential is set again instead of a new one.

        Raises BusyError, SystemUnavailableError, SystemRefusedError, DeniedError and VaultUnreachableError. After an
        error the open rotation stays recorded, and the old credential stays valid. Raises UsageError where a user
        enters no new value: then no rotation has started.
        """
        started = self._ports.clock()
        requested_at = started if requested_at is None else requested_at
        if last_rotation is not None:
            requested_at, force = nextafter(last_rotation, inf), True
        self._rotated = False
        self._restored = restored
        self._read()
        while True:
            situation = self._situation(requested_at, force=force, finish_only=finish_only, wait=wait)
            try:
                action = d.decide(situation, rotated=self._rotated)
                if isinstance(action, d.Done):
                    self._documents.release_lock()
                    return action.outcome
                self._perform(action, timed_out=situation.now - started >= timeout)
            except ConcurrentWriteError:
                self._read()
            except _PublishedError:
                self._documents.release_lock()
                return d.Outcome.NOTHING
            except _UnconfirmedError as exc:
                if not wait and not self._is_late(exc.unconfirmed):
                    self._documents.release_lock()
                    return d.Outcome.WAITING
                self._wait_for_verifiers(exc.unconfirmed)
            except d.NewCredentialRejectedError:
                rejected = self._rejected()
                self._documents.record_failure(rejected)
                raise rejected from None
            except d.SecretDeletedError:
                todo = "restore it with bao kv undelete, or write it again; or remove the target from `rotation:`"
                deleted = DeniedError("the secret was deleted", where=self._target.path, todo=todo)
                self._documents.record_failure(deleted)
                raise deleted from None
            except (BusyError, UsageError, VaultUnreachableError):
                raise
            except LesseeError as exc:
                if self._documents.record_failure(exc):
                    raise
                self._read()

    @property
    def journal(self) -> Journal:
        """The journal, as last read or written."""
        return self._documents.journal

    @property
    def has_published(self) -> bool:
        """Whether the last run has published a new credential, however it ended."""
        return self._rotated

    @property
    def confirmation(self) -> ConfirmationStatus | None:
        """The consumers, as last read in this run; None where they were not read."""
        return self._observations.confirmation

    def _situation(self, requested_at: float, *, force: bool, finish_only: bool, wait: bool) -> d.Situation:
        documents, observations = self._documents, self._observations
        return d.Situation(
            journal=documents.journal,
            secret=d.Secret(documents.secret.version, documents.secret.fields),
            traits=self._kind.traits,
            own_id=self._ports.own_id,
            now=self._ports.clock(),
            requested_at=requested_at,
            confirmation_timeout=self._target.confirmation_timeout,
            revoke_delay=self._target.revoke_delay,
            has_consumers=self._target.has_consumers,
            force=force,
            works=observations.works,
            applied=observations.applied,
            lock_owner_exited=documents.is_locked_by_another and has_exited(documents.journal.lock_owner),
            confirmation=observations.confirmation,
            wait=wait,
            finish_only=finish_only,
            immediate=self._target.immediate,
        )

    def _perform(self, action: d.Action, *, timed_out: bool) -> None:
        match action:
            case d.Wait(seconds):
                self._wait(seconds, timed_out=timed_out)
            case d.AcquireLock():
                self._documents.acquire_lock()
            case d.ListCredentials():
                self._list_credentials()
            case d.Generate():
                self._generate()
            case d.Create():
                self._create()
            case d.Verify(candidate):
                self._verify(candidate)
            case d.Apply(reset):
                self._apply(reset=reset)
            case d.Publish():
                if isinstance(self._kind, Placing):
                    with self._exclusive():
                        self._kind.place(self._documents.case())
                self._documents.publish()
                self._rotated = True
            case d.RecordPublished():
                self._documents.record_published()
                # An earlier run may have written the secret without an answer from Vault.
                self._rotated = True
                self._observations = _Observations(works=self._observations.works)
            case d.CheckConfirmations():
                self._check_confirmations()
            case d.RecordConfirmed():
                self._documents.record_confirmed()
            case d.Revert():
                self._documents.revert()
                self._observations = _Observations()
            case d.Reinstate():
                self._log("warning", "old credential restored manually", id=self.journal.id)
                self._documents.close(published=False)
            case d.RevokeOld(missing):
                self._revoke(missing)
            case d.DeleteOld():
                self._delete()
            case d.Abandon(reason, rejected):
                self._abandon(reason, rejected=rejected)
            case d.Done():
                pass
            case _:
                assert_never(action)

    def _wait(self, seconds: float, *, timed_out: bool) -> None:
        locked = self._documents.is_locked_by_another
        if locked and timed_out:
            todo = "run it again later, or see `lessee rotate --status`"
            raise BusyError("another rotator is rotating it", where=self._target.name, todo=todo)
        self._ports.sleep(seconds)
        self._observations = _Observations()
        if locked:
            self._read()

    def _list_credentials(self) -> None:
        existing = self._kind.list_credentials(self._documents.case())
        started = self._documents.new_rotation(self._ports.new_id())
        self._documents.record_existing(started, existing)
        self._listed_for = started.id

    def _generate(self) -> None:
        new, is_entered = self._ports.new_id(), self._kind.traits.is_entered
        created = self._kind.create(replace(self._documents.case(), id=new))
        if self._restored is not None:
            created = self._earlier(created, self._restored)
        try:
            # The rotation begins now: before, a user may have typed for long.
            self._documents.record_created(self._documents.new_rotation(new), created)
        except ConcurrentWriteError:
            if not is_entered:
                raise
            what = "it was changed while the new value was entered, which is not published"
            raise BusyError(what, where=self._target.name, todo="run it again") from None
        # The system knows only what a user has created in it.
        self._observations = _Observations(works={} if is_entered else {d.Candidate.PENDING: False})

    def _earlier(self, created: NewCredential, restored: j.Fields) -> NewCredential:
        """The earlier credential in the place of the new one. Raises _PublishedError where it is published."""
        if missing := [key for key in created.fields if not restored.get(key)]:
            what, todo = f"that version lacks {', '.join(missing)}", "name another version"
            raise UsageError(what, where=self._target.path, todo=todo)
        fields = {key: restored[key] for key in created.fields}
        if j.contains(self._documents.secret.fields, fields):
            raise _PublishedError
        handle = created.handle if created.handle == created.fields.get("username") else ""
        return NewCredential(fields, handle=str(fields["username"]) if handle else "")

    def _create(self) -> None:
        case = replace(self._documents.case(), retried=self._listed_for != self.journal.id)
        if case.retried:
            # Listed before the journal is read again: no rotator can have published what exists now, unrecorded.
            case = replace(case, leftovers=tuple(set(self._kind.list_credentials(case)) - set(case.existing)))
        with self._exclusive():
            self._listed_for = ""
            created = self._kind.create(case)
        try:
            self._documents.record_created(self.journal, created)
        except ConcurrentWriteError:
            self._discard_unrecorded(case, created)
            raise

    def _discard_unrecorded(self, case: Case, created: NewCredential) -> None:
        """Discard a credential that another rotator cannot know, unless a program returned the same one for its id."""
        store, target = self._ports.store, self._target
        recorded = store.read(target.journal).fields.get("pending")
        # Read after the journal: what is no longer pending there is published.
        secret = store.read(target.path).fields
        if recorded != created.fields and not j.contains(secret, created.fields):
            self._kind.discard(replace(case, secret=secret, pending=created.fields, pending_handle=created.handle))

    def _verify(self, candidate: d.Candidate) -> None:
        case = self._documents.case()
        changes = {d.Candidate.PENDING: case.pending, d.Candidate.CURRENT: case.current, d.Candidate.PUBLISHED: {}}
        works = self._kind.verify({**case.secret, **changes[candidate]})
        if isinstance(works, Unconfirmed):
            works = self._is_confirmed(candidate, works)
        self._observations = replace(self._observations, works={**self._observations.works, candidate: works})
        self._log("debug", "credential verified", credential=candidate.value, works=works)

    def _is_confirmed(self, candidate: d.Candidate, unconfirmed: Unconfirmed) -> bool:
        """True where no verifier has to load it first. Raises _UnconfirmedError otherwise.

        Before its publication only: later all clients use it, and a server that starts loads the newest version.
        """
        if candidate is d.Candidate.PENDING and self.journal.step is Step.CREATED and self._target.confirmation_timeout:
            if unconfirmed.missing or not self._is_late(unconfirmed):
                raise _UnconfirmedError(unconfirmed)
            if not unconfirmed.confirmed:
                self._log("warning", "verifiers unknown", note="no agent of a server has confirmed what it accepts")
        return True

    def _is_late(self, unconfirmed: Unconfirmed) -> bool:
        """Whether the verifiers had enough time. A rotation that was interrupted may have started long before."""
        now = self._ports.clock()
        return now >= max(self.journal.started_at, min(unconfirmed.since, now)) + self._target.confirmation_timeout

    def _wait_for_verifiers(self, unconfirmed: Unconfirmed) -> None:
        """Wait a moment. Raises SystemUnavailableError after `confirmation_timeout`: the old credential stays valid."""
        if unconfirmed.missing and self._is_late(unconfirmed):
            missing = ", ".join(unconfirmed.missing)
            late = SystemUnavailableError(
                f"the servers {missing} have not loaded the new credential, so it is not published",
                where=self._target.name,
                todo="see `lessee status` there; for a server that no longer exists: bao kv metadata delete "
                "…/lessee/consumers/APP/INSTANCE",
            )
            self._documents.record_failure(late)
            raise late
        age = self._ports.clock() - self.journal.started_at
        self._ports.sleep(_FAST_POLL if age < _FAST_POLL_PERIOD else _SLOW_POLL)

    def _apply(self, *, reset: bool) -> None:
        if reset and self.journal.current:
            self._log("warning", "published credential rejected", note="it is replaced")
        case = self._documents.case()
        with self._exclusive():
            self._kind.apply(case)
            # Without a lock in the system, this process may have been suspended while others finished the rotation.
            if (published := self._documents.superseding(case)) is not None:
                self._kind.discard(replace(case, secret=published))
                raise ConcurrentWriteError
        self._observations = _Observations(applied=True)

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Change the system under its lock, and only while the documents are as they were at the decision."""
        with self._kind.lock():
            # Other rotators may have written while this one waited for the lock.
            self._documents.check_unchanged()
            yield

    def _check_confirmations(self) -> None:
        if self._documents.refresh_secret():
            self._observations = _Observations()
        consumers = self._ports.confirmations()
        version = self.journal.published_version
        status = confirmation_status(consumers, self._target.secret, version, self._target.consumers)
        self._observations = replace(self._observations, confirmation=status)

    def _revoke(self, missing: tuple[str, ...]) -> None:
        now, journal = self._ports.clock(), self.journal
        with self._exclusive():
            is_revoked = self._kind.revoke(self._documents.case())
            # A user may have published the revoked credential again: then verify again which one works.
            self._documents.check_secret_unchanged()
        delete_delay = self._kind.traits.delete_delay if is_revoked else 0.0
        if is_revoked:
            retained = "retained" if self._target.stays_valid else "disabled"
            self._log("info", f"old credential {retained if delete_delay else 'revoked'}", id=journal.id)
        delete_at = now + delete_delay * self._target.delays_deletion if delete_delay else 0.0
        self._documents.record_revoked(missing, delete_at)
        self._remove_consumers(missing, journal.published_version)

    def _remove_consumers(self, missing: tuple[str, ...], version: int) -> None:
        for name in missing:
            self._log("warning", "consumer not confirmed in time", consumer=name, version=version)
            try:
                self._ports.remove_consumer(name)
            except DeniedError as exc:  # The next rotation then waits for it too.
                self._log("warning", "consumer not removed", consumer=name, reason=str(exc))

    def _delete(self) -> None:
        with self._exclusive():
            self._kind.delete(self._documents.case())
        self._log("info", "old credential deleted", id=self.journal.id)
        self._documents.close(published=True)

    def _abandon(self, reason: str, *, rejected: bool) -> None:
        self._log("warning", "rotation abandoned", id=self.journal.id, reason=reason)
        with self._exclusive():
            self._kind.discard(self._documents.case())
        self._documents.record_abandoned(reason)
        self._observations = _Observations()
        if rejected:
            raise self._rejected()

    def _rejected(self) -> SystemRefusedError:
        todo = "see the system's log: may the login be used from this machine, and does it need more rights?"
        return SystemRefusedError("the system rejects the new credential", where=self._target.name, todo=todo)

    def _read(self) -> None:
        self._documents.read()
        self._observations = _Observations()

    def _log(self, level: str, event: str, **fields: object) -> None:
        self._ports.log(level, event, target=self._target.name, **fields)


class _Observations(ImmutableStruct, frozen=True):
    """What was observed since the system, the journal or the secret last changed."""

    works: Mapping[d.Candidate, bool] = field(default_factory=dict)
    applied: bool = False
    confirmation: ConfirmationStatus | None = None
