"""The whole policy of the service: step(state, event, now) gives the next state and what is to be done.

An event is taken in first; then whatever is due at `now` is asked for. Moments are in seconds since 1970, as those of
the journals are, which outlive a boot and come from several machines.
"""

from collections.abc import Mapping
from typing import assert_never

from lessee.core.backoff import delay
from lessee.core.consumers import Consumer, confirmation_status
from lessee.core.immutable import replace
from lessee.ops.rotate.policy.due import ALERT, is_confirmed, settled
from lessee.ops.rotate.policy.journal import Journal, Step, is_ahead
from lessee.ops.rotate.policy.schedule import RETRY, opening, pause, refusal
from lessee.ops.rotate.policy.service_state import (
    NEVER,
    Ask,
    Asked,
    Command,
    Configured,
    Ended,
    Event,
    Failed,
    Look,
    Looked,
    Plan,
    Rotate,
    RotationBusy,
    State,
    Stopping,
    Target,
    Tell,
    Tick,
    VaultUnavailable,
)

AT_ONCE = 2
"""So many rotations are under way at most."""
LOOK = 30.0
"""Seconds between looks at all journals: what somebody else has begun and left is found so soon."""
BUSY = 2.0
"""Seconds until it is tried again where another rotator is at it."""
_WEATHER = 60.0
"""Seconds for which Vault may fail to answer without a person hearing of it."""
_POLLS = ((3.0, 0.1), (60.0, 1.0), (float("inf"), 5.0))
"""So long after a rotation was published, and so often, it is asked who has confirmed."""


def start(seed: int) -> State:
    """The state before anything is known. `seed` of all its chance."""
    return State(chance=seed % 2**64)


def step(state: State, event: Event, now: float) -> tuple[State, tuple[Command, ...]]:
    """Take one event."""
    turn = _Turn(state, now)
    was_set_back = turn.see_clock()
    if turn.take(event) or was_set_back or now >= state.work_at:
        turn.plan()
    turn.plan_look()
    return turn.state, tuple(turn.commands)


