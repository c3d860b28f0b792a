"""What takes its time about an app: the check of its files, telling it, and the proof that it works."""

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from lessee.agent.effects import Effects
from lessee.agent.machine.protocol import commands as cmd
from lessee.agent.machine.protocol import events as ev
from lessee.config import App, Check, Child, CmdlineTarget, NameTarget, Notify, PidFileTarget
from lessee.core.errors import LesseeError
from lessee.host.clock import boot_time
from lessee.notification.notifier import is_immediate, is_target_missing, notify
from lessee.notification.results import Delivered, DeliveryFailed
from lessee.telemetry.logs import log

COMES_BACK = 75.0
"""Seconds in which a supervisor is expected to start a process anew: Docker takes up to a minute after crashes."""
_LOOK_AGAIN = 0.1
_SAID = 3
"""Lines of what a failing check printed that stand in the status; the log has more."""


class Telling:
    """Each of these gives its event at once, or None: then a thread posts it. All but that is the loop's thread."""

    def __init__(self, effects: Effects, post: Callable[[ev.Event], None]) -> None:
        self._publication_store = effects.publication_store
        self._redactor = effects.redactor
        self._supervisor = effects.supervisor
        self._post = post
        self._proofs: dict[int, threading.Event] = {}

    def check(self, app: App, command: cmd.RunCheck) -> ev.Event | None:
        """Stage the files, and let the app's command judge them."""
        assert app.check is not None
        try:
            folder = self._publication_store.stage(command.generation)
        except LesseeError as exc:
            return ev.PublishFailed(command.app, command.job, str(exc))
        if folder is None:  # readers see the same files already
            return ev.CheckPassed(command.app, command.job)
        words = _filled(app.check, folder, command)
        timeout, extra = app.check.timeout, _extra(app, folder)
        self._start(
            lambda: self._checked(command, words, timeout, extra),
            lambda why: ev.CheckFailed(command.app, command.job, why),
        )
        return None

    def _checked(
        self, command: cmd.RunCheck, words: tuple[str, ...], timeout: float, extra: Mapping[str, str]
    ) -> ev.Event:
        from lessee.process import programs  # noqa: PLC0415  # Wanted by few.

        result = programs.run(words, timeout=timeout, extra=extra)
        # Cleaned as a whole: a value may run over several lines.
        lines = self._redactor.clean("\n".join(result.lines)).splitlines()
        for line in lines:
            log("info" if result.succeeded else "warning", "check said", app=command.app, line=line)
        if result.succeeded:
            return ev.CheckPassed(command.app, command.job)
        said = "".join(f"\n  {line}" for line in lines[-_SAID:])
        return ev.CheckFailed(command.app, command.job, f"its check, {words[0]}, {result.failure}{said}")

    def notify(self, app: App, command: cmd.Notify) -> ev.Event | None:
        """Tell the app."""
        settings = app.notify
        assert settings is not None
        name, job, published_at = command.app, command.job, command.published_at

        def told(done: Delivered | DeliveryFailed) -> ev.Event:
            if isinstance(done, Delivered):
                return ev.Notified(name, job, done.how)
            return ev.NotificationFailed(name, job, done.reason, done.absent, done.retry_in)

        child = self._supervisor.child if self._supervisor is not None else None
        if isinstance(settings.target, Child) and self._supervisor is not None and self._supervisor.begun:
            if self._supervisor.began > published_at:
                # Its start by /proc is rounded; when it was begun we know.
                return told(Delivered("the child was started after the publish and has read the new files"))
            done = None if settings.action == "restart" else notify(settings, published_at, child, {})
            if done is None or (
                isinstance(done, DeliveryFailed) and done.would_terminate and settings.on_unhandled_signal == "restart"
            ):
                self._supervisor.restart(settings.stop_grace_period, lambda how: self._post(told(Delivered(how))))
                return None
            return told(done)
        extra = _extra(app, Path(app.directory))
        if is_immediate(settings):
            return told(notify(settings, published_at, child, extra))
        self._start(
            lambda: told(notify(settings, published_at, child, extra)),
            lambda why: ev.NotificationFailed(name, job, why),
        )
        return None

    def prove(self, app: App, command: cmd.Probe) -> ev.Event | None:
        """Look whether the app works, until it does or its time is over."""
        ready = app.ready
        assert ready is not None
        if self._supervisor is not None and self._supervisor.begun and self._supervisor.child is None:
            return ev.ReadinessFailed(command.app, command.job, "the child has ended")
        canceled = self._proofs[command.job] = threading.Event()
        # Of the wall clock only now: the files' times are in it.
        published_wall = time.time() - (boot_time() - command.published_at)

        def look() -> ev.Event:
            from lessee.notification import probes  # noqa: PLC0415  # Wanted by few.

            notified_at = _when_it_runs(app.notify, command.notified_at, canceled)
            why = probes.wait_until_ready(
                ready,
                directory=Path(app.directory),
                notified_at=notified_at,
                published_wall=published_wall,
                extra=_extra(app, Path(app.directory)),
                canceled=canceled,
            )
            self._proofs.pop(command.job, None)
            if why is None:
                return ev.ReadinessPassed(command.app, command.job)
            return ev.ReadinessFailed(command.app, command.job, self._redactor.clean(why))

        self._start(look, lambda why: ev.ReadinessFailed(command.app, command.job, why))
        return None

    def cut_short(self) -> None:
        """Wait for no proof any longer: what is seen now counts."""
        for canceled in list(self._proofs.values()):
            canceled.set()

    def give_up(self, job: int) -> None:
        """Nobody waits for this proof any more."""
        if (canceled := self._proofs.pop(job, None)) is not None:
            canceled.set()

    def _start(self, errand: Callable[[], ev.Event], failed: Callable[[str], ev.Event]) -> None:
        def run() -> None:
            try:
                event = errand()
            except Exception as exc:  # noqa: BLE001  # Without an answer the app would wait for ever.
                event = failed(f"internal error: {type(exc).__name__}; please report it")
            self._post(event)

        threading.Thread(target=run, name="lessee-errand", daemon=True).start()


def _when_it_runs(settings: Notify | None, notified_at: float, canceled: threading.Event) -> float:
    """Wait for a process that has ended to be started anew: what does not run says nothing of its files."""
    if settings is None or not isinstance(settings.target, NameTarget | CmdlineTarget | PidFileTarget):
        return notified_at
    until = boot_time() + COMES_BACK
    while is_target_missing(settings, None) and boot_time() < until and not canceled.wait(_LOOK_AGAIN):
        notified_at = boot_time()
    return notified_at


def _filled(check: Check, folder: Path, command: cmd.RunCheck) -> tuple[str, ...]:
    files = command.generation.files
    file = str(folder / files[0].name) if len(files) == 1 else ""
    return tuple(word.replace("{directory}", str(folder)).replace("{file}", file) for word in check.command)


def _extra(app: App, folder: Path) -> dict[str, str]:
    return {"LESSEE_APP": app.name, "LESSEE_DIRECTORY": str(folder)}
