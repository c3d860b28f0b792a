"""What is there, so far as setup needs to know it."""

from collections.abc import Mapping

from lessee.core.immutable import Record
from lessee.ops.setup.policy.fingerprints import Recorded
from lessee.ops.setup.policy.objects import Fields


class Standing(Record, frozen=True):
    """A secret that is there; the names of its keys, and no value."""

    version: int
    keys: frozenset[str]
    deleted: bool = False
    """Whether its newest version is deleted or destroyed by now."""


class State(Record, frozen=True):
    """What a server holds of what is wanted and of what was written before."""

    objects: Mapping[str, Fields]
    """By path, of those that are there."""
    secrets: Mapping[str, Standing]
    """By mount and path, of those that have ever had a version."""
    recorded: Mapping[str, Recorded]
    """By environment, of those that have a record; empty: of what all of them share."""
