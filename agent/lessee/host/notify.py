"""Tells an app that its files changed, and says in words how that went."""

import signal
from pathlib import Path
from typing import assert_never

from lessee.core.config import ByName, Notify
from lessee.core.errors import NotNotified
from lessee.core.record import Record
from lessee.host import process
from lessee.host.clock import boot_time

BOOTING_AGAIN = 0.25
"""Seconds between looks at a process that is starting."""


class Done(Record, frozen=True):
    """It has been told, or needed no telling."""

    how: str


class Undone(Record, frozen=True):
    """It has not been told."""

    why: str
    absent: bool = False
    retry_in: float | None = None


def notify(settings: Notify, published_at: float) -> Done | Undone:
    """`published_at` on the boot clock."""
    target: process.ByName | process.ByPidFile
    if isinstance(settings.target, ByName):
        target = process.ByName(settings.target.name)
    else:
        target = process.ByPidFile(Path(settings.target.path))
    number = signal.Signals[settings.action]
    try:
        outcome = process.tell(
            target, number, published_at=published_at, boot_grace=settings.boot_grace, now=boot_time()
        )
    except NotNotified as exc:
        return Undone(str(exc))
    return _in_words(outcome, settings.action)


def _in_words(outcome: process.Outcome, action: str) -> Done | Undone:
    match outcome:
        case process.Told(one):
            return Done(f"{action} to {one.pid}")
        case process.StartedAfter(one):
            return Done(f"{one.pid} started after the publish and has read the new files")
        case process.Absent(what):
            return Undone(what, absent=True)
        case process.Several(many):
            pids = ", ".join(str(one.pid) for one in many)
            return Undone(f"several processes match ({pids}); use a pid_file, or a name that only one has")
        case process.Booting(one):
            return Undone(f"{one.pid} is still starting: it does not catch {action} yet", retry_in=BOOTING_AGAIN)
        case process.WouldDie(one):
            return Undone(f"{one.pid} does not catch {action} and would die of it, so it was not sent")
        case process.Ignored(one):
            return Undone(f"{one.pid} ignores {action}")
        case process.Forbidden(one):
            return Undone(f"not allowed to signal {one.pid}: give the agent its uid, or CAP_KILL as root")
        case _:
            assert_never(outcome)
