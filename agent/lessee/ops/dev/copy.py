"""Copies a server for development to another one: a plan first, and nothing there is overwritten unasked."""

import secrets
from collections.abc import Iterator

from lessee.core.errors import LesseeError, ManuallyChangedError
from lessee.core.immutable import ImmutableStruct
from lessee.host.progress import Progress
from lessee.ops.backup import server
from lessee.ops.backup.policy.object_restore import Change, Conflict
from lessee.ops.backup.policy.records import Secret, ServerObject
from lessee.ops.backup.policy.secret_restore import SecretStatus
from lessee.ops.backup.secret_reader import secrets as secrets_of
from lessee.ops.backup.server_writer import Writer
from lessee.ops.dev.policy.copying import Copied, is_copied, not_readable, notes, of_object, of_secret
from lessee.vault.admin import AdminClient


class CopyPlan(ImmutableStruct, frozen=True):
    """What the copy writes, what it leaves to a person, and what is never part of one."""

    lines: tuple[Copied, ...]
    equal: int
    notes: tuple[str, ...]

    @property
    def writes(self) -> int:
        """The number of objects and secrets that are written."""
        return sum(line.is_write for line in self.lines)

    @property
    def left(self) -> int:
        """The number of things that are left to a person."""
        return sum(line.is_left for line in self.lines)


class _Source:
    """The server for development, as `Writer` reads an archive. Its objects are read once."""

    def __init__(self, client: AdminClient, progress: Progress) -> None:
        self._client = client
        self._progress = progress
        self.key = secrets.token_bytes()
        self.all = tuple(one for one in server.objects(client) if is_copied(one))

    def objects(self) -> Iterator[ServerObject]:
        return iter(self.all)

    def secrets(self) -> Iterator[Secret]:
        kv = {
            one.path: 2 if server.is_versioned(one.data) else 1
            for one in self.all
            if one.kind == "mount" and one.data["type"] in {"kv", "generic"}
        }
        return secrets_of(self._client, kv, self.key, self._progress)


class Copy:
    """A copy of all from one server to another. Raises DeniedError or VaultUnreachableError; it can run again."""

    def __init__(self, source: AdminClient, target: AdminClient, progress: Progress, *, force: bool) -> None:
        """`force`: overwrite what is there and differs, a secret by a new version of it."""
        self._source = _Source(source, progress)
        self._client, self._target, self._force = source, target, force

    def plan(self) -> CopyPlan:
        """What it would do. Raises ManuallyChangedError where a mount of another type is in the place of one."""
        writer = self._writer(apply=False)
        found = list(writer.objects())
        conflicts = [one for one in found if isinstance(one, Conflict)]
        if conflicts:
            texts = "\n".join(line.text for one in conflicts if (line := of_object(one, force=self._force)))
            what = f"a mount of another type is in the place of one:\n{texts}\nnothing was copied"
            raise ManuallyChangedError(what, where=self._target.address, todo="move one of the two")
        lines = [of_object(one, force=self._force) for one in found]
        lines += [of_secret(secret, plan, force=self._force) for secret, plan in writer.secrets()]
        equal = writer.statuses[SecretStatus.EQUAL]
        lines += not_readable(self._source.all, server.namespaces(self._client) or ())
        return CopyPlan(tuple(filter(None, lines)), equal, tuple(notes(self._source.all)))

    def apply(self) -> None:
        """Write it, and compare. Raises LesseeError where a copy is not equal."""
        writer = self._writer(apply=True)
        for _ in writer.objects():
            pass
        for _ in writer.secrets():
            pass
        check = self._writer(apply=False)
        different = [
            one.path
            for one in check.objects()
            if isinstance(one, Change) and (one.new or self._may_change(one.server_object.kind))
        ]
        different += [
            secret.where
            for secret, plan in check.secrets()
            if plan.status is not SecretStatus.EQUAL and (plan.status is not SecretStatus.CHANGED or self._force)
        ]
        if different:
            what = f"not equal when read back: {', '.join(different)}"
            raise LesseeError(what, where=self._target.address, todo="another client may have written it; run it again")

    def _writer(self, *, apply: bool) -> Writer:
        return Writer(self._target, self._source, apply=apply, may_change=self._may_change)

    def _may_change(self, kind: str) -> bool:
        """The settings of a mount that is there are its operator's, also with --force."""
        return self._force and kind not in {"mount", "auth"}
