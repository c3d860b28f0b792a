"""The loop: take an event, step the machine, hand its commands to the effects."""

import hashlib
import queue
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Protocol, TypeVar, assert_never

import msgspec

from lessee.core.config import App, Config
from lessee.core.config.grammar.vault import TokenAuth
from lessee.core.errors import LesseeError
from lessee.core.generation import Generation
from lessee.core.machine import commands as cmd
from lessee.core.machine import events as ev
from lessee.core.machine.deadlines import wake_at
from lessee.core.machine.inputs import unknown
from lessee.core.machine.state import State
from lessee.core.machine.step import start, steps
from lessee.core.machine.view import status as status_of
from lessee.core.redaction import Redactor
from lessee.core.rendering.recipes import Recipe, render_recipe
from lessee.host.clock import boot_time, wall_time
from lessee.host.logs import log
from lessee.host.notify import Done, notify
from lessee.host.project import Project, Stamp, load, stamp
from lessee.vault.client import Client
from lessee.vault.connect import connect

LONGEST_SLEEP = 5.0
"""Seconds. A sleep counts no suspension, so it is kept short; and who asks /healthz sees the loop turn."""
STANDS_STILL = 30.0
"""Seconds without a turn of the loop after which /healthz is red."""

_T = TypeVar("_T")


class Shelf(Protocol):
    """Where generations are shown; what cannot be written raises CannotWrite."""

    def open(self, apps: Iterable[App]) -> Mapping[str, tuple[int | None, bool]]: ...

    def publish(self, generation: Generation, *, owe: bool) -> tuple[int, bool]: ...

    def prune(self, app: str, up_to: int) -> None: ...

    def settle(self, app: str) -> None: ...


class Keeper(Protocol):
    """Where a token outlives the agent."""

    def token(self, identity: str) -> str | None: ...

    def keep_token(self, identity: str, value: str) -> None: ...


class Watcher(Protocol):
    """Calls `Agent.reload` when one of the files changes."""

    def watch(self, stamps: Mapping[Path, Stamp], *, all_beside: bool = False) -> None: ...


class _Note(Enum):
    """What the loop itself is told."""

    STOP = "stop"
    RELOAD = "reload"


