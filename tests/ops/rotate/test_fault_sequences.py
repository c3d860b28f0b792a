# ruff: noqa: ARG002  # The models take what every kind takes.
"""Rotations of simulated systems, where anything may happen at any call: a kill, an outage, a suspension, an edit.

The systems here are models of the kinds; `test_contract` tests the same promises on real systems.
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

TIMEOUT = 10.0
SECRET, JOURNAL = "testing/database", "testing/lessee/rotation/target"

CONFIRMED = Consumer("simba", "host-1", {"database": 1_000_000})
"""A consumer that has confirmed all versions."""


class Event(Enum):
    """What happens at a call."""

    NOTHING = auto()
    KILL_BEFORE = auto()
    KILL_AFTER = auto()
    UNAVAILABLE = auto()
    RESPONSE_LOST = auto()
    SUSPENSION = auto()
    """It lasts until the lock has expired. Meanwhile another rotator finishes the rotation, and rotates once more."""
    LONG_SUSPENSION = auto()
    """The same, but the other rotates twice: then alternating roles are as before."""
    PAUSE = auto()
    """Shorter than the lock's lifetime, while another rotator tries to rotate."""
    CLOCK_SET_BACK = auto()
    """The clock is set back, so that all recorded times are in the future until the simulation ends."""
    EDIT_OTHER = auto()
    EDIT_STALE = auto()
    """A user writes back what they read before the rotation, with a change elsewhere."""
    EDIT_OWN = auto()
    """A user creates a credential and publishes it."""
    EDIT_INVALID = auto()
    CHANGE_SYSTEM = auto()
    """A user changes the credential in the system, and not in the secret."""


FAULTS = {
    Event.NOTHING,
    Event.KILL_BEFORE,
    Event.KILL_AFTER,
    Event.UNAVAILABLE,
    Event.RESPONSE_LOST,
    Event.SUSPENSION,
    Event.LONG_SUSPENSION,
    Event.PAUSE,
    Event.CLOCK_SET_BACK,
}
EDITS = {Event.EDIT_OTHER, Event.EDIT_STALE, Event.EDIT_OWN}
INVALIDATIONS = {Event.EDIT_INVALID, Event.CHANGE_SYSTEM}
EVENTS = [event for event in Event if event is not Event.NOTHING]
CALLS = 45
"""More than one rotation makes."""
SET_BACK = 4 * 3600.0
"""Seconds. A rotator polls through them; `Simulation.end` lets three hours pass."""


class Killed(BaseException):
    """As SIGKILL: no code of the rotator handles it."""


class Clock:
    """A clock in seconds since 1970."""

    def __init__(self):
        self.now = 1_000_000.0

    def sleep(self, seconds):
        self.now += seconds


class Kv:
    """KV v2 with check-and-set."""

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

    def require_check_and_set(self, path):
        pass

    def set_custom_metadata(self, path, metadata):
        pass


class System:
    """A model of a system, with its first credential. It numbers the credentials."""

    overlaps = True

    def __init__(self):
        self.numbers = count(1)
        self.lock_owner = None
        self.first = self.create_manually()

    def new(self, creator):
        return f"{creator}-{next(self.numbers)}"

    @contextmanager
    def locked(self):
        if self.lock_owner is not None:
            raise SystemUnavailableError("another rotator has the lock", where="system")
        self.lock_owner = object()
        try:
            yield
        finally:
            self.lock_owner = None


class Roles(System):
    """As `postgres`: two alternating roles, under the system's own lock."""

    traits = Traits(timeout=TIMEOUT)

    def __init__(self):
        self.passwords = {}
        super().__init__()

    def create_manually(self):
        self.passwords["a"] = self.new("manual")
        return {"username": "a", "password": self.passwords["a"]}

    def lock(self):
        return self.locked()

    def list_credentials(self, case):
        return ()

    def create(self, case):
        other = "b" if case.secret.get("username") == "a" else "a"
        return NewCredential({"username": other, "password": self.new("new")})

    def apply(self, case):
        self.passwords[case.pending["username"]] = case.pending["password"]

    def verify(self, fields):
        return self.passwords.get(fields.get("username"), "") == fields.get("password")

    def revoke(self, case):
        if case.current["username"] != case.secret["username"]:
            self.passwords.pop(case.current["username"], None)
        return True

    def discard(self, case):
        if case.pending["username"] != case.secret["username"]:
            self.passwords.pop(case.pending["username"], None)

    def valid_passwords(self):
        return set(self.passwords.values())

    def invalidate(self):
        self.passwords = dict.fromkeys(self.passwords, "invalid")


