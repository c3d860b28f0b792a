"""Writes plain files to any disk, for builds: no app is notified, and nothing is remembered."""

import os
import shutil
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from lessee.config import App
from lessee.core.errors import WriteError
from lessee.core.generation import FallbackKind, Generation
from lessee.host.directories import open_directory, open_subdirectory, translate_write_errors
from lessee.host.mounts import is_memory
from lessee.protocol.events import AppRecovered, FilesChecked
from lessee.publishing.generations import (
    OWN_PREFIX,
    check_names,
    check_no_directories,
    folder_modes,
    folders_of,
    open_parent,
    write_file,
)


class OneShotPublicationStore:
    """The parts of a publication store that do nothing where no app is notified and no generation replaced."""

    refused: Mapping[str, WriteError] = {}

    def reopen(self, app: str) -> None:
        """No directory is refused before its files are written."""

    def roll_back(self, app: str, to: int, *, failed_fingerprint: str, notify: bool) -> None:
        """Always fails, as no earlier generation exists. Raises WriteError."""
        del failed_fingerprint, notify
        raise WriteError(f"generation {to} no longer exists", where=app)

    def prune(self, app: str, numbers: Collection[int]) -> None:
        """No older generation exists."""

    def withdraw(self, app: str) -> None:
        """The written files stay, as no agent keeps them fresh."""

    def check_files(self, app: str, *, notify: bool, touched: Callable[[], None]) -> FilesChecked:
        """No agent keeps the files."""
        del notify, touched
        return FilesChecked(app)

    def mark_notified(self, app: str) -> None:
        """No notification is pending."""

    def mark_ready(self, app: str) -> None:
        """No app is probed."""

    def allow_retry(self, app: str) -> None:
        """No generation was rejected."""


class PlainPublicationStore(OneShotPublicationStore):
    """Plain files in `directory/NAME`, or in `directory/APP/NAME` for several apps. A NAME may be `FOLDER/FILE`."""

    def __init__(self, directory: Path, *, by_app: bool) -> None:
        self._directory = directory
        self._by_app = by_app
        self._staged: dict[str, Callable[[], object]] = {}

    def open(self, apps: Iterable[App], *, strict: bool = True) -> Mapping[str, AppRecovered]:
        """Recovers nothing: existing files are overwritten."""
        del strict
        return {app.name: AppRecovered(app.name, None, notification_pending=False) for app in apps}

    def stage(self, generation: Generation) -> Path:
        """Write the files into a temporary directory, which ends with the process at the latest. Raises WriteError."""
        self.discard(generation.app)
        path = self.directory_of(generation.app) / f"{OWN_PREFIX}{os.urandom(4).hex()}"
        self._staged[generation.app] = weakref.finalize(self, shutil.rmtree, path, ignore_errors=True)
        write_plain_files(path, generation)
        return path

    def publish(
        self, generation: Generation, *, notify: bool, probe: bool, fallback: FallbackKind | None = None
    ) -> tuple[int, bool]:
        """Write the files, which never come from a fallback. Raises WriteError."""
        del notify, probe, fallback
        self.discard(generation.app)
        write_plain_files(self.directory_of(generation.app), generation)
        return 1, True

    def discard(self, app: str) -> None:
        """Remove the staged files."""
        self._staged.pop(app, lambda: None)()

    def directory_of(self, app: str) -> Path:
        """The directory of an app's files."""
        return self._directory / app if self._by_app else self._directory


def write_plain_files(directory: Path, generation: Generation) -> None:
    """Write plain files on any disk, each of them atomically. Raises WriteError, and then leaves no temporary file."""
    check_names([file.name for file in generation.files], directory)
    folders = folders_of(generation.files)
    modes = folder_modes(folders)
    fd = open_directory(directory, make=(modes[""], None, None))
    made: list[str] = []
    temporaries: dict[str, str] = {}
    try:
        with translate_write_errors(directory):
            sync = not is_memory(fd)
            for folder, entries in folders.items():
                if folder and _make_folder(folder.removesuffix("/"), modes[folder], fd):
                    made.append(folder.removesuffix("/"))
                with open_parent(f"{folder}.", fd) as (parent, _):
                    files = [file for file in entries.values() if file is not None]
                    check_no_directories([file.name.rpartition("/")[2] for file in files], parent, directory)
                    for file in files:
                        temporary = f"{OWN_PREFIX}{os.urandom(4).hex()}"
                        temporaries[f"{folder}{temporary}"] = file.name
                        write_file(file, temporary, parent, where=directory, sync=sync)
            for temporary, name in temporaries.items():
                with open_parent(name, fd) as (parent, last):
                    os.rename(temporary.rpartition("/")[2], last, src_dir_fd=parent, dst_dir_fd=parent)
    finally:
        for temporary in temporaries:
            with suppress(OSError), open_parent(temporary, fd) as (parent, last):
                os.unlink(last, dir_fd=parent)
        for folder in reversed(made):  # Those with files stay.
            with suppress(OSError), open_parent(folder, fd) as (parent, last):
                os.rmdir(last, dir_fd=parent)
        os.close(fd)


def _make_folder(name: str, mode: int, directory: int) -> bool:
    """Make the folder with this name below the open directory; False where something has the name already."""
    with open_parent(name, directory) as (parent, last):
        try:
            os.mkdir(last, 0o700, dir_fd=parent)
        except FileExistsError:
            return False
        with open_subdirectory(last, parent) as fd:
            os.fchmod(fd, mode)
    return True
