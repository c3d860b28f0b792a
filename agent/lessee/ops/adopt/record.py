"""Keeps the record of an adoption in `.lessee/` of the project: what was done, so that any later run can go on."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path

import msgspec

from lessee.core.errors import ConfigError, LesseeError, WriteError
from lessee.core.immutable import ImmutableStruct
from lessee.host.directories import check_writers, open_directory, translate_write_errors
from lessee.host.locks import take_lock
from lessee.host.user_file import symbolic_links, sync_folder, write_beneath
from lessee.ops.adopt.policy.model import AdoptedField, Deployment, Edit, Rendered
from lessee.ops.adopt.policy.override_text import OVERRIDE
from lessee.ops.adopt.policy.rotation import RotatedStore
from lessee.ops.adopt.seal import Seal

FOLDER = ".lessee"
IDENTITY = "identity"
"""The folder of role_id and secret_id in it."""
_FILE, _LOCK, _IGNORE = "record.json", "lock", ".gitignore"
_FOLDER_MODE = (0o700, None, None)
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LONGEST = 1 << 26
_ATTEMPTS = 12
"""Each takes five seconds."""


class Phase(Enum):
    """How far an adoption is."""

    CLONING = "cloning"
    """In a clone of an adopted project, whose logins and variables are written."""
    PREPARING = "preparing"
    """The user's files have their plaintext. Vault may have it too, and the stack may run with the override."""
    EDITING = "editing"
    """The stack runs with the override, and adopt removes the plaintext from the files."""
    DONE = "done"
    UNDOING = "undoing"


class EditedFile(ImmutableStruct, frozen=True):
    """A change of a file of the user. `before` and `after` are SHA-256 of its contents; Vault has that of before."""

    path: str
    """Relative to the project's folder."""
    before: str
    after: str
    edits: tuple[Edit, ...]
    is_new: bool = False
    """There was none before."""
    mode: int = 0o600
    """Of the file before."""


class McpEdit(ImmutableStruct, frozen=True):
    """A changed configuration of an MCP client: the hashes of its contents. Vault has that of before."""

    path: str
    before: str
    after: str


class Record(ImmutableStruct, frozen=True):
    """All that adoptions of this project did.

    It is on a disk, so its types have no room for the value of a secret.
    """

    id: str
    """Distinguishes this clone from others of the project in Vault."""
    project: str
    """In the names of policies and AppRoles: Compose's name of the project when it was adopted."""
    environment: str
    address: str
    image: str
    phase: Phase = Phase.PREPARING
    version: int = 1
    labels: bool = False
    """Whether the apps are labels of their services."""
    project_id: str = ""
    """Of all clones of the project: distinguishes it from others of the same name."""
    compose_project: str = ""
    """Compose's name of the project in this clone; empty: `project`."""
    is_clone: bool = False
    """The files of adopt came with the clone: they are not this adoption's to remove."""
    deployment: Deployment | None = None
    """That of a clone's files; None: as this user reaches Vault."""
    local_files: tuple[str, ...] = ()
    """Compose files after the override, with the settings of this clone alone."""
    references: Mapping[str, tuple[str, ...]] = {}
    """The lines with references in the files that are no Compose files, by path: git may ignore these."""
    ca_file: str | None = None
    namespace: str | None = None
    files: tuple[str, ...] = ()
    """The Compose files that the user names, without the override."""
    env_files: tuple[str, ...] = ()
    """Those of `--env-file`."""
    services: tuple[str, ...] = ()
    """Those that ran before; empty: all of the default profile."""
    uses: tuple[tuple[str, str], ...] = ()
    """Service and name of each value that was moved."""
    stored: tuple[AdoptedField, ...] = ()
    rendered: tuple[Rendered, ...] = ()
    edited: tuple[EditedFile, ...] = ()
    """In the order of the changes."""
    generated: Mapping[str, str] = {}
    """SHA-256 of the files that adopt wrote, by path."""
    replaced: Mapping[str, tuple[str, ...]] = {}
    """What unfinished runs have replaced in these files: the text of before the first of them, and those since then."""
    written: tuple[tuple[str, str], ...] = ()
    """Path and field of what adopt stored in Vault, and what was not there before."""
    versions: Mapping[str, int] = {}
    """The version of each secret that the user's files have, by path."""
    roles: tuple[str, ...] = ()
    """Names of AppRoles, and of their policies."""
    mcp: tuple[McpEdit, ...] = ()
    """Configurations of MCP clients whose servers get their secrets from lessee, in the order of the changes."""
    rotated: tuple[RotatedStore, ...] = ()
    """Rotation targets whose credentials adopt has changed in their systems, in this order."""
    named: tuple[str, ...] = ()
    """What an undo could not put back and has named: a person may leave it as it is."""

    @property
    def backup_path(self) -> str:
        """Where the originals are, below the environment's prefix."""
        return f"lessee/adopted/{self.project}-{self.id}"

    @property
    def stack_files(self) -> tuple[str, ...]:
        """The Compose files with which the adopted stack starts."""
        return (*self.files, OVERRIDE, *self.local_files)

    @property
    def clones_path(self) -> str:
        """Where the edited files that git may ignore are for other clones, below the environment's prefix."""
        return f"lessee/projects/{self.project}-{self.project_id}"

    @property
    def compose_name(self) -> str:
        """Compose's name of the project."""
        return self.compose_project or self.project


