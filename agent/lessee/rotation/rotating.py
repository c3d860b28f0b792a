"""Brings one target's rotation to its end: does what core decides, and tells it what came of it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from math import inf, nextafter
from typing import assert_never

from msgspec import field

from lessee.core.errors import LesseeError, NotNotified, Refused, VaultUnreachable
from lessee.core.record import Record, replace
from lessee.core.rotation import deciding as d
from lessee.core.rotation import journal as j
from lessee.core.rotation.consumers import Consumer, Standing, standing
from lessee.core.rotation.journal import Fields, Journal, Past, Step
from lessee.rotation.holder import has_left
from lessee.rotation.kept import Document, Kept, Overtaken
from lessee.rotation.kinds.kind import Case, Kind, Made, SystemRefused

Tell = Callable[..., None]
"""`(level, event, **fields)`, without a value."""


class Busy(LesseeError):  # noqa: N818  # It reads as the sentence it is.
    """Another rotator is at it."""

    exit_code = NotNotified.exit_code  # EX_TEMPFAIL


class Target(Record, frozen=True):
    """What is rotated: its name, where its secret and its journal lie, and for whom it waits, in seconds."""

    name: str
    secret: str
    """The secret's path below the prefix, as consumers call it."""
    path: str
    """The same below the mount."""
    journal: str
    consumers: tuple[str, ...]
    within: float
    keeps: bool = True
    """Whether the old one is kept for so long as its kind has it; else it is removed at once."""


class World(Record, frozen=True):
    """What a rotation works with, beside the system."""

    kept: Kept
    confirmations: Callable[[], Iterable[Consumer]]
    forget: Callable[[str], None]
    """A consumer that did not confirm in time, by name."""
    holder: str
    clock: Callable[[], float]
    """Seconds since 1970."""
    sleep: Callable[[float], None]
    tell: Tell
    hide: Callable[[Iterable[str]], None]
    """Values that no log may hold."""
    new_id: Callable[[], str]


