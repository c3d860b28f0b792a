"""`lessee exec`: the sidecar with the app as its child."""

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing

from lessee.agent.child_supervisor import Supervisor
from lessee.agent.effects import Effects
from lessee.agent.loop import Agent
from lessee.agent.machine.state import State
from lessee.agent.machine.status.one_shot import outcomes, unfinished
from lessee.cli import sessions
from lessee.cli.commands.run import REVOKE_TIMEOUT, opened, serving
from lessee.core.errors import LesseeError, UsageError
from lessee.core.paths import DynamicSecret
from lessee.core.redaction import Redactor
from lessee.host.clock import boot_time
from lessee.host.project import Project
from lessee.process.child import adopt_orphans, become
from lessee.process.hardening import make_private
from lessee.process.spawn import environ_of_programs
from lessee.publishing.publication_store import PublicationStore
from lessee.publishing.state_store import StateStore
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

_PATIENCE = 10.0
"""Seconds for which one that is soon gone waits for another such, where all have one state."""

_Ended = Mapping[str, LesseeError | None]


def run(arguments: argparse.Namespace) -> int:
    """Until the child ends; its exit code is ours."""
    before = make_private(for_good=False)
    # The child inherits what is blocked.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    environ = dict(os.environ)
    respawns = arguments.respawn is not None
    if respawns:
        _refuse_to_respawn(arguments)
    project, redactor = opened(arguments, environ, only=arguments.app, respawns=respawns)
    if arguments.once:
        _refuse_leases(project)
    patience = min(arguments.timeout, _PATIENCE) if arguments.once else 0.0
    project, ledger = sessions.begin(project, environ, patience=patience, respawns=respawns)
    supervisor = Supervisor(
        arguments.program,
        lambda: environ_of_programs(os.environ),
        before=before,
        restart=project.config.restart,
        respawns=respawns,
    )
    if not arguments.once:
        return _supervise(arguments, project, ledger, redactor, environ, supervisor)
    code = _publish(arguments, project, ledger, redactor, environ, supervisor)
    if code == 0:
        become(arguments.program, supervisor.environment, before)
    return code


def _supervise(
    arguments: argparse.Namespace,
    project: Project,
    ledger: StateStore,
    redactor: Redactor,
    environ: Mapping[str, str],
    supervisor: Supervisor,
) -> int:
    def first(states: Sequence[State]) -> _Ended | None:
        # What is over before it begins, by a signal, has nothing to wait for.
        return {} if supervisor.turn(boot_time()) is not None else outcomes(states)

    def obey_signals(agent: Agent) -> None:
        _obey_signals(agent, supervisor)

    with serving(project, ledger, redactor, environ, obey_signals, supervisor=supervisor) as agent:
        ended = agent.run(first, arguments.timeout)
        code = _first_failure(ended if ended is not None else unfinished(agent.states), redactor)
        if code == 0:
            supervisor.begin()
            code = agent.run(lambda _states: supervisor.turn(boot_time())) or 0
        agent.leave(REVOKE_TIMEOUT)
    log("info", "stopped", code=code, note="the files stay")
    return code


def _publish(
    arguments: argparse.Namespace,
    project: Project,
    ledger: StateStore,
    redactor: Redactor,
    environ: Mapping[str, str],
    supervisor: Supervisor,
) -> int:
    """Once; no agent stays."""
    with closing(ledger):
        agent = Agent(
            project,
            Effects(PublicationStore(ledger), ledger, redactor, environ, supervisor),
            seed=int.from_bytes(os.urandom(8)),
            notifies=False,
            whole=False,
            stays=False,
        )
        code = _first_failure(agent.run(outcomes, arguments.timeout) or unfinished(agent.states), redactor)
        agent.leave(REVOKE_TIMEOUT)
    return code


def _refuse_to_respawn(arguments: argparse.Namespace) -> None:
    """Raises UsageError."""
    if arguments.once:
        raise UsageError(
            "leaves nobody to start the server anew", where="--once", todo="leave it out, or leave --respawn out"
        )
    for descriptor, name in enumerate(("standard input", "standard output")):
        try:
            os.fstat(descriptor)
        except OSError:
            raise UsageError("it is closed", where=name, todo="let the client speak to the server by it") from None


def _refuse_leases(project: Project) -> None:
    for app, recipe in project.recipes.items():
        leased = sorted(str(need) for need in recipe.needs if isinstance(need, DynamicSecret))
        if leased:
            raise UsageError(
                f"--once leaves nobody to renew what ends: {', '.join(leased)}",
                where=app,
                todo="leave --once out, or have its templates read KV secrets alone",
            )


def _first_failure(ended: _Ended, redactor: Redactor) -> int:
    for error in ended.values():
        if error is not None:
            print(f"lessee: {redactor.clean(str(error))}", file=sys.stderr)
            return error.exit_code
    return 0


def _obey_signals(agent: Agent, supervisor: Supervisor) -> None:
    supervisor.wake = agent.wake
    adopt_orphans()
    # A handler only enqueues: the loop acts.
    signal.signal(signal.SIGCHLD, lambda *_: supervisor.look())
    for number in _FORWARDED:
        # As by nohup(1), or in a script's background.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _frame: supervisor.forward(number))
