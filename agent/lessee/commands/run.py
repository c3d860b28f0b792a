"""`lessee run`: the sidecar."""

import argparse
import os
import signal
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from lessee.agent import Agent
from lessee.core.errors import ConfigError, LesseeError
from lessee.core.redaction import Redactor
from lessee.host.ledger import Ledger
from lessee.host.logs import log, open_log
from lessee.host.private import make_private
from lessee.host.project import Project, find, load
from lessee.host.shelf import Shelf

if TYPE_CHECKING:
    from lessee.host.status import Answers


REVOKE_TIMEOUT = 8.0
"""Seconds: containers are killed ten after they were asked to stop."""


def run(arguments: argparse.Namespace) -> int:
    """Until SIGTERM or SIGINT; then the files stay, for the app still runs."""
    make_private()
    environ = dict(os.environ)
    project = load(find(arguments.config, environ), environ, prepare=False)
    refuse_without_apps(project)
    redactor = Redactor()
    open_log(redactor, level=arguments.log_level, form=arguments.log_format)
    config = project.config
    log("info", "starting", config=str(project.path), vault=config.vault.address, apps=", ".join(config.apps))
    if config.vault.insecure:
        log(
            "warning",
            "vault.insecure: Vault's certificate is not checked; anyone on the way can read all secrets",
        )
    with ExitStack() as stack:
        ledger = stack.enter_context(closing(Ledger(Path(config.state), allow_disk=config.allow_disk)))
        agent = Agent(
            project,
            Shelf(ledger),
            keeper=ledger,
            redactor=redactor,
            environ=environ,
            seed=int.from_bytes(os.urandom(8)),
        )
        _obey_signals(agent)
        # Imported while the login is under way.
        from lessee.host.status import StatusServer
        from lessee.host.watch import Watcher

        status = config.status
        stack.enter_context(closing(StatusServer(Path(status.socket), status.listen, _answers(agent))))
        watcher = stack.enter_context(closing(Watcher(agent.reload)))
        agent.watch_with(watcher)
        agent.run(lambda _states: None)
        if arguments.revoke or agent.revokes_on_stop:
            agent.revoke(REVOKE_TIMEOUT)
    log("info", "stopped", note="the files stay")
    return 0


def refuse_without_apps(project: Project) -> None:
    """An operator's file has nothing to run. Raises ConfigError."""
    if not project.config.apps:
        todo = "add `apps:`, or name an app's configuration with --config"
        raise ConfigError([LesseeError("it has no apps: it is an operator's file", where=str(project.path), todo=todo)])


def _obey_signals(agent: Agent) -> None:
    # A handler only enqueues: the loop acts.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: agent.stop())
    signal.signal(signal.SIGHUP, lambda *_: agent.reload())


def _answers(agent: Agent) -> "Answers":
    from lessee.host.status import Answers

    def metrics() -> bytes:
        # Imported when the first scrape comes: nobody else needs to pay for it.
        from lessee.host.metrics import exposition

        return exposition(agent.status())

    return Answers(
        status=agent.status,
        alive=agent.alive,
        metrics=metrics,
        refresh=agent.refresh,
    )