class Rotator:
    """One target, its kind, and what is known of both. For one thread."""

    def __init__(self, target: Target, kind: Kind, world: World) -> None:
        self._target = target
        self._kind = kind
        self._world = world
        self._journal = Journal()
        self._at = 0
        self._secret = Document(0, {})
        self._rotated = False
        self._learnt = _Learnt()
        self._looked = ""
        """The id of the rotation before which we have asked the system what it has, and have asked for nothing yet."""

    def run(
        self,
        *,
        force: bool = False,
        open_only: bool = False,
        may_wait: bool = True,
        timeout: float = 60.0,
        wished_at: float | None = None,
        seen: float | None = None,
    ) -> d.Outcome:
        """Rotate, after what is open has been finished; what that needs may be decided at each step anew.

        `open_only`: finish, and begin nothing. `may_wait` False: who has not confirmed is waited for another time.
        `timeout`: so long it waits for another rotator, in seconds. `wished_at`: when somebody asked for it, in
        seconds since 1970; default: now. What was published since then is what he asked for. `seen`: when the last
        rotation was as far as is known to whoever wishes for this one; any that came after it will do.

        Raises Busy, SystemAway, SystemRefused, Refused and VaultUnreachable; what has begun then stays noted, and the
        old credential valid.
        """
        began = self._world.clock()
        since = began if wished_at is None else wished_at
        if seen is not None:
            since, force = nextafter(seen, inf), True
        self._rotated = False
        self._read()
        while True:
            sight = self._sight(since, force=force, open_only=open_only, may_wait=may_wait)
            try:
                action = d.decide(sight, rotated=self._rotated)
                if isinstance(action, d.Done):
                    self._let_go()
                    return action.outcome
                self._obey(action, patient=sight.now - began < timeout)
            except Overtaken:
                self._read()
            except d.RefusedByOwnSystem:
                refused = self._refused()
                self._note_failure(refused)
                raise refused from None
            except d.SecretGone:
                todo = "bring it back: bao kv undelete, or write it again"
                gone = Refused("the secret was deleted while it is being rotated", where=self._target.path, todo=todo)
                self._note_failure(gone)
                raise gone from None
            except (Busy, VaultUnreachable):
                raise
            except LesseeError as exc:
                if self._note_failure(exc):
                    raise
                self._read()

    @property
    def journal(self) -> Journal:
        """As it was last read or written."""
        return self._journal

    @property
    def has_published(self) -> bool:
        """Whether the last run has, however it ended."""
        return self._rotated

    @property
    def standing(self) -> Standing | None:
        """Of the consumers, as they were last seen in this run; None: nobody has looked."""
        return self._learnt.standing

    def _sight(self, since: float, *, force: bool, open_only: bool, may_wait: bool) -> d.Sight:
        return d.Sight(
            journal=self._journal,
            secret=d.Secret(self._secret.version, self._secret.fields),
            traits=self._kind.traits,
            holder=self._world.holder,
            now=self._world.clock(),
            since=since,
            within=self._target.within,
            force=force,
            works=self._learnt.works,
            applied=self._learnt.applied,
            left=self._is_held() and has_left(self._journal.holder),
            standing=self._learnt.standing,
            may_wait=may_wait,
            open_only=open_only,
        )

    def _is_held(self) -> bool:
        return self._journal.holder not in {"", self._world.holder}

    def _obey(self, action: d.Action, *, patient: bool) -> None:
        match action:
            case d.Wait(seconds):
                self._wait(seconds, patient=patient)
            case d.Take():
                self._write(self._held(self._journal))
            case d.Look():
                self._look()
            case d.Begin():
                self._begin()
            case d.Create():
                self._create()
            case d.Prove(which):
                self._prove(which)
            case d.Apply(reset):
                self._apply(reset=reset)
            case d.Publish():
                self._publish()
            case d.Note():
                self._note()
            case d.AskConsumers():
                self._ask_consumers()
            case d.Adopt():
                self._adopt()
            case d.Spare():
                self._spare()
            case d.Retire(missing):
                self._retire(missing)
            case d.Remove():
                self._remove()
            case d.Abandon(why, refused):
                self._abandon(why, refused=refused)
            case d.Done():
                pass
            case _:
                assert_never(action)

    def _wait(self, seconds: float, *, patient: bool) -> None:
        held = self._is_held()
        if held and not patient:
            raise Busy("another rotator is at it", where=self._target.name, todo="wait for it, or see --status")
        self._world.sleep(seconds)
        self._learnt = _Learnt()
        if held:
            self._read()

    def _look(self) -> None:
        before = self._kind.look(self._case())
        begun = self._begun()
        self._write(replace(begun, step=Step.CREATING, before=before, current=self._secret.fields))
        self._looked = begun.id

    def _begin(self) -> None:
        begun = self._begun()
        made = self._kind.create(replace(self._case(), id=begun.id))
        self._hide(made.fields)
        self._write(replace(begun, step=Step.CREATED, **self._changed(made.fields), pending_handle=made.handle))
        self._learnt = _Learnt(works={d.Which.PENDING: False})  # Nobody knows it yet.

    def _begun(self) -> Journal:
        if self._at == 0:
            self._world.kept.keep_newest_only(self._target.journal)
        new = self._world.new_id()
        self._tell("info", "rotation begun", id=new)
        return replace(self._held(self._journal), id=new, started_at=self._world.clock(), missing=())

    def _create(self) -> None:
        case = replace(self._case(), retried=self._looked != self._journal.id)
        if case.retried:
            # Before the journal is looked at: what is there now, and not noted, nobody can have published since.
            case = replace(case, left=tuple(set(self._kind.look(case)) - set(case.before)))
        with self._alone():
            self._looked = ""
            made = self._kind.create(case)
        self._hide(made.fields)
        changed = self._changed(made.fields)
        try:
            self._write(replace(self._journal, step=Step.CREATED, **changed, pending_handle=made.handle, before=()))
        except Overtaken:
            self._discard_unnoted(case, made)
            raise

    def _discard_unnoted(self, case: Case, made: Made) -> None:
        """Whoever has overtaken us cannot know of it, unless a program gives the same again for the same id."""
        kept, target = self._world.kept, self._target
        noted = kept.read(target.journal).fields.get("pending")
        secret = kept.read(target.path).fields  # Read after the journal: what is noted there no more, is published.
        if noted != made.fields and not j.holds(secret, made.fields):
            self._kind.discard(replace(case, secret=secret, pending=made.fields, pending_handle=made.handle))

    def _changed(self, pending: Fields) -> Mapping[str, Fields]:
        there = self._journal.current if self._journal.step is Step.CREATING else self._secret.fields
        return {"pending": pending, "current": {key: there[key] for key in pending if key in there}}

    def _prove(self, which: d.Which) -> None:
        case = self._case()
        fields = {d.Which.PENDING: case.pending, d.Which.CURRENT: case.current, d.Which.PUBLIC: {}}[which]
        works = self._kind.prove({**case.secret, **fields})
        self._learnt = replace(self._learnt, works={**self._learnt.works, which: works})
        self._tell("debug", "credential tried", which=which.value, works=works)

    def _apply(self, *, reset: bool) -> None:
        if reset and self._journal.current:
            self._tell("warning", "the published credential does not work: it is replaced")
        case = self._case()
        with self._alone():
            self._kind.apply(case)
            # Without a lock of the system's we may have stood still before that for as long as others took for it.
            kept, target = self._world.kept, self._target
            if kept.read(target.journal).fields.get("id") != case.id and not j.holds(
                kept.read(target.path).fields, case.pending
            ):
                self._kind.discard(case)
                raise Overtaken
        self._learnt = _Learnt(applied=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Change the system under its lock, and only if what was decided upon still stands."""
        with self._kind.lock():
            # Whoever stood still before he got the lock may have been overtaken.
            kept, target = self._world.kept, self._target
            if kept.read(target.journal).version != self._at or self._is_other(kept.read(target.path)):
                raise Overtaken
            yield

    def _is_other(self, secret: Document) -> bool:
        """Whether the secret has been written, or deleted, which changes no number, since it was last read."""
        return (secret.version, bool(secret.fields)) != (self._secret.version, bool(self._secret.fields))

    def _publish(self) -> None:
        now = self._world.clock()
        again = self._journal.step is Step.PUBLISHED
        count = self._journal.count if again else self._count() + 1
        told = {"rotation_timestamp": _spelled(now), "rotation_count": count}
        fields = {**self._secret.fields, **self._journal.pending, **told}
        version = self._world.kept.write(self._target.path, fields, self._secret.version)
        self._secret = Document(version, fields)
        self._rotated = True
        self._tell("info", "rotation published", id=self._journal.id, version=version)

    def _count(self) -> int:
        said = self._secret.fields.get("rotation_count")
        return said if isinstance(said, int) and not isinstance(said, bool) else self._journal.count

    def _note(self) -> None:
        now, version = self._world.clock(), self._secret.version
        before = (one for one in self._journal.history if one.id != self._journal.id)
        past = (*before, Past(self._journal.id, now, version))[-j.HISTORY :]
        self._tell_history(past)
        noted = replace(
            self._held(self._journal),
            step=Step.PUBLISHED,
            published_version=version,
            published_at=now,
            rotated_at=now,
            count=self._count(),
            history=past,
        )
        self._write(noted)
        self._rotated = True  # though a run before this one may not have heard that it had written the secret
        self._learnt = _Learnt(works=self._learnt.works)

    def _tell_history(self, past: Iterable[Past]) -> None:
        said = {
            "rotation_id": self._journal.id,
            "rotation_count": str(self._count()),
            "rotation_timestamp": str(self._secret.fields.get("rotation_timestamp", "")),
            "rotation_history": " ".join(f"{_spelled(one.at)}=v{one.version}" for one in past),
        }
        try:
            self._world.kept.tell(self._target.path, said)
        except Refused as exc:  # It is but told there.
            self._tell("warning", "no history", reason=str(exc))

    def _ask_consumers(self) -> None:
        secret = self._world.kept.read(self._target.path)
        if self._is_other(secret):
            self._secret, self._learnt = secret, _Learnt()
            self._hide(secret.fields)
        found = self._world.confirmations()
        version = self._journal.published_version
        seen = standing(found, self._target.secret, version, self._target.consumers)
        self._learnt = replace(self._learnt, standing=seen)

    def _adopt(self) -> None:
        journal, version = self._journal, self._secret.version
        self._tell("warning", "set back by hand: the new credential is retired", id=journal.id, version=version)
        adopted = replace(
            self._held(journal),
            pending=journal.current,
            pending_handle=journal.handle,
            current=journal.pending,
            handle=journal.pending_handle,
            published_version=version,
            published_at=self._world.clock(),
        )
        self._write(adopted)
        self._learnt = _Learnt()

    def _spare(self) -> None:
        self._tell("warning", "the old credential is published again, and kept", id=self._journal.id)
        self._write(j.closed(self._journal, handle=self._journal.handle))

    def _retire(self, missing: tuple[str, ...]) -> None:
        now, journal = self._world.clock(), self._journal
        times, seen = journal.propagations, self._learnt.standing
        if seen is not None and seen.is_known and not missing:
            times = (*times, now - journal.started_at)[-j.HISTORY :]
            self._tell("info", "rotation confirmed", id=journal.id, seconds=round(now - journal.started_at, 3))
        kept, target = self._world.kept, self._target
        with self._alone():
            self._kind.retire(self._case())
            if self._is_other(kept.read(target.path)):
                # Somebody may just have published again what is retired now: look anew at what works.
                raise Overtaken
        self._tell("info", "old credential retired", id=journal.id)
        done = replace(journal, confirmed_at=now, propagations=times, missing=missing)
        if keep := self._kind.traits.keep:
            until = now + keep * self._target.keeps
            self._write(replace(done, step=Step.KEEPING, keep_until=until, pending={}, failures=0, error=""))
        else:
            self._write(j.closed(done, handle=done.pending_handle))
        self._forget(missing, journal.published_version)

    def _forget(self, missing: tuple[str, ...], version: int) -> None:
        for name in missing:
            self._tell("warning", "not waited for any longer", consumer=name, version=version)
            try:
                self._world.forget(name)
            except Refused as exc:  # Then the next rotation waits for it too.
                self._tell("warning", "consumer not forgotten", consumer=name, reason=str(exc))

    def _remove(self) -> None:
        with self._alone():
            self._kind.remove(self._case())
        self._tell("info", "old credential removed", id=self._journal.id)
        self._write(j.closed(self._journal, handle=self._journal.pending_handle))

    def _abandon(self, why: str, *, refused: bool) -> None:
        journal = self._journal
        self._tell("warning", "rotation given up", id=journal.id, reason=why)
        with self._alone():
            self._kind.discard(self._case())
        handle = journal.handle if j.holds(self._secret.fields, journal.current) else ""
        self._write(replace(j.closed(journal, handle=handle), error=why, failures=journal.failures))
        self._learnt = _Learnt()
        if refused:
            raise self._refused()

    def _refused(self) -> SystemRefused:
        todo = "see the system's log: may the login be used from here, and what else does it need?"
        return SystemRefused("the new credential is not let in", where=self._target.name, todo=todo)

    def _case(self) -> Case:
        journal = self._journal
        return Case(
            id=journal.id,
            secret=self._secret.fields,
            current=journal.current,
            pending=journal.pending,
            handle=journal.handle,
            pending_handle=journal.pending_handle,
            before=journal.before,
        )

    def _held(self, journal: Journal) -> Journal:
        until = self._world.clock() + d.HOLD + self._kind.traits.patience
        fence = journal.fence if journal.holder == self._world.holder else journal.fence + 1
        return replace(journal, holder=self._world.holder, held_until=until, fence=fence)

    def _let_go(self) -> None:
        if self._journal.holder == self._world.holder:
            self._write(replace(self._journal, holder="", held_until=0.0))

    def _note_failure(self, exc: LesseeError) -> bool:
        """Whether it counts: what fails for one who has been overtaken meanwhile says nothing of how things are."""
        now, journal = self._world.clock(), self._journal
        failed = replace(
            journal, failures=journal.failures + 1, error=str(exc), failed_at=now, holder="", held_until=0.0
        )
        try:
            if not self._is_held():
                self._write(failed)
        except Overtaken:
            return False
        except LesseeError as second:
            self._tell("warning", "the failure is not noted", reason=type(second).__name__)
        self._tell("error", "rotation failed", step=journal.step.value, reason=str(exc))
        return True

    def _read(self) -> None:
        document = self._world.kept.read(self._target.journal)
        self._secret = self._world.kept.read(self._target.path)
        try:
            self._journal, self._at = j.read(document.fields), document.version
        except ValueError as exc:
            todo = "see what it is; if nobody needs it: bao kv metadata delete"
            raise Refused(str(exc), where=self._target.journal, todo=todo) from None
        for fields in (self._secret.fields, self._journal.current, self._journal.pending):
            self._hide(fields)
        self._learnt = _Learnt()

    def _write(self, journal: Journal) -> None:
        self._at = self._world.kept.write(self._target.journal, j.written(journal), self._at)
        self._journal = journal

    def _hide(self, fields: Fields) -> None:
        self._world.hide(value for value in fields.values() if isinstance(value, str))

    def _tell(self, level: str, event: str, **fields: object) -> None:
        self._world.tell(level, event, target=self._target.name, **fields)


class _Learnt(Record, frozen=True):
    """What has been seen since the system, the journal or the secret last changed."""

    works: Mapping[d.Which, bool] = field(default_factory=dict)
    applied: bool = False
    standing: Standing | None = None


def _spelled(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
