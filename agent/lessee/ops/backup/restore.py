"""Brings an archive back: looks first, and writes only what differs."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO

from lessee.core.errors import DeniedError
from lessee.core.immutable import ImmutableStruct
from lessee.ops.backup import raft, server
from lessee.ops.backup.archive import Archive, open_for_reading
from lessee.ops.backup.inspection import Inspection, inspect
from lessee.ops.backup.keys import Keys
from lessee.ops.backup.policy.archive_format import SNAPSHOT, ArchiveError
from lessee.ops.backup.policy.comparison import Server, objections
from lessee.ops.backup.policy.object_restore import Change, Conflict, Unrestorable
from lessee.ops.backup.policy.secret_restore import SecretStatus
from lessee.ops.backup.server_writer import Writer
from lessee.vault.admin import AdminClient

_FEW = 5


class RestoreOptions(ImmutableStruct, frozen=True):
    """What is asked for. `authentication_expected`: archives here are made by who has the key. `namespace` None: the root."""

    force: bool
    only: str
    authentication_expected: bool
    namespace: str | None = None


class RestorePlan(ImmutableStruct, frozen=True):
    """What a restore will write."""

    changes: tuple[Change, ...]
    lost: tuple[Unrestorable, ...]
    secrets: tuple[tuple[str, SecretStatus, int], ...]
    """Those that differ, and how many writes each takes."""
    equal: int
    losing: tuple[str, ...]
    """Secrets that are newer on the server, or of which it keeps no history."""

    @property
    def writes(self) -> int:
        return len(self.changes) + sum(writes for _, _, writes in self.secrets)


class Restore:
    """One archive, and the server that it is to go to."""

    def __init__(self, file: IO[bytes], where: str, keys: Keys, client: AdminClient, options: RestoreOptions) -> None:
        """Reads the archive to its end. Raises ArchiveError, or DeniedError where only force would help."""
        self._file, self._where, self._keys = file, where, keys
        self._client, self._wish = client, options
        self.inspected: Inspection = inspect(file, keys, where, any_format=options.force)
        self.server: Server = server.describe(client, options.namespace)
        reasons = objections(
            self.inspected.manifest,
            self.server,
            authenticated=self.inspected.authenticated,
            authentication_expected=options.authentication_expected,
        )
        if (found := list(reasons)) and not options.force:
            raise DeniedError("; ".join(found), where=where, todo="--force restores it all the same")

    def look(self) -> RestorePlan:
        """Writes nothing. Raises DeniedError where something else is in the place of what was saved."""
        with self._writer(act=False) as writer:
            found = list(writer.objects())
            self._refuse_conflicts(found)
            ways = [(saved.where, way) for saved, way in writer.secrets() if way.steps]
            equal = writer.courses[SecretStatus.EQUAL]
        if self._wish.only and not ways and not equal:
            raise DeniedError(f"the archive has no secret at {self._wish.only}", where=self._where)
        return RestorePlan(
            changes=tuple(one for one in found if isinstance(one, Change)),
            lost=tuple(one for one in found if isinstance(one, Unrestorable)),
            secrets=tuple((where, way.course, len(way.steps)) for where, way in ways),
            equal=equal,
            losing=tuple(where for where, way in ways if way.overwrites_newer),
        )

    def check_overwrites(self, restore_plan: RestorePlan) -> None:
        """Raises DeniedError where what is on the server is newer, unless that is as wished."""
        if restore_plan.losing and not self._wish.force:
            more = f" and {len(restore_plan.losing) - _FEW} more" if len(restore_plan.losing) > _FEW else ""
            what = f"the server has newer secrets: {', '.join(restore_plan.losing[:_FEW])}{more}"
            raise DeniedError(what, where=self._where, todo="--force writes the archive's on top of them")

    def act(self) -> int:
        """How many writes it took. Where it is interrupted, it may be done again, and comes to the same end.

        Raises DeniedError where a secret has become newer on the server since, unless that is as wished.
        """
        with self._writer(act=True) as writer:
            skip(writer.objects())
            skip(writer.secrets())
            return writer.writes

    def apply_snapshot(self) -> None:
        """Replace all that the server has, its unseal keys and tokens too. Raises ArchiveError without a snapshot."""
        if not self.inspected.has_snapshot:
            raise ArchiveError("there is no raft snapshot in it", where=self._where, todo="leave --raft out")
        with self._opened() as archive:
            skip(archive.objects())
            skip(archive.secrets())
            size = next(member.size for member in archive.manifest.members if member.name == SNAPSHOT)
            raft.put(self._client, archive.snapshot(), size, force=self._wish.force)

    @contextmanager
    def _opened(self) -> Iterator[Archive]:
        with open_for_reading(self._file, self._keys, self._where, any_format=self._wish.force) as archive:
            # It names the checksums of all that follows.
            if archive.manifest != self.inspected.manifest:
                raise ArchiveError("it is another one than a moment ago", where=self._where)
            yield archive

    def _refuse_conflicts(self, found: Iterable[object]) -> None:
        conflicts = [f"{one.path}: {one.what}" for one in found if isinstance(one, Conflict)]
        if conflicts:
            raise DeniedError("; ".join(conflicts), where=self._where, todo="move it out of the way")

    @contextmanager
    def _writer(self, *, act: bool) -> Iterator[Writer]:
        with self._opened() as archive:
            yield Writer(self._client, archive, act=act, only=self._wish.only, may_overwrite_newer=self._wish.force)
            if archive.manifest.members[-1].name == SNAPSHOT:
                skip(archive.snapshot())


def skip(records: Iterator[object]) -> None:
    """Go to what follows."""
    for _ in records:
        pass
