"""How long the server took for each request: the time between the two entries that an audit log has of it."""

from datetime import datetime

from msgspec import DecodeError, Struct
from msgspec.json import Decoder

MAX_PENDING = 4096
"""Requests of one log without an answer yet. A server answers most within milliseconds."""
_TIME, _ID = b'{"time":"', b'"request":{"id":"'
_MAX_TEXT = 64
"""Bytes of a time or an id."""


class _Request(Struct):
    id: str = ""


class _Entry(Struct):
    time: str = ""
    request: _Request | None = None


_entry = Decoder(_Entry).decode


class RequestTimes:
    """When the requests of one log were made that are not answered yet. It is changed in place, as `Rates` is."""

    def __init__(self) -> None:
        self._times: dict[str, str] = {}

    def note(self, line: bytes) -> None:
        """Take an entry of the type `request`. One that cannot be read has no duration."""
        request_id, time = _id_and_time(line)
        if request_id and time:
            self._times[request_id] = time
            if len(self._times) > MAX_PENDING:
                del self._times[next(iter(self._times))]

    def duration(self, request_id: str, answered_at: float) -> float | None:
        """Seconds until the answer; None for an unknown request, and where the server's clock was set back."""
        time = self._times.pop(request_id, None)
        if time is None:
            return None
        try:
            seconds = answered_at - datetime.fromisoformat(time).timestamp()
        except (ValueError, OverflowError):
            return None
        return seconds if seconds >= 0.0 else None


def _id_and_time(line: bytes) -> tuple[str, str]:
    # OpenBao writes both keys first. In a text of a client the quotes have backslashes, so it cannot imitate them.
    if line.startswith(_TIME) and (start := line.find(_ID)) > 0:
        return _text_at(line, start + len(_ID)), _text_at(line, len(_TIME))
    try:
        entry = _entry(line[max(0, line.find(b"{")) :])
    except (DecodeError, RecursionError, UnicodeDecodeError):
        return "", ""
    return (entry.request.id if entry.request is not None else "")[:_MAX_TEXT], entry.time[:_MAX_TEXT]


def _text_at(line: bytes, start: int) -> str:
    return line[start : line.find(b'"', start, start + _MAX_TEXT)].decode("ascii", "replace")
