"""The rotation service's policy under a fake clock, also with simulated rotations that succeed, fail, wait or hang."""

import heapq
from itertools import count

from lessee.config.time_windows import DAY, HOUR, spans
from lessee.core.consumers import Consumer
from lessee.core.immutable import replace
from lessee.ops.rotate.policy import service_state as s
from lessee.ops.rotate.policy.journal import Journal, Step
from lessee.ops.rotate.policy.schedule import Schedule
from lessee.ops.rotate.policy.service import start, step

SECRET = "app/one"
MONTH = 30 * DAY
_PERIODS = (HOUR, 6 * HOUR, 12 * HOUR, DAY, DAY, 2 * DAY, 7 * DAY, 7 * DAY, 30 * DAY, 30 * DAY)
_WINDOWS = ((), (), (), ("02:00-04:00",), ("sat,sun 00:00-06:00", "mon-fri 22:00-02:00"))


def target(
    period=None, *, jitter=0.0, windows=(), consumers=(), confirmation_timeout=300.0, secret=SECRET, manual=False
):
    schedule = Schedule(period, jitter, spans(windows))
    return s.Settings(schedule, secret, tuple(consumers), confirmation_timeout, manual=manual)


def fifty():
    """Fifty targets with common periods and windows."""
    targets = {}
    for number in range(50):
        period = _PERIODS[number % 10]
        windows = _WINDOWS[number // 10] if period >= DAY else ()
        targets[f"t{number}"] = target(period, jitter=min(HOUR, period / 10), windows=windows)
    return targets


class ServiceDriver:
    """Sends single events to the policy, and answers no command itself."""

    def __init__(self, now=1_000_000.0, seed=1, **targets):
        self.now, self.state = now, start(seed)
        self.logged = []
        self.send(s.Configured(targets))

    def send(self, event, *, after=0.0):
        """The commands, without Log, which `logged` collects."""
        self.now += after
        self.state, commands = step(self.state, event, self.now)
        self.logged += [command for command in commands if isinstance(command, s.Log)]
        return [command for command in commands if not isinstance(command, s.Log)]

    def read_journals(self, unreadable=None, **journals):
        return self.send(s.JournalsRead(journals, unreadable or {}))

    def tick(self, after=0.0):
        return self.send(s.Tick(), after=after)

    def logged_events(self):
        events, self.logged = [command.event for command in self.logged], []
        return events

    def target(self, name="one"):
        return self.state.targets[name]


class SimulatedService(ServiceDriver):
    """Answers each command of the policy after a simulated time."""

    def __init__(self, now=1_000_000.0, seed=1, *, duration=1.0, **targets):
        self.duration = duration
        self.journals = dict.fromkeys(targets, Journal())
        self.rotated_at, self.steps, self.max_running = {name: [] for name in targets}, 0, 0
        self._mailbox, self._count, self._changed = [], count(), set(targets)
        self.failure = lambda _name, _now: None
        self._running = set()
        self.now, self.state, self.logged = now, start(seed), []
        self._step(s.Configured(targets))

    def run(self, until):
        while True:
            wake = min(self.state.wake_at, self._mailbox[0][0] if self._mailbox else until)
            if wake >= until:
                self.now = until
                return self
            self.now = max(self.now, wake)
            if self._mailbox and self._mailbox[0][0] <= self.now:
                self._step(heapq.heappop(self._mailbox)[2]())
            else:
                self._step(s.Tick())

    def _step(self, event):
        self.steps += 1
        self.state, commands = step(self.state, event, self.now)
        for command in commands:
            match command:
                case s.ReadJournals():
                    self._later(0.05, self._read_journals)
                case s.ReadConfirmations():
                    self._later(0.01, self._read_confirmations)
                case s.Rotate(name):
                    assert name not in self._running
                    self._running.add(name)
                    self.max_running = max(self.max_running, len(self._running))
                    if not command.finish_only:
                        self.rotated_at[name].append(self.now)
                    self._later(self.duration, lambda command=command: self._rotate(command))
                case s.Log():
                    self.logged.append((self.now, command))

    def _later(self, seconds, answer):
        heapq.heappush(self._mailbox, (self.now + seconds, next(self._count), answer))

    def _read_journals(self):
        changed = {name: self.journals[name] for name in self._changed}
        self._changed = set()
        return s.JournalsRead(changed)

    def _read_confirmations(self):
        return s.ConfirmationsRead((Consumer("simba", "host-1", {SECRET: 10**9}),))

    def _rotate(self, command):
        name, before = command.target, self.journals[command.target]
        self._running.remove(name)
        self._changed.add(name)
        if (error := self.failure(name, self.now)) is not None:
            self.journals[name] = replace(before, failures=before.failures + 1, failed_at=self.now, error=error)
            return s.RotationFailed(name, error, self.journals[name])
        if command.finish_only:
            self.journals[name] = replace(before, step=Step.IDLE, propagation_times=(1.0,))
        else:
            self.journals[name] = replace(
                before,
                step=Step.PUBLISHED,
                started_at=self.now - self.duration,
                rotated_at=self.now,
                published_at=self.now,
                count=before.count + 1,
                published_version=before.count + 1,
                failures=0,
                error="",
            )
        return s.RotationEnded(name, self.journals[name])