class _Turn:
    """One step, under way."""

    def __init__(self, state: State, now: float) -> None:
        self.state = state
        self.now = now
        self.commands: list[Command] = []

    def see_clock(self) -> bool:
        """Whether it has been set back: then nothing is put off any more, for it would be for too long."""
        before = self.state.at
        self._set(at=self.now)
        if not is_ahead(before, self.now):
            return False
        self._tell("warning", "the clock was set back", seconds=round(before - self.now))
        self._set(look_at=self.now, asked_at=0.0, away_since=min(self.state.away_since, self.now), away_until=self.now)
        for name, one in self.state.targets.items():
            journal = one.journal.as_of(self.now) if one.journal is not None else None
            failed_at, since = min(one.failed_at, self.now), min(one.failing_since, self.now)
            changes = {"failed_at": failed_at, "failing_since": since, "again_at": 0.0}
            self._note(name, journal=journal, seen_at=self.now, **changes)
        return True

    def take(self, event: Event) -> bool:
        """Whether it may change what is to be done."""
        match event:
            case Tick():
                return False
            case Configured(plans):
                self._configure(plans)
            case Looked(journals, unreadable):
                return self._looked(journals, unreadable)
            case Asked(consumers):
                self._asked(consumers)
            case Ended(name, journal):
                self._answered(name)
                self._see(name, journal)
                self._note(name, failures=0, failing_since=0.0, error="", again_at=0.0, confirmation=None)
            case Failed(name, error, journal):
                self._answered(name)
                if journal is not None:
                    self._see(name, journal)
                self._failed(name, error)
            case RotationBusy(name):
                self._answered(name)
                self._note(name, again_at=self.now + BUSY)
            case VaultUnavailable(text, name):
                self._away(text, name)
            case Stopping():
                self._set(stopping=True)
            case _:
                assert_never(event)
        return True

    # Events.

    def _configure(self, plans: Mapping[str, Plan]) -> None:
        before = self.state.targets
        for name in before.keys() - plans.keys():
            self._taken_out(name, before[name])
        targets = {}
        for name, plan in plans.items():
            one = before.get(name)
            # An edit may have mended what failed.
            targets[name] = replace(one, plan=plan, again_at=0.0) if one else Target(plan, self.now, self._draw())
        self._set(targets=targets, look_at=self.now)
        for name in targets:
            self._judge(name)

    def _taken_out(self, name: str, one: Target) -> None:
        """Nobody else would say that its old credential is not retired any more."""
        if name in self.state.rotating or (one.journal is not None and one.journal.step is not Step.IDLE):
            step = one.journal.step.value if one.journal is not None else "unknown"
            note = "its old credential is not retired; put it back to have that done"
            self._tell("warning", "target taken out in the middle of a rotation", target=name, step=step, note=note)

    def _looked(self, journals: Mapping[str, Journal], unreadable: Mapping[str, str]) -> bool:
        state = self.state
        self._back()
        self._set(looking=False, looked_at=self.now, unreadable=unreadable)
        for name, journal in journals.items():
            # What is under way tells its journal itself, and newer.
            if name not in state.rotating:
                self._see(name, journal)
        for name, text in unreadable.items():
            if state.unreadable.get(name) != text:
                self._tell("error", "journal cannot be read", target=name, reason=text)
        return bool(journals) or unreadable != state.unreadable or state.away_tries > 0

    def _asked(self, consumers: tuple[Consumer, ...]) -> None:
        self._back()
        self._set(client=False)
        for name, one in self.state.targets.items():
            if one.journal is not None and one.journal.step is Step.PUBLISHED:
                version = one.journal.published_version
                found = confirmation_status(consumers, one.plan.secret, version, one.plan.consumers)
                self._note(name, confirmation=found)

    def _see(self, name: str, journal: Journal) -> None:
        one = self.state.targets.get(name)
        if one is None:
            return
        before = one.journal
        journal = replace(journal.as_of(self.now), current={}, pending={})
        self._note(name, journal=journal)
        if before is None or journal.rotated_at != before.rotated_at:
            self._note(name, draw=self._draw(), confirmation=None)
        if before is None and journal.failures and not journal.is_open:
            again = journal.failed_at + pause(one.plan.schedule, journal.failures, self._draw())
            seen = {"failures": journal.failures, "failed_at": journal.failed_at, "error": journal.error}
            self._note(name, **seen, failing_since=journal.failed_at, again_at=again)
        elif not journal.failures and journal.rotated_at > one.failed_at:
            # Somebody has done it: by hand, or beside us.
            self._note(name, failures=0, failing_since=0.0, error="", again_at=0.0)
        self._judge(name)

    def _failed(self, name: str, error: str, *, away: bool = False) -> None:
        one = self.state.targets.get(name)
        if one is None:
            return
        failures, since = one.failures + 1, one.failing_since or self.now
        lasted = self.now - since
        if away:
            # Who only did not answer is asked again sooner, and nobody is alerted before it has lasted.
            failures = failures if lasted >= _WEATHER else min(failures, ALERT - 1)
            wait = delay(failures, self._draw(), duration=lasted)
        else:
            wait = pause(one.plan.schedule, failures, self._draw())
            if one.journal is not None and one.journal.is_open:
                # Apps may have to do without until it is finished.
                wait = min(wait, RETRY)
        changes = {"failures": failures, "failed_at": self.now, "failing_since": since, "error": error}
        self._note(name, **changes, again_at=self.now + wait)
        said = {"target": name, "failures": failures, "reason": error, "again_in": round(wait, 1)}
        if failures == ALERT:
            self._tell("error", "rotation keeps failing", **said, note="the old credential stays valid")
        else:
            self._tell("warning", "rotation is tried again", **said)

    def _away(self, text: str, name: str | None) -> None:
        if name is not None:
            self._answered(name)
            self._failed(name, text, away=True)
            # Whether Vault is away for all, a look will tell.
            self._set(look_at=self.now)
            return
        since, tries = self.state.away_since or self.now, self.state.away_tries + 1
        if tries == 1:
            self._tell("warning", "vault cannot be asked", reason=text, note="what is due waits")
        until = self.now + delay(tries, self._draw(), duration=self.now - since)
        self._set(looking=False, client=False, away_since=since, away_tries=tries, away_text=text, away_until=until)

    def _back(self) -> None:
        if self.state.away_tries:
            self._tell("info", "vault can be asked again", after=round(self.now - self.state.away_since, 1))
            self._set(away_since=0.0, away_tries=0, away_text="", away_until=0.0)

    def _judge(self, name: str) -> None:
        """Whether its period is long enough."""
        one = self.state.targets[name]
        text = refusal(one.plan.schedule, one.journal) if one.journal is not None else ""
        if text and not one.refusal:
            self._tell("error", "period too short", target=name, reason=text)
        self._note(name, refusal=text)

    # What is to be done.

    def plan(self) -> None:
        """Where nothing has come and nothing is due, this is spared: looks come often, and find nothing new."""
        is_off = self.state.stopping or self.state.away_tries > 0
        self._set(work_at=NEVER if is_off else min(self._ask(), self._rotate()))

    def plan_look(self) -> None:
        """Where Vault is away, it finds out whether it is back."""
        state = self.state
        look_at = state.away_until if state.away_tries else state.look_at
        if state.stopping or not state.targets or state.looking:
            self._set(wake_at=state.work_at)
        elif self.now < look_at:
            self._set(wake_at=min(state.work_at, look_at))
        else:
            unknown = frozenset(name for name, one in state.targets.items() if one.journal is None)
            self.commands.append(Look(tuple(state.targets), unknown))
            self._set(looking=True, look_at=self.now + LOOK, wake_at=state.work_at)

    def _ask(self) -> float:
        """When to ask next."""
        published = [
            one.journal.published_at
            for name, one in self.state.targets.items()
            if one.journal is not None
            and one.journal.step is Step.PUBLISHED
            and name not in self.state.rotating
            and not is_confirmed(one)
        ]
        if not published or self.state.client:
            return NEVER
        age = self.now - max(published)
        at = self.state.asked_at + next(pause for until, pause in _POLLS if age < until)
        if self.now < at:
            return at
        self._set(client=True, asked_at=self.now)
        self.commands.append(Ask())
        return NEVER

    def _rotate(self) -> float:
        """When to begin the next."""
        state, now = self.state, self.now
        waiting = [
            (now if one.open_only else opening(one.plan.schedule, now), one.open_only, one.at, name)
            for name, one in state.targets.items()
            if one.at <= now and name not in state.rotating and name not in state.unreadable
        ]
        # What has begun goes first, and then what has waited longest.
        ready = sorted((not open_only, at, name) for opens, open_only, at, name in waiting if opens <= now)
        for _, _, name in ready[: max(0, AT_ONCE - len(state.rotating))]:
            one = state.targets[name]
            self._set(rotating=self.state.rotating | {name})
            self.commands.append(Rotate(name, one.journal.rotated_at if one.journal else 0.0, one.open_only))
        # For those for which there is no room, the end of another wakes us.
        later = [opens for opens, *_ in waiting if opens > now]
        return min([*later, *(one.at for one in state.targets.values() if one.at > now)], default=NEVER)

    # The state.

    def _answered(self, name: str) -> None:
        self._set(rotating=self.state.rotating - {name})
        one = self.state.targets.get(name)
        if one is not None and one.journal is None:
            # It was taken out of the configuration and put in again, and no look has told anything of it meanwhile.
            self._set(look_at=self.now)

    def _note(self, name: str, **changes: object) -> None:
        if name in self.state.targets:
            one = self.state.targets[name]
            self._set(targets={**self.state.targets, name: settled(replace(one, **changes))})

    def _set(self, **changes: object) -> None:
        self.state = replace(self.state, **changes)

    def _draw(self) -> float:
        # Knuth's MMIX: nothing secret comes of it.
        chance = (self.state.chance * 6364136223846793005 + 1442695040888963407) % 2**64
        self._set(chance=chance)
        return (chance >> 11) / 2.0**53

    def _tell(self, level: str, event: str, **fields: object) -> None:
        self.commands.append(Tell(level, event, fields))
