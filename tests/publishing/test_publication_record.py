"""What is noted of an app is true wherever the agent is killed."""

from hypothesis import given, settings
from hypothesis import strategies as st

from lessee.core.immutable import replace
from lessee.publishing.publication_record import (
    AppRecord,
    as_of,
    fallen_back_to,
    going_back,
    gone_back,
    is_going_back,
    settled,
    showing,
)

KILLED = ("before it is noted", "before it is shown", "after it is shown", "never")
steps = st.lists(
    st.tuples(
        st.sampled_from(["back", "show", "fall", "proved", "told", "forgive", "withdraw"]),
        st.booleans(),
        st.sampled_from([True, True, False]),
        st.sampled_from(KILLED),
    ),
    max_size=15,
)


class World:
    """An app's directory and its record, beside what is true of them."""

    def __init__(self):
        self.record, self.live, self.there = AppRecord(), None, {}
        self.highest = 0
        self.owed, self.open, self.backup, self.bad = False, False, None, None
        self.fallen = None

    @property
    def seen(self):
        return as_of(self.record, self.live, self.there)

    def fall(self, owe, prove, killed):
        """Only where there is nothing, or what was fallen back to before."""
        if self.live is None or self.fallen is not None:
            self.show(owe, prove, killed, "env" if self.fallen != "env" else "last_good")

    def show(self, owe, prove, killed, fallback=None):
        self.highest = number = max([self.highest, *self.there]) + 1
        if killed == KILLED[0]:
            return
        self.record = showing(self.seen, self.live, number, f"f{number}", owe=owe, prove=prove, fallback=fallback)
        self.there[number] = f"f{number}"
        went_back = self.bad is not None and self.backup is None
        if killed == KILLED[1]:
            # What is to be shown now was right whatever was bad; and what was gone back to had worked before.
            self.bad = None
            if not prove or went_back:
                self.open, self.backup = False, None
            elif self.fallen is not None:
                self.open = True  # as nothing says that it was proved
            return
        if self.fallen is not None:
            self.backup = None
        elif prove:
            self.backup = self.backup if self.backup is not None else self.live if not self.open or went_back else None
        else:
            self.backup = None
        self.live, self.owed, self.open, self.bad, self.fallen = number, owe, prove, None, fallback
        if killed == KILLED[3]:
            self.record = replace(self.record, shown_at=float(number))

    def back(self, owe, _, killed):
        if self.backup is None or killed == KILLED[0]:
            return
        bad, to = self.there[self.live], self.backup
        self.record = going_back(self.seen, self.live, to, bad=bad, owe=owe)
        if killed == KILLED[1]:
            self.sweep()
            assert is_going_back(self.seen, self.live)
        noted = self.seen if is_going_back(self.seen, self.live) else self.record
        self.live, self.owed, self.open, self.backup, self.bad = to, owe, True, None, bad
        if killed != KILLED[2]:
            self.record = gone_back(noted, 1.0)

    def told(self, *_):
        self.record, self.owed = settled(self.seen, self.live), False

    def proved(self, *_):
        self.record = replace(self.seen, unproved=None, good=None)
        self.open, self.backup = False, None

    def forgive(self, *_):
        # Forgiven, what was gone back to is as one that was never proved: it is looked at again.
        self.record, self.bad = replace(self.seen, bad=None), None

    def withdraw(self, _, __, killed):
        self.live, self.there, self.fallen = None, {}, None
        self.owed, self.open, self.backup, self.bad = False, False, None, None
        if killed in KILLED[2:]:
            self.record = AppRecord()

    def sweep(self):
        """The agent is back: all is swept but what is live and what may be gone back to."""
        kept = {self.live, self.seen.good}
        self.there = {number: tag for number, tag in self.there.items() if number in kept}
        self.highest = 0

    def holds(self):
        seen = self.seen
        assert seen.owed == ((self.live,) if self.owed else ())
        assert seen.unproved == (self.live if self.open else None)
        assert (seen.good, seen.bad) == (self.backup, self.bad)
        assert fallen_back_to(seen) == self.fallen
        assert self.backup is None or self.backup in self.there
        if seen.fingerprint is not None:
            assert seen.fingerprint == self.there[self.live]
        assert seen.shown_at is None or seen.shown == self.live
        assert self.live is None or as_of(seen, self.live, self.there) == seen


@given(steps)
@settings(max_examples=400)
def test_killed_between_any_two_steps_the_debt_the_verdict_and_the_way_back_are_what_they_were(steps):
    world = World()
    world.show(True, True, "never")
    world.proved()
    for what, owe, prove, killed in steps:
        if world.live is None and what not in {"show", "fall"}:
            continue
        getattr(world, what)(owe, prove, killed)
        if killed != "never":
            world.sweep()
        world.holds()


def test_a_debt_outlives_any_number_of_generations_that_never_came_to_be():
    record = replace(AppRecord(), owed=(1,))
    for number in (2, 2, 3):
        record = showing(as_of(record, 1, {1}), 1, number, "f", owe=True, prove=False)
    assert as_of(record, 1, {1}).owed == (1,)


def test_what_was_told_before_a_going_back_could_be_finished_does_not_pay_for_what_comes_then():
    record = going_back(AppRecord(unproved=2, good=1), 2, 1, bad="f2", owe=True)
    record = settled(as_of(record, 2, {1, 2}), 2)
    assert is_going_back(record, 2)
    assert as_of(gone_back(record, 5.0), 1, {1, 2}) == AppRecord((1,), shown=1, shown_at=5.0, unproved=1, bad="f2")


def test_what_is_not_there_any_more_is_nothing_to_go_back_to():
    record = going_back(AppRecord(unproved=2, good=1), 2, 1, bad="f2", owe=False)
    seen = as_of(record, 2, {2})
    assert not is_going_back(seen, 2)
    assert (seen.good, seen.unproved, seen.bad) == (None, 2, "f2")


def test_what_was_fallen_back_to_is_nothing_to_go_back_to_whether_it_works_or_not():
    for unproved in (1, None):
        record = AppRecord(shown=1, unproved=unproved, fallen_back=((1, "env"),))
        record = showing(record, 1, 2, "f2", owe=False, prove=True)
        seen = as_of(record, 2, {1, 2})
        assert (seen.good, fallen_back_to(seen)) == (None, None)
        seen = as_of(record, 1, {1})  # the next one never came to be
        assert (seen.unproved, seen.good, fallen_back_to(seen)) == (1, None, "env")
