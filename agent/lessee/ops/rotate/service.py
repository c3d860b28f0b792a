"""The service that rotates when it is time: its loop, and the threads that do what core wants done."""

import queue
import threading
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, assert_never

from lessee.core.errors import LesseeError, VaultUnreachableError
from lessee.host.clock import boot_time, wall_time
from lessee.host.config_reload import Reloading, Stamps, Watcher
from lessee.host.project import stamp
from lessee.ops.rotate.lock_owner import holder
from lessee.ops.rotate.policy import service_state as s
from lessee.ops.rotate.policy.schedule import schedule
from lessee.ops.rotate.policy.service import start, step
from lessee.ops.rotate.policy.status_view import status
from lessee.ops.rotate.ports import BusyError
from lessee.ops.rotate.targets import Project, rotator
from lessee.ops.rotate.vault_poller import Asker
from lessee.telemetry.logs import log
from lessee.vault.admin import admin_client

LONGEST_SLEEP = 5.0
"""Seconds. The clock may be set meanwhile, and a sleep counts no suspension."""
LEAVE = 7.0
"""Seconds at the end for what is under way: containers are killed ten after they were asked to stop."""
STANDS_STILL = 30.0
"""Seconds without a turn of the loop after which /healthz is red."""


class _Note(Enum):
    """What the loop itself is told."""

    STOP = "stop"
    RELOAD = "reload"


class Watching:
    """Owns the state: all of it is changed in the thread that runs the loop."""

    def __init__(self, load: Callable[[], Project], *, seed: int) -> None:
        """`load` reads the configuration, and raises LesseeError. `seed` is where the jitter comes from."""
        self._load = load
        self._project = load()
        self._mail: queue.SimpleQueue[s.Event | _Note] = queue.SimpleQueue()
        self._asker = Asker(self._mail.put)
        self._holder = holder()
        self._state = start(seed)
        self._turned_at = boot_time()
        self._reloading = Reloading()

    @property
    def project(self) -> Project:
        """The one in force."""
        return self._project

    # What other threads may call.

    def stop(self) -> None:
        """End the loop. A signal's handler may call it."""
        self._mail.put(_Note.STOP)

    def reload(self) -> None:
        """Read the configuration again. A signal's handler may call it."""
        self._mail.put(_Note.RELOAD)

    def refresh(self, targets: tuple[str, ...]) -> list[str]:
        """Look now, also at the configuration. Gives those that are no targets: then nothing is looked at."""
        strangers = [name for name in targets if name not in self._project.config.rotation]
        if not strangers:
            self.reload()
        return strangers

    def alive(self) -> bool:
        """Whether the loop turns, whatever Vault does."""
        return boot_time() - self._turned_at < STANDS_STILL

    def status(self) -> Mapping[str, Any]:
        """status.json."""
        environment, trouble = self._project.config.environment, self._reloading.trouble
        return status(self._state, wall_time(), environment=environment, trouble=trouble)

    # The loop.

    def watch_with(self, watcher: Watcher) -> None:
        """Have the configuration's file watched."""
        self._reloading.watch_with(watcher, self._stamps())

    def run(self) -> None:
        """Until it is stopped; then what is under way has a few seconds to come to an end."""
        self._take_up(self._project)
        while True:
            mail = self._collect(min(LONGEST_SLEEP, self._state.wake_at - wall_time()))
            if _Note.STOP in mail:
                break
            for event in mail or [s.Tick()]:
                if not isinstance(event, _Note):
                    self._turn(event)
            if _Note.RELOAD in mail:
                self._reloading.reload(self._stamps(), self._take_up_edits)
        self._leave()

    def _leave(self) -> None:
        self._turn(s.Stopping())
        deadline = boot_time() + LEAVE
        while self._state.rotating and (left := deadline - boot_time()) > 0:
            for event in self._collect(left):
                if not isinstance(event, _Note):
                    self._turn(event)
        self._asker.close()
        for name in sorted(self._state.rotating):
            log("warning", "left in the middle", target=name, note="the next start finishes it")

    def _collect(self, wait: float) -> list[s.Event | _Note]:
        mail: list[s.Event | _Note] = []
        try:
            mail.append(self._mail.get(timeout=wait) if wait > 0 else self._mail.get_nowait())
            while True:
                mail.append(self._mail.get_nowait())
        except queue.Empty:
            return mail

    def _turn(self, event: s.Event) -> None:
        self._turned_at = boot_time()
        self._state, commands = step(self._state, event, wall_time())
        for command in commands:
            self._obey(command)

    def _obey(self, command: s.Command) -> None:
        match command:
            case s.Look() | s.Ask():
                self._asker.ask(self._project, command)
            case s.Rotate(name):
                # One that hangs must not keep the process from ending.
                work = threading.Thread(
                    target=self._rotate, args=(self._project, command), name=f"lessee-rotate-{name}", daemon=True
                )
                work.start()
            case s.Tell(level, event, fields):
                log(level, event, **fields)
            case _:
                assert_never(command)

    def _rotate(self, project: Project, command: s.Rotate) -> None:
        self._mail.put(_rotated(project, command, self._holder))

    # Configurations.

    def _take_up_edits(self) -> None:
        project = self._load()
        _tell_what_needs_a_start(self._project, project)
        self._project = project
        self._take_up(project)

    def _take_up(self, project: Project) -> None:
        log("info", "configuration taken up", targets=", ".join(project.config.rotation))
        self._turn(s.Configured({name: _plan(project, name) for name in project.config.rotation}))

    def _stamps(self) -> Stamps:
        return {self._project.path: stamp(self._project.path)}


def _plan(project: Project, name: str) -> s.Plan:
    said = project.said(name)
    return s.Plan(schedule(said), said.secret, said.consumers, said.confirm_within, said.retire_after)


def _rotated(project: Project, command: s.Rotate, named: str) -> s.Event:
    """What became of it. Each logs in anew, and its token ends with it."""
    name, journal = command.target, None
    try:
        with (
            admin_client(project.config.vault, project.environ, boot_time) as client,
            rotator(project, name, client, named=named) as one,
        ):
            try:
                one.run(seen=command.seen, open_only=command.open_only, may_wait=False, timeout=0.0)
            finally:
                journal = one.journal
        return s.Ended(name, journal)
    except BusyError:
        return s.RotationBusy(name)
    except VaultUnreachableError as exc:
        return s.VaultUnavailable(str(exc), name)
    except LesseeError as exc:
        # Whoever reads the status need not be one who may read secrets.
        return s.Failed(name, project.redactor.clean(str(exc)), journal)
    except Exception as exc:  # noqa: BLE001  # A traceback may print values, and the others' rotations go on.
        return s.Failed(name, f"internal error: {type(exc).__name__}; please report it", journal)


def _tell_what_needs_a_start(old: Project, new: Project) -> None:
    if old.config.status != new.config.status or old.config.state != new.config.state:
        log("warning", "takes effect at the next start", key="status, state")
