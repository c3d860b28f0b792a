"""The loop: take what has come, let each identity's machine take its events, and see to the configuration."""

import queue
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from lessee.agent.effects import Effects
from lessee.agent.identities import Identities
from lessee.agent.machine.apps.inputs import unknown_paths
from lessee.agent.machine.apps.version_reports import is_deregistered, is_registered
from lessee.agent.machine.deadlines import wake_at
from lessee.agent.machine.kv.event_source import affected_needs
from lessee.agent.machine.leases.release import is_everything_revoked
from lessee.agent.machine.protocol import events as ev
from lessee.agent.machine.state import State
from lessee.agent.machine.status.view import status as status_of
from lessee.config import Config
from lessee.core.change_events import Change
from lessee.host.clock import boot_time, wall_time
from lessee.host.config_reload import ConfigReloader, Stamps, Watcher
from lessee.host.project import Project, load, stamp
from lessee.telemetry.logs import log

if TYPE_CHECKING:
    from lessee.agent.event_listener import Listener
    from lessee.events.source import EventSource

LONGEST_SLEEP = 5.0
"""Seconds. A sleep counts no suspension, so it is kept short; and who asks /healthz sees the loop turn."""
USED_FOR = 2.0
"""Seconds at the end that apps may take to end as well: a whole stack is stopped at once."""
LOOK_AGAIN = 0.1
TAKING_LEAVE = 1.0
"""Seconds at the end in which the rotator is told not to wait for this agent's apps."""
STANDS_STILL = 30.0
"""Seconds without a turn of the loop after which /healthz is red."""

_T = TypeVar("_T")


class _Note(Enum):
    """What the loop itself is told."""

    STOP = "stop"
    RELOAD = "reload"
    WAKE = "wake"


_Mail = tuple[str | None, ev.Event] | ev.EventSourceChanged | _Note
"""An event for the identity with this key, or for all; or whether changes are told."""


