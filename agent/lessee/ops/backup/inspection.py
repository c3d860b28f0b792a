"""Reads an archive to its end before anything is done with it."""

from typing import IO

from lessee.core.immutable import Record
from lessee.ops.backup import raft
from lessee.ops.backup.archive import opened
from lessee.ops.backup.collector import counted
from lessee.ops.backup.keys import Keys
from lessee.ops.backup.policy.manifest import SNAPSHOT, Manifest
from lessee.ops.backup.policy.problems import ArchiveError


class Inspected(Record, frozen=True):
    """An archive that is whole. `sealed`: it is known to be made by who has our key."""

    manifest: Manifest
    sealed: bool

    @property
    def has_snapshot(self) -> bool:
        return self.manifest.members[-1].name == SNAPSHOT


def inspect(file: IO[bytes], keys: Keys, where: str, *, any_format: bool = False) -> Inspected:
    """Raises ArchiveError where it is cut, altered, forged, or not what its manifest says."""
    with opened(file, keys, where, any_format=any_format) as archive:
        found = Inspected(archive.manifest, archive.sealed)
        things = list(archive.things())
        count = versions = 0
        for secret in archive.secrets():
            count += 1
            versions += sum(version.data is not None for version in secret.versions)
        if counted(things, count, versions) != found.manifest.counts:
            raise ArchiveError("there is not as much in it as its manifest says")
        if found.has_snapshot:
            raft.check(archive.snapshot())
    return found
