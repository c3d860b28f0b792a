"""What is noted of an app before and after each step of showing it files, so that a kill between two loses nothing.

A record is written whole before readers see another generation, and says what is true either way: `as_of` tells, by
the generation that is live, which of the two it is.
"""

from collections.abc import Collection

from lessee.core.generation import FallbackKind
from lessee.core.immutable import Record, replace


class AppRecord(Record, frozen=True):
    """Of one app; generations by their numbers. All fields empty: there is nothing to remember."""

    owed: tuple[int, ...] = ()
    """Those of which the app is to be told, should they be live."""
    shown: int | None = None
    """The newest that was shown, or was about to be: `shown_at` and `fingerprint` are of this one."""
    shown_at: float | None = None
    """Seconds on the boot clock, after it was shown; None where that is not known."""
    fingerprint: str | None = None
    unproved: int | None = None
    """The one that waits for its proof."""
    good: int | None = None
    """The one to go back to, where it is not proved."""
    bad: str | None = None
    """The fingerprint of one that did not work. With `good`: the way back has begun."""
    fallen_back: tuple[tuple[int, FallbackKind], ...] = ()
    """Those that came from a fallback, and from which: the live one, and what was about to take its place."""
    boot: str = ""
    """Of the machine, in which `shown_at` was taken."""


def as_of(record: AppRecord, live: int | None, there: Collection[int]) -> AppRecord:
    """What the record says now that readers see the generation `live`, while those of `there` are on the disk.

    Its `unproved` is then `live` or None, and all that it says of a generation is of that one.
    """
    if live is None:
        return AppRecord()
    if record.good not in there:
        record = replace(record, good=None)
    record = replace(record, fallen_back=tuple(one for one in record.fallen_back if one[0] == live))
    if record.shown != live:
        record = replace(record, shown=None, shown_at=None, fingerprint=None)
    if is_going_back(record, live):
        return record
    record = replace(record, owed=tuple(number for number in record.owed if number == live))
    if record.unproved in {None, live}:
        return record
    if record.good != live:
        # The next one never came to be; had this one been proved, it would be the good one.
        return replace(record, unproved=live)
    # Either it was gone back to, and that is to be proved too; or it works, and the next one never came to be.
    return replace(record, unproved=live if record.bad is not None else None, good=None)


def is_going_back(record: AppRecord, live: int | None) -> bool:
    """Whether the live generation was found not to work, and the good one is not shown again yet."""
    return record.unproved == live and record.good is not None and record.bad is not None


def showing(
    record: AppRecord,
    live: int | None,
    number: int,
    fingerprint: str,
    *,
    owe: bool,
    prove: bool,
    fallback: FallbackKind | None = None,
) -> AppRecord:
    """Before generation `number` takes the place of `live`, of which `record` is. What is live stays owed until then.

    What was never proved, or came from a fallback, is nothing to go back to; unless it was gone back to, and so had
    been proved before.
    """
    good = record.good if record.unproved == live else live
    if good is None and record.bad is not None:
        good = live
    if fallen_back_to(record) is not None:
        good = None
    return AppRecord(
        owed=(*_only(live, record.owed), *((number,) if owe else ())),
        shown=number,
        fingerprint=fingerprint,
        unproved=number if prove else None,
        good=good if prove else None,
        fallen_back=(*record.fallen_back, *([(number, fallback)] if fallback is not None else [])),
    )


def fallen_back_to(record: AppRecord) -> FallbackKind | None:
    """Where the live generation comes from, if from a fallback. `record` is of `as_of`."""
    return next((source for _, source in record.fallen_back), None)


def going_back(record: AppRecord, live: int | None, to: int, *, bad: str, owe: bool) -> AppRecord:
    """Before generation `to` is shown again in the place of `live`, which does not work."""
    owed = (*_only(live, record.owed), *((to,) if owe else ()))
    return replace(record, owed=owed, unproved=live, good=to, bad=bad)


def gone_back(record: AppRecord, shown_at: float) -> AppRecord:
    """After that: it waits for a proof as well. `record` is that of `going_back`."""
    to = record.good
    return AppRecord(owed=_only(to, record.owed), shown=to, shown_at=shown_at, unproved=to, bad=record.bad)


def settled(record: AppRecord, live: int | None) -> AppRecord:
    """The app has been told of the live generation."""
    return replace(record, owed=tuple(number for number in record.owed if number != live))


def _only(number: int | None, owed: Collection[int]) -> tuple[int, ...]:
    return (number,) if number is not None and number in owed else ()