class Agent:
    """Owns the state: all of it is changed in the thread that runs the loop."""

    def __init__(
        self,
        project: Project,
        effects: Effects,
        *,
        seed: int,
        notifies: bool = True,
        whole: bool = True,
        stays: bool = True,
    ) -> None:
        """`notifies` False: nobody is told. `seed` is where the jitter comes from. Raises WriteError.

        `whole` False: the project holds some of the apps, and what others may have left is not touched. `stays` False:
        it does not fall back, for it will not be there to replace that.
        """
        self._project = project
        self._environ = effects.environ
        self._supervisor = effects.supervisor
        self._mail: queue.SimpleQueue[_Mail] = queue.SimpleQueue()
        self._identities = Identities(effects, seed=seed, notifies=notifies, whole=whole, stays=stays, post=self._post)
        self._turned_at = boot_time()
        self._config_reloader = ConfigReloader()
        self._listener: Listener | None = None
        self._ahead = (compiled for compiled_app in project.compiled_apps.values() for compiled in compiled_app.templates)
        if effects.supervisor is not None:
            effects.supervisor.goes_back = lambda: any(identity.goes_back() for identity in self._identities)
        self._identities.configure(project)

    # What other threads may call.

    def stop(self) -> None:
        """End the loop; the files stay."""
        self._mail.put(_Note.STOP)

    def refresh(self, paths: tuple[str, ...]) -> list[str]:
        """Look now, at these paths or everywhere. Gives those that no template reads: then nothing is looked at."""
        strangers = set(paths).intersection(*(unknown_paths(state, paths) for state in self.states))
        if not strangers:
            self._mail.put((None, ev.RefreshRequested(paths)))
        return [path for path in paths if path in strangers]

    def reload(self) -> None:
        """Read the configuration and the templates again."""
        self._mail.put(_Note.RELOAD)

    def wake(self) -> None:
        """Turn once; a signal's handler may call it too."""
        self._mail.put(_Note.WAKE)

    def hear(self, changes: Sequence[Change]) -> None:
        """These were told, by whoever sees changes in the Vault of the top-level block."""
        for identity in self._identities.listening():
            needs = frozenset(need for change in changes for need in affected_needs(identity.state, change))
            if needs:
                self._post(identity.key, ev.SecretsChanged(needs))

    def listening(self, hearing: ev.EventSourceChanged) -> None:
        """Whether somebody is there who tells of changes."""
        self._mail.put(hearing)

    def subscription(self) -> "EventSource":
        """Vault's own event stream, for a thread that listens there."""
        from lessee.agent.vault_event_listener import Subscribed  # noqa: PLC0415  # Few servers have it.

        return Subscribed(self._identities.subscriber)

    def alive(self) -> bool:
        """Whether the loop turns, whatever Vault does."""
        return boot_time() - self._turned_at < STANDS_STILL

    def status(self) -> Mapping[str, Any]:
        """status.json."""
        accounts = [identity.account for identity in self._identities]
        environment = self._project.config.environment
        said = status_of(accounts, boot_time(), wall_time(), environment=environment, reload_error=self._config_reloader.error)
        if self._listener is None:
            return {**said, "events": None}
        missed = self._listener.problem()
        lines = [*said["problems"], missed] if missed else said["problems"]
        return {**said, "problems": lines, "events": self._listener.status()}

    @property
    def states(self) -> list[State]:
        """Of each identity."""
        return [identity.state for identity in self._identities]

    # The loop.

    def watch_with(self, watcher: Watcher) -> None:
        """Have the configuration's files watched."""
        self._config_reloader.watch_with(watcher, self._project.stamps)

    def listen_with(self, listener: "Listener") -> None:
        """Say of this one what is heard."""
        self._listener = listener

    def run(self, ended: Callable[[Sequence[State]], _T | None], timeout: float | None = None) -> _T | None:
        """Turn until `ended` says something; None when stopped, or when `timeout` seconds have passed.

        Raises TemplateError where a template that was not prepared cannot be.
        """
        deadline = boot_time() + timeout if timeout is not None else float("inf")
        while (answer := ended(self.states)) is None:
            now = boot_time()
            if now >= deadline:
                return None
            wait = min(*map(wake_at, self.states), self._child_wakes_at(), deadline, now + LONGEST_SLEEP) - now
            mail = self._collect(max(0.0, wait))
            if _Note.STOP in mail:
                return None
            for letter in mail:
                if isinstance(letter, ev.EventSourceChanged):
                    self._identities.listen(letter)
            self._turn([letter for letter in mail if isinstance(letter, tuple)])
            if _Note.RELOAD in mail:
                stamps = {path: stamp(path) for path in self._project.stamps}
                self._config_reloader.reload(stamps, self._take_up_edits)
        return answer

    def _child_wakes_at(self) -> float:
        return self._supervisor.wake_at if self._supervisor is not None else float("inf")

    def leave(self, timeout: float, *, revoke: bool = False) -> None:
        """At the end, after `run`: do with leases as the configuration says; `revoke`: end them in any case."""
        self._take_leave()
        wish = "revoke" if revoke else self._project.config.on_stop
        if wish == "revoke-if-unused":
            deadline = boot_time() + USED_FOR
            while (used_by := self._used_by()) and boot_time() < deadline:
                self.run(lambda _states: None, timeout=LOOK_AGAIN)
            if used_by:
                log("info", "leases are kept", apps=", ".join(used_by), reason="they may still be in use")
                return
        if wish != "keep":
            self.revoke(timeout)

    def _take_leave(self) -> None:
        if any(map(is_registered, self.states)):
            self._turn([(None, ev.Deregistering())])
            self.run(lambda states: all(map(is_deregistered, states)) or None, TAKING_LEAVE)

    def _used_by(self) -> list[str]:
        """The apps that hold leases and of which it is not certain that they are gone."""
        # Wanted once, at the end.
        from lessee.notification.notifier import is_target_missing  # noqa: PLC0415

        child = self._supervisor.child if self._supervisor is not None else None
        held = frozenset[str]().union(*(held.lease.apps for state in self.states for held in state.leases.values()))
        apps = self._project.config.apps
        return [name for name in sorted(held & apps.keys()) if not is_target_missing(apps[name].notify, child)]

    def revoke(self, timeout: float) -> None:
        """End all leases and all tokens of ours, as far as Vault does it within `timeout` seconds."""
        self._turn([(None, ev.Stopping())])
        self.run(lambda states: all(map(is_everything_revoked, states)) or None, timeout)
        left = [held.lease for state in self.states for held in state.leases.values() if held.lease.lease_id]
        if left:
            paths = ", ".join(sorted({str(lease.need) for lease in left}))
            log("warning", "not all is revoked", paths=paths, note="it ends by itself, or at the next start")

    def _collect(self, wait: float) -> list[_Mail]:
        # While Vault works on the first answers there is time to make the templates' code.
        while self._mail.empty() and (compiled := next(self._ahead, None)) is not None:
            compiled.prepare()
        mail: list[_Mail] = []
        try:
            mail.append(self._mail.get(timeout=wait) if wait else self._mail.get_nowait())
            while True:
                mail.append(self._mail.get_nowait())
        except queue.Empty:
            return mail

    def _turn(self, letters: Sequence[tuple[str | None, ev.Event]]) -> None:
        for identity in self._identities:
            self._turned_at = boot_time()
            identity.take([event for to, event in letters if to in {None, identity.key}])
            self._identities.see_to(identity)

    def _post(self, key: str, event: ev.Event) -> None:
        self._mail.put((key, event))

    # Configurations.

    def _take_up_edits(self) -> Stamps:
        project = self._load()
        self._identities.configure(project)
        _tell_what_needs_a_start(self._project, project)
        self._project = project
        log("info", "configuration reloaded", apps=", ".join(project.config.apps))
        return project.stamps

    def _load(self) -> Project:
        child = self._supervisor is not None
        only = next(iter(self._project.config.apps)) if child else None
        respawns = self._supervisor is not None and self._supervisor.respawns
        return load(self._project.path, self._environ, only=only, for_child=child, respawns=respawns)


def _tell_what_needs_a_start(old: Project, new: Project) -> None:
    def settings(config: Config) -> Mapping[str, object]:
        return {
            "state_dir": config.state_dir,
            "status": config.status,
            "events": config.events,
            "allow_disk": config.allow_disk,
            "audit_trail": config.audit_trail,
        }

    before, after = settings(old.config), settings(new.config)
    for key in before:
        if before[key] != after[key]:
            log("warning", "takes effect at the next start", key=key)
