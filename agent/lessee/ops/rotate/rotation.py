"""Brings one target's rotation to its end: does what core decides, and tells it what came of it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import inf, nextafter
from typing import assert_never

from msgspec import field

from lessee.core.consumers import Standing, standing
from lessee.core.errors import LesseeError, RefusedError, VaultUnreachableError
from lessee.core.immutable import Record, replace
from lessee.ops.rotate.document_contents import Documents
from lessee.ops.rotate.documents import OvertakenError
from lessee.ops.rotate.kinds.kind import Case, Kind, Made, SystemRefusedError
from lessee.ops.rotate.lock_owner import has_left
from lessee.ops.rotate.policy import decision as d
from lessee.ops.rotate.policy import journal as j
from lessee.ops.rotate.policy.journal import Journal
from lessee.ops.rotate.ports import BusyError, Target, World


class Rotator:
    """One target, its kind, and what is known of both. For one thread."""

    def __init__(self, target: Target, kind: Kind, world: World) -> None:
        self._target = target
        self._kind = kind
        self._world = world
        self._documents = Documents(target, world, kind.traits.patience)
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

        Raises BusyError, SystemUnavailableError, SystemRefusedError, RefusedError and VaultUnreachableError; what has begun then stays noted, and the
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
                    self._documents.let_go()
                    return action.outcome
                self._obey(action, patient=sight.now - began < timeout)
            except OvertakenError:
                self._read()
            except d.RefusedByOwnSystemError:
                refused = self._refused()
                self._documents.note_failure(refused)
                raise refused from None
            except d.SecretGoneError:
                todo = "bring it back: bao kv undelete, or write it again; or take the target out"
                gone = RefusedError("the secret was deleted", where=self._target.path, todo=todo)
                self._documents.note_failure(gone)
                raise gone from None
            except (BusyError, VaultUnreachableError):
                raise
            except LesseeError as exc:
                if self._documents.note_failure(exc):
                    raise
                self._read()

    @property
    def journal(self) -> Journal:
        """As it was last read or written."""
        return self._documents.journal

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
            journal=self._documents.journal,
            secret=d.Secret(self._documents.secret.version, self._documents.secret.fields),
            traits=self._kind.traits,
            holder=self._world.holder,
            now=self._world.clock(),
            since=since,
            within=self._target.within,
            lingers=self._target.lingers,
            force=force,
            works=self._learnt.works,
            applied=self._learnt.applied,
            left=self._documents.is_held and has_left(self._documents.journal.holder),
            standing=self._learnt.standing,
            may_wait=may_wait,
            open_only=open_only,
        )

    def _obey(self, action: d.Action, *, patient: bool) -> None:
        match action:
            case d.Wait(seconds):
                self._wait(seconds, patient=patient)
            case d.Take():
                self._documents.take()
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
                self._documents.publish()
                self._rotated = True
            case d.Note():
                self._documents.note()
                self._rotated = True  # though a run before this one may not have heard that it had written the secret
                self._learnt = _Learnt(works=self._learnt.works)
            case d.AskConsumers():
                self._ask_consumers()
            case d.Confirm():
                self._documents.note_confirmed()
            case d.Adopt():
                self._documents.adopt()
                self._learnt = _Learnt()
            case d.Spare():
                self._tell("warning", "the old credential is published again, and kept", id=self.journal.id)
                self._documents.close(published=False)
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
        held = self._documents.is_held
        if held and not patient:
            raise BusyError("another rotator is at it", where=self._target.name, todo="wait for it, or see --status")
        self._world.sleep(seconds)
        self._learnt = _Learnt()
        if held:
            self._read()

    def _look(self) -> None:
        before = self._kind.look(self._documents.case())
        begun = self._documents.begun()
        self._documents.note_look(begun, before)
        self._looked = begun.id

    def _begin(self) -> None:
        begun = self._documents.begun()
        made = self._kind.create(replace(self._documents.case(), id=begun.id))
        self._documents.note_made(begun, made)
        self._learnt = _Learnt(works={d.Which.PENDING: False})  # Nobody knows it yet.

    def _create(self) -> None:
        case = replace(self._documents.case(), retried=self._looked != self.journal.id)
        if case.retried:
            # Before the journal is looked at: what is there now, and not noted, nobody can have published since.
            case = replace(case, left=tuple(set(self._kind.look(case)) - set(case.before)))
        with self._alone():
            self._looked = ""
            made = self._kind.create(case)
        try:
            self._documents.note_made(self.journal, made)
        except OvertakenError:
            self._discard_unnoted(case, made)
            raise

    def _discard_unnoted(self, case: Case, made: Made) -> None:
        """Whoever has overtaken us cannot know of it, unless a program gives the same again for the same id."""
        kept, target = self._world.kept, self._target
        noted = kept.read(target.journal).fields.get("pending")
        secret = kept.read(target.path).fields  # Read after the journal: what is noted there no more, is published.
        if noted != made.fields and not j.holds(secret, made.fields):
            self._kind.discard(replace(case, secret=secret, pending=made.fields, pending_handle=made.handle))

    def _prove(self, which: d.Which) -> None:
        case = self._documents.case()
        fields = {d.Which.PENDING: case.pending, d.Which.CURRENT: case.current, d.Which.PUBLIC: {}}[which]
        works = self._kind.prove({**case.secret, **fields})
        self._learnt = replace(self._learnt, works={**self._learnt.works, which: works})
        self._tell("debug", "credential tried", which=which.value, works=works)

    def _apply(self, *, reset: bool) -> None:
        if reset and self.journal.current:
            self._tell("warning", "the published credential does not work: it is replaced")
        case = self._documents.case()
        with self._alone():
            self._kind.apply(case)
            # Without a lock of the system's we may have stood still before that for as long as others took for it.
            if self._documents.is_given_up(case):
                self._kind.discard(case)
                raise OvertakenError
        self._learnt = _Learnt(applied=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Change the system under its lock, and only if what was decided upon still stands."""
        with self._kind.lock():
            # Whoever stood still before he got the lock may have been overtaken.
            self._documents.check()
            yield

    def _ask_consumers(self) -> None:
        if self._documents.read_secret():
            self._learnt = _Learnt()
        found = self._world.confirmations()
        version = self.journal.published_version
        seen = standing(found, self._target.secret, version, self._target.consumers)
        self._learnt = replace(self._learnt, standing=seen)

    def _retire(self, missing: tuple[str, ...]) -> None:
        now, journal = self._world.clock(), self.journal
        with self._alone():
            self._kind.retire(self._documents.case())
            # Somebody may just have published again what is retired now: then look anew at what works.
            self._documents.check_secret()
        self._tell("info", "old credential retired", id=journal.id)
        keep = self._kind.traits.keep
        self._documents.note_retired(missing, now + keep * self._target.keeps if keep else 0.0)
        self._forget(missing, journal.published_version)

    def _forget(self, missing: tuple[str, ...], version: int) -> None:
        for name in missing:
            self._tell("warning", "not waited for any longer", consumer=name, version=version)
            try:
                self._world.forget(name)
            except RefusedError as exc:  # Then the next rotation waits for it too.
                self._tell("warning", "consumer not forgotten", consumer=name, reason=str(exc))

    def _remove(self) -> None:
        with self._alone():
            self._kind.remove(self._documents.case())
        self._tell("info", "old credential removed", id=self.journal.id)
        self._documents.close(published=True)

    def _abandon(self, why: str, *, refused: bool) -> None:
        self._tell("warning", "rotation given up", id=self.journal.id, reason=why)
        with self._alone():
            self._kind.discard(self._documents.case())
        self._documents.give_up(why)
        self._learnt = _Learnt()
        if refused:
            raise self._refused()

    def _refused(self) -> SystemRefusedError:
        todo = "see the system's log: may the login be used from here, and what else does it need?"
        return SystemRefusedError("the new credential is not let in", where=self._target.name, todo=todo)

    def _read(self) -> None:
        self._documents.read()
        self._learnt = _Learnt()

    def _tell(self, level: str, event: str, **fields: object) -> None:
        self._world.tell(level, event, target=self._target.name, **fields)


class _Learnt(Record, frozen=True):
    """What has been seen since the system, the journal or the secret last changed."""

    works: Mapping[d.Which, bool] = field(default_factory=dict)
    applied: bool = False
    standing: Standing | None = None
