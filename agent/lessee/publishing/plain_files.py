"""Plain files on any disk, for builds: nobody is told of them, and nothing is kept."""

import os
import shutil
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from lessee.agent.machine.protocol.events import Recovered
from lessee.config import App
from lessee.core.errors import WriteError
from lessee.core.generation import FallbackKind, Generation
from lessee.host.directories import cannot_write, open_directory
from lessee.host.mounts import is_memory
from lessee.publishing.generations import OURS, folder_mode, refuse_folders, refuse_names, write


class Once:
    """What there is to do on a shelf from which nobody is told: nothing."""

    def roll_back(self, app: str, to: int, *, bad: str, owe: bool) -> None:
        """No earlier generation is kept. Raises WriteError."""
        del bad, owe
        raise WriteError(f"generation {to} is not kept", where=app)

    def prune(self, app: str, numbers: Collection[int]) -> None:
        """There is nothing old."""

    def withdraw(self, app: str) -> None:
        """What was written stays: nobody keeps it up."""

    def settle(self, app: str) -> None:
        """Nobody is owed."""

    def confirm(self, app: str) -> None:
        """Nothing waits for a proof."""

    def forgive(self, app: str) -> None:
        """Nothing is remembered as bad."""


class PlainPublicationStore(Once):
    """Plain files in `directory/NAME`, or `directory/APP/NAME` for several apps."""

    def __init__(self, directory: Path, *, by_app: bool) -> None:
        self._directory = directory
        self._by_app = by_app
        self._staged: dict[str, Callable[[], object]] = {}

    def open(self, apps: Iterable[App]) -> Mapping[str, Recovered]:
        """Nothing is recovered: what lies there is written over."""
        return {app.name: Recovered(app.name, None, owed=False) for app in apps}

    def stage(self, generation: Generation) -> Path:
        """Write the files into a folder beside, which is gone with the process at the latest. Raises WriteError."""
        self.discard(generation.app)
        path = self.folder(generation.app) / f"{OURS}{os.urandom(4).hex()}"
        self._staged[generation.app] = weakref.finalize(self, shutil.rmtree, path, ignore_errors=True)
        write_plain(path, generation)
        return path

    def publish(
        self, generation: Generation, *, owe: bool, prove: bool, fallback: FallbackKind | None = None
    ) -> tuple[int, bool]:
        """Write the files, which never come from a fallback. Raises WriteError."""
        del owe, prove, fallback
        self.discard(generation.app)
        write_plain(self.folder(generation.app), generation)
        return 1, True

    def discard(self, app: str) -> None:
        """Remove what is staged."""
        self._staged.pop(app, lambda: None)()

    def folder(self, app: str) -> Path:
        """Where an app's files go."""
        return self._directory / app if self._by_app else self._directory


def write_plain(directory: Path, generation: Generation) -> None:
    """Write plain files into `directory`, on any disk; each appears whole. Raises WriteError, and leaves no halves."""
    names = [file.name for file in generation.files]
    refuse_names(names, directory)
    fd = open_directory(directory, make=(folder_mode(*(file.mode for file in generation.files)), None, None))
    waiting: dict[str, str] = {}
    try:
        with cannot_write(directory):
            refuse_folders(names, fd, directory)
            sync = not is_memory(fd)
            for file in generation.files:
                temporary = f"{OURS}{os.urandom(4).hex()}"
                waiting[temporary] = file.name
                write(file, temporary, fd, where=directory, sync=sync)
            for temporary, name in waiting.items():
                os.rename(temporary, name, src_dir_fd=fd, dst_dir_fd=fd)
    finally:
        for temporary in waiting:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=fd)
        os.close(fd)
