"""`lessee rotate --watch`: the service that rotates when it is time."""

import argparse
import os
import signal
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from lessee.audit_trail.command_recorder import recording, with_trail
from lessee.core.errors import ConfigError, LesseeError
from lessee.core.redaction import Redactor
from lessee.host.file_watch import Watcher
from lessee.host.project import read, text_of
from lessee.ops.rotate.service import Watching
from lessee.ops.rotate.targets import Project
from lessee.process.hardening import make_private
from lessee.status.server import Answers, StatusServer
from lessee.status.serving import place, refuse_second
from lessee.telemetry.logs import log, open_log

if TYPE_CHECKING:
    from lessee.audit_trail.recorder import Noting

SOCKET = "rotator.sock"
"""In `state`: the agent's own is beside it."""


def watch(arguments: argparse.Namespace, path: Path, environ: Mapping[str, str]) -> int:
    """Until SIGTERM or SIGINT; then 0. What cannot be read at the start ends it; later the old one stays in force."""
    make_private()
    redactor = Redactor()
    open_log(redactor, level=arguments.log_level, form=arguments.log_format)

    def load() -> Project:
        config = read(path, environ, blocks=("rotation",))
        if not config.rotation:
            todo = "add `rotation:`, or name another configuration with --config"
            raise ConfigError([LesseeError("it has nothing to rotate", where=str(path), todo=todo)])
        redactor.publish(text_of(path))
        return Project(config, path, environ, redactor)

    watching = Watching(load, seed=int.from_bytes(os.urandom(8)))
    # A handler only enqueues: the loop acts.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: watching.stop())
    signal.signal(signal.SIGHUP, lambda *_: watching.reload())
    config = watching.project.config
    log("info", "starting", config=str(path), vault=config.vault.address, targets=", ".join(config.rotation))
    with ExitStack() as stack:
        where = place(config, SOCKET)
        refuse_second(Path(where.socket))
        trail = stack.enter_context(recording(config, "rotator", redactor, environ))
        stack.enter_context(closing(StatusServer(Path(where.socket), where.listen, _answers(watching, trail))))
        watching.watch_with(stack.enter_context(closing(Watcher(watching.reload))))
        watching.run()
    log("info", "stopped")
    return 0


def _answers(watching: Watching, trail: "Noting | None") -> Answers:
    def metrics() -> bytes:
        # Imported when the first scrape comes: nobody else needs to pay for it.
        from lessee.ops.rotate.metrics import exposition

        return exposition(with_trail(watching.status(), trail))

    return Answers(
        status=lambda: with_trail(watching.status(), trail),
        alive=watching.alive,
        metrics=metrics,
        refresh=watching.refresh,
    )
