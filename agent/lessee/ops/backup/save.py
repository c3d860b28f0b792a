"""Saves a server once: writes an archive to every store, and applies retention."""

import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime

from lessee.config import Config
from lessee.core.errors import LesseeError, WriteError
from lessee.core.immutable import ImmutableStruct, replace
from lessee.host.clock import boot_time, wall_time
from lessee.host.progress import SILENT, Progress
from lessee.ops.backup import archive
from lessee.ops.backup.catalog import catalog, expired
from lessee.ops.backup.collector import collect
from lessee.ops.backup.keys import Keys, recipients
from lessee.ops.backup.policy.archive_format import Manifest
from lessee.ops.backup.policy.retention import name_of
from lessee.ops.backup.stores import DirectoryStore, folder_of, save_lock, stores, temporary_archive
from lessee.vault.admin import admin_client


class SaveResult(ImmutableStruct, frozen=True):
    """The result. `snapshot_error`: why there is no raft snapshot of a server with raft storage."""

    manifest: Manifest
    size: int
    places: tuple[str, ...]
    removed: tuple[str, ...]
    not_ours: tuple[LesseeError, ...]
    """The files with an archive's name that have no seal of the key: they count for nothing, and stay."""
    retained_all: bool
    """Whether nothing was removed because there is no key to tell own archives from others."""
    problems: tuple[LesseeError, ...]
    snapshot_error: str


def save(
    config: Config,
    keys: Keys | None,
    environ: Mapping[str, str],
    progress: Progress = SILENT,
    *,
    pinned: bool = False,
) -> SaveResult:
    """Raises LesseeError where no archive could be made. `problems` has the errors of single stores.

    `pinned`: retention never removes the archive.
    """
    places = stores(config.backup, environ, progress)
    assert config.backup is not None
    wanted = recipients(config.backup.recipients or (), keys)
    for place in places:
        if isinstance(place, DirectoryStore):
            with suppress(WriteError):  # The write below reports it.
                place.make()
    with (
        save_lock(places),
        temporary_archive(folder := folder_of(places)) as file,
        admin_client(config.vault, environ, boot_time) as client,
    ):
        created = datetime.fromtimestamp(wall_time(), UTC)
        with collect(client, created, folder, config.vault.namespace, progress) as found:
            manifest = replace(found.manifest, pinned=pinned)
            archive.write(manifest, found.contents, file, wanted, keys, progress)
        name = name_of(manifest.cluster_name, manifest.cluster_id, manifest.namespace, created)
        stored: list[str] = []
        removed: list[str] = []
        not_ours: list[LesseeError] = []
        problems: list[LesseeError] = []
        for place in places:
            try:
                place.put(str(name), file)
                stored.append(place.where(str(name)))
                if keys is not None:
                    cataloged = catalog(place, keys, progress)
                    not_ours += cataloged.others
                    cluster = manifest.cluster_id, manifest.namespace
                    for old in expired(cataloged, config.backup.keep, created, cluster):
                        place.remove(old)
                        removed.append(place.where(old))
            except LesseeError as exc:
                problems.append(exc)
        size = file.seek(0, os.SEEK_END)
    return SaveResult(
        manifest,
        size,
        tuple(stored),
        tuple(removed),
        tuple(not_ours),
        keys is None,
        tuple(problems),
        found.snapshot_error,
    )
