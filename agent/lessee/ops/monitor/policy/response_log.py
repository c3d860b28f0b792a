"""The log of responses: what was counted, done, asked for and undone. The budget of each response follows from it."""

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from lessee.core.immutable import ImmutableStruct, replace

HOUR = 3600.0
MAX_RECORDS = 5000
"""Records that are read back. Older ones are dropped at a start, except those of the last hour."""

_INSTEAD = {
    "revoke-token": ": a client that may still log in gets a new token",
    "emergency": ": `lessee setup` makes new logins",
}
"""What to do about a response that cannot be undone."""

Event = Literal["asked", "counted", "done", "failed", "undone"]


class Record(ImmutableStruct, frozen=True):
    """A line of the log. `at`: seconds since 1970."""

    at: float
    id: str
    event: Event
    response: str
    """The response's name."""
    action: str
    rule: str
    subject: str
    """Rule and subject of the alert that caused it."""
    alert_at: float
    """When that alert started."""
    target: str = ""
    """What it strikes, in words."""
    accessor: str = ""
    role: str = ""
    previous: tuple[str, ...] = ()
    """The CIDRs of the role before."""
    dry_run: bool = False
    detail: str = ""
    """What happened, why it failed, or who approved or undid it."""
    expires_at: float = 0.0
    """Until when an approval counts."""
    undoable: bool = False


Responses = Mapping[str, Record]
"""The newest record of each response, by id."""


def encode(record: Record) -> bytes:
    """The line of a record."""
    return msgspec.json.encode(record) + b"\n"


def decode(line: bytes) -> Record:
    """The record of a line. Raises msgspec.MsgspecError and UnicodeDecodeError."""
    return msgspec.json.decode(line, type=Record)


def used(records: Iterable[Record], response: str, now: float) -> int:
    """How often a response was counted within the last hour.

    A record of the future counts too: a clock was set back.
    """
    return sum(one.event == "counted" and one.response == response and one.at > now - HOUR for one in records)


def latest(records: Iterable[Record]) -> Responses:
    """The newest record of each id, in the order of their first ones."""
    return {one.id: one for one in records}


def pending(records: Iterable[Record], now: float) -> list[Record]:
    """The responses that wait for an approval."""
    return [one for one in latest(records).values() if one.event == "asked" and now < one.expires_at]


def to_keep(records: list[Record], now: float) -> list[Record]:
    """The records that a start keeps: the newest, and all of the last hour and of what still waits."""
    waiting = {one.id for one in pending(records, now)}
    old = max(0, len(records) - MAX_RECORDS)
    return [one for one in records[:old] if one.at > now - HOUR or one.id in waiting] + records[old:]


def was_struck(records: Iterable[Record], response: str, accessor: str) -> bool:
    """Whether the response already struck, or asks to strike, this token."""
    mine = (one for one in latest(records).values() if one.response == response and one.accessor == accessor)
    return any(one.event in {"asked", "done"} for one in mine)


def was_caused(records: Iterable[Record], response: str, rule: str, subject: str, alert_at: float) -> bool:
    """Whether this alert already caused the response, so that it does so once."""
    key = (response, rule, subject, alert_at)
    return any((one.response, one.rule, one.subject, one.alert_at) == key for one in records)


def request_text(record: Record) -> str:
    """What an approver signs: the words that say what will be done, and nothing that may change later."""
    lines = {
        "id": record.id,
        "response": record.response,
        "action": record.action,
        "target": record.target,
        "rule": record.rule,
        "subject": record.subject,
        "dry_run": str(record.dry_run).lower(),
        "expires": f"{record.expires_at:.0f}",
    }
    return "lessee response\n" + "".join(f"{key}: {value}\n" for key, value in lines.items())


def sentence(record: Record, now: float) -> str:
    """What became of a response, for an alert and for people, with the command that undoes it."""
    what = f"{record.action} {record.target}".rstrip()
    match record.event:
        case "asked" if now < record.expires_at:
            return f"{what} waits for approval: lessee monitor approve {record.id}"
        case "asked":
            return f"{what}: not approved in time"
        case "counted":
            return f"{what}: interrupted, may have happened ({record.id})"
        case "failed":
            return f"{what} failed: {record.detail}"
        case "undone":
            return f"{what}: undone by {record.detail}"
        case "done" if record.dry_run:
            return f"dry run: would {what}"
        case _:
            return f"{what}: done{', ' + record.detail if record.detail else ''}; {undo_hint(record)}"


def undo_hint(record: Record) -> str:
    """How to undo it, or why that is impossible."""
    if record.undoable:
        return f"undo: lessee monitor undo {record.id}"
    return f"cannot be undone{_INSTEAD.get(record.action, '')}"


def with_event(record: Record, event: Event, at: float, detail: str = "") -> Record:
    """The next record of the same response."""
    return replace(record, event=event, at=at, detail=detail)
