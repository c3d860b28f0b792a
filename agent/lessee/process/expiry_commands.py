"""Runs what an app wants run when its files hold what is no longer valid."""

import signal
import threading

from lessee.process.programs import run
from lessee.telemetry.logs import log

TIMEOUT = 10.0
"""Seconds after which the command is killed, with all that it started in its session."""


def run_command(command: tuple[str, ...], app: str, paths: tuple[str, ...]) -> None:
    """Start the command, without a shell, and log how it ended; nobody waits for that.

    Its environment is the agent's without what is the agent's own, and with LESSEE_APP and LESSEE_EXPIRED, the paths
    with commas between.
    """
    threading.Thread(target=_run, args=(command, app, paths), name="lessee-expiry", daemon=True).start()


def _run(command: tuple[str, ...], app: str, paths: tuple[str, ...]) -> None:
    ended = run(command, timeout=TIMEOUT, extra={"LESSEE_APP": app, "LESSEE_EXPIRED": ",".join(paths)})
    if ended.unstarted:
        log("error", "on_expiry command not started", app=app, command=command[0], reason=ended.unstarted)
        return
    for line in ended.lines:
        log("info", "on_expiry command said", app=app, line=line)
    killed = ended.status is None
    status = -signal.SIGKILL if killed else ended.status
    more = {"reason": f"it {ended.why}"} if killed else {}
    log(
        "info" if ended.fine else "warning",
        "on_expiry command ended",
        app=app,
        command=command[0],
        status=status,
        **more,
    )
