"""Programs that tell what they get, alone or as a child of `lessee exec` and of its peer's supervisor."""

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

from rig import LESSEE, Program, Rig, tell

from lessee.host.openbao import find_bao

PATIENCE = 10.0
ALONE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child=SIGKILL")
"""Before a command that is to be PID 1, and whose children shall not outlive it."""

# Without what a Python costs that looks for packages: it is a part of what is measured.
_PYTHON = (sys.executable, "-I", "-S", "-c")
# Says when it started and what it was given; fails as often as it is told, and then stays.
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
    """Of a child: when, on CLOCK_MONOTONIC, and the secret that it was given."""

    at: float
    value: str


def child(file: Path, *, failures: int = 0) -> list[str]:
    """A program that writes its starts into a file; so many of them it ends at once, with 3."""
    return [*_PYTHON, _CHILD, str(file), str(failures)]


def script(text: str, *words: object) -> list[str]:
    """A program in Python that starts as fast."""
    return [*_PYTHON, text, *map(str, words)]


def starts(file: Path) -> list[Start]:
    """Those that were written into the file, in their order."""
    if not file.exists():
        return []
    # What has no newline is not whole yet.
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
    """`lessee exec` that starts its child anew for a new value; `restart`: and where it fails."""
    program = bench.lessee_for({"files": ({}, {"child": True, "action": "restart"})})
    (program.folder / "templates" / "environ.j2").write_text(f'VALUE={{{{ secret("{secret}").value }}}}\n')
    config = json.loads(program.config.read_text())
    del config["apps"]["files"]["files"]
    config["apps"]["files"]["environ"] = "environ.j2"
    if restart is not None:
        config["exec"] = {"restart": restart}
    program.config.write_text(json.dumps(config))
    words = [*before, *LESSEE, "exec", "--config", program.config, "--app", "files", "--", *command]
    return Program(program.folder, words, [])


def peer(bench: Rig, secret: str, command: Sequence[str], *, before: Sequence[str] = ()) -> Program:
    """`bao agent` as a supervisor, which starts its child anew for a new value."""
    folder = bench.peer_for({}).folder
    with (folder / "agent.hcl").open("a") as config:
        config.write(_EXEC % (json.dumps(command), secret))
    return Program(folder, [*before, find_bao(), "agent", f"-config={folder}/agent.hcl"], [])


@contextmanager
def running(program: Program) -> Iterator[None]:
    """From its start to its end, which takes its child along."""
    program.start()
    try:
        yield
    finally:
        program.process.send_signal(signal.SIGTERM)
        try:
            program.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            program.kill()


def can_be_alone() -> bool:
    """Whether we may make PID namespaces; else it is told."""
    if os.geteuid() == 0 and shutil.which("unshare"):
        return True
    tell("not measured, for want of root or unshare(1)")
    return False


def hear_signals() -> NoReturn:
    """Let the handlers run, for as long as the program lives."""
    # With pause(2) one may be late until the next signal: where it comes just before, or where the kernel hands it to
    # another thread, as it does to one that changes its mask at that moment.
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    while True:
        os.read(woken, 64)
