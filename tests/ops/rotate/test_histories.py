# ruff: noqa: ARG002  # The models take what every kind takes.
"""The engine in a world of its own, where anything may happen at any call: death, silence, a long sleep, a person.

The systems here are models of the kinds, whose real ones are held to the same in `test_contract`.
"""

from contextlib import contextmanager, nullcontext
from enum import Enum, auto
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessee.core.consumers import Consumer
from lessee.core.errors import LesseeError, VaultUnreachableError
from lessee.ops.rotate.documents import ConcurrentWriteError, Document
from lessee.ops.rotate.kinds.kind import NewCredential, SystemUnavailableError
from lessee.ops.rotate.policy import journal as j
from lessee.ops.rotate.policy.decision import LOCK_TTL, Outcome, Traits
from lessee.ops.rotate.policy.journal import Step
from lessee.ops.rotate.ports import Ports, Target
from lessee.ops.rotate.rotation import TargetRotation

PATIENCE = 10.0
SECRET, JOURNAL = "testing/database", "testing/lessee/rotation/target"

CONFIRMED = Consumer("simba", "host-1", {"database": 1_000_000})
"""One who is always ahead."""


class Event(Enum):
    """What befalls a call."""

    NOTHING = auto()
    KILL_BEFORE = auto()
    KILL_AFTER = auto()
    AWAY = auto()
    LOST = auto()
    SLEEP = auto()
    """Until the hold has run out, while another finishes what it has begun, and rotates once more; then it goes on."""
    LONG_SLEEP = auto()
    """The same, while the other rotates twice: roles that take turns are where they were."""
    PAUSE = auto()
    """Shorter than the hold, while another rotator looks in."""
    SET_BACK = auto()
    """The clock is set back by a day."""
    EDIT_OTHER = auto()
    EDIT_STALE = auto()
    """A person writes back what they read before the rotation, with a change elsewhere."""
    EDIT_OWN = auto()
    """A person makes a credential of their own and publishes it."""
    EDIT_RUBBISH = auto()
    CHANGE_SYSTEM = auto()
    """A person changes what opens the system, and not the secret."""


QUIET = {
    Event.NOTHING,
    Event.KILL_BEFORE,
    Event.KILL_AFTER,
    Event.AWAY,
    Event.LOST,
    Event.SLEEP,
    Event.LONG_SLEEP,
    Event.PAUSE,
    Event.SET_BACK,
}
PEOPLE = {Event.EDIT_OTHER, Event.EDIT_STALE, Event.EDIT_OWN}
SPOILING = {Event.EDIT_RUBBISH, Event.CHANGE_SYSTEM}
BEFALLING = [event for event in Event if event is not Event.NOTHING]
CALLS = 45
"""More than one rotation has."""


class Killed(BaseException):
    """As SIGKILL: nothing of it is caught."""


class Clock:
    """Seconds since 1970."""

    def __init__(self):
        self.now = 1_000_000.0

    def sleep(self, seconds):
        self.now += seconds


class Kv:
    """KV v2 with cas."""

    def __init__(self):
        self.documents = {}

    def read(self, path):
        return self.documents.get(path, Document(0, {}))

    def write(self, path, fields, over):
        if self.read(path).version != over:
            raise ConcurrentWriteError
        self.documents[path] = Document(over + 1, dict(fields))
        return over + 1

    def keep_newest_only(self, path):
        pass

    def tell(self, path, said):
        pass


class System:
    """What all models share: made with the first credential, and counting what is made."""

    overlaps = True

    def __init__(self):
        self.numbers = count(1)
        self.holder = None
        self.first = self.by_hand()

    def new(self, who):
        return f"{who}-{next(self.numbers)}"

    @contextmanager
    def locked(self):
        if self.holder is not None:
            raise SystemUnavailableError("the lock is held", where="system")
        self.holder = object()
        try:
            yield
        finally:
            self.holder = None


class Roles(System):
    """As `postgres`: two roles that take turns, under the system's own lock."""

    traits = Traits(timeout=PATIENCE)

    def __init__(self):
        self.passwords = {}
        super().__init__()

    def by_hand(self):
        self.passwords["a"] = self.new("hand")
        return {"username": "a", "password": self.passwords["a"]}

    def lock(self):
        return self.locked()

    def list_credentials(self, case):
        return ()

    def create(self, case):
        other = "b" if case.secret.get("username") == "a" else "a"
        return NewCredential({"username": other, "password": self.new("made")})

    def apply(self, case):
        self.passwords[case.pending["username"]] = case.pending["password"]

    def verify(self, fields):
        return self.passwords.get(fields.get("username"), "") == fields.get("password")

    def revoke(self, case):
        if case.current["username"] != case.secret["username"]:
            self.passwords.pop(case.current["username"], None)

    def discard(self, case):
        if case.pending["username"] != case.secret["username"]:
            self.passwords.pop(case.pending["username"], None)

    def working(self):
        return set(self.passwords.values())

    def spoil(self):
        self.passwords = dict.fromkeys(self.passwords, "spoilt")


