"""Adopts a clone of a project that another person has adopted: its own logins, its own variables, and the stack."""

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from lessee.core.errors import ConfigError, LesseeError
from lessee.core.immutable import ImmutableStruct, replace
from lessee.host.directories import translate_write_errors
from lessee.host.project import Project as Configuration
from lessee.host.project import load
from lessee.host.user_file import symbolic_links, write_beneath
from lessee.ops.adopt import files as project_files
from lessee.ops.adopt.access import Access, container_address
from lessee.ops.adopt.agent_image import AgentImage
from lessee.ops.adopt.apply import ENV, role_names, set_up_roles
from lessee.ops.adopt.files import digest
from lessee.ops.adopt.logins import Logins
from lessee.ops.adopt.policy import committed as policy
from lessee.ops.adopt.policy.clone_text import LOCAL_CA, LOCAL_FILE, ClonePlan, local_override
from lessee.ops.adopt.policy.committed import CONFIG, Committed
from lessee.ops.adopt.policy.edits import apply_edits, difference, with_compose_files
from lessee.ops.adopt.policy.override_text import OVERRIDE
from lessee.ops.adopt.project import project_name
from lessee.ops.adopt.record import IDENTITY, EditedFile, Phase, Record, RecordFolder
from lessee.ops.adopt.stack import Stack
from lessee.ops.adopt.store import Store

_FOLDER, _OTHERS = "lessee", "lessee/mcp/"
"""Of adopt's files, and of those that are not for the agent."""
_MOST_FILES = 10_000
_LARGEST = 1 << 20
_READABLE = 0o444
"""The agent's container has no capability to read files of another user; the folder above is for the owner alone."""

Say = Callable[[str], None]


class Clone(ImmutableStruct, frozen=True):
    """The files of adopt that came with a clone."""

    committed: Committed
    texts: Mapping[str, str]


def read_clone(folder: Path) -> Clone | None:
    """The adoption in the project's files; None where it has none. Raises ConfigError for what adopt did not write."""
    if not os.path.lexists(folder / policy.FILE):
        return None
    for path in (*symbolic_links(folder / _FOLDER), folder / OVERRIDE):
        if path.is_symlink():
            raise _invalid(path, "a symbolic link in the place of a file of `lessee adopt`", "remove it")
    required = (policy.FILE, OVERRIDE, CONFIG)
    texts = {}
    for name in dict.fromkeys([*required, *_files(folder)]):
        text = _text(folder / name)
        if text is not None:
            texts[name] = text
        elif name in required:
            what = "not the file that `lessee adopt` has written"
            raise _invalid(folder / name, what, "restore it from the repository")
    return Clone(policy.read(texts[policy.FILE].encode()), texts)


def _text(path: Path) -> str | None:
    """None for a file that is not one of adopt's."""
    with suppress(OSError, UnicodeDecodeError):
        if path.is_file() and path.stat().st_size <= _LARGEST:
            return path.read_bytes().decode()
    return None


def _files(folder: Path) -> list[str]:
    found: list[str] = []
    for place, _, names in os.walk(folder / _FOLDER):
        found += [str(Path(place, name).relative_to(folder)) for name in names]
        if len(found) > _MOST_FILES:
            raise _invalid(folder / _FOLDER, "too many files", "remove what `lessee adopt` did not write")
    return sorted(name for name in found if not name.startswith(_OTHERS))


def _invalid(path: Path, what: str, todo: str) -> ConfigError:
    return ConfigError([LesseeError(what, where=str(path), todo=todo)])


