"""The rotation service: its event loop, and the threads that perform the policy's commands."""

import queue
import threading
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, assert_never

from lessee.config.grammar.rotation import Manual
from lessee.core.errors import LesseeError, VaultUnreachableError
from lessee.host.clock import boot_time, wall_time
from lessee.host.config_reload import ConfigReloader, Stamps, Watcher
from lessee.host.project import stamp
from lessee.ops.rotate.lock_owner import new_owner_id
from lessee.ops.rotate.policy import service_state as s
from lessee.ops.rotate.policy.schedule import period_warning, schedule_of
from lessee.ops.rotate.policy.service import start, step
from lessee.ops.rotate.policy.status_view import status
from lessee.ops.rotate.ports import BusyError
from lessee.ops.rotate.targets import Project, open_rotation
from lessee.ops.rotate.vault_poller import VaultPoller
from lessee.telemetry.logs import log
from lessee.vault.service_logins import LoginRefusedError, ServiceLogins

_LOGIN_TODO = (
    "let `vault.auth` log in as the AppRole ENVIRONMENT-rotator, which `lessee setup` creates; "
    "`lessee check --policy --rotator` prints its policy"
)
MAX_SLEEP = 5.0
"""Seconds. The clock may be set during a sleep, and a sleep does not count suspension."""
SHUTDOWN_TIMEOUT = 7.0
"""Seconds for running rotations at the end: containers are killed ten seconds after SIGTERM."""
HUNG_AFTER = 30.0
"""Seconds without a pass of the loop after which /healthz fails."""


class _Request(Enum):
    """A request to the loop itself."""

    STOP = "stop"
    RELOAD = "reload"


class RotationService:
    """Owns the state, which only the loop's thread changes."""

    def __init__(self, load: Callable[[], Project], *, seed: int) -> None:
        """`load` reads the configuration, and raises LesseeError. `seed`: of the jitter."""
        self._load = load
        self._project = load()
        self._mailbox: queue.SimpleQueue[s.Event | _Request] = queue.SimpleQueue()
        self._logins = ServiceLogins(boot_time, _LOGIN_TODO)
        self._poller = VaultPoller(self._mailbox.put, self._logins)
        self._owner_id = new_owner_id()
        self._state = start(seed)
        self._last_pass_at = boot_time()
        self._config_reloader = ConfigReloader()

    @property
    def project(self) -> Project:
        """The project in use."""
        return self._project

    # For other threads.

    def stop(self) -> None:
        """End the loop. A signal handler may call it."""
        self._mailbox.put(_Request.STOP)

    def reload(self) -> None:
        """Read the configuration again. A signal handler may call it."""
        self._mailbox.put(_Request.RELOAD)

    def refresh(self, targets: tuple[str, ...]) -> list[str]:
        """Check the targets and the configuration now. Returns unknown targets; then nothing is checked."""
        unknown = [name for name in targets if name not in self._project.config.rotation]
        if not unknown:
            self.reload()
        return unknown

    def alive(self) -> bool:
        """Whether the loop runs, whatever Vault does."""
        return boot_time() - self._last_pass_at < HUNG_AFTER

    def status(self) -> Mapping[str, Any]:
        """The content of status.json."""
        environment, reload_error = self._project.config.environment, self._config_reloader.error
        return status(self._state, wall_time(), environment=environment, reload_error=reload_error)

    # The loop.

    def watch_with(self, watcher: Watcher) -> None:
        """Watch the configuration's file."""
        self._config_reloader.watch_with(watcher, self._stamps())

    def run(self) -> None:
        """Run until `stop`. Running rotations then have a few seconds to end."""
        self._use_project(self._project)
        while True:
            mail = self._collect(min(MAX_SLEEP, self._state.wake_at - wall_time()))
            if _Request.STOP in mail:
                break
            for event in mail or [s.Tick()]:
                if not isinstance(event, _Request):
                    self._take(event)
            if _Request.RELOAD in mail:
                self._config_reloader.reload(self._stamps(), self._load_project)
        self._shut_down()

    def _shut_down(self) -> None:
        self._take(s.Stopping())
        deadline = boot_time() + SHUTDOWN_TIMEOUT
        while self._state.rotating and (left := deadline - boot_time()) > 0:
            for event in self._collect(left):
                if not isinstance(event, _Request):
                    self._take(event)
        self._poller.close()
        for name in sorted(self._state.rotating):
            log("warning", "rotation interrupted", target=name, note="the next start finishes it")

    def _collect(self, timeout: float) -> list[s.Event | _Request]:
        mail: list[s.Event | _Request] = []
        try:
            mail.append(self._mailbox.get(timeout=timeout) if timeout > 0 else self._mailbox.get_nowait())
            while True:
                mail.append(self._mailbox.get_nowait())
        except queue.Empty:
            return mail

    def _take(self, event: s.Event) -> None:
        self._last_pass_at = boot_time()
        self._state, commands = step(self._state, event, wall_time())
        for command in commands:
            self._perform(command)

    def _perform(self, command: s.Command) -> None:
        match command:
            case s.ReadJournals() | s.ReadConfirmations():
                self._poller.request(self._project, command)
            case s.Rotate(name):
                # A daemon: a rotation that hangs must not keep the process from ending.
                thread = threading.Thread(
                    target=self._rotate, args=(self._project, command), name=f"lessee-rotate-{name}", daemon=True
                )
                thread.start()
            case s.Log(level, event, fields):
                log(level, event, **fields)
            case _:
                assert_never(command)

    def _rotate(self, project: Project, command: s.Rotate) -> None:
        self._mailbox.put(_rotate(project, command, self._owner_id, self._logins))

    # The configuration.

    def _load_project(self) -> None:
        project = self._load()
        _warn_of_required_restart(self._project, project)
        self._project = project
        self._use_project(project)

    def _use_project(self, project: Project) -> None:
        log("info", "configuration reloaded", targets=", ".join(project.config.rotation))
        for name, target in project.config.rotation.items():
            if warning := period_warning(target):
                log("warning", "rotation period short", target=name, reason=warning)
        self._take(s.Configured({name: _settings(project, name) for name in project.config.rotation}))

    def _stamps(self) -> Stamps:
        path = str(self._project.path)
        return {path: stamp(path)}


