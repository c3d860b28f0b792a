"""The tasks of an app that may take a while: its check, its notification, and its readiness probe."""

import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lessee.agent.effects import Effects
from lessee.config import App, Check, Child, CmdlineTarget, NameTarget, Notify, PidFileTarget
from lessee.core.errors import LesseeError
from lessee.host.clock import boot_time
from lessee.host.procfs import ProcessIdentity
from lessee.notification.notifier import is_immediate, is_target_missing, notify
from lessee.notification.results import Delivered, DeliveryFailed
from lessee.protocol import commands as cmd
from lessee.protocol import events as ev

if TYPE_CHECKING:
    from lessee.notification.return_watch import ReturnWatch

RESTART_TIMEOUT = 75.0
"""Seconds in which a supervisor should restart a process: after crashes, Docker waits up to a minute."""
_POLL_INTERVAL = 0.1


class AppTasks:
    """Each task returns its event, or None if a thread will post it. All else runs in the loop's thread."""

    def __init__(self, effects: Effects, post: Callable[[ev.Event], None]) -> None:
        self._publication_store = effects.publication_store
        self._redactor = effects.redactor
        self._supervisor = effects.supervisor
        self._post = post
        self._probes: dict[int, threading.Event] = {}
        self._return_watch: ReturnWatch | None = None

    def check(self, app: App, command: cmd.RunCheck) -> ev.Event | None:
        """Write the files where no reader sees them, and run the app's `check` on them."""
        assert app.check is not None
        try:
            directory = self._publication_store.stage(command.generation)
        except LesseeError as exc:
            return ev.PublishFailed(command.app, command.job, str(exc))
        if directory is None:  # Readers see the same files already.
            return ev.CheckPassed(command.app, command.job)
        words = _command_line(app.check, directory, command)
        timeout, variables = app.check.timeout, _variables(app, directory)
        self._start(
            lambda: self._run_check(command, words, timeout, variables),
            lambda reason: ev.CheckFailed(command.app, command.job, reason),
        )
        return None

    def _run_check(
        self, command: cmd.RunCheck, words: tuple[str, ...], timeout: float, variables: Mapping[str, str]
    ) -> ev.Event:
        from lessee.process import program_output, programs  # noqa: PLC0415  # Few apps have a check.

        result = programs.run(words, timeout=timeout, extra=variables)
        result.report("check exited", owner=command.app, program="check", app=command.app, command=words[0])
        if result.succeeded:
            return ev.CheckPassed(command.app, command.job)
        hint = program_output.hint(command.app, result.line_count)
        return ev.CheckFailed(command.app, command.job, f"its check, {words[0]}, {result.failure}{hint}")

    def notify(self, app: App, command: cmd.Notify) -> ev.Event | None:
        """Notify the app of its new files."""
        settings = app.notify
        assert settings is not None
        supervisor, published_at = self._supervisor, command.published_at
        if isinstance(settings.target, Child) and supervisor is not None and supervisor.has_started:
            return self._notify_child(settings, command)
        child = supervisor.child if supervisor is not None else None
        variables = _variables(app, Path(app.directory))
        if app.credentials is not None:
            self._start(
                lambda: self._notified(settings, command, _notify_units(app, command, child, variables)),
                lambda reason: ev.NotificationFailed(command.app, command.job, reason),
            )
            return None
        if is_immediate(settings):
            return self._notified(settings, command, notify(settings, published_at, child, variables))
        self._start(
            lambda: self._notified(settings, command, notify(settings, published_at, child, variables)),
            lambda reason: ev.NotificationFailed(command.app, command.job, reason),
        )
        return None

    def _notified(self, settings: Notify, command: cmd.Notify, result: Delivered | DeliveryFailed) -> ev.Event:
        """The event of the result; a process that got a signal may end by it."""
        if isinstance(result, Delivered) and result.process is not None:
            if self._return_watch is None:
                # Imported after the first notification.
                from lessee.notification.return_watch import ReturnWatch  # noqa: PLC0415

                self._return_watch = ReturnWatch(
                    lambda app, is_back: self._post(ev.AppReturned(app) if is_back else ev.AppEnded(app))
                )
            self._return_watch.watch(command.app, settings, result.process)
        return _notification_event(command, result)

    def _notify_child(self, settings: Notify, command: cmd.Notify) -> ev.Event | None:
        supervisor = self._supervisor
        assert supervisor is not None
        # The start time in /proc is rounded; the supervisor knows it exactly.
        if supervisor.child_started_at > command.published_at:
            how = "the child was started after the publication, and has read the new files"
            return _notification_event(command, Delivered(how))
        if settings.action != "restart":
            result = notify(settings, command.published_at, supervisor.child, {})
            would_terminate = isinstance(result, DeliveryFailed) and result.would_terminate
            if not (would_terminate and settings.on_unhandled_signal == "restart"):
                return _notification_event(command, result)
        supervisor.restart(
            settings.stop_grace_period,
            lambda how: self._post(_notification_event(command, Delivered(how))),
            signal.Signals[settings.stop_signal],
        )
        return None

    def probe(self, app: App, command: cmd.Probe) -> ev.Event | None:
        """Probe the app until it is ready, or until the timeout."""
        ready = app.ready
        assert ready is not None
        supervisor = self._supervisor
        if supervisor is not None and supervisor.has_started and supervisor.child is None:
            return ev.ReadinessFailed(command.app, command.job, "the child has exited")
        canceled = self._probes[command.job] = threading.Event()

        def run() -> ev.Event:
            from lessee.notification import probes  # noqa: PLC0415  # Few apps have a readiness probe.

            notified_at = _wait_for_restart(app.notify, command.notified_at, canceled)
            reason = probes.wait_until_ready(
                ready,
                directory=Path(app.directory),
                notified_at=notified_at,
                published_at=command.published_at,
                extra=_variables(app, Path(app.directory)),
                canceled=canceled,
            )
            self._probes.pop(command.job, None)
            if reason is None:
                return ev.ReadinessPassed(command.app, command.job)
            return ev.ReadinessFailed(command.app, command.job, self._redactor.clean(reason))

        self._start(run, lambda reason: ev.ReadinessFailed(command.app, command.job, reason))
        return None

    def end_probes(self) -> None:
        """Have all probes report their current result now."""
        for canceled in list(self._probes.values()):
            canceled.set()

    def cancel_probe(self, job: int) -> None:
        """Stop a probe whose result is not needed any more."""
        if (canceled := self._probes.pop(job, None)) is not None:
            canceled.set()

    def _start(self, task: Callable[[], ev.Event], failed: Callable[[str], ev.Event]) -> None:
        def run() -> None:
            try:
                event = task()
            except Exception as exc:  # noqa: BLE001  # Without an event the app would wait forever.
                event = failed(f"internal error: {type(exc).__name__}; please report it")
            self._post(event)

        threading.Thread(target=run, name="lessee-app-task", daemon=True).start()


