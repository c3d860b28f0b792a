"""Reads and writes the two documents of a rotation: its journal, and the secret that the apps read."""

from collections.abc import Iterable
from datetime import UTC, datetime

from lessee.core.errors import DeniedError, LesseeError
from lessee.core.immutable import replace
from lessee.ops.rotate.documents import ConcurrentWriteError, Document, journal_in
from lessee.ops.rotate.kinds.kind import Case, NewCredential
from lessee.ops.rotate.policy import decision as d
from lessee.ops.rotate.policy import journal as j
from lessee.ops.rotate.policy.journal import Fields, HistoryEntry, Journal, Step
from lessee.ops.rotate.ports import Ports, Target


class RotationDocuments:
    """One target's documents, as last read or written. For one thread.

    Methods that write raise ConcurrentWriteError where another process has written since the last read. All methods
    raise DeniedError and VaultUnreachableError.
    """

    def __init__(self, target: Target, ports: Ports, timeout: float) -> None:
        """`timeout`: of the kind's requests, in seconds."""
        self._target = target
        self._ports = ports
        self._timeout = timeout
        self.journal = Journal()
        self.secret = Document(0, {})
        self._journal_version = 0

    def read(self) -> None:
        """Read both documents."""
        document = self._ports.store.read(self._target.journal)
        self.secret = self._ports.store.read(self._target.path)
        recorded, self._journal_version = journal_in(document, self._target.journal), document.version
        self.journal = recorded.clamped(self._ports.clock())
        if self.journal is not recorded:
            todo = "check the clock of this machine, and of the one that rotated before"
            self._log("warning", "journal timestamps in the future", todo=todo)
        for fields in (self.secret.fields, self.journal.current, self.journal.pending):
            self._redact(fields)

    def check_unchanged(self) -> None:
        """Raises ConcurrentWriteError where either document has been written since it was read."""
        store, target = self._ports.store, self._target
        journal_version = store.read(target.journal).version
        if journal_version != self._journal_version or self._is_changed(store.read(target.path)):
            raise ConcurrentWriteError

    def check_secret_unchanged(self) -> None:
        """Raises ConcurrentWriteError where the secret has been written since it was read."""
        if self._is_changed(self._ports.store.read(self._target.path)):
            raise ConcurrentWriteError

    def refresh_secret(self) -> bool:
        """Read the secret again. Whether it has changed."""
        secret = self._ports.store.read(self._target.path)
        if not self._is_changed(secret):
            return False
        self.secret = secret
        self._redact(secret.fields)
        return True

    def superseding(self, case: Case) -> Fields | None:
        """The secret's fields where another rotator has ended that rotation, and other values are published by now."""
        store, target = self._ports.store, self._target
        is_open = store.read(target.journal).fields.get("id") == case.id
        published = store.read(target.path).fields
        return None if is_open or j.contains(published, case.pending) else published

    @property
    def is_locked_by_another(self) -> bool:
        """Whether another rotator has the lock."""
        return self.journal.lock_owner not in {"", self._ports.own_id}

    def case(self) -> Case:
        """The rotation as a kind needs it."""
        journal = self.journal
        return Case(
            id=journal.id,
            secret=self.secret.fields,
            current=journal.current,
            pending=journal.pending,
            handle=journal.handle,
            pending_handle=journal.pending_handle,
            existing=journal.existing,
        )

    # In the order of a rotation.

    def acquire_lock(self) -> None:
        """Acquire or renew the lock."""
        self._write(self._locked(self.journal))

    def new_rotation(self, new: str) -> Journal:
        """The journal of a new rotation of this id, which is not written yet."""
        if self.journal.fence == 0:  # No rotator has ever written it, and so it has never held a value.
            self._ports.store.keep_newest_only(self._target.journal)
        self._log("info", "rotation started", id=new)
        known = "rotation_count" in self.secret.fields or bool(self._target.consumers)
        consumers_known = known or not self._target.has_consumers
        return replace(
            self._locked(self.journal),
            id=new,
            started_at=self._ports.clock(),
            confirmed_at=0.0,
            consumers_known=consumers_known,
            missing=(),
        )

    def record_existing(self, started: Journal, existing: tuple[str, ...]) -> None:
        """Record the system's credentials before a new one is requested."""
        self._write(replace(started, step=Step.CREATING, existing=existing, current=self.secret.fields))

    def record_created(self, journal: Journal, created: NewCredential) -> None:
        """Record the new value before it is used."""
        self._redact(created.fields)
        previous = journal.current if journal.step is Step.CREATING else self.secret.fields
        current = {key: previous[key] for key in created.fields if key in previous}
        recorded = replace(journal, pending=created.fields, current=current, pending_handle=created.handle)
        self._write(replace(recorded, step=Step.CREATED, existing=()))

    def publish(self) -> None:
        """Write the new value into the secret, and leave its other keys unchanged."""
        now = self._ports.clock()
        again = self.journal.step is Step.PUBLISHED
        count = self.journal.count if again else self._count() + 1
        marks = {"rotation_timestamp": _rfc3339(now), "rotation_count": count}
        fields = {**self.secret.fields, **self.journal.pending, **marks}
        version = self._ports.store.write(self._target.path, fields, self.secret.version)
        self.secret = Document(version, fields)
        self._log("info", "credential rotated", id=self.journal.id, version=version)

    def record_published(self) -> None:
        """Record that the secret has the new value."""
        now, version = self._ports.clock(), self.secret.version
        earlier = (entry for entry in self.journal.history if entry.id != self.journal.id)
        history = (*earlier, HistoryEntry(self.journal.id, now, version))[-j.HISTORY :]
        self._save_history(history)
        recorded = replace(
            self._locked(self.journal),
            step=Step.PUBLISHED,
            published_version=version,
            published_at=now,
            confirmed_at=0.0,
            rotated_at=now,
            count=self._count(),
            history=history,
        )
        self._write(recorded)
        if not recorded.consumers_known and recorded.current:
            todo = "name the apps that read it in `consumers`; after an interrupt, the next `lessee rotate` finishes it"
            self._log("info", "consumers unknown", revoke_in=self._target.confirmation_timeout, todo=todo)

    def revert(self) -> None:
        """Record that a user published the old credential again: the new one is the one to revoke."""
        journal, version = self.journal, self.secret.version
        self._log("warning", "old credential restored manually", id=journal.id, version=version)
        reverted = replace(
            self._locked(journal),
            pending=journal.current,
            pending_handle=journal.handle,
            current=journal.pending,
            handle=journal.pending_handle,
            published_version=version,
            published_at=self._ports.clock(),
            confirmed_at=0.0,
        )
        self._write(reverted)

    def record_confirmed(self) -> None:
        """Record that all known consumers work with the new credential."""
        now, journal = self._ports.clock(), self.journal
        duration, times = now - journal.started_at, journal.propagation_times
        self._log("info", "rotation confirmed", id=journal.id, seconds=round(duration, 3))
        if 0.0 <= duration <= self._target.confirmation_timeout:
            # A longer time is not a propagation time: the rotator was stopped, or a clock was set.
            times = (*times, duration)[-j.HISTORY :]
        self._write(replace(self._locked(journal), confirmed_at=now, propagation_times=times))

    def record_revoked(self, missing: tuple[str, ...], delete_at: float) -> None:
        """Record that the old credential is revoked; `delete_at` 0: it is not retained."""
        confirmed_at = self.journal.confirmed_at or self._ports.clock()
        done = replace(self.journal, confirmed_at=confirmed_at, missing=missing)
        if delete_at:
            self._write(replace(done, step=Step.RETAINING, delete_at=delete_at, pending={}, failures=0, error=""))
        else:
            self._write(j.closed(done, handle=done.pending_handle))

    def close(self, *, published: bool) -> None:
        """End the retention. `published`: the secret has the new credential, and not the old one."""
        handle = self.journal.pending_handle if published else self.journal.handle
        self._write(j.closed(self.journal, handle=handle))

    def record_abandoned(self, reason: str) -> None:
        """Record that the new credential is discarded."""
        journal = self.journal
        handle = journal.handle if j.contains(self.secret.fields, journal.current) else ""
        self._write(replace(j.closed(journal, handle=handle), error=reason, failures=journal.failures))

    def release_lock(self) -> None:
        """Release the lock, so that no other rotator waits for it."""
        if self.journal.lock_owner == self._ports.own_id:
            self._write(replace(self.journal, lock_owner="", locked_until=0.0))

    def record_failure(self, exc: LesseeError) -> bool:
        """Record a failure, and release the lock. Raises nothing.

        False: the failure does not count, since another rotator has written the journal.
        """
        now, journal = self._ports.clock(), self.journal
        failed = replace(
            journal, failures=journal.failures + 1, error=str(exc), failed_at=now, lock_owner="", locked_until=0.0
        )
        try:
            if not self.is_locked_by_another:
                self._write(failed)
        except ConcurrentWriteError:
            return False
        except LesseeError as second:
            self._log("warning", "failure not recorded", reason=type(second).__name__)
        self._log("error", "rotation failed", step=journal.step.value, reason=str(exc))
        return True

    def _locked(self, journal: Journal) -> Journal:
        until = self._ports.clock() + d.LOCK_TTL + self._timeout
        fence = journal.fence if journal.lock_owner == self._ports.own_id else journal.fence + 1
        return replace(journal, lock_owner=self._ports.own_id, locked_until=until, fence=fence)

    def _write(self, journal: Journal) -> None:
        fields = j.serialize(journal)
        self._journal_version = self._ports.store.write(self._target.journal, fields, self._journal_version)
        self.journal = journal

    def _is_changed(self, secret: Document) -> bool:
        """Whether the secret has been written since it was last read, or deleted, which keeps its version number."""
        return (secret.version, bool(secret.fields)) != (self.secret.version, bool(self.secret.fields))

    def _count(self) -> int:
        count = self.secret.fields.get("rotation_count")
        return count if isinstance(count, int) and not isinstance(count, bool) else self.journal.count

    def _save_history(self, history: Iterable[HistoryEntry]) -> None:
        metadata = {
            "rotation_id": self.journal.id,
            "rotation_count": str(self._count()),
            "rotation_timestamp": str(self.secret.fields.get("rotation_timestamp", "")),
            "rotation_history": " ".join(f"{_rfc3339(entry.at)}=v{entry.version}" for entry in history),
        }
        try:
            self._ports.store.set_custom_metadata(self._target.path, metadata)
            if self.secret.version == 1:  # The rotation created it: `lessee setup` had no secret to set this for.
                self._ports.store.require_check_and_set(self._target.path)
        except DeniedError as exc:  # The history only informs users.
            self._log("warning", "rotation history not saved", reason=str(exc))

    def _redact(self, fields: Fields) -> None:
        self._ports.redact(value for value in fields.values() if isinstance(value, str))

    def _log(self, level: str, event: str, **fields: object) -> None:
        self._ports.log(level, event, target=self._target.name, **fields)


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