class Agent:
    """Owns the state: all of it is changed here, in the thread that runs the loop."""

    def __init__(
        self,
        project: Project,
        shelf: Shelf,
        *,
        keeper: Keeper,
        redactor: Redactor,
        environ: Mapping[str, str],
        seed: int,
        notifies: bool = True,
    ) -> None:
        """`notifies` False: nobody is told. `seed` is where the jitter comes from. Raises CannotWrite."""
        self._project = project
        self._shelf = shelf
        self._keeper = keeper
        self._redactor = redactor
        self._environ = environ
        self._notifies = notifies
        self._mail: queue.SimpleQueue[ev.Event | _Note] = queue.SimpleQueue()
        self._state = start(seed)
        self._turned_at = boot_time()
        self._trouble: str | None = None
        self._identity = _identity_of(project.config)
        self._client = self._connected(project.config)
        self._watcher: Watcher | None = None
        self._ahead = (compiled for recipe in project.recipes.values() for _, compiled in recipe.files)
        self._take_up(project)

    # What other threads may call.

    def post(self, event: ev.Event) -> None:
        """Put an event into the mailbox."""
        self._mail.put(event)

    def stop(self) -> None:
        """End the loop; the files stay."""
        self._mail.put(_Note.STOP)

    def refresh(self, paths: tuple[str, ...]) -> list[str]:
        """Look now, at these paths or everywhere. Gives those that no template reads: then nothing is looked at."""
        strangers = unknown(self._state, paths)
        if not strangers:
            self.post(ev.Nudged(paths))
        return strangers

    def reload(self) -> None:
        """Read the configuration and the templates again."""
        self._mail.put(_Note.RELOAD)

    def alive(self) -> bool:
        """Whether the loop turns, whatever Vault does."""
        return boot_time() - self._turned_at < STANDS_STILL

    def status(self) -> Mapping[str, Any]:
        """status.json."""
        config = self._project.config
        return status_of(
            self._state,
            boot_time(),
            wall_time(),
            environment=config.environment,
            address=config.vault.address,
            trouble=self._trouble,
        )

    # The loop.

    def watch_with(self, watcher: Watcher) -> None:
        """Have the configuration's files watched."""
        self._watcher = watcher
        watcher.watch(self._project.stamps)

    def run(self, ended: Callable[[State], _T | None], timeout: float | None = None) -> _T | None:
        """Turn until `ended` says something; None when stopped, or when `timeout` seconds have passed.

        Raises TemplateError where a template that was not prepared cannot be.
        """
        deadline = boot_time() + timeout if timeout is not None else float("inf")
        while (answer := ended(self._state)) is None:
            now = boot_time()
            if now >= deadline:
                return None
            wait = min(wake_at(self._state), deadline, now + LONGEST_SLEEP) - now
            mail = self._collect(max(0.0, wait))
            if _Note.STOP in mail:
                return None
            self._turn([event for event in mail if not isinstance(event, _Note)])
            if _Note.RELOAD in mail:
                self._reload()
        return answer

    @property
    def state(self) -> State:
        return self._state

    def _collect(self, wait: float) -> list[ev.Event | _Note]:
        # While Vault works on the first answers there is time to make the templates' code.
        while self._mail.empty() and (compiled := next(self._ahead, None)) is not None:
            compiled.prepare()
        mail: list[ev.Event | _Note] = []
        try:
            mail.append(self._mail.get(timeout=wait) if wait else self._mail.get_nowait())
            while True:
                mail.append(self._mail.get_nowait())
        except queue.Empty:
            return mail

    def _turn(self, events: Sequence[ev.Event]) -> None:
        """Step, and obey; what was done at once is taken in at once, so that no reload comes in between."""
        for event in events:
            self._before(event)
        while True:
            self._turned_at = now = boot_time()
            self._state, commands = steps(self._state, events or [ev.Tick()], now)
            events = [done for command in commands if (done := self._obey(command)) is not None]
            if not events:
                return

    def _before(self, event: ev.Event) -> None:
        if isinstance(event, ev.Read):
            call = self._state.calls.get(event.call)
            if call is not None and isinstance(call.command, cmd.ReadSecret):
                self._redactor.learn(str(call.command.ref), event.secret.data.values())
        elif isinstance(event, ev.LoggedIn) and event.call in self._state.calls:
            value = self._client.accept(event.call)
            self._redactor.learn("token", [value])
            if isinstance(self._project.config.vault.auth, TokenAuth):
                return  # it is kept where it came from, and may be changed there
            try:
                self._keeper.keep_token(self._identity, value)
            except LesseeError as exc:
                log("warning", "token not kept", reason=str(exc))

    def _obey(self, command: cmd.Command) -> ev.Event | None:
        match command:
            case cmd.Tell():
                log(command.level, command.event, **command.fields)
            case cmd.Abandon():
                self._client.abandon(command.call)
            case cmd.Render():
                return self._render(command)
            case cmd.Publish():
                return self._publish(command)
            case cmd.Notify():
                return self._notify(command)
            case cmd.Settle() | cmd.Prune():
                self._tidy(command)
            case _:
                self._client.obey(command)
        return None

    def _render(self, command: cmd.Render) -> ev.Event:
        assert isinstance(command.recipe, Recipe)
        try:
            generation = render_recipe(command.recipe, command.secrets, command.folders, self._environ)
        except LesseeError as exc:
            return ev.RenderFailed(command.app, command.job, str(exc))
        return ev.Rendered(command.app, command.job, generation)

    def _publish(self, command: cmd.Publish) -> ev.Event:
        try:
            number, changed = self._shelf.publish(command.generation, owe=command.owe)
        except LesseeError as exc:
            return ev.PublishFailed(command.app, command.job, str(exc))
        return ev.Published(command.app, command.job, number, changed)

    def _notify(self, command: cmd.Notify) -> ev.Event:
        settings = self._project.config.apps[command.app].notify
        assert settings is not None
        done = notify(settings, command.published_at)
        if isinstance(done, Done):
            return ev.Told(command.app, command.job, done.how)
        return ev.NotTold(command.app, command.job, done.why, done.absent, done.retry_in)

    def _tidy(self, command: cmd.Settle | cmd.Prune) -> None:
        try:
            match command:
                case cmd.Settle():
                    self._shelf.settle(command.app)
                case cmd.Prune():
                    self._shelf.prune(command.app, command.up_to)
                case _:
                    assert_never(command)
        except LesseeError as exc:
            log("warning", "not tidied", app=command.app, reason=str(exc))

    # Configurations.

    def _reload(self) -> None:
        # What is broken may be mended by a file that was not there before.
        stamps = {path: stamp(path) for path in self._project.stamps}
        try:
            project = load(self._project.path, self._environ)
            self._take_up(project)
        except LesseeError as exc:
            if str(exc) != self._trouble:
                log("error", "configuration not taken up", reason=str(exc), note="the old one stays in force")
            self._trouble = str(exc)
        else:
            self._trouble = None
            stamps = dict(project.stamps)
            log("info", "configuration taken up", apps=", ".join(project.config.apps))
        if self._watcher is not None:
            self._watcher.watch(stamps, all_beside=self._trouble is not None)

    def _take_up(self, project: Project) -> None:
        config = project.config
        opened = self._shelf.open(config.apps.values())
        _tell_what_needs_a_start(self._project, project)
        self._project = project
        self._redactor.publish(project.text)
        identity = _identity_of(config)
        if identity != self._identity:
            self._identity = identity
            self._client.close()
            self._client = self._connected(config)
        wants = {name: self._want(recipe) for name, recipe in project.recipes.items()}
        events: list[ev.Event] = [ev.Configured(wants, identity)]
        for app, (number, owed) in opened.items():
            # When it was shown is not known any more: who is owed is told, whenever it started.
            events.append(ev.Recovered(app, number, owed, boot_time() if number is not None else None))
        self._turn(events)

    def _connected(self, config: Config) -> Client:
        client = connect(config.vault, self._environ, self.post, boot_time)
        kept = self._keeper.token(self._identity)
        if kept is not None:
            self._redactor.learn("token", [kept])
            client.keep(kept)
        return client

    def _want(self, recipe: Recipe) -> ev.Want:
        notifies = self._notifies and recipe.app.notify is not None
        return ev.Want(recipe.needs, recipe.app.refresh, notifies, recipe)


def _identity_of(config: Config) -> str:
    """Another address or another way to log in is another identity: no token of the one is shown to the other."""
    return hashlib.sha256(msgspec.json.encode(config.vault)).hexdigest()


def _tell_what_needs_a_start(old: Project, new: Project) -> None:
    for key in ("state", "status", "allow_disk"):
        if getattr(old.config, key) != getattr(new.config, key):
            log("warning", "takes effect at the next start", key=key)