def _notify_units(
    app: App, command: cmd.Notify, child: ProcessIdentity | None, variables: Mapping[str, str]
) -> Delivered | DeliveryFailed:
    """Notify the app, unless its units have read the new credentials at their start."""
    from lessee.read_api import credential_reads  # noqa: PLC0415  # Few apps have credentials.

    assert app.credentials is not None
    assert app.notify is not None
    if credential_reads.have_read(app.name, app.credentials.units, command.published_at):
        return Delivered("the units were started after the publication, and have read the new credentials")
    return notify(app.notify, command.published_at, child, variables)


def _notification_event(command: cmd.Notify, result: Delivered | DeliveryFailed) -> ev.Event:
    if isinstance(result, Delivered):
        return ev.Notified(command.app, command.job, result.how)
    return ev.NotificationFailed(command.app, command.job, result.reason, result.absent, result.retry_in)


def _wait_for_restart(settings: Notify | None, notified_at: float, canceled: threading.Event) -> float:
    """Wait until a process that has exited is restarted: until then, a probe says nothing about its files."""
    if settings is None or not isinstance(settings.target, NameTarget | CmdlineTarget | PidFileTarget):
        return notified_at
    until = boot_time() + RESTART_TIMEOUT
    while is_target_missing(settings, None) and boot_time() < until and not canceled.wait(_POLL_INTERVAL):
        notified_at = boot_time()
    return notified_at


def _command_line(check: Check, directory: Path, command: cmd.RunCheck) -> tuple[str, ...]:
    files = command.generation.files
    file = str(directory / files[0].name) if len(files) == 1 else ""
    return tuple(word.replace("{directory}", str(directory)).replace("{file}", file) for word in check.command)


def _variables(app: App, directory: Path) -> dict[str, str]:
    return {"LESSEE_APP": app.name, "LESSEE_DIRECTORY": str(directory)}
