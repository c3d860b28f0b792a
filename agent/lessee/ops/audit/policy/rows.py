"""What a report is made of: lines that each name their source."""

from enum import StrEnum

from lessee.audit_trail.policy.entries import Entry
from lessee.core.immutable import ImmutableStruct


class Section(StrEnum):
    """What a line is about."""

    ACTS = "acts"
    ACCESS = "access"
    READS = "reads"
    ROTATION = "rotation"
    SEPARATION = "separation"
    EXCEPTIONS = "exceptions"


TITLES = {
    Section.ACTS: "What was done",
    Section.ACCESS: "Who may do what, now",
    Section.READS: "Who has read what",
    Section.ROTATION: "Age of secrets against their policy",
    Section.SEPARATION: "Environments apart",
    Section.EXCEPTIONS: "Exceptions",
}


class Row(ImmutableStruct, frozen=True):
    """A line. `source` is where it is from: a line of the trail, a path in Vault, a key of the configuration."""

    section: Section
    environment: str
    who: str
    what: str
    detail: str
    at: str
    """RFC 3339, or empty."""
    source: str


class Placed(ImmutableStruct, frozen=True):
    """An entry of the trail, and the file and line in which it stands."""

    where: str
    entry: Entry