class Single(Roles):
    """One password, which there is no second of."""

    traits = Traits(timeout=PATIENCE, overlaps=False)
    overlaps = False

    def create(self, case):
        return NewCredential({"username": "a", "password": self.new("made")})


class Passwords(System):
    """As `redis`: several passwords at once, and no lock."""

    traits = Traits(timeout=PATIENCE)

    def __init__(self):
        self.valid = set()
        super().__init__()

    def by_hand(self):
        new = self.new("hand")
        self.valid.add(new)
        return {"password": new}

    def lock(self):
        return nullcontext()

    def list_credentials(self, case):
        return ()

    def create(self, case):
        return NewCredential({"password": self.new("made")})

    def apply(self, case):
        self.valid.add(case.pending["password"])

    def verify(self, fields):
        return fields.get("password") in self.valid

    def revoke(self, case):
        self._drop(case, case.current)

    def discard(self, case):
        self._drop(case, case.pending)

    def _drop(self, case, fields):
        if fields["password"] != case.secret.get("password"):
            self.valid.discard(fields["password"])

    def working(self):
        return set(self.valid)

    def spoil(self):
        self.valid = {"spoilt"}


class Keys(System):
    """As `s3`: the system makes the keys; the old one is kept, disabled, for a while."""

    traits = Traits(timeout=PATIENCE, system_generated=True, delete_delay=60.0)

    def __init__(self):
        self.keys = {}
        super().__init__()

    def by_hand(self):
        return self._made("hand")

    def _made(self, who):
        new = self.new(who)
        self.keys[f"id-{new}"] = True
        return {"access_key": f"id-{new}", "password": new}

    def lock(self):
        return nullcontext()

    def list_credentials(self, case):
        return tuple(self.keys)

    def create(self, case):
        for name in {*case.leftovers} - {case.secret.get("access_key")}:
            self.keys.pop(name, None)
        return NewCredential(self._made("made"))

    def apply(self, case):
        raise AssertionError("the system makes them")

    def verify(self, fields):
        return self.keys.get(fields.get("access_key"), False)

    def revoke(self, case):
        if case.current["access_key"] in self.keys:
            self.keys[case.current["access_key"]] = False

    def delete(self, case):
        self.keys.pop(case.current["access_key"], None)

    def discard(self, case):
        if case.pending["access_key"] != case.secret.get("access_key"):
            self.keys.pop(case.pending["access_key"], None)

    def working(self):
        return {name.removeprefix("id-") for name, active in self.keys.items() if active}

    def spoil(self):
        self.keys = dict.fromkeys(self.keys, False)


MODELS = {"roles": Roles, "passwords": Passwords, "keys": Keys, "single": Single}


