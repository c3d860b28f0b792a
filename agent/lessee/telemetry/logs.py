"""The one sink of what is said: a line an event, and never a value."""

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TextIO

from lessee.core.redaction import Redactor

_LOG = logging.getLogger("lessee")

Witness = Callable[[str, Mapping[str, object]], None]
"""Hears of each event, whatever the level is, and answers at once."""
_WITNESSES: list[Witness] = []


def open_log(redactor: Redactor, *, level: str = "info", form: str | None = None, stream: TextIO | None = None) -> None:
    """Send all that is logged, by libraries too, to stderr. `form` text or json; None: text on a terminal."""
    out = stream or sys.stderr
    handler = logging.StreamHandler(out)
    handler.setFormatter(_Line(redactor, as_json=(form or ("text" if out.isatty() else "json")) == "json"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    # A library's debugging may print what it sends; ours may not.
    _LOG.setLevel(level.upper())


def log(level: str, event: str, **fields: object) -> None:
    """Say one event."""
    for witness in _WITNESSES:
        witness(event, fields)
    _LOG.log(logging.getLevelNamesMapping()[level.upper()], event, extra={"fields": fields})


@contextmanager
def witnessed(witness: Witness) -> Iterator[None]:
    """So long, this one hears of all that is logged."""
    _WITNESSES.append(witness)
    try:
        yield
    finally:
        _WITNESSES.remove(witness)


class _Line(logging.Formatter):
    def __init__(self, redactor: Redactor, *, as_json: bool) -> None:
        super().__init__()
        self._redactor = redactor
        self._json = as_json

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        fields: dict[str, object] = getattr(record, "fields", {})
        message = record.getMessage() if record.name == _LOG.name else f"{record.name}: {record.getMessage()}"
        if self._json:
            head = {"time": moment.isoformat(timespec="milliseconds"), "level": record.levelname.lower()}
            line = json.dumps({**head, "event": message, **fields}, ensure_ascii=False, default=str)
        else:
            words = " ".join(f"{key}={_shown(value)}" for key, value in fields.items())
            line = f"{moment.astimezone():%H:%M:%S} {record.levelname.lower():<7} {message} {words}".rstrip()
        return self._redactor.clean(line.replace("\n", "\\n"))


def _shown(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if " " in text or not text.isprintable() else text
