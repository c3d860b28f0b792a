"""`lessee rotate --watch`: the service that rotates targets on schedule."""

import argparse
import os
import signal
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lessee.audit_trail.service_recording import audit_recorder, with_audit_status
from lessee.core.errors import ConfigError, LesseeError
from lessee.core.redaction import Redactor
from lessee.host.file_watch import Watcher
from lessee.host.project import read, text_of
from lessee.host.watchfiles_changes import watchfiles_changes
from lessee.ops.rotate.service import RotationService
from lessee.ops.rotate.targets import Project
from lessee.process.hardening import harden
from lessee.status.server import StatusServer
from lessee.status.service_socket import refuse_used_socket, status_settings
from lessee.telemetry.logs import log, open_log

if TYPE_CHECKING:
    from lessee.audit_trail.recorder import AuditRecorder

SOCKET = "rotator.sock"
"""In `state_dir`, next to the agent's own socket."""


def watch(arguments: argparse.Namespace, path: Path, environ: Mapping[str, str]) -> int:
    """Run until SIGTERM or SIGINT, and return 0.

    A configuration that is invalid at the start is an error; a later one is rejected, and the old one stays in use.
    """
    harden()
    redactor = Redactor()
    open_log(redactor, level=arguments.log_level, form=arguments.log_format)

    def load() -> Project:
        config = read(path, environ, blocks=("rotation",))
        if not config.rotation:
            todo = "add a `rotation` block, or name another configuration with --config"
            raise ConfigError([LesseeError("no rotation targets", where=str(path), todo=todo)])
        redactor.allow(text_of(path))
        return Project(config, path, environ, redactor)

    service = RotationService(load, seed=int.from_bytes(os.urandom(8)))
    # A handler only enqueues a request for the loop.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop())
    signal.signal(signal.SIGHUP, lambda *_: service.reload())
    config = service.project.config
    log("info", "starting", config=str(path), vault=config.vault.address, targets=", ".join(config.rotation))
    with ExitStack() as stack:
        where = status_settings(config, SOCKET)
        refuse_used_socket(Path(where.socket))
        recorder = stack.enter_context(audit_recorder(config, "rotator", redactor, environ))
        stack.enter_context(closing(StatusServer(Path(where.socket), where.listen, _RotatorStatus(service, recorder))))
        service.watch_with(stack.enter_context(closing(Watcher(service.reload, watchfiles_changes))))
        service.run()
    log("info", "stopped")
    return 0


class _RotatorStatus:
    """The StatusSource of a rotator and its audit trail."""

    def __init__(self, service: RotationService, recorder: "AuditRecorder | None") -> None:
        self._service = service
        self._recorder = recorder
        self.is_alive = service.alive
        self.refresh = service.refresh

    def status(self) -> Mapping[str, Any]:
        return with_audit_status(self._service.status(), self._recorder)

    def metrics(self) -> bytes:
        # Imported at the first scrape: without scrapes it would cost memory for nothing.
        from lessee.ops.rotate.metrics import exposition

        return exposition(self.status())
