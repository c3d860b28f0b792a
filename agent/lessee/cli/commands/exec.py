"""`lessee exec`: runs the sidecar with the app as its child process."""

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing

from lessee.agent.child_supervisor import ChildSupervisor
from lessee.agent.effects import Effects
from lessee.agent.loop import Agent
from lessee.agent.machine.state import State
from lessee.agent.machine.status.one_shot import results, results_at_timeout
from lessee.agent.sandbox import Sandbox, separate, unconfined
from lessee.cli import closed_streams, sessions
from lessee.cli.commands.run import LOCK_TIMEOUT, REVOKE_TIMEOUT, prepare, running_agent
from lessee.core.errors import LesseeError, UsageError
from lessee.core.paths import DynamicSecret
from lessee.core.redaction import Redactor
from lessee.host.clock import boot_time
from lessee.host.project import Project
from lessee.process.child import adopt_orphans, replace_process
from lessee.process.hardening import harden
from lessee.publishing.publication_store import PublicationStore
from lessee.publishing.state_store import StateStore
from lessee.rendering.app_templates import variable_scope_of
from lessee.telemetry.logs import log

_FORWARDED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGTERM,
    signal.SIGWINCH,
)

_LOCK_TIMEOUT = 10.0
"""Seconds to wait for another `exec --once` to release a shared state directory."""

_Outcomes = Mapping[str, LesseeError | None]


def run(arguments: argparse.Namespace) -> int:
    """Runs until the child exits, and returns its exit code."""
    inherited = harden(permanent=False)
    # The child inherits the signal mask.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    environ = dict(os.environ)
    respawns = arguments.respawn is not None
    if respawns:
        _check_respawn(arguments)
    project, redactor = prepare(arguments, environ, only=arguments.app, respawns=respawns)
    if arguments.once:
        _require_no_leases(project)
    lock_timeout = min(arguments.timeout, _LOCK_TIMEOUT) if arguments.once else LOCK_TIMEOUT
    project, state_store = sessions.acquire_state(project, environ, lock_timeout=lock_timeout, respawns=respawns)
    user = project.config.child_user
    sandbox = separate(project, user) if user is not None else unconfined()
    variables = variable_scope_of(project.config)
    supervisor = ChildSupervisor(
        arguments.program,
        # The app may need the proxy. Another user does not get the agent's login there.
        lambda: variables.for_child(os.environ, keeps_proxies=user is None, before=environ),
        inherited=inherited,
        restart=project.config.restart,
        user=user,
        respawns=respawns,
    )
    if not arguments.once:
        return _supervise(arguments, project, state_store, redactor, environ, supervisor, sandbox)
    code = _publish(arguments, project, state_store, redactor, environ, supervisor)
    if code == 0:
        replace_process(arguments.program, supervisor.environment, inherited, user)
    return code


def _supervise(
    arguments: argparse.Namespace,
    project: Project,
    state_store: StateStore,
    redactor: Redactor,
    environ: Mapping[str, str],
    supervisor: ChildSupervisor,
    sandbox: Sandbox,
) -> int:
    def first(states: Sequence[State]) -> _Outcomes | None:
        # A signal may end the child before it starts: then there is nothing to wait for.
        return {} if supervisor.update(boot_time()) is not None else results(states)

    def obey_signals(_agent: Agent) -> None:
        _obey_signals(supervisor)

    with running_agent(
        project, state_store, redactor, environ, obey_signals, supervisor=supervisor, sandbox=sandbox
    ) as agent:
        ended = agent.run(first, arguments.timeout)
        code = _report_failures(ended if ended is not None else results_at_timeout(agent.states), redactor)
        if code == 0:
            supervisor.start()
            code = agent.run(lambda _states: supervisor.update(boot_time())) or 0
        agent.shut_down(REVOKE_TIMEOUT)
    log("info", "agent stopped", code=code, note="the files stay")
    return code


def _publish(
    arguments: argparse.Namespace,
    project: Project,
    state_store: StateStore,
    redactor: Redactor,
    environ: Mapping[str, str],
    supervisor: ChildSupervisor,
) -> int:
    """Publish once, without an agent that remains."""
    with closing(state_store):
        agent = Agent(
            project,
            Effects(PublicationStore(state_store), state_store, redactor, environ, supervisor),
            seed=int.from_bytes(os.urandom(8)),
            notifies=False,
            all_apps=False,
            stays=False,
            strict=True,
        )
        code = _report_failures(agent.run(results, arguments.timeout) or results_at_timeout(agent.states), redactor)
        agent.shut_down(REVOKE_TIMEOUT)
    return code


def _check_respawn(arguments: argparse.Namespace) -> None:
    """Raises UsageError."""
    if arguments.once:
        raise UsageError("no agent remains to restart the server", where="--once", todo="omit --once or --respawn")
    for descriptor, name in enumerate(("standard input", "standard output")):
        if descriptor in closed_streams:
            raise UsageError("it is closed", where=name, todo="the MCP client must connect it")


def _require_no_leases(project: Project) -> None:
    for app, compiled_app in project.compiled_apps.items():
        needs = [need for need in compiled_app.references if isinstance(need, DynamicSecret)]
        leased = sorted(str(need) for need in needs if need.may_end)
        if leased:
            raise UsageError(
                f"with --once no agent remains to renew leases: {', '.join(leased)}",
                where=app,
                todo="omit --once, or read only KV secrets in its templates",
            )


def _report_failures(ended: _Outcomes, redactor: Redactor) -> int:
    for error in ended.values():
        if error is not None:
            print(f"lessee: {redactor.clean(str(error))}", file=sys.stderr)
            return error.exit_code
    return 0


def _obey_signals(supervisor: ChildSupervisor) -> None:
    adopt_orphans()
    # A handler only enqueues: the loop acts.
    signal.signal(signal.SIGCHLD, lambda *_: supervisor.on_sigchld())
    for number in _FORWARDED:
        # It is ignored under nohup(1), or in a script's background job.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _frame: supervisor.forward(number))
