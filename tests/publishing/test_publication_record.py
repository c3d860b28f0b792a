"""The record of an app is true wherever the agent is killed."""

from hypothesis import given, settings
from hypothesis import strategies as st

from lessee.core.immutable import replace
from lessee.publishing.publication_record import (
    AppRecord,
    after_notification,
    after_rollback,
    before_publish,
    before_restoration,
    before_rollback,
    fallback_of,
    is_rolling_back,
    reconcile,
)

KILLED = ("before the record", "before the step", "after the step", "never")
steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["roll_back", "publish", "fall_back", "restore", "mark_ready", "mark_notified", "allow_retry", "withdraw"]
        ),
        st.booleans(),
        st.sampled_from([True, True, False]),
        st.sampled_from(KILLED),
    ),
    max_size=15,
)


class World:
    """An app's directory and its record, together with what they should say."""

    def __init__(self):
        self.record, self.live, self.existing = AppRecord(), None, {}
        self.highest = 0
        self.pending, self.probing, self.rollback_to, self.rejected = False, False, None, None
        self.fallback = None

    @property
    def reconciled(self):
        return reconcile(self.record, self.live, self.existing)

    def fall_back(self, notify, probe, killed):
        """Only without a generation, or over one from a fallback."""
        if self.live is None or self.fallback is not None:
            self.publish(notify, probe, killed, "env" if self.fallback != "env" else "last_known_good")

    def publish(self, notify, probe, killed, fallback=None):
        self.highest = number = max([self.highest, *self.existing]) + 1
        if killed == KILLED[0]:
            return
        self.record = before_publish(
            self.reconciled, self.live, number, f"f{number}", notify=notify, probe=probe, fallback=fallback
        )
        self.existing[number] = f"f{number}"
        was_rolled_back = self.rejected is not None and self.rollback_to is None
        if killed == KILLED[1]:
            # The next generation replaces a rejected one, and one that was rolled back to had been ready before.
            self.rejected = None
            if not probe or was_rolled_back:
                self.probing, self.rollback_to = False, None
            elif self.fallback is not None:
                self.probing = True  # as nothing says that it was ready
            return
        if self.fallback is not None:
            self.rollback_to = None
        elif probe:
            self.rollback_to = (
                self.rollback_to
                if self.rollback_to is not None
                else self.live
                if not self.probing or was_rolled_back
                else None
            )
        else:
            self.rollback_to = None
        self.live, self.pending, self.probing, self.rejected, self.fallback = number, notify, probe, None, fallback
        if killed == KILLED[3]:
            self.record = replace(self.record, published_at=float(number))

    def roll_back(self, notify, _, killed):
        if self.rollback_to is None or killed == KILLED[0]:
            return
        bad, to = self.existing[self.live], self.rollback_to
        self.record = before_rollback(self.reconciled, self.live, to, rejected=bad, notify=notify)
        if killed == KILLED[1]:
            self.recover()
            assert is_rolling_back(self.reconciled, self.live)
        recorded = self.reconciled if is_rolling_back(self.reconciled, self.live) else self.record
        self.live, self.pending, self.probing, self.rollback_to, self.rejected = to, notify, True, None, bad
        if killed != KILLED[2]:
            self.record = after_rollback(recorded, 1.0)

    def restore(self, notify, in_place, killed):
        """Publish the same files again, or repair the links to them."""
        if killed == KILLED[0]:
            return
        self.highest = max([self.highest, *self.existing]) + (not in_place)
        number = self.live if in_place else self.highest
        self.record = before_restoration(self.reconciled, self.live, number, notify=notify)
        self.existing[number] = self.existing[self.live]
        if in_place or killed != KILLED[1]:
            self.live, self.pending = number, self.pending or notify

    def mark_notified(self, *_):
        self.record, self.pending = after_notification(self.reconciled, self.live), False

    def mark_ready(self, *_):
        self.record = replace(self.reconciled, awaiting_readiness=None, rollback_to=None)
        self.probing, self.rollback_to = False, None

    def allow_retry(self, *_):
        # After that, a generation that was rolled back to is probed like any other.
        self.record, self.rejected = replace(self.reconciled, rejected=None), None

    def withdraw(self, _, __, killed):
        self.live, self.existing, self.fallback = None, {}, None
        self.pending, self.probing, self.rollback_to, self.rejected = False, False, None, None
        if killed in KILLED[2:]:
            self.record = AppRecord()

    def recover(self):
        """The agent starts: it removes all but the live generation and the one to roll back to."""
        needed = {self.live, self.reconciled.rollback_to}
        self.existing = {number: tag for number, tag in self.existing.items() if number in needed}
        self.highest = 0

    def check(self):
        seen = self.reconciled
        assert seen.pending_notifications == ((self.live,) if self.pending else ())
        assert seen.awaiting_readiness == (self.live if self.probing else None)
        assert (seen.rollback_to, seen.rejected) == (self.rollback_to, self.rejected)
        assert fallback_of(seen) == self.fallback
        assert self.rollback_to is None or self.rollback_to in self.existing
        if seen.fingerprint is not None:
            assert seen.fingerprint == self.existing[self.live]
        assert seen.published_at is None or seen.published == self.live
        assert self.live is None or reconcile(seen, self.live, self.existing) == seen


