"""Programs that record what they receive, alone or as the child of `lessee exec` or of the peer's supervisor mode."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, NoReturn

from rig import LESSEE, Program, Rig, report

from lessee.host.openbao import find_bao

TIMEOUT = 10.0
PID_NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child=SIGKILL")
"""Prefix of a command that runs as PID 1, and whose end kills all its descendants."""

# Without site-packages, because the start of Python is part of the measured time.
_PYTHON = (sys.executable, "-I", "-S", "-c")
# Writes when it started and the secret it got; exits with 3 at the given number of starts, and then runs.
_CHILD = """
import os, signal, sys, time
at, (file, failures) = time.monotonic(), sys.argv[1:]
with open(file, "a+") as starts:
    starts.write(f"{at} {os.environ['VALUE']}\\n")
    starts.flush()
    starts.seek(0)
    if len(starts.readlines()) <= int(failures):
        sys.exit(3)
while True:
    signal.pause()
"""
_EXEC = """
exec {
  command                   = %s
  restart_on_secret_changes = "always"
  restart_stop_signal       = "SIGTERM"
}
env_template "VALUE" {
  contents             = "{{ with secret \\"secret/data/production/%s\\" }}{{ .Data.data.value }}{{ end }}"
  error_on_missing_key = true
}
"""


class Start(NamedTuple):
    """A start of a child: the time on CLOCK_MONOTONIC, and the secret that it got."""

    at: float
    value: str


def child(file: Path, *, failures: int = 0) -> list[str]:
    """A program that writes its starts to a file, and exits with 3 at the first `failures` of them."""
    return [*_PYTHON, _CHILD, str(file), str(failures)]


def script(text: str, *words: object) -> list[str]:
    """A program in Python that starts as fast as `child`."""
    return [*_PYTHON, text, *map(str, words)]


def starts(file: Path) -> list[Start]:
    """The starts that were written to the file, in order."""
    if not file.exists():
        return []
    # A line without a newline is incomplete.
    lines = [line.split() for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return [Start(float(at), value) for at, value in lines]


def lessee(
    bench: Rig,
    secret: str,
    command: Sequence[str],
    *,
    restart: Mapping[str, object] | None = None,
    before: Sequence[str] = (),
) -> Program:
    """`lessee exec`, which restarts its child for a new value. `restart`: the policy for failures."""
    program = bench.lessee_for({"files": ({}, {"child": True, "action": "restart"})})
    (program.folder / "templates" / "env.j2").write_text(f'VALUE={{{{ secret("{secret}").value }}}}\n')
    config = json.loads(program.config.read_text())
    del config["apps"]["files"]["files"]
    config["apps"]["files"]["env_template"] = "env.j2"
    if restart is not None:
        config["exec"] = {"restart": restart}
    program.config.write_text(json.dumps(config))
    words = [*before, *LESSEE, "exec", "--config", program.config, "--app", "files", "--", *command]
    return Program(program.folder, words, [])


def peer(bench: Rig, secret: str, command: Sequence[str], *, before: Sequence[str] = ()) -> Program:
    """`bao agent` in supervisor mode, which restarts its child for a new value."""
    folder = bench.peer_for({}).folder
    with (folder / "agent.hcl").open("a") as config:
        config.write(_EXEC % (json.dumps(command), secret))
    return Program(folder, [*before, find_bao(), "agent", f"-config={folder}/agent.hcl"], [])


@contextmanager
def running(program: Program) -> Iterator[None]:
    """Run it until the block ends; its child ends with it."""
    program.start()
    try:
        yield
    finally:
        program.process.send_signal(signal.SIGTERM)
        try:
            program.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            program.kill()


def can_unshare_pids() -> bool:
    """Whether this process may create PID namespaces; if not, report that the benchmark is skipped."""
    if os.geteuid() == 0 and shutil.which("unshare"):
        return True
    report("skipped, because it needs root and unshare(1)")
    return False


def wait_for_signals() -> NoReturn:
    """Run the signal handlers until the program is killed."""
    # With pause(2) a handler may wait for the next signal: if the signal arrives just before, or if the kernel
    # delivers it to another thread, such as one that changes its mask at that moment.
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    while True:
        os.read(woken, 64)
