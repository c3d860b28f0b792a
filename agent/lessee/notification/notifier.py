"""Notifies an app that its files changed, and puts the result into words."""

import signal
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, assert_never

from lessee.config import (
    Child,
    CmdlineTarget,
    CommandTarget,
    ContainerTarget,
    HttpTarget,
    NameTarget,
    Notify,
    PidFileTarget,
)
from lessee.core.errors import NotNotifiedError
from lessee.host.clock import boot_time
from lessee.host.procfs import ProcessIdentity
from lessee.notification import process_finder, signals
from lessee.notification.app_users import AppUsers, users_of
from lessee.notification.results import Delivered, DeliveryFailed

if TYPE_CHECKING:
    from lessee.process.programs import ProgramResult

START_POLL_INTERVAL = 0.25
"""Seconds between attempts while a process is starting."""


def is_immediate(settings: Notify) -> bool:
    """Whether a notification takes no time: it sends a signal at most, to a process that need not be searched for.

    A search reads each process of the machine, and other users choose their number and their command lines.
    """
    signals_only = settings.action != "restart" and settings.on_unhandled_signal == "report"
    return signals_only and isinstance(settings.target, PidFileTarget | Child)


def is_target_missing(settings: Notify | None, child: ProcessIdentity | None) -> bool:
    """Whether it is certain that the process to notify does not run."""
    if settings is None:
        return False
    match settings.target:
        case NameTarget() | CmdlineTarget() | PidFileTarget() as target:
            return isinstance(process_finder.find(target, users_of(settings)), process_finder.ProcessNotFound)
        case Child():
            return child is None
        case _:
            return False


def notify(
    settings: Notify, published_at: float, child: ProcessIdentity | None, extra: Mapping[str, str]
) -> Delivered | DeliveryFailed:
    """Notify the target, which may take as long as the settings allow. `published_at` is on the boot clock.

    `child` is the running child of `lessee exec`, which this function never restarts. `extra` is added to a command's
    environment.
    """
    match settings.target:
        case NameTarget() | CmdlineTarget() | PidFileTarget() as target:
            return _notify_process(settings, target, published_at, users_of(settings))
        case Child():
            if child is None:
                return DeliveryFailed("the child has not started yet", absent=True, retry_in=START_POLL_INTERVAL)
            return _notify_process(settings, child, published_at)
        # The rest is imported only where the configuration asks for it.
        case ContainerTarget() as target:
            from lessee.notification import containers  # noqa: PLC0415

            return containers.notify_containers(
                target,
                settings.action,
                published_at=published_at,
                stop_grace_period=settings.stop_grace_period,
                start_period=settings.start_period,
                signal_in_namespace=partial(_notify_in_container, settings, published_at),
            )
        case CommandTarget(command):
            from lessee.process import programs  # noqa: PLC0415

            result = programs.run(command, timeout=settings.timeout, extra=extra)
            return _command_result(extra.get("LESSEE_APP", ""), command, result)
        case HttpTarget() as target:
            from lessee.notification import webhook  # noqa: PLC0415

            return webhook.call(target, settings.timeout)
        case _:
            assert_never(settings.target)


def _notify_process(
    settings: Notify, target: process_finder.Target, published_at: float, users: AppUsers | None = None
) -> Delivered | DeliveryFailed:
    """`users`: as whom the app runs; None for a process that only the agent or the engine can have named."""
    restart = partial(
        signals.restart,
        target,
        published_at=published_at,
        stop_grace_period=settings.stop_grace_period,
        stop_signal=signal.Signals[settings.stop_signal],
        users=users,
    )
    try:
        if settings.action == "restart":
            return _in_words(restart(), settings.stop_signal, settings.stop_signal)
        outcome = signals.send(
            target,
            signal.Signals[settings.action],
            published_at=published_at,
            start_period=settings.start_period,
            now=boot_time(),
            users=users,
        )
        would_terminate = isinstance(outcome, signals.WouldTerminate)
        # Only the supervisor restarts the child of `lessee exec`.
        is_child = isinstance(target, ProcessIdentity)
        if would_terminate and settings.on_unhandled_signal == "restart" and not is_child:
            outcome = restart()
    except NotNotifiedError as exc:
        return DeliveryFailed(str(exc))
    if (
        isinstance(outcome, process_finder.ProcessNotFound)
        and isinstance(target, NameTarget)
        and (similar := process_finder.similar_name(target.name, users))
    ):
        outcome = process_finder.ProcessNotFound(f"{outcome.reason}; did you mean {similar}, which runs?")
    return _in_words(outcome, settings.action, settings.stop_signal)


def _notify_in_container(settings: Notify, published_at: float, container: str) -> Delivered | DeliveryFailed:
    return _notify_process(settings, process_finder.InContainer(container), published_at)


def _in_words(outcome: signals.Outcome, action: str, stop_signal: str) -> Delivered | DeliveryFailed:
    match outcome:
        case signals.SignalSent(process):
            return Delivered(f"sent {action} to process {process.pid}", process)
        case signals.Restarted(process, killed, seconds):
            how = f"{stop_signal} and SIGKILL" if killed and stop_signal != "SIGKILL" else stop_signal
            return Delivered(f"stopped process {process.pid} by {how} within {seconds:.1f} s", process)
        case signals.StartedAfterPublish(process):
            return Delivered(f"process {process.pid} started after the publish and has read the new files")
        case process_finder.ProcessNotFound(reason):
            return DeliveryFailed(reason, absent=True)
        case process_finder.ForeignProcess(reason) | process_finder.TooManyProcesses(reason):
            return DeliveryFailed(reason)
        case process_finder.AmbiguousProcess(candidates, more):
            listed = ", ".join(map(str, candidates)) + (f", and {more} more" if more else "")
            return DeliveryFailed(
                f"several processes match ({listed}); use a pid_file, or a pattern that matches only one"
            )
        case signals.StillStarting(process):
            return DeliveryFailed(
                f"process {process.pid} is still starting and does not catch {action} yet",
                retry_in=START_POLL_INTERVAL,
            )
        case signals.WouldTerminate(process):
            what = f"{action} not sent: process {process.pid} does not catch it and would terminate"
            todo = (
                "if it reloads with a master process alone, start it with one, as gunicorn and uvicorn do with "
                "`--workers 2`; or start it by `lessee exec`; or, if something restarts it when it ends, "
                "write `on_unhandled_signal: restart`"
            )
            return DeliveryFailed(f"{what}; {todo}", would_terminate=True)
        case signals.SignalIgnored(process):
            return DeliveryFailed(f"process {process.pid} ignores {action}")
        case signals.SignalForbidden(process):
            return DeliveryFailed(
                f"not allowed to signal process {process.pid}; run the agent with its uid, or as root with CAP_KILL"
            )
        case signals.StillRunning(process, reason):
            return DeliveryFailed(f"process {process.pid} survived {stop_signal} and SIGKILL: {reason}")
        case _:
            assert_never(outcome)


def _command_result(app: str, command: tuple[str, ...], result: "ProgramResult") -> Delivered | DeliveryFailed:
    from lessee.process import program_output  # noqa: PLC0415

    result.report("notify command exited", owner=app, program="notify", app=app, command=command[0])
    if result.succeeded:
        return Delivered(f"{command[0]} exited with status 0")
    return DeliveryFailed(f"{command[0]} {result.failure}{program_output.hint(app, result.line_count)}")
