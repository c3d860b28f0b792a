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
from lessee.ops.backup.collector import collect
from lessee.ops.backup.keys import Keys, recipients
from lessee.ops.backup.policy.archive_format import Manifest
from lessee.ops.backup.policy.retention import Name, archives_to_remove, name_of
from lessee.ops.backup.stores import DirectoryStore, Store, save_lock, stores
from lessee.vault.admin import admin_client


class SaveResult(ImmutableStruct, frozen=True):
    """What came of it. `missed`: why there is no raft snapshot, where the server has raft."""

    manifest: Manifest
    size: int
    places: tuple[str, ...]
    removed: tuple[str, ...]
    problems: tuple[LesseeError, ...]
    snapshot_error: str


def save(config: Config, keys: Keys | None, environ: Mapping[str, str]) -> SaveResult:
    """Raises LesseeError where there is no archive at all; one that a store did not take is told in `problems`."""
    places = stores(config.backup, environ)
    assert config.backup is not None
    wanted = recipients(config.backup.recipients or (), keys)
    for place in places:
        if isinstance(place, DirectoryStore):
            with suppress(WriteError):  # It is told when it is written to.
                place.make()
    with (
        save_lock(folder := _folder(places)),
        _temporary(folder) as file,
        admin_client(config.vault, environ, boot_time) as client,
    ):
        created = datetime.fromtimestamp(wall_time(), UTC)
        with collect(client, created, folder, config.vault.namespace) as found:
            archive.write(found.manifest, found.contents, file, wanted, keys)
        manifest = found.manifest
        name = name_of(manifest.cluster_name, manifest.cluster_id, manifest.namespace, created)
        kept: list[str] = []
        removed: list[str] = []
        problems: list[LesseeError] = []
        for place in places:
            try:
                place.put(str(name), file)
                kept.append(place.where(str(name)))
                removed += _apply_retention(place, name, config.backup)
            except LesseeError as exc:
                problems.append(exc)
        size = file.seek(0, os.SEEK_END)
    return SaveResult(manifest, size, tuple(kept), tuple(removed), tuple(problems), found.snapshot_error)


def _apply_retention(place: Store, name: Name, config: Backup) -> Iterator[str]:
    keep = config.keep
    for old in archives_to_remove(place.names(), name, daily=keep.daily, weekly=keep.weekly):
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
    return next(
        (place.path for place in places if isinstance(place, DirectoryStore) and os.access(place.path, os.W_OK)), None
    )
