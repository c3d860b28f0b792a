"""The agent's loop: it passes events to the identities, wakes at their deadlines, and reloads the configuration."""

import gc
import queue
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from lessee.agent.effects import Effects
from lessee.agent.identities import Identities
from lessee.agent.machine.apps.inputs import unknown_paths
from lessee.agent.machine.apps.version_reports import is_deregistered, is_registered
from lessee.agent.machine.kv.event_source import affected_needs
from lessee.agent.machine.leases.release import is_everything_revoked
from lessee.agent.machine.state import State
from lessee.agent.machine.status.view import status as status_of
from lessee.agent.project_loader import Loaded, ProjectLoader
from lessee.config import Config
from lessee.core.change_events import Change
from lessee.core.errors import LesseeError, TemplateError, WriteError
from lessee.core.immutable import replace
from lessee.host.clock import boot_time, recall_wall_clock, wall_time, watch_wall_clock
from lessee.host.config_reload import ConfigReloader, Stamps, Watcher
from lessee.host.project import Project, load, stamp, without_apps, without_children
from lessee.protocol import events as ev
from lessee.protocol.app_spec import app_of
from lessee.telemetry.logs import log

if TYPE_CHECKING:
    from lessee.agent.event_listener import EventListener
    from lessee.agent.read_sockets import ReadSockets
    from lessee.events.source import EventSource

MAX_SLEEP = 5.0
"""Seconds. A sleep does not count the time of a suspension, so it is short; /healthz also needs the loop to run."""
APPS_STOP_TIMEOUT = 2.0
"""Seconds at the end in which the apps may stop as well, because a whole stack is often stopped together."""
_POLL_INTERVAL = 0.1
OUTAGE_TIMEOUT = 0.3
"""Seconds at the end after which the agent revokes nothing more in a Vault that serves no request."""
DEREGISTER_TIMEOUT = 3.0
"""Seconds at the end in which the agent deletes its reports, so that the rotator does not wait for its apps."""
BACKLOG = 8
"""Requests in progress from which on answers are handled together: more than the threads send at a time."""
GATHERING_TIME = 0.003
"""Seconds in which a backlog's answers are gathered. A step for each would take longer, and hold up the threads."""
COLLECTION_EVENTS = 5_000
"""Events after which the garbage collector runs as a whole, when nothing waits. Only that empties CPython's lists of
free tuples (2,000 of each length, `PyTuple_MAXFREELIST`), which fill while the agent publishes. It takes a few ms."""
UNHEALTHY_AFTER = 30.0
"""Seconds without an iteration of the loop after which /healthz fails."""

_T = TypeVar("_T")


class _Request(Enum):
    """What other threads request of the loop itself."""

    STOP = "stop"
    RELOAD = "reload"
    WAKE = "wake"


_Message = tuple[str | None, ev.Event] | ev.EventSourceChanged | Loaded | _Request
"""An event for the identity with this key, or for all identities; or something for the loop itself."""


