"""The two documents of a rotation, its journal and the secret that the apps read: what is written into them."""

from collections.abc import Iterable
from datetime import UTC, datetime

from lessee.core.errors import LesseeError, RefusedError
from lessee.core.immutable import replace
from lessee.ops.rotate.documents import Document, OvertakenError, journal_in
from lessee.ops.rotate.kinds.kind import Case, Made
from lessee.ops.rotate.policy import decision as d
from lessee.ops.rotate.policy import journal as j
from lessee.ops.rotate.policy.journal import Fields, Journal, Past, Step
from lessee.ops.rotate.ports import Target, World


class Documents:
    """One target's, as they were last read or written. For one thread.

    What writes raises OvertakenError where another has written meanwhile, and all of it RefusedError and VaultUnreachableError.
    """

    def __init__(self, target: Target, world: World, patience: float) -> None:
        """`patience` of the kind, in seconds."""
        self._target = target
        self._world = world
        self._patience = patience
        self.journal = Journal()
        self.secret = Document(0, {})
        self._at = 0

    def read(self) -> None:
        """Both."""
        document = self._world.kept.read(self._target.journal)
        self.secret = self._world.kept.read(self._target.path)
        noted, self._at = journal_in(document, self._target.journal), document.version
        self.journal = noted.as_of(self._world.clock())
        if self.journal is not noted:
            note = "set this machine's clock, or that of the rotator before"
            self._tell("warning", "the journal has moments that are still to come", note=note)
        for fields in (self.secret.fields, self.journal.current, self.journal.pending):
            self._hide(fields)

    def check(self) -> None:
        """Raises OvertakenError where either has been written since it was read."""
        kept, target = self._world.kept, self._target
        if kept.read(target.journal).version != self._at or self._is_other(kept.read(target.path)):
            raise OvertakenError

    def check_secret(self) -> None:
        """Raises OvertakenError where the secret has been written since it was read."""
        if self._is_other(self._world.kept.read(self._target.path)):
            raise OvertakenError

    def read_secret(self) -> bool:
        """Whether it is another than when it was last read."""
        secret = self._world.kept.read(self._target.path)
        if not self._is_other(secret):
            return False
        self.secret = secret
        self._hide(secret.fields)
        return True

    def is_given_up(self, case: Case) -> bool:
        """Whether others have ended that rotation, and not published what it has made."""
        kept, target = self._world.kept, self._target
        is_open = kept.read(target.journal).fields.get("id") == case.id
        return not is_open and not j.holds(kept.read(target.path).fields, case.pending)

    @property
    def is_held(self) -> bool:
        """By another."""
        return self.journal.holder not in {"", self._world.holder}

    def case(self) -> Case:
        """What a kind is asked about."""
        journal = self.journal
        return Case(
            id=journal.id,
            secret=self.secret.fields,
            current=journal.current,
            pending=journal.pending,
            handle=journal.handle,
            pending_handle=journal.pending_handle,
            before=journal.before,
        )

    # In the order of a rotation.

    def take(self) -> None:
        """Become, or remain, the holder."""
        self._write(self._held(self.journal))

    def begun(self) -> Journal:
        """Of a new rotation, which is not yet written."""
        if self.journal.fence == 0:  # Nobody has ever held it, and so it has never had a value.
            self._world.kept.keep_newest_only(self._target.journal)
        new = self._world.new_id()
        self._tell("info", "rotation begun", id=new)
        announced = "rotation_count" in self.secret.fields or bool(self._target.consumers)
        held = self._held(self.journal)
        return replace(held, id=new, started_at=self._world.clock(), confirmed_at=0.0, announced=announced, missing=())

    def note_look(self, begun: Journal, before: tuple[str, ...]) -> None:
        """Before the system is asked for a new value: what it had."""
        self._write(replace(begun, step=Step.CREATING, before=before, current=self.secret.fields))

    def note_made(self, journal: Journal, made: Made) -> None:
        """The new value, before anything is done with it."""
        self._hide(made.fields)
        there = journal.current if journal.step is Step.CREATING else self.secret.fields
        current = {key: there[key] for key in made.fields if key in there}
        noted = replace(journal, pending=made.fields, current=current, pending_handle=made.handle)
        self._write(replace(noted, step=Step.CREATED, before=()))

    def publish(self) -> None:
        """Write the new value into the secret, beside what stands there."""
        now = self._world.clock()
        again = self.journal.step is Step.PUBLISHED
        count = self.journal.count if again else self._count() + 1
        told = {"rotation_timestamp": _spelled(now), "rotation_count": count}
        fields = {**self.secret.fields, **self.journal.pending, **told}
        version = self._world.kept.write(self._target.path, fields, self.secret.version)
        self.secret = Document(version, fields)
        self._tell("info", "rotation published", id=self.journal.id, version=version)

    def note(self) -> None:
        """That it is published."""
        now, version = self._world.clock(), self.secret.version
        before = (one for one in self.journal.history if one.id != self.journal.id)
        past = (*before, Past(self.journal.id, now, version))[-j.HISTORY :]
        self._tell_history(past)
        noted = replace(
            self._held(self.journal),
            step=Step.PUBLISHED,
            published_version=version,
            published_at=now,
            confirmed_at=0.0,
            rotated_at=now,
            count=self._count(),
            history=past,
        )
        self._write(noted)
        if not noted.announced:
            self._tell("info", "not all readers can be known: the whole time is waited", seconds=self._target.within)

    def adopt(self) -> None:
        """What is published again by hand as the new one, and the new one as what has to be retired."""
        journal, version = self.journal, self.secret.version
        self._tell("warning", "set back by hand: the new credential is retired", id=journal.id, version=version)
        adopted = replace(
            self._held(journal),
            pending=journal.current,
            pending_handle=journal.handle,
            current=journal.pending,
            handle=journal.pending_handle,
            published_version=version,
            published_at=self._world.clock(),
            confirmed_at=0.0,
        )
        self._write(adopted)

    def note_confirmed(self) -> None:
        """That all who are known work with it."""
        now, journal = self._world.clock(), self.journal
        took, times = now - journal.started_at, journal.propagations
        self._tell("info", "rotation confirmed", id=journal.id, seconds=round(took, 3))
        if 0.0 <= took <= self._target.within:
            # What took longer than they are waited for was no propagation: the rotator was away, or the clock was set.
            times = (*times, took)[-j.HISTORY :]
        self._write(replace(self._held(journal), confirmed_at=now, propagations=times))

    def note_retired(self, missing: tuple[str, ...], keep_until: float) -> None:
        """`keep_until` 0: nothing is kept."""
        confirmed_at = self.journal.confirmed_at or self._world.clock()
        done = replace(self.journal, confirmed_at=confirmed_at, missing=missing)
        if keep_until:
            self._write(replace(done, step=Step.KEEPING, keep_until=keep_until, pending={}, failures=0, error=""))
        else:
            self._write(j.closed(done, handle=done.pending_handle))

    def close(self, *, published: bool) -> None:
        """What was kept is of no interest any more. `published`: the new value stands in the secret, not the old."""
        handle = self.journal.pending_handle if published else self.journal.handle
        self._write(j.closed(self.journal, handle=handle))

    def give_up(self, why: str) -> None:
        """The new value is out of use."""
        journal = self.journal
        handle = journal.handle if j.holds(self.secret.fields, journal.current) else ""
        self._write(replace(j.closed(journal, handle=handle), error=why, failures=journal.failures))

    def let_go(self) -> None:
        """So that nobody waits for us."""
        if self.journal.holder == self._world.holder:
            self._write(replace(self.journal, holder="", held_until=0.0))

    def note_failure(self, exc: LesseeError) -> bool:
        """And let go. False: it counts for nothing, since we have been overtaken meanwhile. It raises nothing."""
        now, journal = self._world.clock(), self.journal
        failed = replace(
            journal, failures=journal.failures + 1, error=str(exc), failed_at=now, holder="", held_until=0.0
        )
        try:
            if not self.is_held:
                self._write(failed)
        except OvertakenError:
            return False
        except LesseeError as second:
            self._tell("warning", "the failure is not noted", reason=type(second).__name__)
        self._tell("error", "rotation failed", step=journal.step.value, reason=str(exc))
        return True

    def _held(self, journal: Journal) -> Journal:
        until = self._world.clock() + d.HOLD + self._patience
        fence = journal.fence if journal.holder == self._world.holder else journal.fence + 1
        return replace(journal, holder=self._world.holder, held_until=until, fence=fence)

    def _write(self, journal: Journal) -> None:
        self._at = self._world.kept.write(self._target.journal, j.written(journal), self._at)
        self.journal = journal

    def _is_other(self, secret: Document) -> bool:
        """Whether the secret has been written, or deleted, which changes no number, since it was last read."""
        return (secret.version, bool(secret.fields)) != (self.secret.version, bool(self.secret.fields))

    def _count(self) -> int:
        said = self.secret.fields.get("rotation_count")
        return said if isinstance(said, int) and not isinstance(said, bool) else self.journal.count

    def _tell_history(self, past: Iterable[Past]) -> None:
        said = {
            "rotation_id": self.journal.id,
            "rotation_count": str(self._count()),
            "rotation_timestamp": str(self.secret.fields.get("rotation_timestamp", "")),
            "rotation_history": " ".join(f"{_spelled(one.at)}=v{one.version}" for one in past),
        }
        try:
            self._world.kept.tell(self._target.path, said)
        except RefusedError as exc:  # It is but told there.
            self._tell("warning", "no history", reason=str(exc))

    def _hide(self, fields: Fields) -> None:
        self._world.hide(value for value in fields.values() if isinstance(value, str))

    def _tell(self, level: str, event: str, **fields: object) -> None:
        self._world.tell(level, event, target=self._target.name, **fields)


def _spelled(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
