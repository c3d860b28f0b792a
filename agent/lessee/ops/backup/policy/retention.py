"""The backup schedule: when the next archive is due, what it is named, and which old archives are removed."""

import hashlib
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from lessee.config.grammar.backup import Retention
from lessee.core.immutable import ImmutableStruct, replace
from lessee.ops.backup.policy.archive_format import Manifest, encode_manifest

_NAME = re.compile(r"lessee-([A-Za-z0-9_.-]+)-([0-9]{8}T[0-9]{6}Z)\.age")
_MOMENT = "%Y%m%dT%H%M%SZ"
_OF_ID = 8


class Name(ImmutableStruct, frozen=True, order=True):
    """The name of an archive; names of the same cluster sort by time."""

    moment: datetime
    """UTC, in whole seconds."""
    cluster: str

    def __str__(self) -> str:
        return f"lessee-{self.cluster}-{self.moment:{_MOMENT}}.age"


def name_of(cluster_name: str, cluster_id: str, namespace: str, created: datetime) -> Name:
    """The name contains a part of the cluster id: two clusters may have the same name, and retention compares names."""
    words = [cluster_name or "cluster", cluster_id[:_OF_ID], *namespace.split("/")]
    cluster = re.sub(r"[^A-Za-z0-9_.-]", "_", "-".join(filter(None, words)))
    return Name(created.astimezone(UTC).replace(microsecond=0), cluster)


def parse_name(text: str) -> Name | None:
    """Parse an archive's name; None for any other name."""
    found = _NAME.fullmatch(text)
    if found is None:
        return None
    try:
        return Name(datetime.strptime(found[2], _MOMENT).replace(tzinfo=UTC), found[1])
    except ValueError:  # such as a thirteenth month
        return None


class SealedArchive(ImmutableStruct, frozen=True):
    """What the seal of an archive in a store says; only `name` is from outside of it."""

    name: str
    created: datetime
    cluster: tuple[str, str]
    """The cluster's id, and the namespace."""
    identity: str
    """A hash of the manifest without the pin: copies of an archive have the same, pinned or not."""
    cluster_name: str
    pinned: bool

    @property
    def original(self) -> bool:
        """Whether it has the name that it was saved with."""
        return self.name == str(name_of(self.cluster_name, *self.cluster, self.created))


def sealed_archive(name: str, manifest: Manifest) -> SealedArchive | None:
    """The archive of this authenticated manifest, None if its time is malformed."""
    try:
        created = datetime.fromisoformat(manifest.created)
        if created.tzinfo is None:
            return None
        created = created.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    cluster = manifest.cluster_id, manifest.namespace
    unpinned = encode_manifest(replace(manifest, pinned=False, authenticated_by=""))
    identity = hashlib.sha256(unpinned).hexdigest()
    return SealedArchive(name, created, cluster, identity, manifest.cluster_name, manifest.pinned)


def newest_first(archives: Iterable[SealedArchive]) -> list[SealedArchive]:
    """Sorted by the time in the seal. Of copies, the one that still has its name is first."""
    return sorted(archives, key=lambda one: (one.created, one.identity, one.original, one.name), reverse=True)


def archives_to_remove(archives: Iterable[SealedArchive], keep: Retention, *, now: datetime) -> tuple[str, ...]:
    """The names of the archives of one cluster to remove, the oldest first.

    Pinned archives stay, those of the last `within` seconds, and the newest archives: `last` of them, and one of each
    of the last `hourly` hours, `daily` UTC days and `weekly` ISO weeks that have archives. Periods without archives do
    not count, so a jump of the clock removes nothing. Archives of the future stay, but do not count: a clock was wrong.
    Copies count as one archive, also those from before it was pinned or unpinned: an attacker who may only add files
    must not displace older ones with them. If one of them is pinned, the archive is.
    """
    newest = newest_first(archives)
    past = list({one.identity: one for one in reversed(newest) if one.created <= now}.values())[::-1]
    stay = {one.identity for one in newest if one.pinned or now - one.created <= timedelta(seconds=keep.within)}
    stay.update(one.identity for one in past[: keep.last])
    stay.update(_newest_of_each(past, keep.hourly, lambda moment: moment.replace(minute=0, second=0, microsecond=0)))
    stay.update(_newest_of_each(past, keep.daily, lambda moment: moment.date()))
    stay.update(_newest_of_each(past, keep.weekly, lambda moment: moment.isocalendar()[:2]))
    return tuple(one.name for one in reversed(newest) if one.identity not in stay)


def _newest_of_each(archives: list[SealedArchive], count: int, period: Callable[[datetime], object]) -> list[str]:
    newest: dict[object, str] = {}
    for one in archives:
        newest.setdefault(period(one.created), one.identity)
    return list(newest.values())[:count]


RETRY_DELAY = 300.0
"""Seconds until a failed backup is tried again, unless the next one is due sooner."""


def next_delay(began: float, ended: float, every: float, *, failed: bool) -> float:
    """Seconds between the end of a backup and the start of the next. Missed backups are not made up for."""
    if failed:
        return min(every, RETRY_DELAY)
    return max(0.0, every - (ended - began))
