"""The record of an app in format 1, that of lessee 0.1.0: read after an upgrade, and written for a downgrade."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from lessee.core.generation import FallbackKind
from lessee.core.immutable import ImmutableStruct
from lessee.publishing.publication_record import AppRecord

_OldKind = Literal["env", "last_good"]
_FALLBACKS: Mapping[_OldKind, FallbackKind] = {"env": "env", "last_good": "last_known_good"}
_OLD_FALLBACKS = {kind: old for old, kind in _FALLBACKS.items()}


class AppRecord1(ImmutableStruct, frozen=True, kw_only=True):
    """The fields of `AppRecord` under the names of 0.1.0."""

    owed: tuple[int, ...] = ()
    shown: int | None = None
    shown_at: float | None = None
    fingerprint: str | None = None
    unproved: int | None = None
    good: int | None = None
    bad: str | None = None
    fallen_back: tuple[tuple[int, _OldKind], ...] = ()
    boot: str = ""


def upgrade_app(content: bytes) -> AppRecord:
    """The record of an app: a pending notification stays pending. Raises what msgspec raises for a damaged one."""
    stored = msgspec.json.decode(content, type=AppRecord1)
    return AppRecord(
        pending_notifications=stored.owed,
        published=stored.shown,
        published_at=stored.shown_at,
        fingerprint=stored.fingerprint,
        awaiting_readiness=stored.unproved,
        rollback_to=stored.good,
        rejected=stored.bad,
        fallbacks=tuple((number, _FALLBACKS[kind]) for number, kind in stored.fallen_back),
        boot=stored.boot,
    )


def format_1_fields(record: AppRecord) -> Mapping[str, Any]:
    """The fields of `AppRecord1` that say the same."""
    return {
        "owed": record.pending_notifications,
        "shown": record.published,
        "shown_at": record.published_at,
        "fingerprint": record.fingerprint,
        "unproved": record.awaiting_readiness,
        "good": record.rollback_to,
        "bad": record.rejected,
        "fallen_back": tuple((number, _OLD_FALLBACKS[kind]) for number, kind in record.fallbacks),
        "boot": record.boot,
    }
