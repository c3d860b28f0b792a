"""Reads and changes the user's files, and the files that adopt writes next to them."""

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path

from lessee.core.errors import LesseeError, WriteError
from lessee.core.immutable import ImmutableStruct, replace
from lessee.host.directories import translate_write_errors
from lessee.host.user_file import open_beneath, open_user_file, sync_folder, write_beneath
from lessee.ops.adopt.policy import config_text
from lessee.ops.adopt.policy.edits import apply_edits
from lessee.ops.adopt.record import FOLDER, EditedFile, Record

COMMAND = "lessee adopt"
MODEL = f"lessee/{config_text.MODEL}"
"""What the agent reads labels in: adopt's at first, and later what `docker compose config` prints."""
_NEW_FILE, _NEW_FOLDER = 0o644, 0o755


def digest(content: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()


def read_files(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    """The contents of the project's files by name; a file that is not there is left out. Raises ConfigError."""
    contents = {}
    for name in dict.fromkeys(names):
        if os.path.lexists(folder / name):
            with open_user_file(folder / name, COMMAND) as file:
                contents[name] = file.content
    return contents


def real_path(folder: Path, name: str) -> Path:
    """Where a file of the user is. Raises WriteError if that is outside of the project."""
    real = (folder / name).resolve()
    if not real.is_relative_to(folder.resolve()):
        is_link = (folder / name).is_symlink()
        what = f"{'a symbolic link to' if is_link else 'its real place is'} {real}, which is outside of the project"
        todo = "replace the link by a copy of the file"
        raise WriteError(f"{what} and may have other readers", where=str(folder / name), todo=todo)
    return real


def with_modes(folder: Path, changes: Iterable[EditedFile]) -> tuple[EditedFile, ...]:
    """The changes with the modes that the files have now."""
    found = []
    for change in changes:
        with suppress(FileNotFoundError):
            change = replace(change, mode=stat.S_IMODE((folder / change.path).stat().st_mode))  # noqa: PLW2901
        found.append(change)
    return tuple(found)


def check_editable(folder: Path, names: Iterable[str]) -> None:
    """Raises WriteError where an edit would fail, or would change what other projects read."""
    for name in names:
        path = folder / name
        real = real_path(folder, name)
        if not os.path.lexists(path):
            if not os.access(next(one for one in real.parents if one.exists()), os.W_OK):
                raise WriteError("the directory is read-only", where=str(path), todo="make the directory writable")
            continue
        with open_user_file(path, COMMAND) as file:
            file.check_writable()


def check_generated(folder: Path, names: Iterable[str]) -> None:
    """Raises WriteError where one of adopt's own files would be outside of the project, or behind a symbolic link."""
    for name in names:
        with open_beneath(folder, name) as parent:
            if parent is not None and (parent / Path(name).name).is_symlink():
                what = "a symbolic link, and `lessee adopt` would write its own file here"
                raise WriteError(what, where=str(folder / name), todo="remove or rename it")


def edit(folder: Path, change: EditedFile) -> bool:
    """Make the change, unless it is made already, and return whether this did. Raises WriteError, and changes nothing.

    It refuses a file that is neither as it was before the change nor as it is after it.
    """
    path, real = folder / change.path, real_path(folder, change.path)
    if not os.path.lexists(path):
        if not change.is_new:
            raise _changed(path)
        content = apply_edits(b"", change.edits)
        if real.parent.is_dir():
            write_beneath(real.parent, real.name, content, mode=_NEW_FILE, staging=folder / FOLDER)
        else:
            write_beneath(folder, change.path, content, mode=_NEW_FILE, folder_mode=_NEW_FOLDER)
        return True
    with open_user_file(path, COMMAND) as file:
        found = digest(file.content)
        if found == change.after:
            return False
        if found != change.before:
            raise _changed(path)
        content = apply_edits(file.content, change.edits)
        if digest(content) != change.after:
            raise LesseeError("the edited file would not be as planned", where=str(path), todo="please report this")
        file.replace(content, folder / FOLDER)
    return True


def is_reachable(folder: Path, change: EditedFile) -> bool:
    """Whether the file is as it was before the change, or as it is after it."""
    found = read_files(folder, [change.path]).get(change.path)
    return change.is_new if found is None else digest(found) in {change.before, change.after}


def put_back(folder: Path, change: EditedFile, expected: bytes, content: bytes | None) -> None:
    """Write the content of a file of the user, whose content is `expected` now. None: remove it. Raises WriteError.

    A file that is gone gets its mode back, but not its owner.
    """
    path, real = folder / change.path, real_path(folder, change.path)
    if content is None:
        with translate_write_errors(path):
            path.unlink(missing_ok=True)
            sync_folder(real.parent)
    elif not os.path.lexists(path):
        write_beneath(real.parent, real.name, content, mode=change.mode, staging=folder / FOLDER)
    else:
        with open_user_file(path, COMMAND) as file:
            if file.content != expected:
                raise _changed(path)
            file.replace(content, folder / FOLDER)


class OwnFiles(ImmutableStruct, frozen=True):
    """Adopt's own files of a run, and what is at their places."""

    texts: Mapping[str, str]
    """Those to write: all but the ones whose changes by a person stay."""
    replaced: Mapping[str, tuple[str, ...]]
    """As the record has it when they are written."""
    others: Mapping[str, int]
    """Those that adopt must not write, as a person wrote or changed them, with the first line that differs."""


def own_files(folder: Path, texts: Mapping[str, str], record: Record) -> OwnFiles:
    """What this run writes. A file that a person changed stays, if adopt would write what it wrote there before."""
    contents = read_files(folder, texts)
    kept, others, replaced = set(), {}, dict(record.replaced)
    for name, content in contents.items():
        found, text = content.decode(errors="replace"), texts[name]
        if found == text:
            continue
        earlier = record.replaced.get(name, ())
        known = record.generated.get(name)
        if (name == MODEL and known is not None) or digest(content) == known or found in earlier:
            replaced[name] = tuple(dict.fromkeys((*earlier, found)))
        elif not earlier and digest(text.encode()) == known:
            kept.add(name)
        else:
            others[name] = first_difference(found, text)
    return OwnFiles({name: text for name, text in texts.items() if name not in kept}, replaced, others)


def objection(folder: Path, texts: Mapping[str, str], record: Record) -> WriteError | None:
    """Why this run cannot write its files: one of them has something of a person."""
    others = own_files(folder, texts, record).others
    if foreign := [name for name in others if name not in record.generated]:
        what = "the file exists, and `lessee adopt` did not write it"
        return WriteError(what, where=str(folder / foreign[0]), todo="rename it")
    if not others:
        return None
    names = ", ".join(f"{name}:{line}" for name, line in others.items())
    what = f"a person changed {names}, and this run would write another content"
    todo = "rename what you changed, run this again, and add your changes to what it writes"
    return WriteError(what, where=str(folder), todo=todo)


def first_difference(found: str, text: str) -> int:
    """The first line that differs, from 1 on."""
    lines = zip_longest(found.splitlines(), text.splitlines())
    return next((at for at, (one, other) in enumerate(lines, 1) if one != other), 1)


def write_generated(folder: Path, texts: Mapping[str, str]) -> None:
    """Write adopt's own files, in this order; those that are equal stay untouched. Raises WriteError."""
    for name, text in texts.items():
        if read_files(folder, [name]).get(name) != text.encode():
            write_beneath(folder, name, text.encode(), mode=_NEW_FILE, folder_mode=_NEW_FOLDER)


def remove_generated(folder: Path, record: Record) -> tuple[str, ...]:
    """Remove adopt's own files, and their folders if they are empty; return those that a person changed, which stay."""
    kept = []
    for name, known in record.generated.items():
        # A killed run may not have written its text.
        expected = {known, *(digest(text.encode()) for text in record.replaced.get(name, ()))}
        with translate_write_errors(folder / name), open_beneath(folder, name) as parent:
            if parent is None:
                continue
            path = parent / Path(name).name
            path.with_name(f".{path.name}.lessee").unlink(missing_ok=True)  # A killed run may have left it.
            if not os.path.lexists(path):
                continue
            if name != MODEL and digest(path.read_bytes()) not in expected:
                kept.append(name)
                continue
            path.unlink()
    for parent in sorted(
        {parent for name in record.generated for parent in Path(name).parents}, key=lambda one: -len(one.parts)
    ):
        if parent != Path():
            with suppress(OSError):  # It has something else, or is gone.
                (folder / parent).rmdir()
    return tuple(kept)


def remove_staged(folder: Path, names: Iterable[str]) -> None:
    """Remove incomplete copies that killed runs left next to the user's files. Raises WriteError."""
    for name in names:
        with translate_write_errors(folder / name):
            real = (folder / name).resolve()
            real.with_name(f".{real.name}.lessee").unlink(missing_ok=True)


def _changed(path: Path) -> WriteError:
    what = "another program changed the file since this adoption began"
    return WriteError(what, where=str(path), todo="run `lessee adopt` again, which plans with the file as it is now")
