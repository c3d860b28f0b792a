"""Finds the files that the agent published in directories that no app uses any more, and removes them."""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from lessee.config import App
from lessee.core.errors import WriteError
from lessee.core.immutable import ImmutableStruct
from lessee.host.directories import hold, open_directory, translate_write_errors
from lessee.publishing.generations import FOLDER, MAX_ENTRIES, is_authentic, list_entries
from lessee.publishing.publication import Publisher
from lessee.publishing.state_store import StateStore
from lessee.telemetry.logs import log

_LIVE = "..data"
_TODO = "remove what lessee published there yourself"


class Leftover(ImmutableStruct, frozen=True):
    """A directory with published files that no app uses, and the app whose files they were."""

    directory: Path
    app: str


def find_leftovers(
    state_store: StateStore, apps: Mapping[str, App], *, refused: Collection[str] = ()
) -> Iterator[Leftover]:
    """The directories in which the agent published earlier, and that still hold what looks like a publication.

    `refused`: apps whose directories are not known now. A directory that does not exist any more is forgotten.
    """
    used = {_real(app.directory) for app in apps.values()}
    for path, app in sorted(state_store.directories().items()):
        if app in refused or _real(path) in used:
            continue
        if not os.path.lexists(path):
            with suppress(WriteError):
                state_store.forget_directory(path)
        elif os.path.lexists(f"{path}/{_LIVE}"):
            yield Leftover(Path(path), app)


def remove_leftovers(leftovers: Iterable[Leftover], state_store: StateStore) -> list[WriteError]:
    """Remove the published files, and each directory that is then empty; return the errors of those that stay."""
    problems = []
    for leftover in leftovers:
        try:
            _remove(leftover.directory, state_store.key())
            state_store.forget_directory(str(leftover.directory))
        except WriteError as exc:
            problems.append(exc)
    return problems


def log_leftover(app: str, directory: Path) -> None:
    """Warn of files that the agent published where no app uses them any more."""
    log(
        "warning",
        "unused files found",
        app=app,
        directory=str(directory),
        note="the agent published them earlier, and no app uses this directory now",
        todo="stop the agent and run `lessee clean --unused`",
    )


def _real(path: str) -> str:
    try:
        return os.path.realpath(path)
    except OSError:
        # Another user changes it at this moment.
        return path


def _remove(directory: Path, key: bytes) -> None:
    # A record of the state directory alone is no reason to remove anything: it may have been copied or forged, or
    # another agent may use the directory since. So what readers see must have a name that only this agent's key gives.
    with translate_write_errors(directory):
        fd = open_directory(directory, make=None)
        status = os.fstat(fd)
        os.close(fd)
    publisher = Publisher(directory, owner=(status.st_uid, status.st_gid), mode=0, allow_disk=True)
    try:
        if not _is_own(publisher, key):
            raise WriteError("another agent published these files", where=str(directory), todo=_TODO)
        if not hold(publisher.fd, shared=False):
            todo = "stop it first, if its configuration does not use this directory"
            raise WriteError("another lessee uses this directory", where=str(directory), todo=todo)
        publisher.withdraw()
    finally:
        publisher.close()
    with suppress(OSError):
        directory.rmdir()


def _is_own(publisher: Publisher, key: bytes) -> bool:
    if (live := publisher.live()) is not None:
        return is_authentic(live.folder, key)
    names = list_entries(publisher.fd, MAX_ENTRIES) or ()
    folders = [name for name in names if FOLDER.fullmatch(name)]
    return bool(folders) and all(is_authentic(name, key) for name in folders)
