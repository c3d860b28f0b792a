"""The log: one line for each event, with the values of secrets redacted."""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TextIO

from lessee.core.printable import spelled_out
from lessee.core.redaction import Redactor

_LOG = logging.getLogger("lessee")

LogListener = Callable[[str, Mapping[str, object]], None]
"""Called with each event and its fields at any log level; must not block."""
_LISTENERS: list[LogListener] = []
_REDACTORS: list[Redactor] = []
"""That of the open log."""
_COLORS = {"debug": "\x1b[2m", "info": "\x1b[36m", "warning": "\x1b[33m", "error": "\x1b[1;31m"}
_PLAIN = "\x1b[0m"


def open_log(redactor: Redactor, *, level: str = "info", form: str | None = None, stream: TextIO | None = None) -> None:
    """Write all log lines, also those of libraries, to stderr. `form`: text or json; None: text on a terminal."""
    out = stream or sys.stderr
    is_terminal = out.isatty()
    has_colors = is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    if has_colors and out is sys.stderr and sys.__stderr__ is not None:
        out = sys.__stderr__  # The other one spells out what sets a color. Each line is spelled out before.
    handler = logging.StreamHandler(out)
    as_json = (form or ("text" if is_terminal else "json")) == "json"
    handler.setFormatter(_Line(redactor, as_json=as_json, is_terminal=is_terminal, has_colors=has_colors))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    # Only lessee's own level changes: a library may log what it sends at level debug.
    _LOG.setLevel(level.upper())
    _REDACTORS[:] = [redactor]


def log(level: str, event: str, **fields: object) -> None:
    """Log one event. Its name and those of its fields are lessee's own words, and never redacted; the values are."""
    for listener in _LISTENERS:
        listener(event, fields)
    _LOG.log(logging.getLevelNamesMapping()[level.upper()], event, extra={"fields": fields})


def redacted(text: str) -> str:
    """The text without the values that the redactor of the open log knows by now."""
    for redactor in _REDACTORS:
        text = redactor.clean(text)
    return text


@contextmanager
def log_listener(listener: LogListener) -> Iterator[None]:
    """Call this listener with each event that is logged within this context."""
    _LISTENERS.append(listener)
    try:
        yield
    finally:
        _LISTENERS.remove(listener)


@contextmanager
def held_back() -> Iterator[Callable[[Iterable[str]], None]]:
    """Hold back warnings with a reason; the function writes those whose reason is in none of the texts.

    For a command whose errors repeat them.
    """
    held: list[logging.LogRecord] = []

    def is_logged(record: logging.LogRecord) -> bool:
        if record.levelno != logging.WARNING or "reason" not in getattr(record, "fields", {}):
            return True
        held.append(record)
        return False

    def release(texts: Iterable[str]) -> None:
        known = "\n".join(texts)
        _LOG.removeFilter(is_logged)
        for record in held:
            if str(getattr(record, "fields", {})["reason"]) not in known:
                _LOG.handle(record)
        held.clear()

    _LOG.addFilter(is_logged)
    try:
        yield release
    finally:
        release(())


class _Line(logging.Formatter):
    def __init__(self, redactor: Redactor, *, as_json: bool, is_terminal: bool, has_colors: bool) -> None:
        super().__init__()
        self._redactor = redactor
        self._json = as_json
        self._is_terminal = is_terminal
        self._has_colors = has_colors

    def format(self, record: logging.LogRecord) -> str:
        timestamp = datetime.fromtimestamp(record.created, UTC)
        fields: dict[str, object] = getattr(record, "fields", {})
        # Each value by itself: redacting the line would hide a part of its structure where a secret's value is like it.
        clean = {name: self._redactor.clean_data(value) for name, value in fields.items()}
        event = record.msg if hasattr(record, "fields") else self._redactor.clean(_message(record))
        level = record.levelname.lower()
        # Values are hidden as they are, before their characters are spelled out.
        if self._json:
            head = {"time": timestamp.isoformat(timespec="milliseconds"), "level": level}
            return spelled_out(json.dumps({**head, "event": event, **clean}, ensure_ascii=False))
        # At a terminal, a person knows the day and the zone.
        time = f"{timestamp.astimezone():%H:%M:%S}" if self._is_terminal else f"{timestamp:%Y-%m-%dT%H:%M:%SZ}"
        words = " ".join(f"{name}={_quoted(value)}" for name, value in clean.items())
        text = spelled_out(f"{event} {words}".rstrip())
        color = _COLORS.get(level, "") if self._has_colors else ""
        return f"{time} {color}{level:<7}{_PLAIN if color else ''} {text}"


def _message(record: logging.LogRecord) -> str:
    """The text of a library."""
    return f"{record.name}: {record.getMessage()}"


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if " " in text or not text.isprintable() else text
