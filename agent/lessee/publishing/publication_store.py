"""Publishes the generations of all apps, and records each step before readers see it."""

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING

from lessee.config import App
from lessee.core.errors import WriteError
from lessee.core.generation import FallbackKind, Generation
from lessee.core.immutable import replace
from lessee.host.clock import boot_time
from lessee.host.directories import Ownership, hold
from lessee.protocol.events import AppRecovered, FilesChecked
from lessee.publishing import publication_record
from lessee.publishing.generations import directory_mode
from lessee.publishing.publication import FoundOwnership, Publisher, StagedGeneration, VisibleFiles, unusable
from lessee.publishing.publication_record import AppRecord
from lessee.publishing.state_store import StateStore
from lessee.telemetry.logs import log

if TYPE_CHECKING:
    from lessee.publishing.drift import Guard


_REMOVED: Mapping[str, FoundOwnership] = {"": (0, 0, 0)}
"""Of a generation that another program has removed in the moment of its publication: nothing has this."""


class PublicationStore:
    """A publisher for each app, and the state store with its record. All that writes raises WriteError."""

    def __init__(self, state_store: StateStore) -> None:
        self._state_store = state_store
        self._directories: dict[str, AppDirectory] = {}
        self._refused: dict[str, tuple[App, WriteError]] = {}
        self._guard: Guard | None = None
        self._recorded: dict[str, str] | None = None
        """The directories of which the state store knows that this agent published in them, with their apps."""

    def open(self, apps: Iterable[App], *, strict: bool = True) -> Mapping[str, AppRecovered]:
        """Open the directories of these apps, close all others, and return what each newly opened directory holds.

        It removes what a killed agent left there, and finishes an interrupted rollback. A directory that cannot be used
        is that app's problem alone, see `refused`: its earlier directory stays open, and `reopen` tries again. Raises
        WriteError if no directory at all can be used, or with `strict` for the first that cannot; then the same
        directories are open as before.
        """
        opened: dict[str, AppDirectory] = {}
        recovered: dict[str, AppRecovered] = {}
        refused: dict[str, tuple[App, WriteError]] = {}
        before = self._directories.values()
        try:
            for app in apps:
                known = self._directories.get(app.name)
                if known is not None and known.fits(app):
                    opened[app.name] = known
                    continue
                try:
                    opened[app.name], recovered[app.name] = self._open(app)
                except WriteError as exc:
                    if strict:
                        raise
                    refused[app.name] = app, exc
                    if known is not None:
                        opened[app.name] = known
        except BaseException:
            for directory in opened.values():
                if directory not in before:
                    directory.publisher.close()
            raise
        if refused and not opened:
            raise next(iter(refused.values()))[1]
        for name, (_, error) in refused.items():
            log("error", "app refused", app=name, reason=str(error), note="the agent tries again with each generation")
        closing = [directory for directory in before if directory not in opened.values()]
        self._directories, self._refused = opened, refused
        for directory in closing:
            moved = opened.get(directory.app.name)
            if moved is not None and moved.publisher.path != directory.publisher.path and directory.live is not None:
                from lessee.publishing.leftovers import log_leftover  # noqa: PLC0415  # Apps seldom move.

                log_leftover(directory.app.name, directory.publisher.path)
            directory.close()
            if self._guard is not None:
                self._guard.forget(directory.app.name)
        if self._guard is not None and not opened:
            self._guard.close()
            self._guard = None
        return recovered

    @property
    def refused(self) -> Mapping[str, WriteError]:
        """Why the directories of these apps are not in use."""
        return {name: error for name, (_, error) in self._refused.items()}

    def reopen(self, app: str) -> AppRecovered | None:
        """Try again to open a refused directory; return what it holds, or None if its app uses another one.

        Raises WriteError where the app has none.
        """
        if app not in self._refused:
            return None
        settings = self._refused[app][0]
        try:
            directory, recovered = self._open(settings)
        except WriteError as exc:
            self._refused = {**self._refused, app: (settings, exc)}
            if app in self._directories:
                return None
            raise
        log("info", "app accepted", app=app, directory=settings.directory)
        self._refused = {name: value for name, value in self._refused.items() if name != app}
        earlier = self._directories.get(app)
        self._directories = {**self._directories, app: directory}
        if earlier is not None:
            earlier.close()
        return recovered

    def _open(self, app: App) -> "tuple[AppDirectory, AppRecovered]":
        directory = AppDirectory(app, self._state_store.key())
        try:
            return directory, self._recover(directory)
        except BaseException:
            directory.publisher.close()
            raise

    def _directory(self, app: str) -> "AppDirectory":
        """The open directory of an app. Raises WriteError if it is refused."""
        if app not in self._directories and app in self._refused:
            raise self._refused[app][1]
        return self._directories[app]

    def stage(self, generation: Generation) -> Path | None:
        """Write the files where no reader sees them, and return their folder; None where readers see the same already.

        It discards what was staged for this app before.
        """
        staged = self._stage(generation)
        return staged.path if staged is not None else None

    def _stage(self, generation: Generation) -> StagedGeneration | None:
        directory = self._directory(generation.app)
        directory.discard()
        # No file holds the environment: only its fingerprint tells one from another.
        directory.publisher.continue_after(directory.live or 0)  # Another program may have removed its folder.
        force = generation.environ is not None and self._record(directory).fingerprint != generation.fingerprint
        staged = directory.publisher.stage(generation, force=force)
        if staged is None:
            return None
        directory.staged = generation.fingerprint, staged
        return staged

    def publish(
        self, generation: Generation, *, notify: bool, probe: bool, fallback: FallbackKind | None = None
    ) -> tuple[int, bool]:
        """Publish a generation; return its number, and whether it differs from the one before.

        Before readers see it, the record says that the app must be notified (`notify`), that its readiness must be
        probed and what to roll back to (`probe`), and that its source is a `fallback`. A fallback has a marker file
        until another generation replaces it.
        """
        directory = self._directory(generation.app)
        fingerprint = generation.fingerprint
        if directory.staged is None or directory.staged[0] != fingerprint or directory.is_staged_late:
            self._stage(generation)
        record, live = self._record(directory), directory.live
        if directory.staged is None:
            same = replace(record, rejected=None, fallbacks=((live, fallback),) if live and fallback else ())
            if same != record:
                self._state_store.store_app(generation.app, same)
            directory.write_marker(fallback)
            directory.show(generation, fallback)
            return live or 0, False
        staged, directory.staged = directory.staged[1], None
        record = publication_record.before_publish(
            record, live, staged.number, fingerprint, notify=notify, probe=probe, fallback=fallback
        )
        try:
            if fallback is not None:
                directory.write_marker(fallback)
            self._record_directory(directory)
            self._state_store.store_app(generation.app, record)
        except BaseException:
            directory.publisher.discard(staged)
            raise
        directory.visible = VisibleFiles(directory.publisher.publish(staged))
        directory.show(generation, fallback)
        with suppress(WriteError):  # The next start repairs the marker.
            directory.write_marker(fallback)
        # The record is sufficient already: without the time, the app is notified whenever it started.
        with suppress(WriteError):
            self._state_store.store_app(generation.app, replace(record, published_at=boot_time()))
        return staged.number, True

    def roll_back(self, app: str, to: int, *, failed_fingerprint: str, notify: bool) -> None:
        """Publish generation `to` again. `failed_fingerprint` is the live one's, which did not become ready."""
        directory = self._directory(app)
        record = publication_record.before_rollback(
            self._record(directory), directory.live, to, rejected=failed_fingerprint, notify=notify
        )
        self._state_store.store_app(app, record)
        self._roll_back(directory, record, to)

    def mark_ready(self, app: str) -> None:
        """Record that the live generation is ready, so that there is no rollback."""
        record = self._record(self._directory(app))
        self._state_store.store_app(app, replace(record, awaiting_readiness=None, rollback_to=None))

    def allow_retry(self, app: str) -> None:
        """Record that the rejected generation may be published again."""
        self._state_store.store_app(app, replace(self._record(self._directory(app)), rejected=None))

    def mark_notified(self, app: str) -> None:
        """Record that the app was notified of the live generation."""
        directory = self._directory(app)
        record = publication_record.after_notification(self._record(directory), directory.live)
        self._state_store.store_app(app, record)

    def prune(self, app: str, numbers: Collection[int]) -> None:
        """Remove these generations, except for the live one and the one to roll back to."""
        directory = self._directory(app)
        rollback_to = self._record(directory).rollback_to
        directory.publisher.prune([number for number in numbers if number != rollback_to])

    def discard(self, app: str) -> None:
        """Remove what is staged; a check may end after its app was removed from the configuration."""
        if app in self._directories:
            self._directories[app].discard()

    def withdraw(self, app: str) -> None:
        """Remove the app's files."""
        directory = self._directory(app)
        directory.staged = directory.visible = None
        directory.publisher.withdraw()
        directory.write_marker(None)
        self._state_store.store_app(app, AppRecord())
        path = str(directory.publisher.path)
        self._state_store.forget_directory(path)
        self._directories_of_state().pop(path, None)

    def check_files(self, app: str, *, notify: bool, touched: Callable[[], None]) -> FilesChecked:
        """Restore what another program has changed in an app's directory, and watch it, see `drift.Guard`."""
        if app not in self._directories:
            return FilesChecked(app)
        if self._guard is None:
            # Imported after the first publication.
            from lessee.publishing.drift import Guard  # noqa: PLC0415

            self._guard = Guard(self._state_store, lambda app: AppDirectory(app, self._state_store.key()))
        return self._guard.check(self._directories[app], notify=notify, touched=touched)

    def read(self, app: str) -> dict[str, bytes]:
        """The live files' bytes by name."""
        return self._directory(app).publisher.read()

    def _recover(self, directory: "AppDirectory") -> AppRecovered:
        record = self._record(directory)
        if record.rollback_to is not None and publication_record.is_rolling_back(record, directory.live):
            self._roll_back(directory, record, record.rollback_to)
            record = self._record(directory)
        live = directory.live
        path, name = str(directory.publisher.path), directory.app.name
        recorded = self._directories_of_state()
        is_moved = path not in recorded and name in recorded.values()
        if live is not None:
            self._record_directory(directory)
        # A reader may have opened an older generation just before this start; no reader has seen a younger one.
        old = [number for number in directory.publisher.numbers() if live is not None and number < live]
        recovered = directory.publisher.recover(keep=old)
        fallback = publication_record.fallback_of(record)
        directory.visible = VisibleFiles(recovered, fallback=fallback) if recovered is not None else None
        directory.write_marker(fallback)
        return AppRecovered(
            directory.app.name,
            live,
            notification_pending=live in record.pending_notifications,
            published_at=record.published_at,
            old_generations=tuple((number, boot_time()) for number in sorted(old)),
            readiness_pending=record.awaiting_readiness is not None,
            rollback_to=record.rollback_to,
            failed_fingerprint=record.rejected,
            fingerprint=record.fingerprint,
            fallback=fallback,
            is_missing=live is None and not is_moved and self._state_store.app(name).published_at is not None,
        )

    def _directories_of_state(self) -> dict[str, str]:
        if self._recorded is None:
            self._recorded = self._state_store.directories()
        return self._recorded

    def _record_directory(self, directory: "AppDirectory") -> None:
        recorded, path, app = self._directories_of_state(), str(directory.publisher.path), directory.app.name
        if recorded.get(path) != app:
            self._state_store.store_directory(path, app)
            recorded[path] = app

    def _roll_back(self, directory: "AppDirectory", record: AppRecord, to: int) -> None:
        directory.visible = VisibleFiles(directory.publisher.roll_back(to))
        # If this write fails, `reconcile` draws the same conclusions from the record before.
        with suppress(WriteError):
            self._state_store.store_app(directory.app.name, publication_record.after_rollback(record, boot_time()))

    def _record(self, directory: "AppDirectory") -> AppRecord:
        stored = self._state_store.app(directory.app.name)
        return publication_record.reconcile(stored, directory.live, directory.publisher.numbers())


