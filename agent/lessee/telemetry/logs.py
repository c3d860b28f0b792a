"""The log: one line for each event, with the values of secrets redacted."""

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
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


def open_log(redactor: Redactor, *, level: str = "info", form: str | None = None, stream: TextIO | None = None) -> None:
    """Write all log lines, also those of libraries, to stderr. `form`: text or json; None: text on a terminal."""
    out = stream or sys.stderr
    handler = logging.StreamHandler(out)
    handler.setFormatter(_Line(redactor, as_json=(form or ("text" if out.isatty() else "json")) == "json"))
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


class _Line(logging.Formatter):
    def __init__(self, redactor: Redactor, *, as_json: bool) -> None:
        super().__init__()
        self._redactor = redactor
        self._json = as_json

    def format(self, record: logging.LogRecord) -> str:
        timestamp = datetime.fromtimestamp(record.created, UTC)
        fields: dict[str, object] = getattr(record, "fields", {})
        # Each value by itself: redacting the line would hide a part of its structure where a secret's value is like it.
        clean = {name: self._redactor.clean_data(value) for name, value in fields.items()}
        event = record.msg if hasattr(record, "fields") else self._redactor.clean(_message(record))
        if self._json:
            head = {"time": timestamp.isoformat(timespec="milliseconds"), "level": record.levelname.lower()}
            line = json.dumps({**head, "event": event, **clean}, ensure_ascii=False)
        else:
            words = " ".join(f"{name}={_quoted(value)}" for name, value in clean.items())
            line = f"{timestamp.astimezone():%H:%M:%S} {record.levelname.lower():<7} {event} {words}".rstrip()
        # Values are hidden as they are, before their characters are spelled out.
        return spelled_out(line)


def _message(record: logging.LogRecord) -> str:
    """The text of a library."""
    return f"{record.name}: {record.getMessage()}"


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if " " in text or not text.isprintable() else text