class Story:
    """One target in one world, to which the events befall in turn, one for each call that leaves a rotator."""

    def __init__(self, model, events):
        self.system, self.kv, self.clock = model(), Kv(), Clock()
        self.events = iter(events)
        self.names, self.ids = count(), count(1)
        self.calls = self.depth = 0
        self.others = 0
        self.values = {}
        self.by_hand = set()
        self.spoilt = False
        self.kv.write(SECRET, {"host": "db", "others": 0, "rotation_count": 0, **self.system.first}, 0)

    def rotator(self):
        name = f"rotator-{next(self.names)}"
        world = Ports(
            kept=Outside(self, self.kv, VaultUnreachableError),
            confirmations=lambda: self.crossing(lambda: (CONFIRMED,), VaultUnreachableError),
            forget=lambda _: None,
            lock_owner=name,
            clock=lambda: self.clock.now,
            sleep=self.clock.sleep,
            tell=lambda *_, **__: None,
            hide=lambda _: None,
            new_id=lambda: str(next(self.ids)),
        )
        target = Target("target", "database", SECRET, JOURNAL, (), 1.0)
        return TargetRotation(target, Outside(self, self.system, SystemUnavailableError), world)

    def run(self, **settings):
        try:
            return self.rotator().run(**settings)
        except (Killed, LesseeError):
            return None

    def published(self):
        return self.kv.read(SECRET).fields

    def journal(self):
        return j.parse(self.kv.read(JOURNAL).fields)

    def works(self):
        return self.system.verify(self.published())

    def crossing(self, call, error):
        self.calls += 1
        event = next(self.events, Event.NOTHING)
        if event is Event.KILL_BEFORE:
            raise Killed
        if event is Event.AWAY:
            raise error("away", where="there")
        self.befall(event)
        answer = call()
        self.check()
        if event is Event.KILL_AFTER:
            raise Killed
        if event is Event.LOST:
            raise error("lost", where="there")
        return answer

    def befall(self, event):
        now = self.published()
        match event:
            case Event.SLEEP | Event.LONG_SLEEP | Event.PAUSE if self.depth < 3:
                self.depth += 1
                self.clock.now += 1.0 if event is Event.PAUSE else LOCK_TTL + PATIENCE + 1
                for _ in range(2 if event is Event.LONG_SLEEP else 1):
                    self.clock.now += 1.0
                    self.run(force=True, timeout=5.0)
                self.depth -= 1
            case Event.SET_BACK:
                self.clock.now -= 86400.0
            case Event.EDIT_OTHER:
                self.edit(now)
            case Event.EDIT_STALE:
                self.edit({**now, **self.system.first} if self.system.verify(self.system.first) else now)
            case Event.EDIT_OWN:
                mine = self.system.by_hand()
                self.by_hand.add(mine["password"])
                self.edit({**now, **mine})
            case Event.EDIT_RUBBISH:
                self.edit({**now, "password": "rubbish", "access_key": "rubbish"})
            case Event.CHANGE_SYSTEM:
                self.system.spoil()

    def edit(self, fields):
        self.others += 1
        self.kv.write(SECRET, {**fields, "others": self.others}, self.kv.read(SECRET).version)

    def check(self):
        """What holds at any moment."""
        journal = self.journal()
        if journal.id and journal.pending and journal.step is not Step.PUBLISHED:
            assert self.values.setdefault(journal.id, journal.pending) == journal.pending
        assert self.published()["others"] == self.others
        assert self.published()["host"] == "db"
        if self.is_calm:
            assert self.works()

    is_calm = False

    def end(self, *, helped=False):
        """The faults are over; the next start comes, and then the next rotation."""
        self.events = iter(())
        self.clock.now += 3600
        self.run(finish_only=True)
        if helped and self.system.traits.system_generated and not self.works():
            self.edit({**self.published(), **self.system.by_hand()})  # Nobody else can.
        self.clock.now += 3600
        assert self.rotator().run() is Outcome.ROTATED
        assert self.works()
        self.clock.now += 3600
        self.run(finish_only=True)
        assert self.works()
        journal = self.journal()
        assert journal.step is Step.IDLE
        assert not journal.pending
        assert not journal.current
        return {name for name in self.system.working() if name.startswith("made-")} - {self.published()["password"]}


class Outside:
    """Something that is reached by calls, each of which may go wrong."""

    def __init__(self, story, inner, error):
        self._story, self._inner, self._error = story, inner, error

    def __getattr__(self, name):
        found = getattr(self._inner, name)
        if not callable(found) or name == "traits":
            return found
        return lambda *arguments: self._story.crossing(lambda: found(*arguments), self._error)


def stories(events):
    """What befalls a few of a run's calls, by their number."""
    some = st.sampled_from(sorted(events - {Event.NOTHING}, key=str))
    placed = st.dictionaries(st.integers(0, 50), some, max_size=4)
    return placed.map(lambda at: [at.get(number, Event.NOTHING) for number in range(max(at, default=-1) + 1)])


def told(model, *chapters, calm):
    """A story of some runs. `calm`: nothing befalls them for which what is published may fail even for a moment."""
    story = Story(model, ())
    story.is_calm = calm
    for events in chapters:
        story.events = iter(events)
        if story.run(force=True) is not None and not {*events} & SPOILING:
            assert story.works()
        story.clock.now += 100
    return story


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("event", BEFALLING, ids=lambda event: event.name.lower())
def test_nothing_that_befalls_a_single_call_does_harm(model, event):
    for number in range(CALLS):
        story = told(model, [Event.NOTHING] * number + [event], calm=event in QUIET and model.overlaps)
        left = story.end(helped=event in SPOILING)
        assert not left or event not in QUIET


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_a_rotation_makes_no_more_calls_than_are_disturbed(model):
    assert 20 < told(model, [], calm=model.overlaps).calls < CALLS


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@settings(max_examples=100)
@given(st.lists(stories(QUIET), min_size=1, max_size=3))
def test_what_is_published_works_at_any_moment_and_nothing_is_left_over(model, chapters):
    story = told(model, *chapters, calm=model.overlaps)
    assert story.end() == set()
    published, journal = story.published(), story.journal()
    assert published["rotation_count"] == journal.count
    assert min(journal.count, j.HISTORY) == len({past.id for past in journal.history})


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@settings(max_examples=100)
@given(st.lists(stories(QUIET | PEOPLE), min_size=1, max_size=3))
def test_what_people_publish_works_as_long_as_it_did(model, chapters):
    told(model, *chapters, calm=False).end()


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@settings(max_examples=100)
@given(st.lists(stories(QUIET | PEOPLE | SPOILING), min_size=1, max_size=3))
def test_it_converges_whatever_has_happened(model, chapters):
    told(model, *chapters, calm=False).end(helped=True)
