"""Pins archives that were saved before, and unpins them: the pin is in the seal, so the archive is sealed again."""

from collections.abc import Callable, Mapping, Sequence
from typing import IO

from lessee.config import Config
from lessee.core.immutable import ImmutableStruct, replace
from lessee.host.progress import Progress
from lessee.ops.backup.archive import open_for_reading, write
from lessee.ops.backup.catalog import LATEST, Catalog, Cluster, catalog, newest
from lessee.ops.backup.inspection import inspect
from lessee.ops.backup.keys import Keys, recipients
from lessee.ops.backup.policy.archive_format import ArchiveError
from lessee.ops.backup.policy.retention import SealedArchive
from lessee.ops.backup.stores import Store, folder_of, save_lock, stores, temporary_archive


class Pinned(ImmutableStruct, frozen=True):
    """The locations of the archive and its copies: those that were changed, and those that were so before."""

    changed: tuple[str, ...]
    unchanged: tuple[str, ...]
    broken: tuple[ArchiveError, ...]
    """Copies that are not complete, and stay as they are."""


def set_pin(
    config: Config,
    keys: Keys,
    environ: Mapping[str, str],
    archive: str,
    cluster: Callable[[], Cluster],
    progress: Progress,
    *,
    pinned: bool,
) -> Pinned:
    """Pin an archive and all its copies in the stores, or unpin them. Each is replaced as a whole, or stays as it is.

    `archive`: its name, its location as `lessee backup list` prints it, or `latest`. Raises ArchiveError for a file
    that has no seal of these keys, or where no copy is complete; WriteError.
    """
    places = stores(config.backup, environ, progress)
    assert config.backup is not None
    wanted = recipients(config.backup.recipients or (), keys)
    with save_lock(places):  # The retention of a save must not meet a half-pinned set of copies.
        catalogs = [(store, catalog(store, keys, progress)) for store in places]
        chosen = _find(catalogs, archive, cluster)
        copies = [(store, one) for store, some in catalogs for one in some.ours if one.identity == chosen.identity]
        changed, broken = [], []
        for store, one in copies:
            if one.pinned == pinned:
                continue
            try:
                with temporary_archive(folder_of(places)) as new:
                    _reseal(store, one, keys, wanted, new, progress, pinned=pinned)
                    store.put(one.name, new)
            except ArchiveError as exc:
                broken.append(exc)  # A client that may add files to the store must not prevent a pin.
            else:
                changed.append(store.where(one.name))
    unchanged = [store.where(one.name) for store, one in copies if one.pinned == pinned]
    if broken and not changed + unchanged:
        raise broken[0]
    return Pinned(tuple(changed), tuple(unchanged), tuple(broken))


def _find(catalogs: Sequence[tuple[Store, Catalog]], archive: str, cluster: Callable[[], Cluster]) -> SealedArchive:
    if archive == LATEST:
        for _, one in newest(catalogs, cluster):
            return one
    for store, found in catalogs:
        for one in found.ours:
            if archive in {one.name, store.where(one.name)}:
                return one
        for error in found.others:
            if error.where == archive or error.where.endswith(f"/{archive}"):
                raise error
    todo = "name one that `lessee backup list` lists, or `latest`"
    raise ArchiveError("no such archive in the stores", where=archive, todo=todo)


def _reseal(
    store: Store,
    one: SealedArchive,
    keys: Keys,
    wanted: Sequence[object],
    new: IO[bytes],
    progress: Progress,
    *,
    pinned: bool,
) -> None:
    """Write the archive to `new` with another pin, and read it to its end, as a restore would."""
    where = store.where(one.name)
    file = store.open(one.name)
    if file is None:
        raise ArchiveError("the archive was removed meanwhile", where=where)
    with file, open_for_reading(file, keys, where) as archive:
        manifest = archive.manifest
        if not archive.authenticated:
            raise ArchiveError("the archive has no seal of this key", where=where)
        write(replace(manifest, pinned=pinned), archive.members(), new, wanted, keys, progress)
    found = inspect(new, keys, where, progress).manifest
    if replace(found, authenticated_by=manifest.authenticated_by) != replace(manifest, pinned=pinned):
        raise ArchiveError("the archive changed while it was read", where=where, todo="run it again")
