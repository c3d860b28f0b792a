"""What happened in a month, which component reported it and when, what people did, and the findings.

A finding is what an operator would not accept: something lost, something that nothing reported, an alert without
a cause, or a command typed by a person without a reason that only a person can have.
"""

from dataclasses import dataclass, field

HOURS = 24
TIMED = ("agent-not-fresh", "agent-silent", "audit-off", "rotation-overdue")
"""Rules about how long something takes."""
_HEADER = "| day | event | what reports it |"
_IDLE = 0.8
"""Of its speed that a machine must have had on the day before such an alert, for it to be a finding."""


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
    when: str = ""
    """Instead of the day in the table, if that depends on the machine."""


@dataclass
class Typed:
    """A command, typed by a person or started by a timer. `why`: what only a person can know or decide."""

    day: int
    by: str
    command: str
    code: int
    why: str


class Chronicle:
    """All of it. A day lasts `day` seconds.

    `between`: how many seconds two moments would have been apart on an idle machine. `say` prints a line.
    """

    def __init__(self, day, between, say):
        self.day, self._between, self._say = day, between, say
        self.events, self.typed, self.findings, self.alerts, self.facts = [], [], [], [], []
        self.services = {}

    # While it is lived.

    def begin_day(self, day):
        self._say(f"day {day:2}")

    def begin(self, event):
        self.events.append(event)
        self._say(f"        {event.what}")
        return event

    def settle(self, event, at):
        """All is well again."""
        event.settled_at = at
        reports = ", ".join(f"{one.component} {self._after(one)}" for one in event.notices)
        self._say(f"          {reports}; all is well after {self._hours(at - event.at):.1f} h")

    def finding(self, kind, text):
        self.findings.append((kind, text))
        self._say(f"  {kind}: {text}")

    def fact(self, what, figure):
        """A figure of the whole month, for the report."""
        self.facts.append((what, figure))

    def check(self, ok, kind, text):
        if not ok:
            self.finding(kind, text)

    def take_alert(self, rule, subject, text, at):
        self.alerts.append((rule, subject, text, at))

    # At its end.

    def close(self, *, bounded):
        """Find what is silent, late, unexplained or manual. `bounded`: a late report is a finding too."""
        excused = 0
        for event in self.events:
            self.check(event.notices, "silent", f"day {event.day}: nothing tells: {event.what}")
            for notice in event.notices:
                where = f"day {event.day}: {event.what}: {notice.component}: {notice.what}"
                if notice.seconds is None:
                    self.finding("silent", where)
                elif bounded and not notice.is_answer and self._is_late(event.at, event.at + notice.seconds):
                    self.finding("late", f"{where}: {self._hours(notice.seconds):.1f} hours later")
        for rule, subject, text, at in self.alerts:
            if any(rule in event.rules and self._spans(event, at) for event in self.events):
                continue
            # A busy machine is reason enough for a rule about time.
            if rule in TIMED and (not bounded or self._was_busy(at)):
                excused += 1
            else:
                self.finding("unexplained", f"an alert without a cause: {rule}: {subject}: {text}")
        self.fact("alerts that tell how busy the machine was", excused)
        for typed in self.typed:
            if typed.by == "a person" and not typed.why:
                self.finding("manual", f"day {typed.day}: $ {typed.command}")

    def text(self):
        """The report."""
        lines = ["WHAT HAPPENED, AND WHAT REPORTED IT (simulated hours after the cause)"]
        for event in self.events:
            lines.append(f"day {event.day:2}  {event.what}")
            lines += [f"          {self._after(one):>8}  {one.component}: {one.what}" for one in event.notices]
            if event.settled_at is not None:
                lines.append(f"          {self._hours(event.settled_at - event.at):5.1f} h  all is well again")
        lines += ["", "TYPED BY A PERSON, AND WHY NO MACHINE COULD"]
        lines += [f"day {typed.day:2}  $ {typed.command}\n        {typed.why}" for typed in self.typed if typed.why]
        lines += ["", "BY TIMERS AND SERVICES"]
        lines += [f"{count:5} times  {command}" for (_, command), count in self._timers().items()]
        lines += [f"     always  {command}" for command in self.services.values()]
        lines += ["", "FIGURES", *(f"{figure:>12}  {what}" for what, figure in self.facts)]
        lines += ["", f"FINDINGS: {len(self.findings) or 'none'}"]
        lines += [f"  {kind}: {text}" for kind, text in self.findings]
        return "\n".join(lines)

    def table(self):
        """The part of the page that is the same for each whole month: no times, which depend on the machine."""
        rows = {}
        for event in self.events:
            reports = dict.fromkeys(f"{one.component}: {one.what}" for one in event.notices)
            rows.setdefault((event.when or str(event.day), event.what), "; ".join(reports))
        timers = dict.fromkeys((by, command) for by, command in self._timers() if by.startswith("each "))
        lines = [_HEADER, "|---:|---|---|"]
        lines += [f"| {by} | `{command}` | its exit code |" for by, command in timers]
        lines += [f"| {when} | {what} | {reports} |" for (when, what), reports in rows.items()]
        return "\n".join(lines)

    def _timers(self):
        counts = {}
        for typed in self.typed:
            if typed.by != "a person":
                key = (typed.by, typed.command)
                counts[key] = counts.get(key, 0) + 1
        return counts

    def _after(self, notice):
        return "never" if notice.seconds is None else f"{self._hours(notice.seconds):5.1f} h"

    def _is_late(self, begin, end):
        return self._between(begin, end) > self.day

    def _was_busy(self, at):
        return self._between(at - self.day, at) < _IDLE * self.day

    def _spans(self, event, at):
        end = event.settled_at or event.at
        return event.at - 1 <= at and (at <= end or self._between(end, at) <= 2 * self.day)

    def _hours(self, seconds):
        return seconds / self.day * HOURS


def with_table(page, table):
    """The page with this table, which ends at the first line without a bar."""
    head, _, rest = page.partition(_HEADER)
    lines = rest.splitlines(keepends=True)
    below = next((number for number, line in enumerate(lines) if number and not line.startswith("|")), len(lines))
    return f"{head}{table}\n{''.join(lines[below:])}"
