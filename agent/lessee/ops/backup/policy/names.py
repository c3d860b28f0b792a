"""What an archive is called."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime

from lessee.core.immutable import Record

_NAME = re.compile(r"lessee-([A-Za-z0-9_.-]+)-([0-9]{8}T[0-9]{6}Z)\.age")
_MOMENT = "%Y%m%dT%H%M%SZ"
_OF_ID = 8


class Name(Record, frozen=True, order=True):
    """The name of an archive; those of one cluster sort by time."""

    moment: datetime
    """UTC, in whole seconds."""
    cluster: str

    def __str__(self) -> str:
        return f"lessee-{self.cluster}-{self.moment:{_MOMENT}}.age"


def name_of(cluster_name: str, cluster_id: str, namespace: str, created: datetime) -> Name:
    """The name holds a part of the id: two clusters may be called the same, and retention goes by names."""
    words = [cluster_name or "cluster", cluster_id[:_OF_ID], *namespace.split("/")]
    cluster = re.sub(r"[^A-Za-z0-9_.-]", "_", "-".join(filter(None, words)))
    return Name(created.astimezone(UTC).replace(microsecond=0), cluster)


def parsed(text: str) -> Name | None:
    """None where it is nothing that we have named."""
    found = _NAME.fullmatch(text)
    if found is None:
        return None
    try:
        return Name(datetime.strptime(found[2], _MOMENT).replace(tzinfo=UTC), found[1])
    except ValueError:  # such as a thirteenth month
        return None


def latest(texts: Iterable[str]) -> str | None:
    """The newest archive among names, of whatever cluster."""
    names = [name for text in texts if (name := parsed(text))]
    return str(max(names)) if names else None
