"""What becomes of an app that does not catch the signal that tells it."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import children
from rig import LOOK, Figure, Program, Rig, rig, tell

from lessee.status.server import ask

CHANGES = 5
PATIENCE = 10.0
NOTIFY = {"action": "SIGHUP", "boot_grace": "1s"}
"""With the default of 30 s it would be the same, but later."""
LOOKED = 1.0
"""Seconds after the new file in which the peer has signalled."""
# Says its pid, and what it reads at its start, with CLOCK_MONOTONIC; and takes no signal.
_APP = """
import os, signal, sys, time
file, pid_file, said = sys.argv[1:]
with open(pid_file + ".new", "w") as new:
    new.write(f"{os.getpid()}\\n")
os.rename(pid_file + ".new", pid_file)
value = open(file).read().partition("=")[2].strip().strip("'\\"")
with open(said, "a") as starts:
    starts.write(f"{time.monotonic()} {value}\\n")
while True:
    signal.pause()
"""


def measure() -> Iterator[Figure]:
    with rig() as bench:
        killed = _killed(bench)
        spared, reported = _spared(bench)
        name = f"an app that does not catch SIGHUP, {CHANGES} changes: killed by it"
        lessee = f"{CHANGES - spared}; reported {reported} times"
        yield Figure(name, str(killed), lessee, f"0; {CHANGES} times", spared == reported == CHANGES)
        restarted = _restarted(bench)
        name = f"… with `otherwise: restart`, and what starts it anew: {CHANGES} changes, it read the new file"
        yield Figure(name, "", f"{restarted} times", f"{CHANGES} times", restarted == CHANGES)


def _killed(bench: Rig) -> int:
    """How many were, by the peer."""
    pid_file = _cold(bench)
    # Without the last two words the agent would end where there is nobody to be signalled yet.
    command = ["sh", "-c", f"kill -HUP $(cat {pid_file}) || true"]
    program = bench.peer({"one.env": "deaf/one"}, command=command)
    killed = 0
    with program:
        program.wait_for_files()
        for number in range(CHANGES):
            with _app(bench, program) as process:
                bench.write("deaf/one", f"value-{number}")
                program.wait_for("one.env", f"value-{number}")
                deadline = time.monotonic() + LOOKED
                while process.poll() is None and time.monotonic() < deadline:
                    time.sleep(LOOK)
                killed += process.poll() == -signal.SIGHUP
    return killed


def _spared(bench: Rig) -> tuple[int, int]:
    """After how many changes it lived, and how many of these were reported."""
    program = _lessee(bench, {})
    spared = reported = 0
    with program:
        program.wait_for_files()
        with _app(bench, program) as process:
            for number in range(CHANGES):
                bench.write("deaf/one", f"value-{number}")
                program.wait_for("one.env", f"value-{number}")
                deadline = time.monotonic() + PATIENCE
                while not _is_reported(program, number + 2) and time.monotonic() < deadline:
                    time.sleep(LOOK)
                reported += _is_reported(program, number + 2)
                spared += process.poll() is None
    return spared, reported


def _restarted(bench: Rig) -> int:
    """How often it was started anew and has read the new file."""
    program = _lessee(bench, {"otherwise": "restart"})
    with program:
        program.wait_for_files()
        with _app(bench, program, again=True):
            _until_told(program)
            for number in range(CHANGES):
                bench.write("deaf/one", f"value-{number}")
                program.until(lambda number=number: _read(bench)[-1] == f"value-{number}", "a start with the new file")
                _until_told(program, number + 2)
    # Each was read once, and nothing twice.
    read = _read(bench)
    tell(f"it read {read}")
    return sum(read.count(f"value-{number}") == 1 for number in range(CHANGES))


def _lessee(bench: Rig, settings: Mapping[str, object]) -> Program:
    pid_file = _cold(bench)
    return bench.lessee({"one.env": "deaf/one"}, notify={"pid_file": str(pid_file), **NOTIFY, **settings})


def _cold(bench: Rig) -> Path:
    """Where the app's pid is to stand; nothing is there of before."""
    bench.write("deaf/one", "first")
    for name in ("app.pid", "said"):
        (bench.folder / name).unlink(missing_ok=True)
    return bench.folder / "app.pid"


@contextmanager
def _app(bench: Rig, program: Program, *, again: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """The app, once it has read its file; `again`: started anew whenever it ends."""
    before = len(_read(bench))
    command = children.script(_APP, program.directory / "one.env", bench.folder / "app.pid", bench.folder / "said")
    if again:
        command = ["sh", "-c", 'while true; do "$@"; done', "sh", *command]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        program.until(lambda: len(_read(bench)) > before, "the app")
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)


def _read(bench: Rig) -> list[str]:
    """What it has read at its starts."""
    return [start.value for start in children.starts(bench.folder / "said")]


def _is_reported(program: Program, generation: int) -> bool:
    return "would die of it" in (_says(program, generation)["error"] or "")


def _says(program: Program, generation: int) -> Mapping[str, Any]:
    """How telling this generation goes."""
    app = ask(program.socket, "GET", "/status.json")["apps"]["files"]
    return app["notify"] if app["generation"] == generation else {"owed": True, "error": None}


def _until_told(program: Program, generation: int = 1) -> None:
    program.until(lambda: not _says(program, generation)["owed"], "the end of telling")
