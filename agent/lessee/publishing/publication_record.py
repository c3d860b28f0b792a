"""Decides what the record of an app says before and after each step of a publication, so that no kill loses anything.

A record is written before readers see another generation, and is true either way: `reconcile` tells by the live
generation whether that step happened.
"""

from collections.abc import Collection

from lessee.core.generation import FallbackKind
from lessee.core.immutable import ImmutableStruct, replace


class AppRecord(ImmutableStruct, frozen=True):
    """The record of one app, with generations by their numbers. Empty fields: there is nothing to remember."""

    pending_notifications: tuple[int, ...] = ()
    """Generations of which the app must be notified if they are live."""
    published: int | None = None
    """The newest generation that was published, or was about to be; `published_at` and `fingerprint` are its own."""
    published_at: float | None = None
    """Seconds on the boot clock, after the publication; None where unknown."""
    fingerprint: str | None = None
    awaiting_readiness: int | None = None
    """The generation whose readiness is unknown yet."""
    rollback_to: int | None = None
    """The generation to publish again if that one does not become ready."""
    rejected: str | None = None
    """The fingerprint of a generation that did not become ready. With `rollback_to`: the rollback has begun."""
    fallbacks: tuple[tuple[int, FallbackKind], ...] = ()
    """Generations that came from a fallback, and its kind: the live one, and the one about to replace it."""
    boot: str = ""
    """The id of the boot in which `published_at` was taken."""


def reconcile(record: AppRecord, live: int | None, existing: Collection[int]) -> AppRecord:
    """What the record says now that readers see the generation `live`, and `existing` generations are on the disk.

    Its `awaiting_readiness` is then `live` or None, and all that it says of a generation is true of that one.
    """
    if live is None:
        return AppRecord()
    if record.rollback_to not in existing:
        record = replace(record, rollback_to=None)
    record = replace(record, fallbacks=tuple(entry for entry in record.fallbacks if entry[0] == live))
    if record.published != live:
        record = replace(record, published=None, published_at=None, fingerprint=None)
    if is_rolling_back(record, live):
        return record
    pending = tuple(number for number in record.pending_notifications if number == live)
    record = replace(record, pending_notifications=pending)
    if record.awaiting_readiness in {None, live}:
        return record
    if record.rollback_to != live:
        # The next generation was never published; if this one had become ready, `rollback_to` would name it.
        return replace(record, awaiting_readiness=live)
    # Either this one was rolled back to, and its readiness is unknown too; or the next one was never published.
    awaiting = live if record.rejected is not None else None
    return replace(record, awaiting_readiness=awaiting, rollback_to=None)


def is_rolling_back(record: AppRecord, live: int | None) -> bool:
    """Whether the live generation was rejected, and the earlier one is not published again yet."""
    return record.awaiting_readiness == live and record.rollback_to is not None and record.rejected is not None


def before_publish(
    record: AppRecord,
    live: int | None,
    number: int,
    fingerprint: str,
    *,
    notify: bool,
    probe: bool,
    fallback: FallbackKind | None = None,
) -> AppRecord:
    """The record before generation `number` replaces `live`. Until then a notification of `live` stays pending.

    No rollback leads to a generation that never became ready or came from a fallback; unless it was rolled back to,
    and therefore had been ready before.
    """
    rollback_to = record.rollback_to if record.awaiting_readiness == live else live
    if rollback_to is None and record.rejected is not None:
        rollback_to = live
    if fallback_of(record) is not None:
        rollback_to = None
    return AppRecord(
        pending_notifications=(*_only(live, record.pending_notifications), *((number,) if notify else ())),
        published=number,
        fingerprint=fingerprint,
        awaiting_readiness=number if probe else None,
        rollback_to=rollback_to if probe else None,
        fallbacks=(*record.fallbacks, *([(number, fallback)] if fallback is not None else [])),
    )


def fallback_of(record: AppRecord) -> FallbackKind | None:
    """The fallback from which the live generation came, if any, by a reconciled record."""
    return next((kind for _, kind in record.fallbacks), None)


def before_rollback(record: AppRecord, live: int | None, to: int, *, rejected: str, notify: bool) -> AppRecord:
    """The record before generation `to` is published again in place of `live`, which is not ready."""
    pending = (*_only(live, record.pending_notifications), *((to,) if notify else ()))
    return replace(record, pending_notifications=pending, awaiting_readiness=live, rollback_to=to, rejected=rejected)


def after_rollback(record: AppRecord, published_at: float) -> AppRecord:
    """The record after that, of the one by `before_rollback`: the earlier generation must become ready too."""
    to = record.rollback_to
    return AppRecord(
        pending_notifications=_only(to, record.pending_notifications),
        published=to,
        published_at=published_at,
        awaiting_readiness=to,
        rejected=record.rejected,
    )


def before_restoration(record: AppRecord, live: int, number: int, *, notify: bool) -> AppRecord:
    """The record before the files of the generation `live` are restored, as generation `number` or the same.

    `notify`: the app must be notified again. A notification and a probe of `live` stay pending.
    """
    pending = _only(live, record.pending_notifications)
    if (notify or pending) and number not in pending:
        pending = (*pending, number)
    fallbacks = record.fallbacks
    if number != live:
        fallbacks = (*fallbacks, *((number, kind) for generation, kind in fallbacks if generation == live))
    awaiting = number if record.awaiting_readiness == live else record.awaiting_readiness
    return replace(
        record, pending_notifications=pending, published=number, awaiting_readiness=awaiting, fallbacks=fallbacks
    )


def after_notification(record: AppRecord, live: int | None) -> AppRecord:
    """The record once the app was notified of the live generation."""
    pending = tuple(number for number in record.pending_notifications if number != live)
    return replace(record, pending_notifications=pending)


def _only(number: int | None, pending: Collection[int]) -> tuple[int, ...]:
    return (number,) if number is not None and number in pending else ()
