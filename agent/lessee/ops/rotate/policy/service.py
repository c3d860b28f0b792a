"""The policy of the rotation service: step(state, event, now) returns the next state and the commands.

A step takes an event first, and then requests what is due at `now`. Times are in seconds since 1970, as in the
journals, which outlive a boot and are written by several machines.
"""

from collections.abc import Mapping
from typing import assert_never

from lessee.config.time_windows import DAY
from lessee.core.backoff import CREDENTIALS_CHECK_INTERVAL, delay
from lessee.core.consumers import Consumer, confirmation_status
from lessee.core.immutable import replace
from lessee.ops.rotate.policy.journal import Journal, Step, is_in_future
from lessee.ops.rotate.policy.schedule import MIN_RETRY_DELAY, next_window, period_error, retry_delay
from lessee.ops.rotate.policy.service_state import (
    NEVER,
    Command,
    Configured,
    ConfirmationsRead,
    Event,
    JournalsRead,
    Log,
    LoginRefused,
    ReadConfirmations,
    ReadJournals,
    Rotate,
    RotationBusy,
    RotationEnded,
    RotationFailed,
    Settings,
    State,
    Stopping,
    TargetState,
    Tick,
    VaultUnavailable,
)
from lessee.ops.rotate.policy.timing import (
    FAILING_THRESHOLD,
    is_confirmed,
    is_entry_due,
    next_rotation_at,
    with_next_action,
)

MAX_CONCURRENT_ROTATIONS = 2
CHECK_INTERVAL = 30.0
"""Seconds between two reads of all journals, which find what another rotator has started and not finished."""
BUSY_RETRY_DELAY = 2.0
"""Seconds until the next attempt where another rotator is rotating the target."""
REMINDER_INTERVAL = DAY
"""Seconds between two reminders of a credential that an operator must enter."""
_TOLERATED_OUTAGE = 60.0
"""Seconds for which Vault may be unavailable before a target counts as failing."""
_POLL_INTERVALS = ((3.0, 0.1), (60.0, 1.0), (float("inf"), 5.0))
"""Until this age of a publication, confirmations are read in this interval."""


def start(seed: int) -> State:
    """The initial state. `seed`: of all random draws."""
    return State(random_state=seed % 2**64)


def step(state: State, event: Event, now: float) -> tuple[State, tuple[Command, ...]]:
    """Take one event."""
    transition = _Transition(state, now)
    clock_was_set_back = transition.check_clock()
    if transition.take(event) or clock_was_set_back or now >= state.next_work_at:
        transition.plan_work()
    transition.plan_check()
    return transition.state, tuple(transition.commands)


