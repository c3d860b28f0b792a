"""Reads and verifies the entries that lessee 0.1.0 wrote to an audit trail: format 1, with other names."""

from collections.abc import Mapping
from typing import Literal

from lessee.audit_trail.policy.entries import ALTERED, REPAIRED, Action, Actor, Entry, Outcome
from lessee.core.immutable import ImmutableStruct

_OldOutcome = Literal["begun", "done", "failed"]
_OUTCOMES: Mapping[_OldOutcome, Outcome] = {"begun": "started", "done": "done", "failed": "failed"}
_OLD_OUTCOMES = {outcome: old for old, outcome in _OUTCOMES.items()}
_NAMES = {
    "acts lost": "actions dropped",
    "trail mended": REPAIRED,
    "trail found altered": ALTERED,
    "token ended": "token expired",
    "read": "secret read",
    "issued": "lease issued",
    "read a static role": "static role read",
    "revoked": "lease revoked",
    "revoked a token": "token revoked",
    "lease ended": "lease expired",
    "published": "generation published",
    "not published": "generation not published",
    "notified": "app notified",
    "not notified": "app not notified",
    "confirmed": "app ready",
    "not ready": "app not ready",
    "rolled back": "app rolled back",
    "not rolled back": "app not rolled back",
    "files hold what has ended": "files contain expired secrets",
    "versions confirmed": "versions reported",
    "rotation begun": "rotation started",
    "rotation published": "credential rotated",
    "rotation given up": "rotation abandoned",
    "rotation keeps failing": "rotation failed repeatedly",
    "not waited for any longer": "consumer not confirmed in time",
    "old credential retired": "old credential disabled",
    "old credential removed": "old credential deleted",
    "target taken out in the middle of a rotation": "target removed during rotation",
    "key of an interrupted try deleted": "key of an interrupted attempt deleted",
    "a key that a killed try left is revoked": "key of an interrupted attempt revoked",
    "sessions ended": "sessions terminated",
    "configuration taken up": "configuration reloaded",
    "configuration not taken up": "configuration not reloaded",
}
"""The names of actions that are called otherwise now. Each other name is the same."""
_OLD_NAMES = {name: old for old, name in _NAMES.items()}


class Action1(ImmutableStruct, frozen=True):
    """An action under the names of 0.1.0."""

    at: str
    actor: Actor
    environment: str | None
    act: str
    subject: Mapping[str, str | int]
    outcome: _OldOutcome


class Entry1(ImmutableStruct, frozen=True):
    """An entry as 0.1.0 wrote and signed it."""

    n: int
    before: str
    head: int
    act: Action1
    signature: str = ""


def upgrade(entry: Entry1) -> Entry:
    """The entry under today's names."""
    act = entry.act
    name = _NAMES.get(act.act, act.act)
    action = Action(act.at, act.actor, act.environment, name, act.subject, _OUTCOMES[act.outcome])
    return Entry(entry.n, entry.before, entry.head, action, entry.signature, 1)


def as_written(entry: Entry) -> Entry1:
    """The entry of format 1 as its writer wrote it: what its signature and its hash are of."""
    action = entry.action
    name = _OLD_NAMES.get(action.name, action.name)
    old = Action1(action.at, action.actor, action.environment, name, action.subject, _OLD_OUTCOMES[action.outcome])
    return Entry1(entry.n, entry.previous_hash, entry.head, old, entry.signature)
