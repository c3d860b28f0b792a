"""The command `lessee monitor`, which follows Vault's audit logs."""

import argparse
import os
import signal
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path

from lessee.core.errors import LesseeError, UsageError
from lessee.core.redaction import Redactor
from lessee.host.clock import wall_time
from lessee.host.console import escape_unknown
from lessee.host.file_watch import Watcher
from lessee.host.project import find
from lessee.host.watchfiles_changes import watchfiles_changes
from lessee.ops.monitor.loop import MonitorLoop
from lessee.ops.monitor.wiring import ActiveConfig, load
from lessee.process.hardening import harden
from lessee.status.server import StatusServer
from lessee.status.service_socket import refuse_used_socket, status_settings
from lessee.telemetry.logs import log, open_log

SOCKET = "monitor.sock"
"""The status socket's name in `state_dir`, next to the agent's."""


class IncompleteReadError(LesseeError):
    """With --once: a log could not be read to its end."""

    exit_code = 75  # EX_TEMPFAIL


def run(arguments: argparse.Namespace) -> int:
    """Run until SIGTERM, SIGINT or the end of stdin. Raises LesseeError if the monitor cannot start.

    With an action, do what a person decides about a response instead.
    """
    if arguments.since is not None and arguments.since > wall_time():
        raise UsageError("--since is in the future", todo="write a time in the past; without a zone it is UTC")
    harden()
    environ = dict(os.environ)
    path = find(arguments.config, environ)
    if arguments.action is not None:
        return _decide(arguments, load(path, environ), environ)
    open_log(Redactor(), level=arguments.log_level, form=arguments.log_format)

    def load_config() -> ActiveConfig:
        return load(path, environ)

    loop = MonitorLoop(load_config, once=arguments.once, since=arguments.since, take_ownership=arguments.take_ownership)
    # A signal handler only enqueues; the loop acts.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.stop())
    signal.signal(signal.SIGHUP, lambda *_: loop.reload())
    if arguments.once:
        return _read_once(loop)
    log("info", "monitor started", config=str(path), state_dir=loop.active.monitor.state_dir)
    with ExitStack() as stack:
        where = status_settings(loop.active.config, SOCKET)
        refuse_used_socket(Path(where.socket))
        stack.enter_context(closing(StatusServer(Path(where.socket), where.listen, _MonitorStatus(loop))))
        loop.watch_with(stack.enter_context(closing(Watcher(loop.reload, watchfiles_changes))))
        loop.run()
    log("info", "monitor stopped")
    return 0


def _decide(arguments: argparse.Namespace, active: ActiveConfig, environ: Mapping[str, str]) -> int:
    # Imported only for people.
    from lessee.ops.monitor.responses import people

    escape_unknown()
    if arguments.action == "undo":
        print(people.undo(active, arguments.id, environ, yes=arguments.yes))
        return 0
    socket = Path(arguments.socket or status_settings(active.config, SOCKET).socket)
    request = people.request_of(socket, arguments.id)
    if arguments.print:
        print(request, end="")
        return 0
    key_file = Path(arguments.key_file).expanduser()
    print(f"approved: {people.approve(active, arguments.id, request, key_file, yes=arguments.yes)}")
    return 0


def _read_once(loop: MonitorLoop) -> int:
    if loop.active.monitor.responses is not None:
        what = "--once ends before a response could run, but the configuration has `monitor.responses`"
        raise UsageError(what, todo="omit --once, or remove `responses`")
    for name, source in loop.active.logs.items():
        if source.socket is not None:
            raise UsageError(f"--once needs a log with an end, but `{name}` is a socket", todo="omit --once")
    loop.run()
    errors = loop.errors()
    if errors:
        raise IncompleteReadError("\n".join(errors))
    return 0


class _MonitorStatus:
    """The StatusSource of a monitor."""

    def __init__(self, loop: MonitorLoop) -> None:
        self._loop = loop
        self.status = loop.status
        self.is_alive = loop.is_alive

    def metrics(self) -> bytes:
        # Imported at the first scrape, because it is slow.
        from lessee.ops.monitor.metrics import exposition

        return exposition(self.status())

    def refresh(self, paths: tuple[str, ...]) -> list[str]:
        if not paths:
            self._loop.reload()
        return list(paths)
