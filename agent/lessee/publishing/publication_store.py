"""The apps' directories: what readers see, and what is noted before they see it."""

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import reduce
from operator import or_
from pathlib import Path

from lessee.agent.machine.protocol.events import Recovered
from lessee.config import App
from lessee.core.errors import WriteError
from lessee.core.generation import FallbackKind, Generation
from lessee.core.immutable import replace
from lessee.host.clock import boot_time
from lessee.publishing import publication_record
from lessee.publishing.publication import Publisher, Staged
from lessee.publishing.publication_record import AppRecord
from lessee.publishing.state_store import StateStore


class PublicationStore:
    """One publisher an app, with the ledger in which debts and verdicts stand. Whatever writes raises WriteError."""

    def __init__(self, ledger: StateStore) -> None:
        self._ledger = ledger
        self._places: dict[str, _Place] = {}

    def open(self, apps: Iterable[App]) -> Mapping[str, Recovered]:
        """Open the directories of these apps, and no others.

        Those that were not open before are swept, a going back that was interrupted is finished, and what stands
        there is told. Raises WriteError, and then no other directory is open than before.
        """
        opened: dict[str, _Place] = {}
        found: dict[str, Recovered] = {}
        before = self._places.values()
        try:
            for app in apps:
                known = self._places.get(app.name)
                if known is not None and known.serves(app):
                    opened[app.name] = known
                else:
                    opened[app.name] = _Place(app)
                    found[app.name] = self._recover(opened[app.name])
        except BaseException:
            for place in opened.values():
                if place not in before:
                    place.publisher.close()
            raise
        gone = [place for place in before if place not in opened.values()]
        self._places = opened
        for place in gone:
            with suppress(WriteError):
                place.discard()
            place.publisher.close()
        return found

    def stage(self, generation: Generation) -> Path | None:
        """Write the files where no reader sees them, and tell the folder; None where readers see the same already.

        What was staged of this app before is discarded.
        """
        place = self._places[generation.app]
        place.discard()
        # The environment stands in no file: only its fingerprint tells one from another.
        anew = generation.environ is not None and self._record(place).fingerprint != generation.fingerprint
        staged = place.publisher.stage(generation, anew=anew)
        if staged is None:
            return None
        place.staged = generation.fingerprint, staged
        return staged.path

    def publish(
        self, generation: Generation, *, owe: bool, prove: bool, fallback: FallbackKind | None = None
    ) -> tuple[int, bool]:
        """Show a generation; its number, and whether it differs from what was shown.

        Before that moment it is noted that the app is to be told (`owe`); that it is to be shown to work, and what to
        go back to (`prove`); and that it comes from a `fallback`: then it is marked until another takes its place.
        """
        place = self._places[generation.app]
        fingerprint = generation.fingerprint
        if place.staged is None or place.staged[0] != fingerprint:
            self.stage(generation)
        record, live = self._record(place), place.live
        if place.staged is None:
            same = replace(record, bad=None, fallen_back=((live, fallback),) if live and fallback else ())
            if same != record:
                self._ledger.keep_app(generation.app, same)
            place.mark(fallback)
            return live or 0, False
        staged, place.staged = place.staged[1], None
        record = publication_record.showing(
            record, live, staged.number, fingerprint, owe=owe, prove=prove, fallback=fallback
        )
        try:
            if fallback is not None:
                place.mark(fallback)
            self._ledger.keep_app(generation.app, record)
        except BaseException:
            place.publisher.discard(staged)
            raise
        place.publisher.swap(staged)
        with suppress(WriteError):  # the next start sees to it
            place.mark(fallback)
        # It is shown, and what is noted already is enough: without the time, the app is told whenever it started.
        with suppress(WriteError):
            self._ledger.keep_app(generation.app, replace(record, shown_at=boot_time()))
        return staged.number, True

    def roll_back(self, app: str, to: int, *, bad: str, owe: bool) -> None:
        """Show generation `to` again. `bad` is the fingerprint of the live one, which does not work."""
        place = self._places[app]
        record = publication_record.going_back(self._record(place), place.live, to, bad=bad, owe=owe)
        self._ledger.keep_app(app, record)
        self._go_back(place, record, to)

    def confirm(self, app: str) -> None:
        """The app works with what it sees: there is nothing to go back to."""
        self._ledger.keep_app(app, replace(self._record(self._places[app]), unproved=None, good=None))

    def forgive(self, app: str) -> None:
        """What did not work may be tried again."""
        self._ledger.keep_app(app, replace(self._record(self._places[app]), bad=None))

    def settle(self, app: str) -> None:
        """The app has been told of what it sees."""
        place = self._places[app]
        self._ledger.keep_app(app, publication_record.settled(self._record(place), place.live))

    def prune(self, app: str, numbers: Collection[int]) -> None:
        """Remove these generations; what is live or may be gone back to stays."""
        place = self._places[app]
        good = self._record(place).good
        place.publisher.prune([number for number in numbers if number != good])

    def discard(self, app: str) -> None:
        """Remove what is staged; a check may end when its app is served no more."""
        if app in self._places:
            self._places[app].discard()

    def withdraw(self, app: str) -> None:
        """Remove the app's files from its readers' sight."""
        place = self._places[app]
        place.staged = None
        place.publisher.withdraw()
        place.mark(None)
        self._ledger.keep_app(app, AppRecord())

    def read(self, app: str) -> dict[str, bytes]:
        """What readers see now."""
        return self._places[app].publisher.read()

    def _recover(self, place: "_Place") -> Recovered:
        record = self._record(place)
        if record.good is not None and publication_record.is_going_back(record, place.live):
            self._go_back(place, record, record.good)
            record = self._record(place)
        number = place.live
        # A reader may have opened one of them just before we came; what is younger than the live one nobody has seen.
        old = [one for one in place.publisher.numbers() if number is not None and one < number]
        place.publisher.recover(keep=old)
        fallback = publication_record.fallen_back_to(record)
        place.mark(fallback)
        return Recovered(
            place.app.name,
            number,
            owed=number in record.owed,
            published_at=record.shown_at,
            old=tuple((one, boot_time()) for one in sorted(old)),
            unproved=record.unproved is not None,
            good=record.good,
            bad=record.bad,
            fingerprint=record.fingerprint,
            fallback=fallback,
        )

    def _go_back(self, place: "_Place", record: AppRecord, to: int) -> None:
        place.publisher.roll_back(to)
        # As above: `noted.as_of` tells the same of a record that stays as it was.
        with suppress(WriteError):
            self._ledger.keep_app(place.app.name, publication_record.gone_back(record, boot_time()))

    def _record(self, place: "_Place") -> AppRecord:
        return publication_record.as_of(self._ledger.app(place.app.name), place.live, place.publisher.numbers())


