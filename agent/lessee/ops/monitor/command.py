"""`lessee monitor`: follows Vault's audit log."""

import argparse
import os
import signal
from contextlib import ExitStack, closing
from pathlib import Path

from lessee.core.errors import LesseeError, UsageError
from lessee.core.redaction import Redactor
from lessee.host.file_watch import Watcher
from lessee.host.project import find
from lessee.ops.monitor.loop import Monitoring
from lessee.ops.monitor.service import Project, load
from lessee.process.hardening import make_private
from lessee.status.server import Answers, StatusServer
from lessee.status.serving import place, refuse_second
from lessee.telemetry.logs import log, open_log

SOCKET = "monitor.sock"
"""In `state`: the agent's own is beside it."""


class NotAllReadError(LesseeError):
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
        where = place(monitoring.project.config, SOCKET)
        refuse_second(Path(where.socket))
        stack.enter_context(closing(StatusServer(Path(where.socket), where.listen, _answers(monitoring))))
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
        raise NotAllReadError("\n".join(errors))
    return 0


def _answers(monitoring: Monitoring) -> Answers:
    def metrics() -> bytes:
        # Imported when the first scrape comes: nobody else needs to pay for it.
        from lessee.ops.monitor.metrics import exposition

        return exposition(monitoring.status())

    def refresh(words: tuple[str, ...]) -> list[str]:
        if not words:
            monitoring.reload()
        return list(words)

    return Answers(status=monitoring.status, alive=monitoring.alive, metrics=metrics, refresh=refresh)
