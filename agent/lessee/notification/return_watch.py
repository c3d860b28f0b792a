"""Watches whether an app's process, after it was notified, still runs or is started again by its supervisor."""

import threading
from collections.abc import Callable

from lessee.config import CmdlineTarget, NameTarget, Notify, PidFileTarget
from lessee.core.immutable import ImmutableStruct, replace
from lessee.host import procfs
from lessee.host.clock import boot_time
from lessee.host.procfs import ProcessIdentity
from lessee.notification.notifier import is_target_missing

INTERVAL = 0.5
"""Seconds between two looks."""
LONG_INTERVAL = 5.0
"""Seconds between two looks for an app that was reported."""
_MOST_SEARCHES = 8
"""In one look: each of them reads all processes of the machine."""

Report = Callable[[str, bool], None]
"""Called with the name of an app, and whether its process is back."""


class _Watched(ImmutableStruct, frozen=True):
    settings: Notify
    process: ProcessIdentity
    until: float
    """Until when the process may end because of the signal; once it has ended, until when another one is expected."""
    has_ended: bool = False
    is_reported: bool = False
    next_at: float = 0.0


class ReturnWatch:
    """One thread for all apps, which runs while there is something to watch."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._lock = threading.Lock()
        self._watched: dict[str, _Watched] = {}
        self._is_running = False

    def watch(self, app: str, settings: Notify, process: ProcessIdentity) -> None:
        """Watch the process that was just notified. Of others than processes, their engine knows more."""
        if not isinstance(settings.target, NameTarget | CmdlineTarget | PidFileTarget):
            return
        with self._lock:
            self._watched[app] = _Watched(settings, process, boot_time() + settings.start_period)
            if self._is_running:
                return
            self._is_running = True
        threading.Thread(target=self._run, name="lessee-return-watch", daemon=True).start()

    def _run(self) -> None:
        pause = threading.Event()
        while self._look(boot_time()):
            pause.wait(INTERVAL)

    def _look(self, now: float) -> bool:
        """Whether there is something left to watch."""
        with self._lock:
            due = [(app, one) for app, one in self._watched.items() if one.next_at <= now]
        searches = 0
        for app, one in due:
            if searches == _MOST_SEARCHES:
                break
            searches += one.has_ended
            following = _followed(one, now)
            if following is None or following.is_reported != one.is_reported:
                self._tell(app, one, following)
            with self._lock:
                if self._watched.get(app) is not one:
                    continue  # It was notified again meanwhile.
                del self._watched[app]
                if following is not None:
                    self._watched[app] = following  # At the end: each has its turn.
        with self._lock:
            self._is_running = bool(self._watched)
            return self._is_running

    def _tell(self, app: str, before: _Watched, after: _Watched | None) -> None:
        if after is not None:
            self._report(app, False)  # See Report.
        elif before.is_reported:
            self._report(app, True)  # As above.


def _followed(one: _Watched, now: float) -> _Watched | None:
    """What to watch from now on; None: the process runs, or another one in its place."""
    if not one.has_ended:
        if not _has_ended(one.process):
            return one if now < one.until else None
        return replace(one, has_ended=True, until=now + one.settings.start_period)
    if not is_target_missing(one.settings, None):
        return None
    if now < one.until:
        return one
    return replace(one, is_reported=True, next_at=now + LONG_INTERVAL)


def _has_ended(process: ProcessIdentity) -> bool:
    try:
        found = procfs.stat(process.pid)
    except OSError:
        return True
    return found.has_exited or found.identity != process
