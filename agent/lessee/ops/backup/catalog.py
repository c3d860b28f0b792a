"""Tells lessee's own archives in a store from other files, by their seals; a name proves nothing."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO

from lessee.config.grammar.backup import Backup, Retention
from lessee.core.immutable import ImmutableStruct
from lessee.host.progress import SILENT, Progress
from lessee.ops.backup.archive import check_complete, read_seal
from lessee.ops.backup.keys import Keys
from lessee.ops.backup.policy.archive_format import ArchiveError
from lessee.ops.backup.policy.retention import SealedArchive, archives_to_remove, newest_first, parse_name
from lessee.ops.backup.secret_reader import each
from lessee.ops.backup.stores import Store, open_file, stores

LATEST = "latest"
"""Names the newest archive."""
Cluster = tuple[str, str]
"""A cluster's id, and the namespace."""


class Catalog(ImmutableStruct, frozen=True):
    """The files of a store that have an archive's name. `others`: those without a seal of the key, with the reason."""

    ours: tuple[SealedArchive, ...]
    others: tuple[ArchiveError, ...]


def catalog(store: Store, keys: Keys, progress: Progress = SILENT) -> Catalog:
    """Read the start of each file with an archive's name. Raises WriteError if the store cannot be listed."""

    def look(name: str) -> SealedArchive | ArchiveError | None:
        try:
            file = store.start(name)
            if file is None:
                return None
            with file:
                return read_seal(file, keys, name, store.where(name))
        except ArchiveError as exc:
            return exc

    progress.phase("listing archives")
    names = [name for name in sorted(store.names()) if parse_name(name)]
    found = list(progress.track(each(look, names), "reading the seals of archives", len(names)))
    ours = newest_first(one for one in found if isinstance(one, SealedArchive))
    return Catalog(tuple(ours), tuple(one for one in found if isinstance(one, ArchiveError)))


def expired(found: Catalog, keep: Retention, now: datetime, cluster: Cluster | None = None) -> tuple[str, ...]:
    """The names of the archives that retention removes: of one cluster and namespace, or of each."""
    clusters = {one.cluster for one in found.ours} if cluster is None else {cluster}
    return tuple(
        name
        for each_cluster in sorted(clusters)
        for name in archives_to_remove((one for one in found.ours if one.cluster == each_cluster), keep, now=now)
    )


@contextmanager
def open_archive(
    archive: str,
    config: Backup | None,
    environ: Mapping[str, str],
    keys: Keys,
    report: Callable[[Sequence[ArchiveError]], None],
    cluster: Callable[[], Cluster],
    progress: Progress = SILENT,
) -> Iterator[tuple[IO[bytes], str]]:
    """The file and location of an archive, given by path, by its name in a store, or as `latest`.

    `report` gets what is no archive of these keys, where `latest` looks for one. `cluster` gives the server whose
    archive it is; it is called only where the stores have archives of several. Raises ArchiveError if it is missing.
    """
    if archive == LATEST:
        file, where = _latest(stores(config, environ, progress), keys, report, cluster, progress)
        with file:
            yield file, where
        return
    if (named := open_file(Path(archive))) is not None:
        with named:
            yield named, archive
        return
    if "/" not in archive and parse_name(archive):
        for store in stores(config, environ, progress):
            if (stored := store.open(archive)) is not None:
                with stored:
                    yield stored, store.where(archive)
                return
    todo = "name a file, an archive in a store, or `latest`"
    raise ArchiveError("no such archive", where=archive, todo=todo)


def newest(
    catalogs: Iterable[tuple[Store, Catalog]], cluster: Callable[[], Cluster]
) -> Iterator[tuple[Store, SealedArchive]]:
    """The archives of one server, the newest first, by the time in the seal.

    `cluster` is called where the stores have archives of several servers, and says which one it is. Raises ArchiveError
    where the stores have archives of several others, so that none is taken for this server's.
    """
    found = [(store, one) for store, cataloged in catalogs for one in cataloged.ours]
    names = {one.cluster: one.cluster_name for _, one in found}
    if len(names) > 1:
        own = cluster()
        if own not in names:
            others = ", ".join(sorted(f"{name} ({identifier[0][:8]})" for identifier, name in names.items()))
            todo = "name the archive; `lessee backup list` lists them"
            raise ArchiveError(f"only archives of other clusters: {others}", where=LATEST, todo=todo)
        found = [(store, one) for store, one in found if one.cluster == own]
    place = {id(one): store for store, one in found}
    return ((place[id(one)], one) for one in newest_first(one for _, one in found))


def _latest(
    places: Sequence[Store],
    keys: Keys,
    report: Callable[[Sequence[ArchiveError]], None],
    cluster: Callable[[], Cluster],
    progress: Progress,
) -> tuple[IO[bytes], str]:
    """The newest complete archive of a server."""
    catalogs = [(store, catalog(store, keys, progress)) for store in places]
    report([error for _, found in catalogs for error in found.others])
    for store, one in newest(catalogs, cluster):
        try:
            file = store.open(one.name)
            if file is None:
                continue
            try:
                check_complete(file, keys, store.where(one.name), progress)
            except BaseException:
                file.close()
                raise
        except ArchiveError as exc:
            report([exc])
        else:
            return file, store.where(one.name)
    todo = "`lessee backup list` says what the stores have; an archive without a seal must be named"
    raise ArchiveError("no archive with a seal of this key", where=LATEST, todo=todo)
