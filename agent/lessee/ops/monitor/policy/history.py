"""Collects what the rules detect in entries of before the monitor's first start, for one alert instead of hundreds."""

from collections.abc import Sequence
from typing import Any

from lessee.ops.monitor.policy.alerts import Detection
from lessee.ops.monitor.policy.timestamps import rfc3339

RULE = "history"
"""The rule of the summary's alert."""
_SUBJECT = "first start"
_MAX_RULES = 100
_MAX_SUBJECTS = 1000
_MAX_IN_TEXT = 3


class History:
    """The detections of the past, by rule. It changes in place as `rates` does."""

    def __init__(self) -> None:
        self.until = 0.0
        """The time of the latest entry of the past."""
        self._first = 0.0
        self._entries = 0
        self._found: dict[str, tuple[int, list[str]]] = {}
        """How often each rule detected something, and its subjects."""

    def take(self, at: float) -> None:
        """Count one entry of the past."""
        self._first = min(self._first or at, at)
        self.until = max(self.until, at)
        self._entries += 1

    def without_past(self, detections: Sequence[Detection]) -> list[Detection]:
        """Keep those of the past for the summary, and return the others."""
        if not self.until:
            return list(detections)
        for detection in detections:
            if detection.last <= self.until:
                self._add(detection)
        return [detection for detection in detections if detection.last > self.until]

    def summary(self) -> Detection | None:
        """What was found in the past, once. None if nothing was."""
        if not self._found:
            return None
        found, self._found = self._found, {}
        total = sum(count for count, _ in found.values())
        listed = "; ".join(_listed(rule, *one) for rule, one in found.items())
        text = (
            f"before the monitor's first start, in {self._entries} requests from {rfc3339(self._first)} "
            f"to {rfc3339(self.until)}: {listed}"
        )
        return Detection(RULE, _SUBJECT, text, self._first, self.until, total)

    def state(self) -> Any:
        """What a restart must preserve, as JSON."""
        return {"until": self.until, "first": self._first, "entries": self._entries, "found": self._found}

    def restore(self, state: Any) -> None:
        """Take over `state`."""
        self.until, self._first, self._entries = state["until"], state["first"], state["entries"]
        self._found = {rule: (count, list(subjects)) for rule, (count, subjects) in state["found"].items()}

    def _add(self, detection: Detection) -> None:
        if detection.rule not in self._found and len(self._found) >= _MAX_RULES:
            return
        count, subjects = self._found.setdefault(detection.rule, (0, []))
        if detection.subject not in subjects and len(subjects) < _MAX_SUBJECTS:
            subjects.append(detection.subject)
        self._found[detection.rule] = (count + detection.count, subjects)


def _listed(rule: str, count: int, subjects: Sequence[str]) -> str:
    more = len(subjects) - _MAX_IN_TEXT
    return f"{rule} {count} ({', '.join(subjects[:_MAX_IN_TEXT])}{f' and {more} more' if more > 0 else ''})"
