"""What happened in a month, which component reported it and when, what people did, and the findings.

A finding is what an operator would not accept: something lost, something that nothing reported, an alert without
a cause, or a command typed by a person without a reason that only a person can have.
"""

from dataclasses import dataclass, field

HOURS = 24
TIMED = ("agent-not-fresh", "agent-silent", "audit-off", "rotation-overdue")
"""Rules about how long something takes."""


@dataclass
class Notice:
    """A component reported an event, `seconds` after its cause. None: it never did."""

    component: str
    what: str
    seconds: float | None
    is_answer: bool = False
    """It is the answer to a command, which came when the command was typed."""


@dataclass
class Event:
    """Something that happened. `rules`: the alerts that it explains."""

    day: int
    at: float
    what: str
    rules: tuple[str, ...] = ()
    notices: list[Notice] = field(default_factory=list)
    settled_at: float | None = None
    """When all was well again."""


@dataclass
class Typed:
    """A command, typed by a person or started by a timer. `why`: what only a person can know or decide."""

    day: int
    by: str
    command: str
    code: int
    why: str


class Chronicle:
    """All of it. A day lasts `day` seconds."""

    def __init__(self, day):
        self.day = day
        self.events, self.typed, self.findings, self.alerts, self.facts = [], [], [], [], []
        self.services = {}

    def finding(self, kind, text):
        self.findings.append((kind, text))

    def fact(self, what, figure):
        """A figure of the whole month, for the report."""
        self.facts.append((what, figure))

    def check(self, ok, kind, text):
        if not ok:
            self.finding(kind, text)

    def take_alert(self, rule, subject, text, at):
        self.alerts.append((rule, subject, text, at))

    def close(self, *, bounded):
        """Find what is silent, unexplained or manual. `bounded`: a late report is a finding too."""
        for event in self.events:
            self.check(event.notices, "silent", f"day {event.day}: nothing tells: {event.what}")
            for notice in event.notices:
                where = f"day {event.day}: {event.what}: {notice.component}: {notice.what}"
                if notice.seconds is None:
                    self.finding("silent", where)
                elif bounded and not notice.is_answer and notice.seconds > self.day:
                    self.finding("late", f"{where}: {self._hours(notice.seconds)} hours later")
        for rule, subject, text, at in self.alerts:
            # A busy machine is reason enough for a rule about time.
            if not bounded and rule in TIMED:
                continue
            if not any(rule in event.rules and self._spans(event, at) for event in self.events):
                self.finding("unexplained", f"an alert without a cause: {rule}: {subject}: {text}")
        for typed in self.typed:
            if typed.by == "a person" and not typed.why:
                self.finding("manual", f"day {typed.day}: $ {typed.command}")

    def text(self):
        """The report."""
        lines = ["WHAT HAPPENED, AND WHAT REPORTED IT (simulated hours after the cause)"]
        for event in self.events:
            lines.append(f"day {event.day:2}  {event.what}")
            for notice in event.notices:
                after = "never" if notice.seconds is None else f"{self._hours(notice.seconds):5.1f} h"
                lines.append(f"          {after:>8}  {notice.component}: {notice.what}")
            if event.settled_at is not None:
                lines.append(f"          {self._hours(event.settled_at - event.at):5.1f} h  all is well again")
        lines += ["", "TYPED BY A PERSON, AND WHY NO MACHINE COULD"]
        lines += [f"day {typed.day:2}  $ {typed.command}\n        {typed.why}" for typed in self.typed if typed.why]
        lines += ["", "BY TIMERS AND SERVICES"]
        counts = {}
        for typed in self.typed:
            if typed.by != "a person":
                counts[typed.command] = counts.get(typed.command, 0) + 1
        lines += [f"{count:5} times  {command}" for command, count in counts.items()]
        lines += [f"     always  {command}" for command in self.services.values()]
        lines += ["", "FIGURES", *(f"{figure:>12}  {what}" for what, figure in self.facts)]
        lines += ["", f"FINDINGS: {len(self.findings) or 'none'}"]
        lines += [f"  {kind}: {text}" for kind, text in self.findings]
        return "\n".join(lines)

    def _spans(self, event, at):
        return event.at - 1 <= at <= (event.settled_at or event.at) + 2 * self.day

    def _hours(self, seconds):
        return seconds / self.day * HOURS
