"""The command `lessee issue`, a service of the host."""

import argparse
import os
import signal
import threading
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from lessee.audit_trail.service_recording import audit_recorder
from lessee.config import Config
from lessee.core.errors import ConfigError, LesseeError
from lessee.core.redaction import Redactor
from lessee.host.project import find, read
from lessee.ops.issue.issuer import Issuer
from lessee.ops.issue.record import Record
from lessee.ops.issue.server import IssueServer
from lessee.ops.issue.status import IssuerStatus
from lessee.process.hardening import harden
from lessee.status.server import StatusServer
from lessee.status.service_socket import refuse_used_socket, status_settings
from lessee.telemetry.logs import log, log_listener, open_log

SOCKET = "issuer.sock"
"""The status socket's name in `state_dir`, next to the agent's."""


def run(arguments: argparse.Namespace) -> int:
    """Run until SIGTERM or SIGINT. Raises LesseeError if the service cannot start."""
    harden()
    environ = dict(os.environ)
    path = find(arguments.config, environ)
    redactor = Redactor()
    open_log(redactor, level=arguments.log_level, form=arguments.log_format)
    config = _read(path, environ)
    assert config.issue is not None
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    # Its record survives a restart, so it has no reload.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    log("info", "issuer started", config=str(path), socket=config.issue.socket, roles=", ".join(config.issue.roles))
    with ExitStack() as stack:
        where = status_settings(config, SOCKET)
        refuse_used_socket(Path(where.socket))
        recorder = stack.enter_context(audit_recorder(config, "issuer", redactor, environ))
        record = stack.enter_context(closing(Record(Path(config.state_dir))))
        is_required = config.audit_trail is not None and config.audit_trail.required

        def trail_problem() -> str | None:
            return recorder.problem if recorder is not None and is_required else None

        status = IssuerStatus(config, recorder)
        stack.enter_context(log_listener(status.hear))
        stack.enter_context(closing(StatusServer(Path(where.socket), where.listen, status)))
        issuer = Issuer(config, environ, record, trail_problem)
        stack.enter_context(closing(IssueServer(Path(config.issue.socket), issuer)))
        threading.Thread(target=issuer.try_out, name="lessee-try-out", daemon=True).start()
        stopped.wait()
    log("info", "issuer stopped")
    return 0


def _read(path: Path, environ: Mapping[str, Any]) -> Config:
    config = read(path, environ, blocks=("issue",))
    if config.issue is None:
        todo = "add an `issue` block, or name another configuration with --config"
        raise ConfigError([LesseeError("the configuration issues nothing", where=str(path), todo=todo)])
    return config
