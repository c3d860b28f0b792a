"""Reads an archive completely before it is used."""

from typing import IO

from lessee.core.immutable import ImmutableStruct
from lessee.host.progress import SILENT, Progress
from lessee.ops.backup import raft
from lessee.ops.backup.archive import open_for_reading
from lessee.ops.backup.collector import count_records
from lessee.ops.backup.keys import Keys
from lessee.ops.backup.policy.archive_format import SNAPSHOT, ArchiveError, Manifest


class Inspection(ImmutableStruct, frozen=True):
    """A complete archive. `authenticated`: its HMAC shows that its maker had the key."""

    manifest: Manifest
    authenticated: bool

    @property
    def has_snapshot(self) -> bool:
        return self.manifest.members[-1].name == SNAPSHOT


def inspect(
    file: IO[bytes], keys: Keys, where: str, progress: Progress = SILENT, *, any_format: bool = False
) -> Inspection:
    """Raises ArchiveError where it is truncated, altered, forged, or differs from its manifest."""
    with open_for_reading(file, keys, where, any_format=any_format) as archive:
        found = Inspection(archive.manifest, archive.authenticated)
        objects = list(archive.objects())
        count = versions = 0
        for secret in progress.track(archive.secrets(), "checking the archive", found.manifest.counts.secrets):
            count += 1
            versions += sum(version.data is not None for version in secret.versions)
        if count_records(objects, count, versions) != found.manifest.counts:
            raise ArchiveError("its numbers of records differ from the manifest")
        if found.has_snapshot:
            size = found.manifest.members[-1].size
            raft.check(progress.track(archive.snapshot(), "checking the raft snapshot", size, size=len))
    return found