class _Transition:
    """One step."""

    def __init__(self, state: State, now: float) -> None:
        self.state = state
        self.now = now
        self.commands: list[Command] = []

    def check_clock(self) -> bool:
        """Whether the clock was set back. Then all waits end, since they would last too long."""
        before = self.state.at
        self._set(at=self.now)
        if not is_in_future(before, self.now):
            return False
        self._log("warning", "clock set back", seconds=round(before - self.now))
        self._set(
            next_check_at=self.now,
            last_polled_at=0.0,
            outage_since=min(self.state.outage_since, self.now),
            outage_retry_at=self.now,
        )
        for name, target in self.state.targets.items():
            self._update(
                name,
                journal=target.journal.clamped(self.now) if target.journal is not None else None,
                first_seen_at=self.now,
                failed_at=min(target.failed_at, self.now),
                failing_since=min(target.failing_since, self.now),
                next_retry_at=0.0,
            )
        return True

    def take(self, event: Event) -> bool:
        """Take an event. Whether it may change what is due."""
        match event:
            case Tick():
                return False
            case Configured(targets):
                self._configure(targets)
            case JournalsRead(journals, unreadable):
                return self._take_journals(journals, unreadable)
            case ConfirmationsRead(consumers):
                self._take_confirmations(consumers)
            case RotationEnded(name, journal):
                self._end_rotation(name)
                self._take_journal(name, journal)
                self._reset_failures(name)
                # Servers have yet to load the new credential; a failure reports those that take too long.
                waits = journal.step is Step.CREATED
                self._update(name, confirmation=None, next_retry_at=self.now + BUSY_RETRY_DELAY if waits else 0.0)
            case RotationFailed(name, error, journal):
                self._end_rotation(name)
                if journal is not None:
                    self._take_journal(name, journal)
                self._take_failure(name, error)
            case RotationBusy(name):
                self._end_rotation(name)
                self._update(name, next_retry_at=self.now + BUSY_RETRY_DELAY)
            case VaultUnavailable(reason, name):
                self._take_outage(reason, name)
            case LoginRefused(reason, name):
                self._take_refused_login(reason, name)
            case Stopping():
                self._set(stopping=True)
            case _:
                assert_never(event)
        return True

    # Events.

    def _configure(self, settings: Mapping[str, Settings]) -> None:
        before = self.state.targets
        for name in before.keys() - settings.keys():
            self._warn_of_removal(name, before[name])
        targets = {}
        for name, new in settings.items():
            target = before.get(name)
            # The new configuration may have corrected what failed.
            targets[name] = (
                replace(target, settings=new, next_retry_at=0.0) if target else TargetState(new, self.now, self._draw())
            )
        self._set(targets=targets, next_check_at=self.now)
        for name in targets:
            self._check_period(name)

    def _warn_of_removal(self, name: str, target: TargetState) -> None:
        """Nothing else reports that the old credential will not be revoked."""
        is_idle = target.journal is not None and target.journal.step is Step.IDLE
        if name in self.state.rotating or (target.journal is not None and not is_idle):
            self._log(
                "warning",
                "target removed during rotation",
                target=name,
                step=target.journal.step.value if target.journal is not None else "unknown",
                todo="add the target again, so that its old credential is revoked",
            )

    def _take_journals(self, journals: Mapping[str, Journal], unreadable: Mapping[str, str]) -> bool:
        before = self.state
        self._end_outage()
        self._set(reading_journals=False, last_checked_at=self.now, unreadable=unreadable)
        for name, journal in journals.items():
            # A running rotation reports a newer journal itself.
            if name not in before.rotating:
                self._take_journal(name, journal)
        for name, reason in unreadable.items():
            if before.unreadable.get(name) != reason:
                self._log("error", "journal unreadable", target=name, reason=reason)
        return bool(journals) or unreadable != before.unreadable or before.outage_attempts > 0

    def _take_confirmations(self, consumers: tuple[Consumer, ...]) -> None:
        self._end_outage()
        self._set(reading_confirmations=False)
        for name, target in self.state.targets.items():
            if target.journal is not None and target.journal.step is Step.PUBLISHED:
                settings, version = target.settings, target.journal.published_version
                status = confirmation_status(consumers, settings.secret, version, settings.consumers)
                self._update(name, confirmation=status)

    def _take_journal(self, name: str, journal: Journal) -> None:
        target = self.state.targets.get(name)
        if target is None:
            return
        before = target.journal
        journal = replace(journal.clamped(self.now), current={}, pending={})
        self._update(name, journal=journal)
        if before is None or journal.rotated_at != before.rotated_at:
            self._update(name, draw=self._draw(), confirmation=None)
        if before is None and journal.failures and not journal.is_open:
            delay = retry_delay(target.settings.schedule, journal.failures, self._draw())
            self._update(
                name,
                failures=journal.failures,
                failed_at=journal.failed_at,
                error=journal.error,
                failing_since=journal.failed_at,
                next_retry_at=journal.failed_at + delay,
            )
        elif not journal.failures and journal.rotated_at > target.failed_at:
            # Another rotator, or an operator, has rotated it.
            self._reset_failures(name)
        self._check_period(name)

    def _reset_failures(self, name: str) -> None:
        self._update(name, failures=0, failing_since=0.0, error="", next_retry_at=0.0)

    def _take_failure(self, name: str, error: str, *, outage: bool = False) -> None:
        target = self.state.targets.get(name)
        if target is None:
            return
        failures, since = target.failures + 1, target.failing_since or self.now
        duration = self.now - since
        if outage:
            # An outage is retried sooner, and counts as failing only after a while.
            failures = failures if duration >= _TOLERATED_OUTAGE else min(failures, FAILING_THRESHOLD - 1)
            wait = delay(failures, self._draw(), duration=duration)
        else:
            wait = retry_delay(target.settings.schedule, failures, self._draw())
            if target.journal is not None and target.journal.is_open:
                # Apps may lack a working credential until it is finished.
                wait = min(wait, MIN_RETRY_DELAY)
        self._update(
            name,
            failures=failures,
            failed_at=self.now,
            failing_since=since,
            error=error,
            next_retry_at=self.now + wait,
        )
        fields = {"target": name, "failures": failures, "reason": error, "retry_in": round(wait, 1)}
        if failures == FAILING_THRESHOLD:
            self._log("error", "rotation failed repeatedly", **fields, note="the old credential stays valid")
        else:
            self._log("warning", "rotation retry scheduled", **fields)

    def _take_outage(self, reason: str, name: str | None) -> None:
        if name is not None:
            self._end_rotation(name)
            self._take_failure(name, reason, outage=True)
            # The next check shows whether Vault is unavailable for all targets.
            self._set(next_check_at=self.now)
            return
        since, attempts = self.state.outage_since or self.now, self.state.outage_attempts + 1
        if attempts == 1 or self.state.login_refused:
            self._log("warning", "vault unavailable", reason=reason, note="rotations that are due wait")
        self._set(
            reading_journals=False,
            reading_confirmations=False,
            outage_since=since,
            outage_attempts=attempts,
            outage_reason=reason,
            outage_retry_at=self.now + delay(attempts, self._draw(), duration=self.now - since),
            login_refused=False,
        )

    def _take_refused_login(self, reason: str, name: str | None) -> None:
        """Wait until the credentials are good: no target can be rotated before.

        The logins decide when refused credentials are sent again; until then a check is no request to Vault.
        """
        if name is not None:
            self._end_rotation(name)
            self._take_failure(name, reason, outage=True)
        else:
            self._set(reading_journals=False, reading_confirmations=False)
        if reason != self.state.outage_reason:
            self._log("warning", "login failed", reason=reason, note="rotations that are due wait")
        self._set(
            outage_since=self.state.outage_since or self.now,
            outage_attempts=self.state.outage_attempts + 1,
            outage_reason=reason,
            outage_retry_at=self.now + CREDENTIALS_CHECK_INTERVAL,
            login_refused=True,
        )

    def _end_outage(self) -> None:
        if self.state.outage_attempts:
            self._log("info", "vault available", outage_seconds=round(self.now - self.state.outage_since, 1))
            self._set(outage_since=0.0, outage_attempts=0, outage_reason="", outage_retry_at=0.0, login_refused=False)

    def _check_period(self, name: str) -> None:
        """Check that the target's period is long enough."""
        target = self.state.targets[name]
        error = period_error(target.settings.schedule, target.journal) if target.journal is not None else ""
        if error and not target.period_error:
            self._log("error", "rotation period too short", target=name, reason=error)
        self._update(name, period_error=error)

    # Commands.

    def plan_work(self) -> None:
        """Request confirmations and rotations that are due. Skipped after checks that found no change."""
        is_paused = self.state.stopping or self.state.outage_attempts > 0
        self._set(next_work_at=NEVER if is_paused else min(self._read_confirmations(), self._rotate(), self._remind()))

    def plan_check(self) -> None:
        """Request the journals when they are due; in an outage this finds out whether Vault is available again."""
        state = self.state
        check_at = state.outage_retry_at if state.outage_attempts else state.next_check_at
        if state.stopping or not state.targets or state.reading_journals:
            self._set(wake_at=state.next_work_at)
        elif self.now < check_at:
            self._set(wake_at=min(state.next_work_at, check_at))
        else:
            unknown = frozenset(name for name, target in state.targets.items() if target.journal is None)
            self.commands.append(ReadJournals(tuple(state.targets), unknown))
            self._set(reading_journals=True, next_check_at=self.now + CHECK_INTERVAL, wake_at=state.next_work_at)

    def _read_confirmations(self) -> float:
        """Request confirmations when they are due. The time of the next request."""
        published = [
            target.journal.published_at
            for name, target in self.state.targets.items()
            if target.journal is not None
            and target.journal.step is Step.PUBLISHED
            and name not in self.state.rotating
            and not is_confirmed(target)
        ]
        if not published or self.state.reading_confirmations:
            return NEVER
        age = self.now - max(published)
        poll_at = self.state.last_polled_at + next(interval for until, interval in _POLL_INTERVALS if age < until)
        if self.now < poll_at:
            return poll_at
        self._set(reading_confirmations=True, last_polled_at=self.now)
        self.commands.append(ReadConfirmations())
        return NEVER

    def _rotate(self) -> float:
        """Request rotations that are due. The time of the next request."""
        state, now = self.state, self.now
        due = [
            (now if target.finish_only else next_window(target.settings.schedule, now), name, target)
            for name, target in state.targets.items()
            if target.next_action_at <= now and name not in state.rotating and name not in state.unreadable
        ]
        # Open rotations are finished first, and then the target that has been due for longest is rotated.
        ready = sorted(
            (not target.finish_only, target.next_action_at, name) for opens, name, target in due if opens <= now
        )
        for _, _, name in ready[: max(0, MAX_CONCURRENT_ROTATIONS - len(state.rotating))]:
            target = state.targets[name]
            self._set(rotating=self.state.rotating | {name})
            last_rotation = target.journal.rotated_at if target.journal else 0.0
            self.commands.append(Rotate(name, last_rotation, target.finish_only))
        # The end of a running rotation wakes the service for those that wait for it.
        later = [opens for opens, *_ in due if opens > now]
        future = (target.next_action_at for target in state.targets.values() if target.next_action_at > now)
        return min([*later, *future], default=NEVER)

    def _remind(self) -> float:
        """Log which credentials an operator must enter, once a day. The time of the next reminder."""
        times = [NEVER]
        for name, target in self.state.targets.items():
            if not target.settings.manual or target.journal is None:
                continue
            if not is_entry_due(target, self.now):
                times.append(max(self.now, next_rotation_at(target)) if not target.journal.is_open else NEVER)
                continue
            if self.now >= target.reminded_at + REMINDER_INTERVAL:
                last = target.journal.rotated_at
                days = round((self.now - last) / DAY, 1) if last else "unknown"
                todo = f"create a new one, and run `lessee rotate {name} --enter`"
                self._log("warning", "credential due to be entered", target=name, age_days=days, todo=todo)
                self._update(name, reminded_at=self.now)
            times.append(self.state.targets[name].reminded_at + REMINDER_INTERVAL)
        return min(times)

    # State.

    def _end_rotation(self, name: str) -> None:
        self._set(rotating=self.state.rotating - {name})
        target = self.state.targets.get(name)
        if target is not None and target.journal is None:
            # The target was removed from the configuration and added again, and its journal was not read since.
            self._set(next_check_at=self.now)

    def _update(self, name: str, **changes: object) -> None:
        if name in self.state.targets:
            target = replace(self.state.targets[name], **changes)
            self._set(targets={**self.state.targets, name: with_next_action(target)})

    def _set(self, **changes: object) -> None:
        self.state = replace(self.state, **changes)

    def _draw(self) -> float:
        # Knuth's MMIX generator: no secret depends on it.
        random_state = (self.state.random_state * 6364136223846793005 + 1442695040888963407) % 2**64
        self._set(random_state=random_state)
        return (random_state >> 11) / 2.0**53

    def _log(self, level: str, event: str, **fields: object) -> None:
        self.commands.append(Log(level, event, fields))
