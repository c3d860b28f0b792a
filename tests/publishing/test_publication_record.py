"""What is noted of an app is true wherever the agent is killed."""

from hypothesis import given, settings
from hypothesis import strategies as st

from lessee.core.immutable import replace
from lessee.publishing.publication_record import (
    AppRecord,
    after_notification,
    after_rollback,
    before_publish,
    before_rollback,
    fallback_of,
    is_rolling_back,
    reconcile,
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
        return reconcile(self.record, self.live, self.there)

    def fall(self, owe, prove, killed):
        """Only where there is nothing, or what was fallen back to before."""
        if self.live is None or self.fallen is not None:
            self.show(owe, prove, killed, "env" if self.fallen != "env" else "last_known_good")

    def show(self, owe, prove, killed, fallback=None):
        self.highest = number = max([self.highest, *self.there]) + 1
        if killed == KILLED[0]:
            return
        self.record = before_publish(
            self.seen, self.live, number, f"f{number}", notify=owe, probe=prove, fallback=fallback
        )
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
            self.record = replace(self.record, published_at=float(number))

    def back(self, owe, _, killed):
        if self.backup is None or killed == KILLED[0]:
            return
        bad, to = self.there[self.live], self.backup
        self.record = before_rollback(self.seen, self.live, to, rejected=bad, notify=owe)
        if killed == KILLED[1]:
            self.sweep()
            assert is_rolling_back(self.seen, self.live)
        noted = self.seen if is_rolling_back(self.seen, self.live) else self.record
        self.live, self.owed, self.open, self.backup, self.bad = to, owe, True, None, bad
        if killed != KILLED[2]:
            self.record = after_rollback(noted, 1.0)

    def told(self, *_):
        self.record, self.owed = after_notification(self.seen, self.live), False

    def proved(self, *_):
        self.record = replace(self.seen, awaiting_readiness=None, rollback_to=None)
        self.open, self.backup = False, None

    def forgive(self, *_):
        # Forgiven, what was gone back to is as one that was never proved: it is looked at again.
        self.record, self.bad = replace(self.seen, rejected=None), None

    def withdraw(self, _, __, killed):
        self.live, self.there, self.fallen = None, {}, None
        self.owed, self.open, self.backup, self.bad = False, False, None, None
        if killed in KILLED[2:]:
            self.record = AppRecord()

    def sweep(self):
        """The agent is back: all is swept but what is live and what may be gone back to."""
        kept = {self.live, self.seen.rollback_to}
        self.there = {number: tag for number, tag in self.there.items() if number in kept}
        self.highest = 0

    def holds(self):
        seen = self.seen
        assert seen.pending_notifications == ((self.live,) if self.owed else ())
        assert seen.awaiting_readiness == (self.live if self.open else None)
        assert (seen.rollback_to, seen.rejected) == (self.backup, self.bad)
        assert fallback_of(seen) == self.fallen
        assert self.backup is None or self.backup in self.there
        if seen.fingerprint is not None:
            assert seen.fingerprint == self.there[self.live]
        assert seen.published_at is None or seen.published == self.live
        assert self.live is None or reconcile(seen, self.live, self.there) == seen


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
    record = replace(AppRecord(), pending_notifications=(1,))
    for number in (2, 2, 3):
        record = before_publish(reconcile(record, 1, {1}), 1, number, "f", notify=True, probe=False)
    assert reconcile(record, 1, {1}).pending_notifications == (1,)


def test_what_was_told_before_a_going_back_could_be_finished_does_not_pay_for_what_comes_then():
    record = before_rollback(AppRecord(awaiting_readiness=2, rollback_to=1), 2, 1, rejected="f2", notify=True)
    record = after_notification(reconcile(record, 2, {1, 2}), 2)
    assert is_rolling_back(record, 2)
    assert reconcile(after_rollback(record, 5.0), 1, {1, 2}) == AppRecord(
        (1,), published=1, published_at=5.0, awaiting_readiness=1, rejected="f2"
    )


def test_what_is_not_there_any_more_is_nothing_to_go_back_to():
    record = before_rollback(AppRecord(awaiting_readiness=2, rollback_to=1), 2, 1, rejected="f2", notify=False)
    seen = reconcile(record, 2, {2})
    assert not is_rolling_back(seen, 2)
    assert (seen.rollback_to, seen.awaiting_readiness, seen.rejected) == (None, 2, "f2")


def test_what_was_fallen_back_to_is_nothing_to_go_back_to_whether_it_works_or_not():
    for unproved in (1, None):
        record = AppRecord(published=1, awaiting_readiness=unproved, fallbacks=((1, "env"),))
        record = before_publish(record, 1, 2, "f2", notify=False, probe=True)
        seen = reconcile(record, 2, {1, 2})
        assert (seen.rollback_to, fallback_of(seen)) == (None, None)
        seen = reconcile(record, 1, {1})  # the next one never came to be
        assert (seen.awaiting_readiness, seen.rollback_to, fallback_of(seen)) == (1, None, "env")
