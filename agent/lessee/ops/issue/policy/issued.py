"""Remembers who got a secret_id, so that a second process of a container gets none while the first one runs."""

from collections.abc import Callable, Mapping

import msgspec

from lessee.core.immutable import ImmutableStruct

AGAIN = 60.0
"""Seconds until a process that has one may ask for another, for instance because Vault revoked the first."""
WINDOW = 600.0
MOST = 10
"""How many secret_ids one role may get in one place within WINDOW, by processes that end one after the other."""
_MAX_PLACES = 10_000


class Holder(ImmutableStruct, frozen=True):
    """A process that got a secret_id. `started`: as /proc says, so that no other process is taken for it."""

    pid: int
    started: float
    at: float
    """Seconds on CLOCK_BOOTTIME."""


class TooSoon(ImmutableStruct, frozen=True):
    """It may ask again later."""

    reason: str


class Taken(ImmutableStruct, frozen=True):
    """Another process has it."""

    reason: str


Issued = Mapping[tuple[str, str], tuple[Holder, ...]]
"""The newest holders by role and place, the newest last."""


def objection(
    issued: Issued, role: str, place: str, holder: Holder, runs: Callable[[Holder], bool]
) -> TooSoon | Taken | None:
    """Why this process gets none now. `runs`: whether a holder's process still runs."""
    holders = issued.get((role, place), ())
    for other in holders:
        if (other.pid, other.started) != (holder.pid, holder.started):
            if runs(other):
                return Taken(f"process {other.pid} has got the secret_id of {role}, and still runs")
        elif holder.at - other.at < AGAIN:
            return TooSoon(f"this process has got one {holder.at - other.at:.0f} s ago")
    if sum(holder.at - other.at < WINDOW for other in holders) >= MOST:
        return TooSoon(f"{MOST} secret_ids of {role} were issued here within {WINDOW:.0f} s")
    return None


def add(issued: Issued, role: str, place: str, holder: Holder) -> Issued:
    """With a further holder; the places that were served longest ago are forgotten if there are too many."""
    key = role, place
    rest = {other: holders for other, holders in issued.items() if other != key}
    while len(rest) >= _MAX_PLACES:
        del rest[next(iter(rest))]
    return {**rest, key: (*issued.get(key, ()), holder)[-MOST:]}


def remove(issued: Issued, role: str, place: str, holder: Holder) -> Issued:
    """Without this holder: it did not get it."""
    key = role, place
    return {**issued, key: tuple(other for other in issued.get(key, ()) if other != holder)}


class _Row(msgspec.Struct):
    role: str
    place: str
    holders: list[tuple[int, float, float]]


class _Document(msgspec.Struct):
    boot: str
    rows: list[_Row]


def encode(issued: Issued, boot: str) -> bytes:
    """As JSON. No secret is in it. `boot`: the id of this boot."""
    rows = [
        _Row(role, place, [(one.pid, one.started, one.at) for one in holders])
        for (role, place), holders in issued.items()
    ]
    return msgspec.json.encode(_Document(boot, rows))


def decode(text: bytes, boot: str) -> Issued:
    """What `encode` wrote; nothing if it is damaged, or from another boot, whose processes have ended."""
    try:
        document = msgspec.json.decode(text, type=_Document)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {}
    if document.boot != boot:
        return {}
    return {(row.role, row.place): tuple(Holder(*holder) for holder in row.holders) for row in document.rows}
