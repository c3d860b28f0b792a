"""Runs what an app wants run when its files hold what is no longer valid."""

import os
import select
import signal
import subprocess
import threading
import time
from contextlib import suppress

from lessee.host.logs import log

TIMEOUT = 10.0
"""Seconds after which the command is killed, with all that it started in its session."""
_LINES = 20
_BYTES = 65536
_AGENTS_OWN = ("VAULT_", "BAO_", "LESSEE_")


def run_command(command: tuple[str, ...], app: str, paths: tuple[str, ...]) -> None:
    """Start the command, without a shell, and log how it ended; nobody waits for that.

    Its environment is the agent's without what is the agent's own, and with LESSEE_APP and LESSEE_EXPIRED, the paths
    with commas between.
    """
    threading.Thread(target=_run, args=(command, app, paths), name="lessee-expiry", daemon=True).start()


def _run(command: tuple[str, ...], app: str, paths: tuple[str, ...]) -> None:
    deadline = time.monotonic() + TIMEOUT
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_environ(app, paths),
            start_new_session=True,
        )
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "a word of it holds a NUL"
        log("error", "on_expiry command not started", app=app, command=command[0], reason=reason)
        return
    with process:
        assert process.stdout is not None
        lines = _lines(process.stdout.fileno(), deadline)
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
        late = process.returncode is None
        if late:
            # Nobody has waited for it, so its number cannot have passed to another.
            os.killpg(process.pid, signal.SIGKILL)
    for line in lines:
        log("info", "on_expiry command said", app=app, line=line)
    level = "warning" if process.returncode else "info"
    more = {"reason": f"it was killed after {TIMEOUT:g} s"} if late else {}
    log(level, "on_expiry command ended", app=app, command=command[0], status=process.returncode, **more)


def _environ(app: str, paths: tuple[str, ...]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_AGENTS_OWN)}
    return kept | {"LESSEE_APP": app, "LESSEE_EXPIRED": ",".join(paths)}


def _lines(output: int, deadline: float) -> list[str]:
    """Read to the end, so that the command does not stop at a full pipe, and give the first lines."""
    said = bytearray()
    ready = select.poll()
    ready.register(output, select.POLLIN)
    while (left := deadline - time.monotonic()) > 0 and ready.poll(left * 1000):
        chunk = os.read(output, _BYTES)
        if not chunk:
            break
        said += chunk[: _BYTES - len(said)]
    lines = said.decode(errors="replace").splitlines()
    # The half of a value would not be known as one.
    return (lines[:-1] if len(said) == _BYTES else lines)[:_LINES]
