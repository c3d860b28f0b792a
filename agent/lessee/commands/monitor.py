"""`lessee monitor`: follows Vault's audit log."""

import argparse
import os
import signal
from contextlib import ExitStack, closing, suppress
from pathlib import Path

from lessee.core.config import Config, Status
from lessee.core.errors import AgentAway, CannotWrite, LesseeError, UsageError
from lessee.core.redaction import Redactor
from lessee.host.logs import log, open_log
from lessee.host.private import make_private
from lessee.host.project import find
from lessee.host.status import Answers, StatusServer, ask
from lessee.host.watch import Watcher
from lessee.monitor.monitoring import Monitoring
from lessee.monitor.service import Project, load

SOCKET = "monitor.sock"
"""In `state`: the agent's own is beside it."""


class NotAllRead(LesseeError):  # noqa: N818  # It reads as the sentence it is.
    """With --once: a log could not be read to its end."""

    exit_code = 75  # EX_TEMPFAIL


def run(arguments: argparse.Namespace) -> int:
    """Until SIGTERM or SIGINT, or the end of stdin; then 0. What cannot be read at the start ends it."""
    make_private()
    environ = dict(os.environ)
    path = find(arguments.config, environ)
    open_log(Redactor(), level=arguments.log_level, form=arguments.log_format)

    def load_it() -> Project:
        return load(path, environ)

    monitoring = Monitoring(load_it, once=arguments.once)
    # A handler only enqueues: the loop acts.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: monitoring.stop())
    signal.signal(signal.SIGHUP, lambda *_: monitoring.reload())
    if arguments.once:
        return _read_once(monitoring)
    log("info", "starting", config=str(path), state=monitoring.project.monitor.state)
    with ExitStack() as stack:
        place = _place(monitoring.project.config)
        _refuse_second(Path(place.socket))
        stack.enter_context(closing(StatusServer(Path(place.socket), place.listen, _answers(monitoring))))
        monitoring.watch_with(stack.enter_context(closing(Watcher(monitoring.reload))))
        monitoring.run()
    log("info", "stopped")
    return 0


def _read_once(monitoring: Monitoring) -> int:
    for name, said in monitoring.project.logs.items():
        if said.socket is not None:
            raise UsageError(f"`{name}` is a socket, which has no end", todo="leave --once out")
    monitoring.run()
    errors = monitoring.errors()
    if errors:
        raise NotAllRead("\n".join(errors))
    return 0


def _place(config: Config) -> Status:
    """Where it says how it is: a file with apps is also the agent's, to whom its `status:` belongs."""
    said, own = config.status, f"{config.state}/{SOCKET}"
    if config.apps:
        return Status(socket=own, listen=None)
    named = said.socket != f"{config.state}/status.sock"
    return Status(socket=said.socket if named else own, listen=said.listen)


def _refuse_second(socket: Path) -> None:
    """Raises CannotWrite where another serves there: it would not be asked any more."""
    with suppress(AgentAway):
        ask(socket, "GET", "/status.json", timeout=2.0)
        todo = "end it, or give this one another `state`"
        raise CannotWrite("another service answers there", where=str(socket), todo=todo)


def _answers(monitoring: Monitoring) -> Answers:
    def metrics() -> bytes:
        # Imported when the first scrape comes: nobody else needs to pay for it.
        from lessee.monitor.metrics import exposition

        return exposition(monitoring.status())

    def refresh(words: tuple[str, ...]) -> list[str]:
        if not words:
            monitoring.reload()
        return list(words)

    return Answers(status=monitoring.status, alive=monitoring.alive, metrics=metrics, refresh=refresh)