class _Place:
    """An app's directory, and what is staged in it, by its fingerprint."""

    def __init__(self, app: App) -> None:
        owner = app.owner or (None, None)
        self.app = app
        self.publisher = Publisher(Path(app.directory), owner=owner, mode=_mode(app), allow_disk=app.allow_disk)
        self.staged: tuple[str, Staged] | None = None

    @property
    def live(self) -> int | None:
        """The number of the generation that readers see."""
        live = self.publisher.live()
        return live.number if live is not None else None

    def serves(self, app: App) -> bool:
        """Whether the app's settings are those with which the directory was opened."""

        def settings(app: App) -> tuple[object, ...]:
            return app.directory, app.owner, _mode(app), app.allow_disk

        return settings(app) == settings(self.app)

    def mark(self, fallback: FallbackKind | None) -> None:
        """Let the marker tell that what readers see comes from a fallback, and since when; None: it does not."""
        if fallback is None:
            self.publisher.mark(None)
        elif not self.publisher.marking().startswith(says := f'{{"from": "{fallback}", '.encode()):
            since = datetime.now(UTC).isoformat(timespec="seconds")
            self.publisher.mark(says + f'"since": "{since}"}}\n'.encode())

    def discard(self) -> None:
        """Remove what is staged."""
        if self.staged is not None:
            self.publisher.discard(self.staged[1])
            self.staged = None


def _mode(app: App) -> int:
    """Who may read any of its files has to get to the directory."""
    return reduce(or_, (file.mode for file in app.files), app.mode)
