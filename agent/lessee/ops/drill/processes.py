"""The processes of a drill: its agent, its apps' stand-ins, and operators' commands. All end with the drill."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from lessee.core.errors import AgentUnavailableError, LesseeError
from lessee.ops.drill import stand_in
from lessee.ops.drill.policy.observations import Report
from lessee.process.spawn import forget, spawn
from lessee.status.client import request_status

_LAST_LINES = 5
_COMMAND_TIMEOUT = 600.0


class StandIn:
    """The process that plays an app, and its reports."""

    def __init__(self, folder: Path, app: str, files: Sequence[str], *, polls: bool) -> None:
        places = [folder / "apps" / app, folder / "pids" / app, folder / "ready" / app]
        mode = "poll" if polls else "signal"
        self.reports: list[Report] = []
        self.generation = ""
        """The name of the generation that it has loaded."""
        # Alone: a program of another user could be in the current directory, or in the user's site-packages.
        command = [sys.executable, "-I", "-S", stand_in.__file__, *map(str, places), mode, *files]
        self._process = _start(command, {}, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True).start()

    def _read(self, lines: IO[bytes]) -> None:
        for line in lines:
            found = json.loads(line)
            self.generation = found["generation"]
            self.reports.append(Report(found["at"], found["event"], found["changed"], found["uses"]))

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        """End it."""
        _end(self._process)


class DrillAgent:
    """A real `lessee run`, with the drill's configuration."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder, self._environ = folder, environ
        self._log = folder / "agent.log"
        self.start()

    def start(self) -> None:
        """Start it, or start it again."""
        arguments = ("run", "--config", str(self._folder / "lessee.yaml"), "--log-format", "text")
        with self._log.open("ab") as log:
            self._process = _start([*_LESSEE, *arguments], self._environ, stdout=log, stderr=log)

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """End it as a crash does."""
        _end(self._process)

    def status(self) -> Mapping[str, Any]:
        """Its status; empty while it does not answer. Raises LesseeError where it has ended."""
        if self._process.poll() is not None:
            lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:]
            raise LesseeError("the agent of the drill has ended", todo="; ".join(lines))
        try:
            found: Mapping[str, Any] = request_status(self._folder / "state/status.sock", "GET", "/status.json")
        except AgentUnavailableError:
            return {}
        return found


class CommandResult:
    """The exit code and the output of a command."""

    def __init__(self, code: int, output: str) -> None:
        self.code, self.output = code, output

    @property
    def last_lines(self) -> str:
        return "; ".join(line.strip() for line in self.output.splitlines()[-_LAST_LINES:] if line.strip())


def run_lessee(
    folder: Path, environ: Mapping[str, str], *arguments: str, deadline: float = float("inf")
) -> CommandResult:
    """Run a command of lessee in the drill's folder, as an operator does.

    `deadline`: when it has to end, on the monotonic clock. Raises LesseeError where it does not.
    """
    timeout = max(0.0, min(_COMMAND_TIMEOUT, deadline - time.monotonic()))
    process = _start([*_LESSEE, *arguments], environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder)
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise LesseeError(f"`lessee {arguments[0]}` took more than {timeout:.0f} s") from None
    finally:
        _end(process)
    return CommandResult(process.returncode, output.decode(errors="replace"))


# The folder is private, but the current directory may not be.
_LESSEE = (sys.executable, "-P", "-m", "lessee")


def _start(command: Sequence[str], environ: Mapping[str, str], **settings: Any) -> "subprocess.Popen[bytes]":
    settings = {"stdin": subprocess.DEVNULL, "cwd": "/", "env": dict(environ), **settings}
    return spawn(command, ends_with_agent=True, **settings)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
    forget(process)