def _settings(project: Project, name: str) -> s.Settings:
    config = project.config_of(name)
    return s.Settings(
        schedule_of(config),
        config.secret,
        config.consumers,
        config.confirmation_timeout,
        config.revoke_delay,
        manual=isinstance(config, Manual),
        has_consumers=config.has_consumers,
    )


def _rotate(project: Project, command: s.Rotate, owner_id: str, logins: ServiceLogins) -> s.Event:
    """Rotate with a login of its own, whose token is revoked at the end. Returns the result."""
    name, journal = command.target, None
    try:
        with (
            logins.client(project.config.vault, project.environ) as client,
            open_rotation(project, name, client, owner_id=owner_id) as rotation,
        ):
            try:
                rotation.run(
                    last_rotation=command.last_rotation, finish_only=command.finish_only, wait=False, timeout=0.0
                )
            finally:
                journal = rotation.journal
        return s.RotationEnded(name, journal)
    except BusyError:
        return s.RotationBusy(name)
    except LoginRefusedError as exc:
        return s.LoginRefused(project.redactor.clean(str(exc)), name)
    except VaultUnreachableError as exc:
        return s.VaultUnavailable(str(exc), name)
    except LesseeError as exc:
        # Not everyone who may read the status may read secrets.
        return s.RotationFailed(name, project.redactor.clean(str(exc)), journal)
    except Exception as exc:  # noqa: BLE001  # A traceback may print values, and other rotations must continue.
        return s.RotationFailed(name, f"internal error: {type(exc).__name__}; please report it", journal)


def _warn_of_required_restart(old: Project, new: Project) -> None:
    if old.config.status != new.config.status or old.config.state_dir != new.config.state_dir:
        log("warning", "setting not applied", key="status, state_dir", note="it takes effect at the next start")
