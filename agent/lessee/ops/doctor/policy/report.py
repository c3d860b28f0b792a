"""Makes any data fit for a public report: bounded, printable, and without keys or known secrets."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from lessee.core.printable import spelled_out
from lessee.core.redaction import MASK
from lessee.core.sensitive.key_formats import find_keys

_LONGEST_TEXT = 400
_MOST_ITEMS = 300
_DEEPEST = 8
_MOST_READ = 1 << 14
"""Characters of a text that are looked at."""

Clean = Callable[[str], str]
"""Hides the values that are known."""

_STATUS = ("version", "ready", "fresh", "service", "started_at")
_APP = ("state", "degraded", "generation", "published_at", "error")
_LOG = ("time", "level", "event")


def fit(value: object, clean: Clean, depth: int = 0) -> object:
    """The value as JSON has it, with each text and name cleaned, and with bounds in each direction."""
    if depth == _DEEPEST:
        return "…"
    match value:
        case str():
            return fit_text(value, clean)
        case bool() | int() | float() | None:
            return value
        case Mapping():
            items = list(value.items())
            made = {fit_text(str(name), clean): fit(item, clean, depth + 1) for name, item in items[:_MOST_ITEMS]}
            return made | ({"…": f"{len(items) - _MOST_ITEMS} more"} if len(items) > _MOST_ITEMS else {})
        case list() | tuple():
            several = [fit(item, clean, depth + 1) for item in value[:_MOST_ITEMS]]
            return several + ([f"… {len(value) - _MOST_ITEMS} more"] if len(value) > _MOST_ITEMS else [])
        case _:
            return type(value).__name__


def fit_text(text: str, clean: Clean) -> str:
    """The text in one line, without keys of known formats and what `clean` hides, and cut."""
    safe = clean(text[:_MOST_READ])
    for _, start, end in sorted(find_keys(safe), key=lambda found: found[1], reverse=True):
        safe = safe[:start] + MASK + safe[end:]
    safe = spelled_out(safe)
    return safe if len(safe) <= _LONGEST_TEXT else f"{safe[:_LONGEST_TEXT]}…"


def summary_of_status(status: Mapping[str, Any]) -> dict[str, object]:
    """What a report has of an agent's or a service's status: states and counts, and what its problems say."""
    made: dict[str, object] = {name: status[name] for name in _STATUS if name in status}
    if isinstance(apps := status.get("apps"), Mapping):
        made["apps"] = {name: _summary_of_app(app) for name, app in list(apps.items())[:_MOST_ITEMS]}
        made["number of apps"] = len(apps)
    for name in ("leases", "identities", "targets", "alerts"):
        if isinstance(several := status.get(name), (list, Mapping)):
            made[f"number of {name}"] = len(several)
    if isinstance(problems := status.get("problems"), list):
        made["problems"] = problems
    return made


def _summary_of_app(app: object) -> object:
    if not isinstance(app, Mapping):
        return "unknown format"
    made = {name: app[name] for name in _APP if app.get(name) is not None}
    secrets = app.get("secrets")
    return made | ({"number of secrets": len(secrets)} if isinstance(secrets, list) else {})


def log_events(lines: Iterable[object]) -> list[object]:
    """The events of a log in JSON, with the names of their fields: the values stay where they are."""
    events: list[object] = []
    for line in lines:
        if isinstance(line, Mapping) and all(isinstance(line.get(name), str) for name in _LOG):
            fields = [str(name) for name in line if name not in _LOG]
            events.append({name: line[name] for name in _LOG} | ({"fields": ", ".join(fields)} if fields else {}))
    return events


def text_of(report: Mapping[str, object]) -> Iterator[str]:
    """The lines of a report that is fit."""
    for title, section in report.items():
        yield ""
        yield title
        yield from _lines(section, "  ")


def _lines(value: object, indent: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            if isinstance(item, Mapping | list) and item:
                yield f"{indent}{name}:"
                yield from _lines(item, f"{indent}  ")
            else:
                yield f"{indent}{name}: {_scalar(item)}"
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, Mapping):
                yield f"{indent}- {', '.join(f'{name}={_scalar(one)}' for name, one in item.items())}"
            else:
                yield f"{indent}- {_scalar(item)}"
    else:
        yield f"{indent}{_scalar(value)}"


def _scalar(value: object) -> str:
    match value:
        case None:
            return "-"
        case True:
            return "yes"
        case False:
            return "no"
        case list() | Mapping():
            return "none" if not value else ", ".join(map(_scalar, value))
        case _:
            return str(value)