class Single(Roles):
    """One role with one password."""

    traits = Traits(timeout=TIMEOUT, overlaps=False)
    overlaps = False

    def create(self, case):
        return NewCredential({"username": "a", "password": self.new("new")})


class Passwords(System):
    """As `redis`: several valid passwords, and no lock."""

    traits = Traits(timeout=TIMEOUT)

    def __init__(self):
        self.valid = set()
        super().__init__()

    def create_manually(self):
        new = self.new("manual")
        self.valid.add(new)
        return {"password": new}

    def lock(self):
        return nullcontext()

    def list_credentials(self, case):
        return ()

    def create(self, case):
        return NewCredential({"password": self.new("new")})

    def apply(self, case):
        self.valid.add(case.pending["password"])

    def verify(self, fields):
        return fields.get("password") in self.valid

    def revoke(self, case):
        self._drop(case, case.current)
        return True

    def discard(self, case):
        self._drop(case, case.pending)

    def _drop(self, case, fields):
        if fields["password"] != case.secret.get("password"):
            self.valid.discard(fields["password"])

    def valid_passwords(self):
        return set(self.valid)

    def invalidate(self):
        self.valid = {"invalid"}


class Keys(System):
    """As `s3`: the system generates the keys; the old one is disabled, and deleted later."""

    traits = Traits(timeout=TIMEOUT, system_generated=True, delete_delay=60.0)

    def __init__(self):
        self.keys = {}
        super().__init__()

    def create_manually(self):
        return self._create("manual")

    def _create(self, creator):
        new = self.new(creator)
        self.keys[f"id-{new}"] = True
        return {"access_key": f"id-{new}", "password": new}

    def lock(self):
        return nullcontext()

    def list_credentials(self, case):
        return tuple(self.keys)

    def create(self, case):
        for name in {*case.leftovers} - {case.secret.get("access_key")}:
            self.keys.pop(name, None)
        return NewCredential(self._create("new"))

    def apply(self, case):
        raise AssertionError("the system generates the keys")

    def verify(self, fields):
        return self.keys.get(fields.get("access_key"), False)

    def revoke(self, case):
        if case.current["access_key"] in self.keys:
            self.keys[case.current["access_key"]] = False
        return True

    def delete(self, case):
        self.keys.pop(case.current["access_key"], None)

    def discard(self, case):
        if case.pending["access_key"] != case.secret.get("access_key"):
            self.keys.pop(case.pending["access_key"], None)

    def valid_passwords(self):
        return {name.removeprefix("id-") for name, active in self.keys.items() if active}

    def invalidate(self):
        self.keys = dict.fromkeys(self.keys, False)


MODELS = {"roles": Roles, "passwords": Passwords, "keys": Keys, "single": Single}


class Simulation:
    """One target with its system and Vault. Each call that leaves a rotator takes the next event."""

    def __init__(self, model, events):
        self.system, self.kv, self.clock = model(), Kv(), Clock()
        self.events = iter(events)
        self.names, self.ids = count(), count(1)
        self.calls = self.depth = 0
        self.others = 0
        self.values = {}
        self.manual = set()
        self.kv.write(SECRET, {"host": "db", "others": 0, "rotation_count": 0, **self.system.first}, 0)

    def rotator(self):
        name = f"rotator-{next(self.names)}"
        ports = Ports(
            store=Faulty(self, self.kv, VaultUnreachableError),
            confirmations=lambda: self.call(lambda: (CONFIRMED,), VaultUnreachableError),
            remove_consumer=lambda _: None,
            own_id=name,
            clock=lambda: self.clock.now,
            sleep=self.clock.sleep,
            log=lambda *_, **__: None,
            redact=lambda _: None,
            new_id=lambda: str(next(self.ids)),
        )
        target = Target("target", "database", SECRET, JOURNAL, (), 1.0)
        return TargetRotation(target, Faulty(self, self.system, SystemUnavailableError), ports)

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

    def call(self, function, error):
        self.calls += 1
        event = next(self.events, Event.NOTHING)
        if event is Event.KILL_BEFORE:
            raise Killed
        if event is Event.UNAVAILABLE:
            raise error("unavailable", where="there")
        self.apply(event)
        answer = function()
        self.check()
        if event is Event.KILL_AFTER:
            raise Killed
        if event is Event.RESPONSE_LOST:
            raise error("lost", where="there")
        return answer

    def apply(self, event):
        now = self.published()
        match event:
            case Event.SUSPENSION | Event.LONG_SUSPENSION | Event.PAUSE if self.depth < 3:
                self.depth += 1
                self.clock.now += 1.0 if event is Event.PAUSE else LOCK_TTL + TIMEOUT + 1
                for _ in range(2 if event is Event.LONG_SUSPENSION else 1):
                    self.clock.now += 1.0
                    self.run(force=True, timeout=5.0)
                self.depth -= 1
            case Event.CLOCK_SET_BACK:
                self.clock.now -= SET_BACK
            case Event.EDIT_OTHER:
                self.edit(now)
            case Event.EDIT_STALE:
                self.edit({**now, **self.system.first} if self.system.verify(self.system.first) else now)
            case Event.EDIT_OWN:
                manual = self.system.create_manually()
                self.manual.add(manual["password"])
                self.edit({**now, **manual})
            case Event.EDIT_INVALID:
                self.edit({**now, "password": "invalid", "access_key": "invalid"})
            case Event.CHANGE_SYSTEM:
                self.system.invalidate()

    def edit(self, fields):
        self.others += 1
        self.kv.write(SECRET, {**fields, "others": self.others}, self.kv.read(SECRET).version)

    def check(self):
        """The invariants after each call."""
        journal = self.journal()
        if journal.id and journal.pending and journal.step is not Step.PUBLISHED:
            assert self.values.setdefault(journal.id, journal.pending) == journal.pending
        assert self.published()["others"] == self.others
        assert self.published()["host"] == "db"
        if self.always_works:
            assert self.works()

    always_works = False

    def end(self, *, helped=False):
        """End the faults; start again, and rotate again. Returns the credentials that are left."""
        self.events = iter(())
        self.clock.now += 3600
        self.run(finish_only=True)
        if helped and self.system.traits.system_generated and not self.works():
            self.edit({**self.published(), **self.system.create_manually()})  # No rotator can.
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
        return {name for name in self.system.valid_passwords() if name.startswith("new-")} - {
            self.published()["password"]
        }