class CloneRun:
    """One run in a clone. Killed anywhere, the next one continues, and `--undo` reverses."""

    def __init__(self, clone: Clone, folder: Path, access: Access, store: Store, say: Say) -> None:
        self._clone = clone
        self._folder = folder
        self.access = access
        self._store = store
        self._logins = Logins(store.client)
        self._say = say
        self._address = container_address(access.address)
        self._configuration = self._checked_configuration()

    def plan(self, record: Record) -> ClonePlan:
        """What the run will do. Raises LesseeError where the clone's files cannot be believed, and changes nothing."""
        committed = self._clone.committed
        needed = self._logins.needed(self._configuration)
        roles = self._logins.check_clone(record, needed)
        changes = self._changes(record)
        found = {path: self._store.existing(path) for path in sorted({field.path for field in committed.stored})}
        missing = sorted({(one.path, one.field) for one in committed.stored if one.field not in found[one.path]})
        return ClonePlan(
            committed,
            self._address,
            record.image,
            needed,
            roles.new,
            roles.is_known,
            {change.path: change.is_new for change in changes},
            tuple(missing),
        )

    def check(self, record: Record, stack: Stack, image: AgentImage | None) -> None:
        """Raises LesseeError for what can be known to fail before anything is changed. `image` None: no Engine."""
        if image is not None:
            stack.require_engine()
            image.require()
            self.access.require_reachable()
        project_files.check_editable(self._folder, [change.path for change in self._changes(record)])

    def write(self, records: RecordFolder, record: Record) -> Record:
        """Write the clone's logins, its Compose file and its variables. Raises LesseeError."""
        digests = {name: digest(text.encode()) for name, text in self._clone.texts.items()}
        digests |= {name: own for name, own in self._clone.committed.generated.items() if name in digests}
        generated = {**record.generated, **digests}
        roles = role_names(self._configuration.config)
        record = records.save(replace(record, generated=generated, roles=roles))
        writable = self._logins.check_clone(record, self._logins.needed(self._configuration)).writable
        set_up_roles(self._store.client, self._configuration, {}, self._say, writable)
        for role in roles:
            self._logins.write_identity(role, records.path, f"{IDENTITY}/{record.environment}/{role}", record)
        if record.local_files:
            self._write_local_files(record)
        changes = self._changes(record)
        for content in self._befores(changes):
            self._store.back_up(record, content)
        # Saved first: a killed run may have written some of them.
        new = [change for change in changes if change not in record.edited]
        record = records.save(replace(record, edited=(*record.edited, *new)))
        for change in changes:
            project_files.edit(self._folder, change)
            self._say(f"~ {change.path}")
        return record

    def _write_local_files(self, record: Record) -> None:
        certificates = self.access.ca_text()
        if certificates is not None:
            write_beneath(self._folder, LOCAL_CA, certificates.encode(), mode=_READABLE)
        text = local_override(
            self._address,
            self._clone.committed,
            record.image,
            has_ca=certificates is not None,
            has_rotator=bool(self._configuration.config.rotation),
        )
        write_beneath(self._folder, LOCAL_FILE, text.encode())

    def start(self, records: RecordFolder, record: Record, stack: Stack, timeout: float) -> Record:
        """Start the stack, and wait until it is well. Raises StackError."""
        files = [self._folder / file for file in record.stack_files]
        env_files = [str(self._folder / file) for file in record.env_files]
        name = project_name(files, stack.environ, env_files)
        record = records.save(replace(record, compose_project=name))
        stack.project = name
        stack.hide("clone", self._values())
        stack.up(record.stack_files, stack.services(record.stack_files), timeout, self._say)
        return record

    def done(self, records: RecordFolder, record: Record) -> Record:
        """The clone is adopted as the project is."""
        return records.save(replace(record, phase=Phase.DONE))

    def plaintext(self) -> list[str]:
        """The files of variables that were there before, and that name a moved variable without a reference."""
        found = project_files.read_files(self._folder, self._clone.committed.references)
        return [
            name
            for name, lines in self._clone.committed.references.items()
            if name in found and policy.has_plaintext(found[name], lines)
        ]

    def _values(self) -> list[str]:
        found = {path: self._store.existing(path) for path in {one.path for one in self._clone.committed.stored}}
        return [str(value) for fields in found.values() for value in fields.values()]

    def _changes(self, record: Record) -> tuple[EditedFile, ...]:
        """The changes of the clone's files of variables: what they lack of the references, and of another clone's."""
        setting = (record.env_files or (ENV,))[-1]
        stored = self._store.clones_files(record)
        others = [name for name in (*self._clone.committed.references, *stored) if policy.is_contained(name)]
        names = dict.fromkeys([setting, *others])
        contents = project_files.read_files(self._folder, names)
        changes = []
        for name in names:
            content = contents.get(name)
            if name != setting and content is not None:
                continue  # The repository has it.
            added = policy.added_lines(content, stored.get(name), self._clone.committed.references.get(name, ()))
            after = (content or b"") + added.encode()
            if name == setting:
                after = apply_edits(after, [with_compose_files(name, after, record.stack_files)])
            if after != content:
                changes.append(_change(name, content, after))
        return project_files.with_modes(self._folder, changes)

    def _befores(self, changes: Iterable[EditedFile]) -> list[bytes]:
        found = project_files.read_files(self._folder, [change.path for change in changes])
        return [found.get(change.path, b"") for change in changes]

    def _checked_configuration(self) -> Configuration:
        """The clone's configuration for this user's Vault. It gets none of the user's variables."""
        committed = self._clone.committed
        expected = self.access.config(committed.environment)
        expected = replace(expected, vault=replace(expected.vault, address=self._address))
        with translate_write_errors(Path(gettempdir())), TemporaryDirectory(prefix="lessee-adopt-") as folder:
            for name, text in self._clone.texts.items():
                write_beneath(Path(folder), name, text.encode())
            found = load(Path(folder) / CONFIG, {"VAULT_ADDR": self._address}, blocks=("setup", "rotation"))
        policy.check_configuration(committed, found.config, expected)
        return found


def _change(name: str, content: bytes | None, after: bytes) -> EditedFile:
    edit = difference(name, content or b"", after)
    return EditedFile(name, digest(content or b""), digest(after), (edit,), is_new=content is None)