class Agent:
    """Owns the state, which changes only in the thread that runs the loop."""

    def __init__(
        self,
        project: Project,
        effects: Effects,
        *,
        seed: int,
        notifies: bool = True,
        all_apps: bool = True,
        stays: bool = True,
        strict: bool = False,
    ) -> None:
        """`seed`: of all random numbers. `notifies` False: no app is notified. Raises WriteError.

        `strict`: an app that is refused, now or at a reload, is an error of the agent.

        `all_apps` False: the project contains only some of the apps, so stored state of others is left alone.
        `stays` False: the agent uses no fallback, because it stops before it could replace the files.
        """
        self._project = project
        self._environ = effects.environ
        self._supervisor = effects.supervisor
        self._inbox: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self._identities = Identities(
            effects, seed=seed, notifies=notifies, all_apps=all_apps, stays=stays, strict=strict, post=self._post
        )
        self._ends_at_refusal = strict and effects.supervisor is None
        self._refusal: LesseeError | None = None
        """With `strict`: why an app was refused at a reload."""
        self._last_iteration_at = boot_time()
        self._uncollected_events = 0
        """The events since the garbage collector ran as a whole."""
        self._state_store = effects.state_store
        recall_wall_clock(effects.state_store.clock_periods())
        self._clock_set_at = float("-inf")
        """When the wall clock was set, as far as that is stored."""
        self._config_reloader = ConfigReloader()
        self._project_loader = ProjectLoader(self._inbox.put)
        self._obeys_edits = True
        self._event_listener: EventListener | None = None
        self._read_files: Callable[[str], Mapping[str, bytes]] | None = None
        self._read_sockets: ReadSockets | None = None
        self._outgrows: Callable[[Project], str] = lambda _project: ""
        self._may_regain_at = 0.0
        self.restart_requested = False
        """Whether the loop has ended because a new configuration needs what this process may no longer do."""
        compiled_apps = project.compiled_apps.values()
        self._unprepared = (template for compiled_app in compiled_apps for template in compiled_app.templates)
        if effects.supervisor is not None:
            effects.supervisor.owner = self
        self._identities.configure(project)
        _log_refused(project)

    # What other threads may call.

    def stop(self) -> None:
        """End the loop. Published files remain."""
        self._inbox.put(_Request.STOP)

    def refresh(self, paths: tuple[str, ...]) -> list[str]:
        """Check these paths now, or all. Returns the paths that no template reads: then nothing is checked."""
        unknown = set(paths).intersection(*(unknown_paths(state, paths) for state in self.states))
        if not unknown:
            self._inbox.put((None, ev.RefreshRequested(paths)))
        return [path for path in paths if path in unknown]

    def reload(self) -> None:
        """Read the configuration and the templates again."""
        self._inbox.put(_Request.RELOAD)

    def wake(self) -> None:
        """Run the loop once; signal handlers may call it too."""
        self._inbox.put(_Request.WAKE)

    def secrets_changed(self, changes: Sequence[Change]) -> None:
        """The event source reports these changes in the Vault of the top-level block."""
        for identity in self._identities.with_event_source():
            needs = frozenset(need for change in changes for need in affected_needs(identity.state, change))
            if needs:
                self._post(identity.key, ev.SecretsChanged(needs))

    def event_source_changed(self, event: ev.EventSourceChanged) -> None:
        """The event source is available from now on, or is not."""
        self._inbox.put(event)

    def vault_event_source(self) -> "EventSource":
        """Vault's own event stream, for the event listener's thread."""
        from lessee.agent.vault_event_source import VaultEventSource  # noqa: PLC0415  # Few servers have one.

        return VaultEventSource(self._identities.subscriber)

    def alive(self) -> bool:
        """Whether the loop runs, whatever the state of Vault."""
        return boot_time() - self._last_iteration_at < UNHEALTHY_AFTER

    def status(self) -> Mapping[str, Any]:
        """The status document."""
        status = status_of(
            [identity.status for identity in self._identities],
            boot_time(),
            wall_time(),
            environment=self._project.config.environment,
            reload_error=self._config_reloader.error,
            refused={name: str(error) for name, error in self._identities.refused.items()},
        )
        problems = [*status["problems"], *(self._read_sockets.problems() if self._read_sockets is not None else ())]
        if self._event_listener is None:
            return {**status, "problems": problems, "events": None}
        if problem := self._event_listener.problem():
            problems.append(problem)
        return {**status, "problems": problems, "events": self._event_listener.status()}

    @property
    def states(self) -> list[State]:
        """The state of each identity."""
        return [identity.state for identity in self._identities]

    # The loop.

    def watch_with(self, watcher: Watcher) -> None:
        """Reload the configuration when one of its files changes."""
        self._config_reloader.watch_with(watcher, self._project.stamps)

    def restart_where(self, outgrows: Callable[[Project], str], *, may_regain_at: float = 0.0) -> None:
        """End the loop instead of a reload where `outgrows` returns the reason why a project needs a new process.

        The same where an app's directory was replaced by one that this process may not write to, but on the boot clock
        not before `may_regain_at`.
        """
        self._outgrows, self._may_regain_at = outgrows, may_regain_at

    def set_event_listener(self, listener: "EventListener") -> None:
        """Include this listener in the status."""
        self._event_listener = listener

    def serve_readers(self, read_files: Callable[[str], Mapping[str, bytes]]) -> None:
        """Open the apps' read sockets, now and after each reload, until `close_readers`.

        `read_files` returns the published files of an app, which an earlier process may have written.
        """
        self._read_files = read_files
        self._configure_readers()

    def _configure_readers(self) -> None:
        if self._read_files is None:
            return
        apps = self._project.config.apps.values()
        if self._read_sockets is None and any(app.socket or app.credentials for app in apps):
            # Few apps have one.
            from lessee.agent.read_sockets import ReadSockets  # noqa: PLC0415

            self._read_sockets = ReadSockets(lambda: self.states, self._read_files)
        if self._read_sockets is not None:
            self._read_sockets.configure(self._project)

    def close_readers(self) -> None:
        """Close the read sockets."""
        self._read_files = None
        if self._read_sockets is not None:
            self._read_sockets.close()

    def run(self, result: Callable[[Sequence[State]], _T | None], timeout: float | None = None) -> _T | None:
        """Run the loop until `result` returns something; None when stopped, or after `timeout` seconds.

        Raises LesseeError if an app is refused at a reload, and the agent is strict.
        """
        deadline = boot_time() + timeout if timeout is not None else float("inf")
        while (value := result(self.states)) is None:
            now = boot_time()
            if now >= deadline:
                return None
            due_at = min((identity.wake_at for identity in self._identities), default=deadline)
            wait = min(due_at, self._supervisor_wakes_at(), deadline, now + MAX_SLEEP) - now
            messages = self._receive(max(0.0, wait))
            self._watch_clock()
            for message in messages:
                if isinstance(message, ev.EventSourceChanged):
                    self._identities.set_event_source(message)
            # What arrived with a stop too: a lease that is not known could not be revoked.
            self._iterate([message for message in messages if isinstance(message, tuple)])
            if _Request.STOP in messages:
                return None
            if self._obeys_edits:
                self._reload(messages)
        return value

    def _watch_clock(self) -> None:
        """Know, also after a restart, when the files of apps were written."""
        periods = watch_wall_clock()
        if periods[-1].first_seen > self._clock_set_at:
            self._clock_set_at = periods[-1].first_seen
            with suppress(WriteError):  # A full disk is logged where it prevents more than this.
                self._state_store.store_clock_periods(periods)

    def _reload(self, messages: Sequence[_Message]) -> None:
        if _Request.RELOAD in messages:
            self._project_loader.start(self._stamps, self._loading())
        for message in messages:
            if isinstance(message, Loaded):
                self._config_reloader.reload(message.stamps, partial(self._apply_edits, message))
                if self._refusal is not None:
                    raise self._refusal
                self._project_loader.finish()

    def _stamps(self) -> Stamps:
        """The stamps of now. What is edited after them is another reload, also while they are read."""
        stamps = {path: stamp(path) for path in self._project.stamps}
        self._config_reloader.watch_further(stamps)
        return stamps

    def _supervisor_wakes_at(self) -> float:
        return self._supervisor.wake_at if self._supervisor is not None else float("inf")

    def start_rollback(self) -> bool:
        """The child has failed. Whether the generation with which it was started is rolled back because of that."""
        return any(identity.start_rollback() for identity in self._identities)

    def shut_down(self, timeout: float, *, revoke: bool = False) -> None:
        """After `run`: revoke or retain the leases as `on_stop` says; with `revoke`, revoke them in any case."""
        self._obeys_edits = False
        self._deregister()
        on_stop = "revoke" if revoke else self._project.config.on_stop
        if on_stop == "revoke-if-unused":
            deadline = boot_time() + APPS_STOP_TIMEOUT
            while (apps := self._running_apps()) and boot_time() < deadline:
                self.run(lambda _states: None, timeout=_POLL_INTERVAL)
            if apps:
                log("info", "leases retained", apps=", ".join(apps), reason="the apps may still use them")
                return
        if on_stop != "keep":
            self.revoke(timeout)

    def _deregister(self) -> None:
        if any(map(is_registered, self.states)):
            self._iterate([(None, ev.Deregistering())])
            self.run(lambda states: all(map(is_deregistered, states)) or None, DEREGISTER_TIMEOUT)

    def _running_apps(self) -> list[str]:
        """The apps with leases that may still run."""
        # Needed once, at the end.
        from lessee.notification.notifier import is_target_missing  # noqa: PLC0415

        child = self._supervisor.child if self._supervisor is not None else None
        held = frozenset[str]().union(*(held.lease.apps for state in self.states for held in state.leases.values()))
        held = frozenset(map(app_of, held))
        apps = self._project.config.apps
        return [name for name in sorted(held & apps.keys()) if not is_target_missing(apps[name].notify, child)]

    def revoke(self, timeout: float) -> None:
        """Revoke all leases and all tokens of the agent, as far as Vault does it within `timeout` seconds."""
        self._iterate([(None, ev.Stopping())])
        if not self.run(lambda states: all(map(is_everything_revoked, states)) or None, min(timeout, OUTAGE_TIMEOUT)):
            # A Vault that serves no request would use up the time for each.
            self.run(
                lambda states: all(is_everything_revoked(state) or state.session.outage for state in states) or None,
                timeout - OUTAGE_TIMEOUT,
            )
        left = [held.lease for state in self.states for held in state.leases.values() if held.lease.lease_id]
        if left:
            paths = ", ".join(sorted({str(lease.need) for lease in left}))
            log("warning", "leases not revoked", paths=paths, note="they expire, or the next start revokes them")

    def _receive(self, wait: float) -> list[_Message]:
        # While Vault works on the first responses, there is time to compile the templates.
        while self._inbox.empty() and (template := next(self._unprepared, None)) is not None:
            with suppress(TemplateError):  # The rendering has the same error, which is that app's alone.
                template.prepare()
        if self._uncollected_events >= COLLECTION_EVENTS and self._inbox.empty():
            gc.collect()
            self._uncollected_events = 0
        messages: list[_Message] = []
        try:
            messages.append(self._inbox.get(timeout=wait) if wait else self._inbox.get_nowait())
            if any(len(state.requests) > BACKLOG for state in self.states):
                time.sleep(GATHERING_TIME)
            while True:
                messages.append(self._inbox.get_nowait())
        except queue.Empty:
            return messages

    def _iterate(self, messages: Sequence[tuple[str | None, ev.Event]]) -> None:
        self._uncollected_events += len(messages)
        events: dict[str, list[ev.Event]] = {identity.key: [] for identity in self._identities}
        for key, event in messages:
            for each in events if key is None else (key,):
                events.setdefault(each, []).append(event)
        for identity in self._identities:
            self._last_iteration_at = now = boot_time()
            if (own := events.get(identity.key)) or identity.wake_at <= now:
                identity.take(own or ())
            self._identities.update(identity)
            if identity.has_lost_directory:
                identity.has_lost_directory = False
                self._regain_directories()
        self._identities.relay()
        if self._read_sockets is not None:
            self._read_sockets.turned()

    def _regain_directories(self) -> None:
        if self._obeys_edits and boot_time() >= self._may_regain_at and (reason := self._outgrows(self._project)):
            self._restart(reason)

    def _restart(self, reason: str) -> None:
        log("info", "agent restarting", reason=reason, note="it keeps its token, its leases and all files")
        self.restart_requested = True
        self.stop()

    def _post(self, key: str, event: ev.Event) -> None:
        self._inbox.put((key, event))

    # Configurations.

    def _apply_edits(self, loaded: Loaded) -> Stamps:
        project = loaded.project()
        if self._ends_at_refusal and project.refused:
            self._refusal = next(iter(project.refused.values()))
            return self._project.stamps
        project = _with_previous(project, self._project)
        reason = self._outgrows(project)
        if reason and (unusable := _unusable_directories(project, self._project)):
            # A new process would not know their previous directories.
            project = _with_previous(without_apps(project, unusable), self._project)
            reason = self._outgrows(project)
        if reason:
            self._restart(reason)
            return project.stamps
        try:
            self._identities.configure(project)
        except LesseeError as exc:
            self._refusal = exc if self._ends_at_refusal else None
            raise
        _log_settings_that_need_a_restart(self._project, project)
        _log_refused(project, self._project)
        self._project = project
        self._configure_readers()
        log("info", "configuration reloaded", apps=", ".join(project.config.apps))
        return project.stamps

    def _loading(self) -> Callable[[], Project]:
        """What loads the configuration, in any thread."""
        path, environ = self._project.path, self._environ
        if self._supervisor is None:
            return lambda: without_children(load(path, environ, refuses_apps=True))
        only, respawns = next(iter(self._project.config.apps)), self._supervisor.respawns
        return lambda: load(path, environ, only=only, for_child=True, respawns=respawns, refuses_apps=True)


