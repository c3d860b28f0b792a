"""`lessee clean`: leave nothing behind, as a job of CI should."""

import argparse
import os
import select
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

from msgspec.structs import replace

from lessee.agent import Agent, Effects
from lessee.core.errors import VaultUnreachable
from lessee.core.machine.letting_go import nothing_to_revoke
from lessee.core.redaction import Redactor
from lessee.host.ledger import Held, Ledger
from lessee.host.logs import log, open_log
from lessee.host.private import make_private
from lessee.host.project import Project, find, read, text_of
from lessee.host.showing.shelf import Shelf

_AGAIN = 1.0
_STDIO = 3


def run(arguments: argparse.Namespace) -> int:
    """The files go first: they are what can be read. 69 where Vault did not take back all in time."""
    make_private()
    environ = dict(os.environ)
    path = find(arguments.config, environ)
    project = Project(path, read(path, environ), text_of(path), {}, {})
    redactor = Redactor()
    open_log(redactor, level=arguments.log_level, form=arguments.log_format)
    if arguments.after is not None:
        _wait_in_background(arguments.after)
    while True:
        try:
            _clean(project, redactor, environ, arguments.timeout)
        except Held:
            # One that has outlived the job too: nobody else will come when it has gone.
            if arguments.after is None:
                raise
            time.sleep(_AGAIN)
        else:
            return 0


def _clean(project: Project, redactor: Redactor, environ: Mapping[str, str], timeout: float) -> None:
    """Raises CannotWrite, or VaultUnreachable when all else is done."""
    config = project.config
    state = Path(config.state)
    if not state.exists():
        log("info", "nothing to clean", state=config.state)
        return
    with closing(Ledger(state, allow_disk=config.allow_disk)) as ledger:
        shelf = Shelf(ledger)
        there = [app for app in config.apps.values() if Path(app.directory).exists()]
        shelf.open(there)
        for app in there:
            shelf.withdraw(app.name)
        # An agent without apps ends what earlier ones have left, and asks for nothing else.
        nobody = Project(project.path, replace(config, apps={}), project.text, {}, {})
        agent = Agent(nobody, Effects(shelf, ledger, redactor, environ), seed=int.from_bytes(os.urandom(8)))
        agent.revoke(timeout)
        done = all(map(nothing_to_revoke, agent.states))
        ledger.remove()
    for app in there:
        with suppress(OSError):  # What is not ours keeps it.
            Path(app.directory).rmdir()
    with suppress(OSError):
        state.rmdir()
    if not done:
        todo = (
            "what it issued ends by itself, at the latest with the token's ttl; revoke it by its accessor (audit log)"
        )
        raise VaultUnreachable(f"not all was revoked within {timeout:g} s", where=config.vault.address, todo=todo)
    log("info", "cleaned", state=config.state, apps=", ".join(app.name for app in there))


def _wait_in_background(pid: int) -> None:
    """Return in a process of its own, without a terminal, when the other is gone; the caller's ends meanwhile."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        log("warning", "it is gone already", pid=pid)
        return
    log("info", "waiting in the background", after=pid)
    for step in (os.setsid, lambda: None):
        if os.fork():
            os._exit(0)  # Nothing is to be tidied twice.
        step()
    os.chdir("/")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(_STDIO):
        os.dup2(nothing, stream)
    poll = select.poll()
    poll.register(process, select.POLLIN)
    poll.poll()
