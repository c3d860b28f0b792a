"""Brings an archive back: looks first, and writes only what differs."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO

from lessee.core.errors import RefusedError
from lessee.core.immutable import ImmutableStruct
from lessee.ops.backup import raft, server
from lessee.ops.backup.archive import Archive, opened
from lessee.ops.backup.inspection import Inspected, inspect
from lessee.ops.backup.keys import Keys
from lessee.ops.backup.policy.changes import Change, Conflict, Lost
from lessee.ops.backup.policy.manifest import SNAPSHOT
from lessee.ops.backup.policy.problems import ArchiveError
from lessee.ops.backup.policy.restore import Course
from lessee.ops.backup.policy.restore_guard import Server, objections
from lessee.ops.backup.writer import Writer
from lessee.vault.admin import AdminClient

_FEW = 5


class Wish(ImmutableStruct, frozen=True):
    """What is asked for. `seal_expected`: archives here are made by who has the key. `namespace` None: the root."""

    force: bool
    only: str
    seal_expected: bool
    namespace: str | None = None


class Outlook(ImmutableStruct, frozen=True):
    """What a restore will write."""

    changes: tuple[Change, ...]
    lost: tuple[Lost, ...]
    secrets: tuple[tuple[str, Course, int], ...]
    """Those that differ, and how many writes each takes."""
    equal: int
    losing: tuple[str, ...]
    """Secrets that are newer on the server, or of which it keeps no history."""

    @property
    def writes(self) -> int:
        return len(self.changes) + sum(writes for _, _, writes in self.secrets)


class Restoring:
    """One archive, and the server that it is to go to."""

    def __init__(self, file: IO[bytes], where: str, keys: Keys, client: AdminClient, wish: Wish) -> None:
        """Reads the archive to its end. Raises ArchiveError, or RefusedError where only force would help."""
        self._file, self._where, self._keys = file, where, keys
        self._client, self._wish = client, wish
        self.inspected: Inspected = inspect(file, keys, where, any_format=wish.force)
        self.server: Server = server.describe(client, wish.namespace)
        reasons = objections(
            self.inspected.manifest, self.server, sealed=self.inspected.sealed, seal_expected=wish.seal_expected
        )
        if (found := list(reasons)) and not wish.force:
            raise RefusedError("; ".join(found), where=where, todo="--force restores it all the same")

    def look(self) -> Outlook:
        """Writes nothing. Raises RefusedError where something else is in the place of what was saved."""
        with self._writer(act=False) as writer:
            found = list(writer.things())
            self._refuse_conflicts(found)
            ways = [(saved.where, way) for saved, way in writer.secrets() if way.steps]
            equal = writer.courses[Course.EQUAL]
        if self._wish.only and not ways and not equal:
            raise RefusedError(f"the archive has no secret at {self._wish.only}", where=self._where)
        return Outlook(
            changes=tuple(one for one in found if isinstance(one, Change)),
            lost=tuple(one for one in found if isinstance(one, Lost)),
            secrets=tuple((where, way.course, len(way.steps)) for where, way in ways),
            equal=equal,
            losing=tuple(where for where, way in ways if way.loses),
        )

    def refuse_loss(self, outlook: Outlook) -> None:
        """Raises RefusedError where what is on the server is newer, unless that is as wished."""
        if outlook.losing and not self._wish.force:
            more = f" and {len(outlook.losing) - _FEW} more" if len(outlook.losing) > _FEW else ""
            what = f"the server has newer secrets: {', '.join(outlook.losing[:_FEW])}{more}"
            raise RefusedError(what, where=self._where, todo="--force writes the archive's on top of them")

    def act(self) -> int:
        """How many writes it took. Where it is interrupted, it may be done again, and comes to the same end.

        Raises RefusedError where a secret has become newer on the server since, unless that is as wished.
        """
        with self._writer(act=True) as writer:
            skip(writer.things())
            skip(writer.secrets())
            return writer.writes

    def act_by_snapshot(self) -> None:
        """Replace all that the server has, its unseal keys and tokens too. Raises ArchiveError without a snapshot."""
        if not self.inspected.has_snapshot:
            raise ArchiveError("there is no raft snapshot in it", where=self._where, todo="leave --raft out")
        with self._opened() as archive:
            skip(archive.things())
            skip(archive.secrets())
            size = next(member.size for member in archive.manifest.members if member.name == SNAPSHOT)
            raft.put(self._client, archive.snapshot(), size, force=self._wish.force)

    @contextmanager
    def _opened(self) -> Iterator[Archive]:
        with opened(self._file, self._keys, self._where, any_format=self._wish.force) as archive:
            # It names the checksums of all that follows.
            if archive.manifest != self.inspected.manifest:
                raise ArchiveError("it is another one than a moment ago", where=self._where)
            yield archive

    def _refuse_conflicts(self, found: Iterable[object]) -> None:
        conflicts = [f"{one.path}: {one.what}" for one in found if isinstance(one, Conflict)]
        if conflicts:
            raise RefusedError("; ".join(conflicts), where=self._where, todo="move it out of the way")

    @contextmanager
    def _writer(self, *, act: bool) -> Iterator[Writer]:
        with self._opened() as archive:
            yield Writer(self._client, archive, act=act, only=self._wish.only, may_lose=self._wish.force)
            if archive.manifest.members[-1].name == SNAPSHOT:
                skip(archive.snapshot())


def skip(records: Iterator[object]) -> None:
    """Go to what follows."""
    for _ in records:
        pass
