"""The apps' directories: what readers see, and what is noted before they see it."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from lessee.core.config import App
from lessee.core.generation import Generation
from lessee.host.ledger import Ledger
from lessee.host.publish import Publisher, write_plain


class Shelf:
    """One publisher an app, with the ledger in which debts stand."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._publishers: dict[str, tuple[App, Publisher]] = {}

    def open(self, apps: Iterable[App]) -> Mapping[str, tuple[int | None, bool]]:
        """Open the directories of these apps, and no others.

        Those that were not open before are swept, and what stands there is told: the live generation's number, and
        whether its reader is owed the news. Raises CannotWrite, and then no other directory is open than before.
        """
        opened: dict[str, tuple[App, Publisher]] = {}
        found: dict[str, tuple[int | None, bool]] = {}
        try:
            for app in apps:
                known = self._publishers.get(app.name)
                if known is not None and _place(known[0]) == _place(app):
                    opened[app.name] = known
                else:
                    opened[app.name] = (app, _publisher(app))
                    found[app.name] = self._recover(app.name, opened[app.name][1])
        except BaseException:
            for name, entry in opened.items():
                if entry is not self._publishers.get(name):
                    entry[1].close()
            raise
        gone = [p for name, (_, p) in self._publishers.items() if opened.get(name, (None, None))[1] is not p]
        self._publishers = opened
        for publisher in gone:
            publisher.close()
        return found

    def _recover(self, app: str, publisher: Publisher) -> tuple[int | None, bool]:
        live = publisher.recover()
        number = live.number if live is not None else None
        return number, self._ledger.is_owed(app, number)

    def publish(self, generation: Generation, *, owe: bool) -> tuple[int, bool]:
        """Show a generation; its number, and whether it differs from what was shown. Raises CannotWrite."""
        publisher = self._publishers[generation.app][1]
        staged = publisher.stage(generation)
        if staged is None:
            live = publisher.live()
            return live.number if live is not None else 0, False
        if owe:
            try:
                self._ledger.owe(generation.app, staged.number)
            except BaseException:
                publisher.discard(staged)
                raise
        return publisher.swap(staged).number, True

    def prune(self, app: str, up_to: int) -> None:
        self._publishers[app][1].prune(up_to)

    def withdraw(self, app: str) -> None:
        """Remove the app's files from its readers' sight. Raises CannotWrite."""
        self._publishers[app][1].withdraw()

    def settle(self, app: str) -> None:
        self._ledger.settle(app)

    def read(self, app: str) -> dict[str, bytes]:
        """What readers see now."""
        return self._publishers[app][1].read()


class PlainShelf:
    """Plain files in `directory/NAME`, or `directory/APP/NAME` for several apps; nobody is told."""

    def __init__(self, directory: Path, *, by_app: bool) -> None:
        self._directory = directory
        self._by_app = by_app

    def open(self, apps: Iterable[App]) -> Mapping[str, tuple[int | None, bool]]:
        """Nothing is recovered: what lies there is written over."""
        return {app.name: (None, False) for app in apps}

    def publish(self, generation: Generation, *, owe: bool) -> tuple[int, bool]:
        """Write the files. Raises CannotWrite."""
        del owe
        write_plain(self.folder(generation.app), generation)
        return 1, True

    def prune(self, app: str, up_to: int) -> None:
        """There is nothing old."""

    def withdraw(self, app: str) -> None:
        """What was written stays: nobody keeps it up."""

    def settle(self, app: str) -> None:
        """Nobody is owed."""

    def folder(self, app: str) -> Path:
        """Where an app's files go."""
        return self._directory / app if self._by_app else self._directory


def _place(app: App) -> tuple[object, ...]:
    return app.directory, app.owner, app.mode, app.allow_disk


def _publisher(app: App) -> Publisher:
    owner = app.owner or (None, None)
    return Publisher(Path(app.directory), owner=owner, mode=app.mode, allow_disk=app.allow_disk)
