"""The command `lessee monitor`, which follows Vault's audit logs."""

import argparse
import os
import signal
from contextlib import ExitStack, closing
from pathlib import Path

from lessee.core.errors import LesseeError, UsageError
from lessee.core.redaction import Redactor
from lessee.host.file_watch import Watcher
from lessee.host.project import find
from lessee.ops.monitor.loop import MonitorLoop
from lessee.ops.monitor.wiring import ActiveConfig, load
from lessee.process.hardening import make_private
from lessee.status.server import Answers, StatusServer
from lessee.status.serving import place, refuse_second
from lessee.telemetry.logs import log, open_log

SOCKET = "monitor.sock"
"""The status socket's name in `state_dir`, next to the agent's."""


class IncompleteReadError(LesseeError):
    """With --once: a log could not be read to its end."""

    exit_code = 75  # EX_TEMPFAIL


def run(arguments: argparse.Namespace) -> int:
    """Run until SIGTERM, SIGINT or the end of stdin. Raises LesseeError if the monitor cannot start."""
    make_private()
    environ = dict(os.environ)
    path = find(arguments.config, environ)
    open_log(Redactor(), level=arguments.log_level, form=arguments.log_format)

    def load_config() -> ActiveConfig:
        return load(path, environ)

    loop = MonitorLoop(load_config, once=arguments.once)
    # A signal handler only enqueues; the loop acts.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.stop())
    signal.signal(signal.SIGHUP, lambda *_: loop.reload())
    if arguments.once:
        return _read_once(loop)
    log("info", "monitor started", config=str(path), state_dir=loop.active.monitor.state_dir)
    with ExitStack() as stack:
        where = place(loop.active.config, SOCKET)
        refuse_second(Path(where.socket))
        stack.enter_context(closing(StatusServer(Path(where.socket), where.listen, _answers(loop))))
        loop.watch_with(stack.enter_context(closing(Watcher(loop.reload))))
        loop.run()
    log("info", "monitor stopped")
    return 0


def _read_once(loop: MonitorLoop) -> int:
    for name, source in loop.active.logs.items():
        if source.socket is not None:
            raise UsageError(f"--once needs a log with an end, but `{name}` is a socket", todo="omit --once")
    loop.run()
    errors = loop.errors()
    if errors:
        raise IncompleteReadError("\n".join(errors))
    return 0


def _answers(loop: MonitorLoop) -> Answers:
    def metrics() -> bytes:
        # Imported with the first scrape, because it is slow.
        from lessee.ops.monitor.metrics import exposition

        return exposition(loop.status())

    def refresh(arguments: tuple[str, ...]) -> list[str]:
        if not arguments:
            loop.reload()
        return list(arguments)

    return Answers(status=loop.status, alive=loop.is_alive, metrics=metrics, refresh=refresh)
