"""Reports of a validation: as text, JSON, YAML and JUnit XML."""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Protocol
from xml.sax.saxutils import quoteattr

import yaml

from lessee.core.immutable import ImmutableStruct
from lessee.core.severity import Level
from lessee.ops.validate.policy.coverage import partly_seen_components, unseen_components, unseen_line
from lessee.ops.validate.policy.results import Result, Skip

_WIDE, _NARROW = "=" * 60, "-" * 40
_LEVELS = {Level.CRITICAL: "🔴", Level.WARNING: "🟡", Level.INFO: "🔵"}
_MARKS = {True: "✅", False: "❌", None: "⚪"}
_LEGEND = (
    "✅ passed  ❌ failed  ⚪ not (wholly) looked at    🔴 critical  🟡 warning  🔵 information    [name of the check]"
)
_OWN_LINES = frozenset({Skip.INCOMPLETE, Skip.CONSEQUENCE})
"""What is skipped for these reasons has its own line; of all others a component has only the first."""


class Report(ImmutableStruct, frozen=True):
    """All results, grouped by component. `at`: seconds since 1970."""

    environment: str
    at: float
    results: tuple[Result, ...]


class Format(Protocol):
    """A format of reports. `verbose`: text also has the names of all checks, and all that were skipped."""

    def __call__(self, report: Report, *, verbose: bool = False) -> str: ...


def as_text(report: Report, *, verbose: bool = False) -> str:
    """A block for each component, what was not looked at, a summary, and a legend."""
    environment = f": {_printable(report.environment)}" if report.environment else ""
    lines = [_WIDE, f"ENVIRONMENT VALIDATION REPORT{environment}", _WIDE, ""]
    for component, results in _grouped(report.results):
        lines += [f"📁 {component.upper()}", _NARROW, *_lines(results, verbose=verbose), ""]
    passed, failed, skipped = _counts(report.results)
    rest = f", {skipped} skipped" if skipped else ""
    summary = f"SUMMARY: {passed}/{passed + failed} checks passed, {failed} failed{rest}"
    footer = [_WIDE, _printable(unseen_line(report.results)), summary, _WIDE, _LEGEND]
    return "".join(f"{line}\n" for line in [*lines, *footer])


def _lines(results: list[Result], *, verbose: bool) -> Iterator[str]:
    for result in results:
        if result.passed is not None or verbose or result.skip in _OWN_LINES:
            # Its name leads to the check in the manual, and in the other formats.
            name = f" [{result.check}]" if verbose or not result.passed else ""
            yield f"  {_MARKS[result.passed]} {_LEVELS[result.level]} {_printable(result.text)}{name}"
        if result.passed is False and result.todo:
            yield f"       → {_printable(result.todo)}"
    skipped = [result for result in results if result.passed is None and result.skip not in _OWN_LINES]
    if skipped and not verbose:
        others = f" (and {len(skipped) - 1} more)" if len(skipped) > 1 else ""
        yield f"  {_MARKS[None]} {_LEVELS[Level.INFO]} skipped: {_printable(skipped[0].text)}{others}"


def as_json(report: Report, *, verbose: bool = False) -> str:
    """One object with all results."""
    del verbose
    return json.dumps(_document(report), indent=2, ensure_ascii=False) + "\n"


def as_yaml(report: Report, *, verbose: bool = False) -> str:
    """The same object as YAML."""
    del verbose
    return yaml.safe_dump(_document(report), sort_keys=False, allow_unicode=True, width=120)


def as_junit(report: Report, *, verbose: bool = False) -> str:
    """A test suite for each component, as CI servers read it."""
    del verbose
    passed, failed, skipped = _counts(report.results)
    total = _attributes(name="lessee validate", tests=passed + failed + skipped, failures=failed, errors=0)
    suites = [
        _suite(component, results, _time(report.at), number)
        for number, (component, results) in enumerate(_grouped(report.results))
    ]
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites{total}>\n{"".join(suites)}</testsuites>\n'


def _suite(component: str, results: list[Result], at: str, number: int) -> str:
    passed, failed, skipped = _counts(results)
    counts = {"tests": passed + failed + skipped, "failures": failed, "errors": 0, "skipped": skipped}
    attributes = _attributes(name=component, **counts, timestamp=at, hostname="localhost", time=0, id=number)
    return f"  <testsuite{attributes}>\n{''.join(map(_case, results))}  </testsuite>\n"


def _case(result: Result) -> str:
    attributes = _attributes(classname=f"lessee.{result.component}", name=result.check, time=0)
    if result.passed:
        return f"    <testcase{attributes}/>\n"
    inner = f"<skipped{_attributes(message=result.text)}/>"
    if result.passed is False:
        message = f"{result.text}; {result.todo}" if result.todo else result.text
        inner = f"<failure{_attributes(message=message, type=str(result.level))}/>"
    return f"    <testcase{attributes}>{inner}</testcase>\n"


def _attributes(**values: object) -> str:
    return "".join(f" {name}={quoteattr(_printable(str(value)))}" for name, value in values.items())


def _document(report: Report) -> Mapping[str, Any]:
    passed, failed, skipped = _counts(report.results)
    counts = {"passed": passed, "failed": failed, "skipped": skipped}
    unseen = {component: str(skip) for component, skip, _ in unseen_components(report.results)}
    return {
        "environment": report.environment or None,
        "at": f"{_time(report.at)}Z",
        **counts,
        "not_looked_at": unseen,
        "looked_at_in_part": partly_seen_components(report.results),
        "results": list(map(_record, report.results)),
    }


def _record(result: Result) -> Mapping[str, Any]:
    return {
        "component": result.component,
        "check": result.check,
        "level": str(result.level),
        "passed": result.passed,
        "text": result.text,
        "todo": result.todo,
        "skip": str(result.skip) if result.skip else None,
    }


def _grouped(results: Iterable[Result]) -> Iterator[tuple[str, list[Result]]]:
    for component, group in groupby(results, key=lambda result: result.component):
        yield component, list(group)


def _counts(results: Iterable[Result]) -> tuple[int, int, int]:
    outcomes = [result.passed for result in results]
    return outcomes.count(True), outcomes.count(False), outcomes.count(None)


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _printable(text: str) -> str:
    """The text without characters that control a terminal, or are not allowed in XML."""
    return "".join(char if char.isprintable() else "?" for char in text)


REPORTS: Mapping[str, Format] = {"text": as_text, "json": as_json, "yaml": as_yaml, "junit": as_junit}
"""The formats by the values of `--format`."""
