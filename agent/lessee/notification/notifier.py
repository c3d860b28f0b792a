"""Tells an app that its files changed, and says in words how that went."""

import signal
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, assert_never

from lessee.config import ByCmdline, ByCommand, ByContainer, ByHttp, ByName, ByPidFile, Child, Notify
from lessee.core.errors import NotNotifiedError
from lessee.host.clock import boot_time
from lessee.notification import process_finder, signals
from lessee.notification.results import DeliveryFailed, Done
from lessee.telemetry.logs import log

if TYPE_CHECKING:
    from lessee.process.programs import Ended

BOOTING_AGAIN = 0.25
"""Seconds between looks at a process that is starting."""


def is_quick(settings: Notify) -> bool:
    """Whether it takes no time to tell: a signal is sent, or nothing is."""
    signalled = settings.action != "restart" and settings.otherwise == "report"
    return signalled and isinstance(settings.target, ByName | ByCmdline | ByPidFile | Child)


def is_gone(settings: Notify | None, child: process_finder.Exactly | None) -> bool:
    """Whether it is certain that the process that would be told does not run."""
    match settings.target if settings is not None else None:
        case ByName() | ByCmdline() | ByPidFile() as target:
            return isinstance(process_finder.find(target), process_finder.Absent)
        case Child():
            return child is None
        case _:
            return False


def notify(
    settings: Notify, published_at: float, child: process_finder.Exactly | None, extra: Mapping[str, str]
) -> Done | DeliveryFailed:
    """Tell the target, which may take as long as the settings say. `published_at` on the boot clock.

    `child` is that of `lessee exec`, where it runs; it is never restarted here. `extra` is added to a command's
    environment.
    """
    match settings.target:
        case ByName() | ByCmdline() | ByPidFile() as target:
            return _tell(settings, target, published_at)
        case Child():
            if child is None:
                return DeliveryFailed("the child has not started yet", absent=True, retry_in=BOOTING_AGAIN)
            return _tell(settings, child, published_at)
        # Each of these is imported when it is wanted.
        case ByContainer() as target:
            from lessee.notification import containers  # noqa: PLC0415

            return containers.tell(
                target,
                settings.action,
                published_at=published_at,
                grace=settings.grace,
                boot_grace=settings.boot_grace,
                signal_in_namespace=partial(_tell_in_container, settings, published_at),
            )
        case ByCommand(command):
            from lessee.process import programs  # noqa: PLC0415

            return _told_by(command, programs.run(command, timeout=settings.timeout, extra=extra))
        case ByHttp() as target:
            from lessee.notification import webhook  # noqa: PLC0415

            return webhook.call(target, settings.timeout)
        case _:
            assert_never(settings.target)


def _tell(settings: Notify, target: process_finder.Target, published_at: float) -> Done | DeliveryFailed:
    try:
        if settings.action == "restart":
            return _in_words(signals.restart(target, published_at=published_at, grace=settings.grace), "SIGTERM")
        outcome = signals.tell(
            target,
            signal.Signals[settings.action],
            published_at=published_at,
            boot_grace=settings.boot_grace,
            now=boot_time(),
        )
        deadly = isinstance(outcome, signals.WouldDie)
        # Our own child is started anew by us alone.
        if deadly and settings.otherwise == "restart" and not isinstance(target, process_finder.Exactly):
            outcome = signals.restart(target, published_at=published_at, grace=settings.grace)
    except NotNotifiedError as exc:
        return DeliveryFailed(str(exc))
    return _in_words(outcome, settings.action)


def _tell_in_container(settings: Notify, published_at: float, container: str) -> Done | DeliveryFailed:
    return _tell(settings, process_finder.InContainer(container), published_at)


def _in_words(outcome: signals.Outcome, action: str) -> Done | DeliveryFailed:
    match outcome:
        case signals.Notified(one):
            return Done(f"{action} to {one.pid}")
        case signals.Restarted(one, killed, seconds):
            how = "SIGKILL after SIGTERM" if killed else "SIGTERM"
            return Done(f"{how} to {one.pid}, which ended after {seconds:.1f} s")
        case signals.StartedAfter(one):
            return Done(f"{one.pid} started after the publish and has read the new files")
        case process_finder.Absent(what):
            return DeliveryFailed(what, absent=True)
        case process_finder.Several(candidates):
            many = ", ".join(map(str, candidates))
            return DeliveryFailed(f"several processes match ({many}); use a pid_file, or a pattern that only one has")
        case signals.Booting(one):
            return DeliveryFailed(
                f"{one.pid} is still starting: it does not catch {action} yet", retry_in=BOOTING_AGAIN
            )
        case signals.WouldDie(one):
            what = f"{one.pid} does not catch {action} and would die of it, so it was not sent"
            return DeliveryFailed(
                f"{what}; write `otherwise: restart` or `action: restart` to have it restarted", deadly=True
            )
        case signals.Ignored(one):
            return DeliveryFailed(f"{one.pid} ignores {action}")
        case signals.Forbidden(one):
            return DeliveryFailed(f"not allowed to signal {one.pid}: give the agent its uid, or CAP_KILL as root")
        case signals.Unkillable(one, why):
            return DeliveryFailed(f"{one.pid} does not end: {why}")
        case _:
            assert_never(outcome)


def _told_by(command: tuple[str, ...], ended: "Ended") -> Done | DeliveryFailed:
    for line in ended.lines:
        log("info", "notify command said", command=command[0], line=line)
    return Done(f"{command[0]} ended with 0") if ended.fine else DeliveryFailed(f"{command[0]} {ended.why}")
