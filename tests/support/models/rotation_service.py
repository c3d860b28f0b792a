"""The rotation service's machine under a fake clock, in a world where rotations succeed, fail, wait or hang."""

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
_EVERY = (HOUR, 6 * HOUR, 12 * HOUR, DAY, DAY, 2 * DAY, 7 * DAY, 7 * DAY, 30 * DAY, 30 * DAY)
_WINDOWS = ((), (), (), ("02:00-04:00",), ("sat,sun 00:00-06:00", "mon-fri 22:00-02:00"))


def plan(every=None, *, jitter=0.0, windows=(), consumers=(), within=300.0, secret=SECRET):
    return s.Plan(Schedule(every, jitter, spans(windows)), secret, tuple(consumers), within)


def fifty():
    """As many plans, with all the periods and windows that people are likely to write."""
    plans = {}
    for number in range(50):
        every = _EVERY[number % 10]
        windows = _WINDOWS[number // 10] if every >= DAY else ()
        plans[f"t{number}"] = plan(every, jitter=min(HOUR, every / 10), windows=windows)
    return plans


class Driven:
    """One step after another, each with what is to be answered taken by hand."""

    def __init__(self, now=1_000_000.0, seed=1, **plans):
        self.now, self.state = now, start(seed)
        self.told, self.commands = [], []
        self.tell(s.Configured(plans))

    def tell(self, event, *, after=0.0):
        """The commands, without Tells; those are kept."""
        self.now += after
        self.state, commands = step(self.state, event, self.now)
        self.told += [command for command in commands if isinstance(command, s.Tell)]
        return [command for command in commands if not isinstance(command, s.Tell)]

    def look(self, unreadable=None, **journals):
        return self.tell(s.Looked(journals, unreadable or {}))

    def tick(self, after=0.0):
        return self.tell(s.Tick(), after=after)

    def events(self):
        told, self.told = [command.event for command in self.told], []
        return told

    def target(self, name="one"):
        return self.state.targets[name]


class Machine(Driven):
    """Runs by itself: a world that answers each command, at a moment of its own."""

    def __init__(self, now=1_000_000.0, seed=1, *, takes=1.0, **plans):
        self.takes = takes
        self.journals = dict.fromkeys(plans, Journal())
        self.at, self.steps, self.most = {name: [] for name in plans}, 0, 0
        self._mail, self._count, self._dirty = [], count(), set(plans)
        self.failing = lambda _name, _now: None
        self._running = set()
        self.now, self.state, self.told = now, start(seed), []
        self._step(s.Configured(plans))

    def run(self, until):
        while True:
            wake = min(self.state.wake_at, self._mail[0][0] if self._mail else until)
            if wake >= until:
                self.now = until
                return self
            self.now = max(self.now, wake)
            if self._mail and self._mail[0][0] <= self.now:
                self._step(heapq.heappop(self._mail)[2]())
            else:
                self._step(s.Tick())

    def _step(self, event):
        self.steps += 1
        self.state, commands = step(self.state, event, self.now)
        for command in commands:
            match command:
                case s.Look():
                    self._later(0.05, self._looked)
                case s.Ask():
                    self._later(0.01, self._asked)
                case s.Rotate(name):
                    assert name not in self._running
                    self._running.add(name)
                    self.most = max(self.most, len(self._running))
                    if not command.open_only:
                        self.at[name].append(self.now)
                    self._later(self.takes, lambda command=command: self._rotated(command))
                case s.Tell():
                    self.told.append((self.now, command))

    def _later(self, seconds, answer):
        heapq.heappush(self._mail, (self.now + seconds, next(self._count), answer))

    def _looked(self):
        changed = {name: self.journals[name] for name in self._dirty}
        self._dirty = set()
        return s.Looked(changed)

    def _asked(self):
        return s.Asked((Consumer("simba", "host-1", {SECRET: 10**9}),))

    def _rotated(self, command):
        name, before = command.target, self.journals[command.target]
        self._running.remove(name)
        self._dirty.add(name)
        if (text := self.failing(name, self.now)) is not None:
            self.journals[name] = replace(before, failures=before.failures + 1, failed_at=self.now, error=text)
            return s.Failed(name, text, self.journals[name])
        if command.open_only:
            self.journals[name] = replace(before, step=Step.IDLE, propagations=(1.0,))
        else:
            began = self.now - self.takes
            self.journals[name] = replace(
                before, step=Step.PUBLISHED, started_at=began, rotated_at=self.now, published_at=self.now,
                count=before.count + 1, published_version=before.count + 1, failures=0, error="",
            )  # fmt: skip
        return s.Ended(name, self.journals[name])
