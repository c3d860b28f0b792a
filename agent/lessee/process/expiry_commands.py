"""Runs an app's `on_expiry` command when its files hold an expired secret."""

import signal
import threading

from lessee.process.programs import run
from lessee.telemetry.logs import log

TIMEOUT = 10.0
"""Seconds after which the command and its session are killed."""


def run_command(command: tuple[str, ...], app: str, paths: tuple[str, ...]) -> None:
    """Start the command without a shell, and return; a thread logs how it ends.

    Its environment is the agent's, without the variables of the agent itself, and with LESSEE_APP and LESSEE_EXPIRED:
    the paths, separated by commas.
    """
    threading.Thread(target=_run, args=(command, app, paths), name="lessee-expiry", daemon=True).start()


def _run(command: tuple[str, ...], app: str, paths: tuple[str, ...]) -> None:
    result = run(command, timeout=TIMEOUT, extra={"LESSEE_APP": app, "LESSEE_EXPIRED": ",".join(paths)})
    if result.start_error:
        log("error", "on_expiry command not started", app=app, command=command[0], reason=result.start_error)
        return
    result.keep_output(app, "on_expiry")
    killed = result.status is None
    status = -signal.SIGKILL if killed else result.status
    more = {"reason": f"it {result.failure}"} if killed else {}
    log(
        "info" if result.succeeded else "warning",
        "on_expiry command exited",
        app=app,
        command=command[0],
        status=status,
        lines=result.line_count,
        **more,
    )