class Faulty:
    """An external system whose calls may fail."""

    def __init__(self, simulation, inner, error):
        self._simulation, self._inner, self._error = simulation, inner, error

    def __getattr__(self, name):
        attribute = getattr(self._inner, name)
        if not callable(attribute) or name == "traits":
            return attribute
        return lambda *arguments: self._simulation.call(lambda: attribute(*arguments), self._error)


def sequences(events):
    """Sequences of events, one for each call of a run; most calls have none."""
    some = st.sampled_from(sorted(events - {Event.NOTHING}, key=str))
    placed = st.dictionaries(st.integers(0, 50), some, max_size=4)
    return placed.map(lambda at: [at.get(number, Event.NOTHING) for number in range(max(at, default=-1) + 1)])


def simulate(model, *runs, always_works):
    """A simulation after these runs. `always_works`: no event may invalidate the published credential, even briefly."""
    simulation = Simulation(model, ())
    simulation.always_works = always_works
    for events in runs:
        simulation.events = iter(events)
        if simulation.run(force=True) is not None and not {*events} & INVALIDATIONS:
            assert simulation.works()
        simulation.clock.now += 100
    return simulation


@pytest.mark.thorough(each=2)
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.name.lower())
def test_no_event_at_a_single_call_does_harm(model, event):
    for number in range(CALLS):
        always_works = event in FAULTS and model.overlaps
        simulation = simulate(model, [Event.NOTHING] * number + [event], always_works=always_works)
        left = simulation.end(helped=event in INVALIDATIONS)
        assert not left or event not in FAULTS


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_a_rotation_makes_fewer_calls_than_are_tested(model):
    assert 20 < simulate(model, [], always_works=model.overlaps).calls < CALLS


@pytest.mark.thorough
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@settings(max_examples=100)
@given(st.lists(sequences(FAULTS), min_size=1, max_size=3))
def test_the_published_credential_always_works_and_no_other_is_left(model, runs):
    simulation = simulate(model, *runs, always_works=model.overlaps)
    assert simulation.end() == set()
    published, journal = simulation.published(), simulation.journal()
    assert published["rotation_count"] == journal.count
    assert min(journal.count, j.HISTORY) == len({entry.id for entry in journal.history})


@pytest.mark.thorough
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@settings(max_examples=100)
@given(st.lists(sequences(FAULTS | EDITS), min_size=1, max_size=3))
def test_rotations_converge_after_edits_by_users(model, runs):
    simulate(model, *runs, always_works=False).end()


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@settings(max_examples=100)
@given(st.lists(sequences(FAULTS | EDITS | INVALIDATIONS), min_size=1, max_size=3))
def test_rotations_converge_after_any_event(model, runs):
    simulate(model, *runs, always_works=False).end(helped=True)
