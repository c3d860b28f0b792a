"""Saves a server once: an archive in every store, and those that are too many gone."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from lessee.config import Config
from lessee.config.grammar.backup import Backup
from lessee.core.errors import LesseeError, WriteError
from lessee.core.immutable import ImmutableStruct
from lessee.host.clock import boot_time, wall_time
from lessee.ops.backup import archive
from lessee.ops.backup.collector import gathered
from lessee.ops.backup.keys import Keys, recipients
from lessee.ops.backup.policy.manifest import Manifest
from lessee.ops.backup.policy.names import Name, name_of
from lessee.ops.backup.policy.retention import surplus
from lessee.ops.backup.stores import Folder, Store, locked, stores
from lessee.vault.admin import admin_client


class Saved(ImmutableStruct, frozen=True):
    """What came of it. `missed`: why there is no raft snapshot, where the server has raft."""

    manifest: Manifest
    size: int
    places: tuple[str, ...]
    removed: tuple[str, ...]
    problems: tuple[LesseeError, ...]
    missed: str


def save(config: Config, keys: Keys | None, environ: Mapping[str, str]) -> Saved:
    """Raises LesseeError where there is no archive at all; one that a store did not take is told in `problems`."""
    places = stores(config.backup, environ)
    assert config.backup is not None
    wanted = recipients(config.backup.recipients or (), keys)
    for place in places:
        if isinstance(place, Folder):
            with suppress(WriteError):  # It is told when it is written to.
                place.make()
    with (
        locked(folder := _folder(places)),
        _temporary(folder) as file,
        admin_client(config.vault, environ, boot_time) as client,
    ):
        created = datetime.fromtimestamp(wall_time(), UTC)
        with gathered(client, created, folder, config.vault.namespace) as found:
            archive.write(found.manifest, found.spools, file, wanted, keys)
        manifest = found.manifest
        name = name_of(manifest.cluster_name, manifest.cluster_id, manifest.namespace, created)
        kept: list[str] = []
        removed: list[str] = []
        problems: list[LesseeError] = []
        for place in places:
            try:
                place.put(str(name), file)
                kept.append(place.where(str(name)))
                removed += _retain(place, name, config.backup)
            except LesseeError as exc:
                problems.append(exc)
        size = file.seek(0, os.SEEK_END)
    return Saved(manifest, size, tuple(kept), tuple(removed), tuple(problems), found.missed)


def _retain(place: Store, name: Name, config: Backup) -> Iterator[str]:
    keep = config.keep
    for old in surplus(place.names(), name, daily=keep.daily, weekly=keep.weekly):
        place.remove(old)
        yield place.where(old)


@contextmanager
def _temporary(folder: Path | None) -> Iterator[IO[bytes]]:
    """A file without a name; what is written there is encrypted."""
    try:
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # It is closed below.
    except OSError as exc:
        raise WriteError(f"no temporary file can be made: {exc.strerror}", where=str(folder or "")) from None
    try:
        yield file
    finally:
        with suppress(OSError):  # A full disk, which was told.
            file.close()


def _folder(places: tuple[Store, ...]) -> Path | None:
    """Where there is room for an archive, there is for what is on the way."""
    return next((place.path for place in places if isinstance(place, Folder) and os.access(place.path, os.W_OK)), None)
