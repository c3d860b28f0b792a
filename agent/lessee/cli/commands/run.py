"""`lessee run`: runs the sidecar."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lessee.agent.effects import Effects
from lessee.agent.loop import Agent
from lessee.agent.sandbox import Sandbox, apps_of_own_user, confine
from lessee.config import exposed_addresses
from lessee.core.errors import LesseeError
from lessee.core.redaction import Redactor
from lessee.host.clock import boot_time
from lessee.host.exposed_credentials import exposed_credentials
from lessee.host.job_masking import redactor_for
from lessee.host.project import Project, check_has_apps, find, load, without_children
from lessee.process.hardening import harden
from lessee.process.spawn import configure_programs
from lessee.publishing.publication_store import PublicationStore
from lessee.publishing.state_store import StateStore
from lessee.telemetry.logs import log, open_log
from lessee.telemetry.setup import start_tracing

if TYPE_CHECKING:
    from lessee.agent.child_supervisor import ChildSupervisor
    from lessee.agent.event_listener import EventListener
    from lessee.agent.machine.state import State
    from lessee.audit_trail.recorder import AuditRecorder
    from lessee.config import Config, Events


REVOKE_TIMEOUT = 8.0
"""Seconds: Docker kills a container ten seconds after SIGTERM."""
REGAIN_INTERVAL = 60.0
"""Seconds after a restart in place until the next one for a directory that was replaced: a program may fight it."""
_RESTARTED_AT = "LESSEE_RESTARTED_AT"
LOCK_TIMEOUT = 5.0
"""Seconds: a killed agent is gone before its fork is, which holds the lock."""


def run(arguments: argparse.Namespace) -> int:
    """Runs until SIGTERM or SIGINT. The files stay, because the app may still run."""
    inherited = harden()
    restarted_at = os.environ.pop(_RESTARTED_AT, None)
    environ = dict(os.environ)
    project, redactor = prepare(arguments, environ, refuses_apps=not arguments.strict)
    project = without_children(project, strict=arguments.strict)
    state_store = StateStore(
        Path(project.config.state_dir), allow_disk=project.config.allow_disk, lock_timeout=LOCK_TIMEOUT
    )
    if apps := apps_of_own_user(project.config):
        log(
            "warning",
            "app has the agent's user",
            apps=", ".join(apps),
            note="it can read the agent's credentials",
            todo="give the agent a user of its own, with CAP_KILL if it sends signals, and its files the app's group",
        )
    warn_of_leftovers(state_store, project)
    sandbox = confine(project)
    with running_agent(
        project, state_store, redactor, environ, _obey_signals, strict=arguments.strict, sandbox=sandbox
    ) as agent:
        may_regain_at = float(restarted_at) + REGAIN_INTERVAL if restarted_at else 0.0
        agent.restart_where(sandbox.lacks, may_regain_at=may_regain_at)
        try:
            agent.run(_readiness_notifier(environ))
        except LesseeError:
            agent.shut_down(REVOKE_TIMEOUT, revoke=arguments.revoke)
            raise
        if not agent.restart_requested:
            agent.shut_down(REVOKE_TIMEOUT, revoke=arguments.revoke)
    if agent.restart_requested:
        from lessee.process.child import replace_process

        # The first process is not confined, and has the pid that the service manager knows.
        environ[_RESTARTED_AT] = str(boot_time())
        replace_process([sys.executable, *sys.orig_argv[1:]], environ, inherited)
    log("info", "agent stopped", note="the files stay")
    return 0


def prepare(
    arguments: argparse.Namespace,
    environ: Mapping[str, str],
    *,
    only: str | None = None,
    respawns: bool = False,
    refuses_apps: bool = True,
) -> tuple[Project, Redactor]:
    """Load the configuration, of all apps or of `only` one, and open the log. Raises ConfigError.

    `respawns` and `refuses_apps`: as for `load`.
    """
    path = find(arguments.config, environ)
    project = load(
        path,
        environ,
        only=only,
        prepare=False,
        for_child=only is not None,
        respawns=respawns,
        refuses_apps=refuses_apps,
    )
    check_has_apps(project)
    redactor = redactor_for(getattr(arguments, "mask", None), environ)
    open_log(redactor, level=arguments.log_level, form=arguments.log_format)
    config = project.config
    configure_programs(config.programs.environment, config.programs.user)
    sources = {"sources": ", ".join(config.sources)} if config.sources else {}
    apps = ", ".join(config.apps)
    log("info", "agent starting", config=str(project.path), vault=config.vault.address, apps=apps, **sources)
    keys = {"vault": config.vault} | {f"identities.{name}": one.vault for name, one in config.identities.items()}
    for key, vault in keys.items():
        if vault.tls_skip_verify:
            log(
                "warning",
                "vault certificate not verified",
                key=f"{key}.tls_skip_verify",
                note="anyone on the network can read all secrets",
            )
    for found in exposed_credentials(config):
        log("warning", "credential exposed", file=found.path, mode=f"{found.mode:04o}", todo=found.todo)
    for address in exposed_addresses(config):
        log(
            "warning",
            "vault connection not encrypted",
            address=address,
            note="anyone on the network can read all secrets",
            todo="use https://, or write `insecure_http: true` if that is intended",
        )
    return project, redactor


def warn_of_leftovers(state_store: StateStore, project: Project) -> None:
    """Warn of secrets that lie where no app of the configuration reads them. Before the agent gives up capabilities."""
    if not state_store.directories():
        return
    # An agent's first start has published nothing yet.
    from lessee.publishing.leftovers import find_leftovers, log_leftover

    apps = {**project.refused_apps, **project.config.apps}
    for leftover in find_leftovers(state_store, apps, refused=project.refused.keys() - apps.keys()):
        log_leftover(leftover.app, leftover.directory)


@contextmanager
def running_agent(
    project: Project,
    state_store: StateStore,
    redactor: Redactor,
    environ: Mapping[str, str],
    obey_signals: Callable[[Agent], None],
    *,
    supervisor: "ChildSupervisor | None" = None,
    strict: bool = False,
    sandbox: Sandbox | None = None,
) -> Iterator[Agent]:
    """An agent with its status server, configuration reload and event source, ready to run. Raises WriteError.

    Closes the state store at the end.
    """
    with ExitStack() as stack:
        stack.enter_context(closing(state_store))
        recorder = stack.enter_context(_audit_recorder(project.config, redactor, environ))
        traced = stack.enter_context(start_tracing(project.config, redactor, environ))
        publication_store = PublicationStore(state_store)
        agent = Agent(
            project,
            Effects(publication_store, state_store, redactor, environ, supervisor, traced),
            seed=int.from_bytes(os.urandom(8)),
            all_apps=supervisor is None,
            strict=strict or supervisor is not None,
        )
        obey_signals(agent)
        # Imported while the login runs.
        from lessee.host.file_watch import Watcher
        from lessee.status.server import StatusServer

        config = project.config
        status = config.status
        stack.enter_context(
            closing(StatusServer(Path(status.socket), status.listen, _AgentStatus(agent, recorder, sandbox)))
        )
        stack.callback(agent.close_readers)
        agent.serve_readers(publication_store.read)
        watcher = stack.enter_context(closing(Watcher(agent.reload)))
        agent.watch_with(watcher)
        if config.events is not None:
            stack.enter_context(closing(_listener(config.events, agent, redactor)))
        stack.callback(_kill_programs)
        yield agent


def _listener(events: "Events", agent: Agent, redactor: Redactor) -> "EventListener":
    from urllib.parse import unquote, urlsplit

    from lessee.agent.event_listener import EventListener

    if events.redis is not None and (password := urlsplit(events.redis).password):
        redactor.learn("events", [unquote(password), password])
    listener = EventListener(events, agent)
    agent.set_event_listener(listener)
    return listener


def _readiness_notifier(environ: Mapping[str, str]) -> "Callable[[Sequence[State]], None]":
    if "NOTIFY_SOCKET" not in environ:
        return lambda _states: None
    from lessee.agent.service_manager import readiness_notifier

    return readiness_notifier(environ)


def _audit_recorder(
    config: "Config", redactor: Redactor, environ: Mapping[str, str]
) -> "AbstractContextManager[AuditRecorder | None]":
    if config.audit_trail is None:
        return nullcontext()
    from lessee.audit_trail.service_recording import audit_recorder

    return audit_recorder(config, "agent", redactor, environ)


def _kill_programs() -> None:
    from lessee.process.spawn import kill_all

    kill_all()


def _obey_signals(agent: Agent) -> None:
    # A handler only enqueues: the loop acts.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: agent.stop())
    signal.signal(signal.SIGHUP, lambda *_: agent.reload())


class _AgentStatus:
    """The StatusSource of an agent and its audit trail."""

    def __init__(self, agent: Agent, recorder: "AuditRecorder | None", sandbox: Sandbox | None) -> None:
        self._agent = agent
        self._recorder = recorder
        self._sandbox = sandbox
        self.is_alive = agent.alive
        self.refresh = agent.refresh

    def status(self) -> Mapping[str, Any]:
        status = self._agent.status()
        if self._recorder is not None:
            from lessee.audit_trail.service_recording import with_audit_status

            status = with_audit_status(status, self._recorder)
        return {**status, "sandbox": self._sandbox.as_status() if self._sandbox is not None else None}

    def metrics(self) -> bytes:
        # Imported at the first scrape: most agents never need it.
        from lessee.status.metrics import exposition

        return exposition(self.status())