class RecordFolder:
    """The open folder of the record, which one process at a time has."""

    def __init__(self, project: Path, environ: Mapping[str, str]) -> None:
        self.path = project / FOLDER
        self._seal = Seal(project, environ)
        self.lock = -1
        """The descriptor of the lock, while this process has the folder; programs that it starts have it too."""

    @property
    def exists(self) -> bool:
        """Whether there is a folder; without a record, a killed run has left it."""
        return self.path.is_dir()

    @property
    def has_record(self) -> bool:
        """Whether there is a record, of any writer."""
        return os.path.lexists(self.path / _FILE)

    def load(self, moved_from: str | None = None) -> Record | None:
        """The record; None without one. Raises ConfigError where this user did not write it, and WriteError.

        MovedError where it is of another folder, unless the user names that one.
        """
        self._check_links()
        file = self.path / _FILE
        try:
            with os.fdopen(os.open(file, _READ), "rb") as stream:
                content = stream.read(_LONGEST)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise _invalid(file, f"cannot be read: {exc.strerror}") from None
        try:
            return msgspec.json.decode(self._seal.opened(content, file, moved_from), type=Record)
        except msgspec.DecodeError:
            raise _invalid(file, "another version of lessee wrote it") from None

    def save(self, record: Record) -> Record:
        """Write the record; it is on the disk when this returns. Raises WriteError."""
        write_beneath(self.path, _FILE, self._seal.seal(msgspec.json.encode(record), self.path / _FILE))
        return record

    def take_over(self, old: str, say: Callable[[str], None]) -> None:
        """Seal the record, which was moved here from `old`, for this folder. Raises ConfigError and WriteError."""
        lock = self._locked(say)
        try:
            record = self.load(old)
            if record is not None:
                self.save(record)
        finally:
            os.close(lock)

    @contextmanager
    def held(self, say: Callable[[str], None]) -> Iterator["RecordFolder"]:
        """Make the folder, and hold it against other runs. Raises WriteError.

        A folder without a record is removed at the end: nothing was adopted.
        """
        self.lock = self._locked(say)
        try:
            write_beneath(self.path, _IGNORE, b"*\n")
            self._remove_staged()
            try:
                yield self
            finally:
                if self.path.exists() and self.load() is None:
                    self.remove()
        finally:
            os.close(self.lock)

    def _check_links(self) -> None:
        """Raises ConfigError for a symbolic link, which lessee never makes here, and which would lead it elsewhere."""
        for path in symbolic_links(self.path):
            what, todo = "a symbolic link, where lessee keeps logins and its record", "remove it"
            raise ConfigError([LesseeError(what, where=str(path), todo=todo)])

    def _remove_staged(self) -> None:
        """Remove incomplete copies of the user's files, which killed runs have left here."""
        with translate_write_errors(self.path):
            for path in self.path.glob(".*.lessee"):
                path.unlink()

    def _locked(self, say: Callable[[str], None]) -> int:
        """The descriptor of the lock that this process has, after it has waited for another run.

        It also waits for a program that a killed run has started and that still works.
        """
        for attempt in range(_ATTEMPTS):
            lock = self._open_lock()
            if lock is not None and take_lock(lock):
                # The run before may have removed the folder.
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(lock), (self.path / _LOCK).stat()):
                        return lock
            elif not attempt:
                say("waiting for another `lessee adopt` of this project")
            if lock is not None:
                os.close(lock)
        what = "another `lessee adopt` is working on this project"
        raise WriteError(what, where=str(self.path), todo="wait until it has ended")

    def _open_lock(self) -> int | None:
        self._check_links()
        fd = open_directory(self.path, make=_FOLDER_MODE)
        try:
            check_writers(fd, self.path, uid=None, gid=None)
            with translate_write_errors(self.path):
                os.fchmod(fd, 0o700)
                with suppress(FileNotFoundError):  # Another run is removing the folder.
                    return os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=fd)
            return None
        finally:
            os.close(fd)

    def remove(self) -> None:
        """Remove the folder with all that is in it. Raises WriteError."""
        with translate_write_errors(self.path):
            # First the record: what a killed run leaves then is not an adoption.
            with suppress(FileNotFoundError):
                (self.path / _FILE).unlink()
            sync_folder(self.path)
            shutil.rmtree(self.path)
            sync_folder(self.path.parent)


def _invalid(path: Path, what: str) -> ConfigError:
    return ConfigError([LesseeError(what, where=str(path), todo="restore it from a backup of the project's folder")])