def unusable_directory(app: App) -> WriteError | None:
    """Why the app's directory would certainly be refused, without creating it; None if that is not known."""
    owner = app.owner or (None, None)
    return unusable(Path(app.directory), owner=owner, allow_disk=app.allow_disk, setting=f"apps.{app.name}.directory")


def directory_ownership(app: App) -> Ownership:
    """What the app's directory gets where it does not exist yet."""
    return (directory_mode(_mode(app)), *(app.owner or (None, None)))


class AppDirectory:
    """An app's open directory, and what is staged in it, with its fingerprint."""

    def __init__(self, app: App, key: bytes) -> None:
        owner = app.owner or (None, None)
        self.app = app
        self.publisher = Publisher(
            Path(app.directory),
            owner=owner,
            mode=_mode(app),
            allow_disk=app.allow_disk,
            key=key,
            setting=f"apps.{app.name}.directory",
        )
        hold(self.publisher.fd, shared=True)
        self.staged: tuple[str, StagedGeneration] | None = None
        self.visible: VisibleFiles | None = None
        """What was published last, whatever another program has done to it."""

    @property
    def live(self) -> int | None:
        """The number of the live generation."""
        live = self.visible.live if self.visible is not None else self.publisher.live()
        return live.number if live is not None else None

    @property
    def is_staged_late(self) -> bool:
        """Whether a restored generation has a higher number than the staged one."""
        return self.staged is not None and self.staged[1].number < (self.live or 0)

    def show(self, generation: Generation, fallback: FallbackKind | None) -> None:
        """Readers see the files of this generation, which is live."""
        live = self.visible.live if self.visible is not None else self.publisher.live()
        if live is not None:
            folders = _REMOVED
            with suppress(OSError):
                folders = self.publisher.ownerships(live.folder, generation.files)
            self.visible = VisibleFiles(live, generation.files, folders, fallback)

    def replace_by(self, other: "AppDirectory") -> None:
        """Use the directory of `other`, because this one is not at its path any more."""
        self.close()
        self.publisher, self.staged, self.visible = other.publisher, None, other.visible

    def close(self) -> None:
        """Remove what is staged, and close the directory; its files stay."""
        with suppress(WriteError):
            self.discard()
        self.publisher.close()

    def fits(self, app: App) -> bool:
        """Whether the directory was opened with these settings."""

        def settings(app: App) -> tuple[object, ...]:
            return app.directory, app.owner, _mode(app), app.allow_disk

        return settings(app) == settings(self.app)

    def write_marker(self, fallback: FallbackKind | None) -> None:
        """Write the marker that names the fallback of the live files, and since when; None removes it."""
        if fallback is None:
            self.publisher.write_marker(None)
        elif not self.has_marker_of(fallback):
            beginning = _marker_beginning(fallback)
            since = datetime.now(UTC).isoformat(timespec="seconds")
            self.publisher.write_marker(beginning + f'"since": "{since}"}}\n'.encode())

    def has_marker_of(self, fallback: FallbackKind) -> bool:
        """Whether the marker names this fallback."""
        return self.publisher.read_marker().startswith(_marker_beginning(fallback))

    def discard(self) -> None:
        """Remove what is staged."""
        if self.staged is not None:
            self.publisher.discard(self.staged[1])
            self.staged = None


def _marker_beginning(fallback: FallbackKind) -> bytes:
    return f'{{"from": "{fallback}", '.encode()


def _mode(app: App) -> int:
    """The modes of all files together: each user who may read one of them must be able to enter the directory."""
    return reduce(or_, (file.mode for file in app.files), app.mode)