def _with_previous(project: Project, previous: Project) -> Project:
    """The edited project, in which a refused app retains its previous settings and templates."""
    retained = project.refused.keys() & previous.config.apps.keys()
    if not retained:
        return project
    apps = project.config.apps | {name: previous.config.apps[name] for name in sorted(retained)}
    compiled_apps = {**project.compiled_apps, **{name: previous.compiled_apps[name] for name in retained}}
    config = msgspec.structs.replace(project.config, apps=apps)
    return replace(project, config=config, compiled_apps=compiled_apps)


def _unusable_directories(project: Project, previous: Project) -> Mapping[str, LesseeError]:
    """Why the new directories of some apps, which had others before, cannot be used."""
    from lessee.publishing.publication_store import unusable_directory  # noqa: PLC0415  # Few edits need it.

    before = previous.config.apps
    edited = (
        app for name, app in project.config.apps.items() if name in before and app.directory != before[name].directory
    )
    return {app.name: error for app in edited if (error := unusable_directory(app)) is not None}


def _log_refused(project: Project, previous: Project | None = None) -> None:
    for name, error in project.refused.items():
        if previous is None or str(previous.refused.get(name)) != str(error):
            note = "its previous settings stay in force" if name in project.config.apps else "it gets no files"
            log("error", "app refused", app=name, reason=str(error), note=note)


def _log_settings_that_need_a_restart(old: Project, new: Project) -> None:
    def settings(config: Config) -> Mapping[str, object]:
        return {
            "state_dir": config.state_dir,
            "status": config.status,
            "events": config.events,
            "allow_disk": config.allow_disk,
            "programs": config.programs,
            "audit_trail": config.audit_trail,
        }

    before, after = settings(old.config), settings(new.config)
    for key in before:
        if before[key] != after[key]:
            log("warning", "setting not applied", key=key, note="it takes effect at the next start")
