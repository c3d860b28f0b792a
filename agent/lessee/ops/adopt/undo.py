"""Reverses an adoption, from whatever state it was left in: `lessee adopt --undo`."""

from collections.abc import Callable, Mapping
from functools import partial

from lessee.core.errors import UsageError
from lessee.core.immutable import replace
from lessee.ops.adopt import files as project_files
from lessee.ops.adopt.files import digest
from lessee.ops.adopt.logins import Logins
from lessee.ops.adopt.mcp import undo_mcp
from lessee.ops.adopt.policy.model import ManualStep
from lessee.ops.adopt.policy.override_text import NETWORK, OVERRIDE, OWN_SERVICES, OWN_VOLUMES
from lessee.ops.adopt.policy.rotation import RotatedStore
from lessee.ops.adopt.policy.undone_edits import LeftLine, undone
from lessee.ops.adopt.record import IDENTITY, EditedFile, Phase, Record, RecordFolder
from lessee.ops.adopt.rotation import restore_rotated
from lessee.ops.adopt.stack import Stack, StackError
from lessee.ops.adopt.store import Store

Say = Callable[[str], None]


class Undo:
    """One run of the undo. Killed anywhere, the next one continues."""

    def __init__(self, folder: RecordFolder, stack: Stack, store: Store, say: Say) -> None:
        self._folder = folder
        self._project = folder.path.parent
        self._stack = stack
        self._store = store
        self._say = say

    def run(self, record: Record, timeout: float, *, with_engine: bool) -> tuple[ManualStep, ...]:
        """Put the files back, start the stack without lessee, and remove what adopt made.

        The secrets stay in Vault. Returns what is left to a person. Raises LesseeError.
        """
        # Nothing is changed unless all that is needed is there.
        befores = {change.before for change in record.edited} | {edit.before for edit in record.mcp}
        originals = {name: self._store.original(record, name) for name in befores}
        names = [*(change.path for change in record.edited), *(edit.path for edit in record.mcp)]
        project_files.check_editable(self._project, names)
        project_files.check_generated(self._project, record.generated)
        if with_engine:
            self._stack.require_engine("put the files back without it: `lessee adopt --undo --no-up`")
        self._report_changed(record)
        if record.rotated and not record.is_clone:
            record = self._restore_stores(record, timeout, with_engine=with_engine)
        record = self._folder.save(replace(record, phase=Phase.UNDOING))
        if with_engine and record.is_clone and record.compose_project and record.edited:
            self._stop(record)
        record, steps = self._restore_files(record, originals)
        project_files.remove_staged(self._project, names)
        ill = self._start(record, timeout) if with_engine and not record.is_clone else None
        shared = Logins(self._store.client).remove(record, self._folder.path / IDENTITY, record.roles)
        for role in shared:
            self._say(f"note: role {role} stays in Vault, because other logins have it")
        # Those of a clone are the repository's.
        for name in () if record.is_clone else project_files.remove_generated(self._project, record):
            what = "a person changed this file of adopt, so it stays"
            steps.append(ManualStep(name, what, "remove it if nothing needs it"))
        if not record.edited and not record.mcp:
            self._store.forget_originals(record)
            if record.project_id and not shared:
                self._store.forget_clones_files(record)
            self._folder.remove()
        if ill is not None:
            todo = f"correct the cause, and run `docker compose up --detach`: {ill}"
            steps.append(ManualStep(str(self._project), "the stack is not well without lessee", todo))
        return tuple(steps)

    def _restore_files(self, record: Record, originals: Mapping[str, bytes]) -> tuple[Record, list[ManualStep]]:
        """Put the files back. Of what is not, the record keeps the change, and the next undo looks at it again."""
        steps: list[ManualStep] = []
        named: list[str] = []
        for change in reversed(record.edited):
            left = [
                one
                for one in self._restore(change, originals[change.before])
                if one.is_marked or _name(change, one) not in record.named
            ]
            steps += (_step(change, one) for one in left)
            named += (_name(change, one) for one in left)
            if not left:
                record = self._folder.save(
                    replace(record, edited=tuple(one for one in record.edited if one is not change))
                )
            self._say(f"~ {change.path}")
        for edit in reversed(record.mcp):
            found = undo_mcp(self._project, [edit], {edit.path: originals[edit.before]})
            if edit.path in record.named:
                found = ()
            steps += found
            named += (edit.path for _ in found)
            if not found:
                record = self._folder.save(replace(record, mcp=tuple(one for one in record.mcp if one is not edit)))
            self._say(f"~ {edit.path}")
        return self._folder.save(replace(record, named=tuple(named))), steps

    def _restore_stores(self, record: Record, timeout: float, *, with_engine: bool) -> Record:
        """Give the stores the passwords that the files get back. The stack runs for it as it is."""
        if not with_engine:
            names = ", ".join(one.service for one in record.rotated)
            what = f"the passwords of {names} were rotated, and only the running stack can set the old ones again"
            raise UsageError(what, where="--no-up", todo="omit it")
        files = record.stack_files
        self._stack.up(files, record.services or self._stack.services(files), timeout, self._say)

        def forget(rotated: RotatedStore) -> None:
            nonlocal record
            left = tuple(one for one in record.rotated if one != rotated)
            record = self._folder.save(replace(record, rotated=left))

        restore_rotated(self._store, partial(self._stack.run, files), record, forget, self._say)
        return record

    def _restore(self, change: EditedFile, before: bytes) -> tuple[LeftLine, ...]:
        current = project_files.read_files(self._project, [change.path]).get(change.path)
        if current is None:
            if not change.is_new:
                project_files.put_back(self._project, change, b"", before)
            return ()
        if digest(current) == change.before and not change.is_new:
            return ()
        content, left = undone(before, change.edits, current)
        is_gone = change.is_new and not content
        project_files.put_back(self._project, change, current, None if is_gone else content)
        return left

    def _report_changed(self, record: Record) -> None:
        """Warn of secrets that have another value by now than the files get back."""
        rotated = {one.path for one in record.rotated}
        for path, version in record.versions.items():
            if path not in rotated and record.edited and (found := self._store.version(path)) not in {0, version}:
                what = f"{path} has version {found} in Vault, and your files get the values of version {version} back"
                self._say(f"warning: {what}")

    def _stop(self, record: Record) -> None:
        """Stop the stack of a clone, which has no secrets without lessee; its own volumes stay."""
        volumes = [name for name in self._stack.volumes(record.stack_files) if name.startswith(OWN_VOLUMES)]
        self._stack.down(record.stack_files)
        self._stack.remove_volumes(volumes)

    def _start(self, record: Record, timeout: float) -> StackError | None:
        """Start the stack as it was, and remove adopt's containers and volumes; why the stack is not well."""
        has_override = (self._project / OVERRIDE).exists()
        files = record.stack_files if has_override else record.files
        every = self._stack.services(files)
        ours = [name for name in every if name in OWN_SERVICES]
        volumes = [name for name in self._stack.volumes(files) if name.startswith(OWN_VOLUMES)]
        services = record.services or [name for name in every if name not in ours]
        ill = None
        try:
            self._stack.up(record.files, services, timeout, self._say)
        except StackError as exc:
            ill = exc
        self._stack.remove_services(files, ours)
        self._stack.remove_volumes(volumes)
        self._stack.remove_network(NETWORK)
        return ill


def _name(change: EditedFile, line: LeftLine) -> str:
    """What the record has of a line that was named."""
    return f"{change.path}: {', '.join(line.marks)}"


def _step(change: EditedFile, line: LeftLine) -> ManualStep:
    what = f"the line was changed since adopt wrote {', '.join(line.marks)} there, so it is not put back"
    again = "run `lessee adopt --undo` again"
    if any("://" not in mark for mark in line.marks):
        todo = f"remove adopt's file from the setting, and {again}"
    elif line.is_marked:
        todo = f"`bao kv get` prints the value: write it there, and {again}"
    else:
        todo = f"`bao kv get` prints the value: write it there, or leave the line as it is, and {again}"
    return ManualStep(f"{change.path}:{line.line}", what, todo)
