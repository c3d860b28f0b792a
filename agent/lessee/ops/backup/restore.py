"""Restores an archive: plans first, and writes only what differs."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO

from lessee.core.errors import DeniedError
from lessee.core.immutable import ImmutableStruct
from lessee.host.progress import SILENT, Progress
from lessee.ops.backup import raft, server
from lessee.ops.backup.archive import Archive, open_for_reading
from lessee.ops.backup.inspection import Inspection, inspect
from lessee.ops.backup.keys import Keys
from lessee.ops.backup.policy.archive_format import SNAPSHOT, ArchiveError
from lessee.ops.backup.policy.comparison import Server, objections
from lessee.ops.backup.policy.object_restore import Change, Conflict, Unrestorable
from lessee.ops.backup.policy.records import Secret
from lessee.ops.backup.policy.secret_restore import Plan, SecretStatus
from lessee.ops.backup.server_writer import Writer
from lessee.vault.admin import AdminClient

_FEW = 5


class RestoreOptions(ImmutableStruct, frozen=True):
    """What to restore. `authentication_expected`: backups are saved with the key. `namespace` None: the root."""

    force: bool
    only: str
    authentication_expected: bool
    namespace: str | None = None


class RestorePlan(ImmutableStruct, frozen=True):
    """The planned writes of a restore."""

    changes: tuple[Change, ...]
    unrestorable: tuple[Unrestorable, ...]
    secrets: tuple[tuple[str, SecretStatus, int], ...]
    """The secrets that differ, and the number of writes for each."""
    equal: int
    overwritten_newer: tuple[str, ...]
    """Secrets that are newer on the server, or that it stores without versions."""

    @property
    def writes(self) -> int:
        return len(self.changes) + sum(writes for _, _, writes in self.secrets)


class Restore:
    """The restore of one archive into one server."""

    def __init__(
        self,
        file: IO[bytes],
        where: str,
        keys: Keys,
        client: AdminClient,
        options: RestoreOptions,
        progress: Progress = SILENT,
    ) -> None:
        """Reads the archive completely. Raises ArchiveError, or DeniedError where it needs --force."""
        self._file, self._where, self._keys = file, where, keys
        self._client, self._wish = client, options
        self._progress = progress
        self.inspected: Inspection = inspect(file, keys, where, progress, any_format=options.force)
        self.server: Server = server.describe(client, options.namespace)
        reasons = objections(
            self.inspected.manifest,
            self.server,
            authenticated=self.inspected.authenticated,
            authentication_expected=options.authentication_expected,
        )
        if (found := list(reasons)) and not options.force:
            raise DeniedError("; ".join(found), where=where, todo="--force restores it anyway")

    @property
    def created(self) -> str:
        """When the archive was saved, in RFC 3339."""
        return self.inspected.manifest.created

    def plan(self) -> RestorePlan:
        """Plan the writes. Raises DeniedError where a different object is in the place of a saved one."""
        with self._writer(apply=False) as writer:
            found = list(writer.objects())
            self._refuse_conflicts(found)
            planned = self._tracked(writer, "comparing secrets")
            secret_plans = [(saved.where, secret_plan) for saved, secret_plan in planned if secret_plan.steps]
            equal = writer.statuses[SecretStatus.EQUAL]
        if self._wish.only and not secret_plans and not equal:
            raise DeniedError(f"the archive has no secret at {self._wish.only}", where=self._where)
        return RestorePlan(
            changes=tuple(one for one in found if isinstance(one, Change)),
            unrestorable=tuple(one for one in found if isinstance(one, Unrestorable)),
            secrets=tuple((where, secret_plan.status, len(secret_plan.steps)) for where, secret_plan in secret_plans),
            equal=equal,
            overwritten_newer=tuple(where for where, secret_plan in secret_plans if secret_plan.overwrites_newer),
        )

    def check_overwrites(self, restore_plan: RestorePlan) -> None:
        """Raises DeniedError where the server has newer secrets, unless forced."""
        if restore_plan.overwritten_newer and not self._wish.force:
            more = (
                f" and {len(restore_plan.overwritten_newer) - _FEW} more"
                if len(restore_plan.overwritten_newer) > _FEW
                else ""
            )
            what = f"the server has newer secrets: {', '.join(restore_plan.overwritten_newer[:_FEW])}{more}"
            raise DeniedError(what, where=self._where, todo="--force writes the archive's versions on top of them")

    def apply(self) -> int:
        """Write what differs; return the number of writes. After an interruption it can run again.

        Raises DeniedError where the server has a newer secret since the plan, unless forced.
        """
        with self._writer(apply=True) as writer:
            skip(writer.objects())
            skip(self._tracked(writer, "restoring secrets"))
            return writer.writes

    def apply_snapshot(self) -> None:
        """Replace all of the server's data, with unseal keys and tokens. Raises ArchiveError without a snapshot."""
        if not self.inspected.has_snapshot:
            raise ArchiveError("the archive has no raft snapshot", where=self._where, todo="omit --raft")
        with self._opened() as archive:
            skip(archive.objects())
            skip(archive.secrets())
            size = next(member.size for member in archive.manifest.members if member.name == SNAPSHOT)
            raft.put(self._client, archive.snapshot(), size, force=self._wish.force, progress=self._progress)

    def _tracked(self, writer: Writer, what: str) -> Iterator[tuple[Secret, Plan]]:
        # With a prefix, it is not known how many secrets there are below it.
        total = None if self._wish.only else self.inspected.manifest.counts.secrets
        return self._progress.track(writer.secrets(), what, total)

    @contextmanager
    def _opened(self) -> Iterator[Archive]:
        with open_for_reading(self._file, self._keys, self._where, any_format=self._wish.force) as archive:
            # The manifest has the checksums of all other members.
            if archive.manifest != self.inspected.manifest:
                raise ArchiveError("the archive changed since it was inspected", where=self._where)
            yield archive

    def _refuse_conflicts(self, found: Iterable[object]) -> None:
        conflicts = [f"{one.path}: {one.what}" for one in found if isinstance(one, Conflict)]
        if conflicts:
            raise DeniedError("; ".join(conflicts), where=self._where, todo="move it to another path")

    @contextmanager
    def _writer(self, *, apply: bool) -> Iterator[Writer]:
        with self._opened() as archive:
            yield Writer(self._client, archive, apply=apply, only=self._wish.only, may_overwrite_newer=self._wish.force)
            if archive.manifest.members[-1].name == SNAPSHOT:
                skip(archive.snapshot())


def skip(records: Iterator[object]) -> None:
    """Read and discard all records, to reach the next member."""
    for _ in records:
        pass