@given(steps)
@settings(max_examples=400)
def test_a_kill_between_any_two_steps_leaves_notification_readiness_and_rollback_as_they_were(steps):
    world = World()
    world.publish(True, True, "never")
    world.mark_ready()
    for what, notify, probe, killed in steps:
        if world.live is None and what not in {"publish", "fall_back"}:
            continue
        getattr(world, what)(notify, probe, killed)
        if killed != "never":
            world.recover()
        world.check()


def test_a_pending_notification_outlives_any_number_of_unpublished_generations():
    record = replace(AppRecord(), pending_notifications=(1,))
    for number in (2, 2, 3):
        record = before_publish(reconcile(record, 1, {1}), 1, number, "f", notify=True, probe=False)
    assert reconcile(record, 1, {1}).pending_notifications == (1,)


def test_a_notification_before_a_finished_rollback_does_not_count_for_the_generation_after_it():
    record = before_rollback(AppRecord(awaiting_readiness=2, rollback_to=1), 2, 1, rejected="f2", notify=True)
    record = after_notification(reconcile(record, 2, {1, 2}), 2)
    assert is_rolling_back(record, 2)
    assert reconcile(after_rollback(record, 5.0), 1, {1, 2}) == AppRecord(
        (1,), published=1, published_at=5.0, awaiting_readiness=1, rejected="f2"
    )


def test_there_is_no_rollback_to_a_generation_that_no_longer_exists():
    record = before_rollback(AppRecord(awaiting_readiness=2, rollback_to=1), 2, 1, rejected="f2", notify=False)
    seen = reconcile(record, 2, {2})
    assert not is_rolling_back(seen, 2)
    assert (seen.rollback_to, seen.awaiting_readiness, seen.rejected) == (None, 2, "f2")


def test_there_is_no_rollback_to_a_fallback_ready_or_not():
    for awaiting in (1, None):
        record = AppRecord(published=1, awaiting_readiness=awaiting, fallbacks=((1, "env"),))
        record = before_publish(record, 1, 2, "f2", notify=False, probe=True)
        seen = reconcile(record, 2, {1, 2})
        assert (seen.rollback_to, fallback_of(seen)) == (None, None)
        seen = reconcile(record, 1, {1})  # the next one was never published
        assert (seen.awaiting_readiness, seen.rollback_to, fallback_of(seen)) == (1, None, "env")


def test_the_generation_that_was_rolled_back_to_is_the_rollback_target_of_the_next_one():
    record = AppRecord(published=1, awaiting_readiness=1, rejected="f2")
    assert before_publish(record, 1, 3, "f3", notify=False, probe=True).rollback_to == 1
