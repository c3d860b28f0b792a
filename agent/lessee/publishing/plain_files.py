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
from lessee.host.directories import open_directory, translate_write_errors
from lessee.host.mounts import is_memory
from lessee.protocol.events import AppRecovered, FilesChecked
from lessee.publishing.generations import OWN_PREFIX, check_names, check_no_directories, directory_mode, write_file


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
    """Plain files in `directory/NAME`, or in `directory/APP/NAME` for several apps."""

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
    names = [file.name for file in generation.files]
    check_names(names, directory)
    mode = directory_mode(*(file.mode for file in generation.files))
    fd = open_directory(directory, make=(mode, None, None))
    temporaries: dict[str, str] = {}
    try:
        with translate_write_errors(directory):
            check_no_directories(names, fd, directory)
            sync = not is_memory(fd)
            for file in generation.files:
                temporary = f"{OWN_PREFIX}{os.urandom(4).hex()}"
                temporaries[temporary] = file.name
                write_file(file, temporary, fd, where=directory, sync=sync)
            for temporary, name in temporaries.items():
                os.rename(temporary, name, src_dir_fd=fd, dst_dir_fd=fd)
    finally:
        for temporary in temporaries:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=fd)
        os.close(fd)
