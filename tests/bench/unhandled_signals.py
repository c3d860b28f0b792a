"""Checks what happens to an app that does not catch the signal of its notification."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import children
from figures import Figure
from rig import CHECK_INTERVAL, Program, Rig, report, rig

from lessee.status.client import request_status

CHANGES = 5
TIMEOUT = 10.0
NOTIFY = {"action": "SIGHUP", "start_period": "1s"}
"""Shorter than the default of 30 s, to save time."""
SIGNAL_DELAY = 1.0
"""Seconds after the new file in which the peer has sent its signal."""
# Writes its pid, and at its start what it reads, with CLOCK_MONOTONIC; it catches no signal.
_APP = """
import os, signal, sys, time
file, pid_file, log = sys.argv[1:]
with open(pid_file + ".new", "w") as new:
    new.write(f"{os.getpid()}\\n")
os.rename(pid_file + ".new", pid_file)
value = open(file).read().partition("=")[2].strip().strip("'\\"")
with open(log, "a") as starts:
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
        name = f"… with `on_unhandled_signal: restart` and a supervisor, {CHANGES} changes: it read the new file"
        yield Figure(name, "", f"{restarted} times", f"{CHANGES} times", restarted == CHANGES)


def _killed(bench: Rig) -> int:
    """How many apps the peer's signal killed."""
    pid_file = _reset(bench)
    # `|| true`, because the agent would exit if the app does not run yet.
    command = ["sh", "-c", f"kill -HUP $(cat {pid_file}) || true"]
    program = bench.peer({"one.env": "unhandled/one"}, command=command)
    killed = 0
    with program:
        program.wait_for_files()
        for number in range(CHANGES):
            with _app(bench, program) as process:
                bench.write("unhandled/one", f"value-{number}")
                program.wait_for("one.env", f"value-{number}")
                deadline = time.monotonic() + SIGNAL_DELAY
                while process.poll() is None and time.monotonic() < deadline:
                    time.sleep(CHECK_INTERVAL)
                killed += process.poll() == -signal.SIGHUP
    return killed


def _spared(bench: Rig) -> tuple[int, int]:
    """How many changes the app survived, and how many of these the status reported."""
    program = _lessee(bench, {})
    spared = reported = 0
    with program:
        program.wait_for_files()
        with _app(bench, program) as process:
            for number in range(CHANGES):
                bench.write("unhandled/one", f"value-{number}")
                program.wait_for("one.env", f"value-{number}")
                deadline = time.monotonic() + TIMEOUT
                while not _is_reported(program, number + 2) and time.monotonic() < deadline:
                    time.sleep(CHECK_INTERVAL)
                reported += _is_reported(program, number + 2)
                spared += process.poll() is None
    return spared, reported


def _restarted(bench: Rig) -> int:
    """How often the app was restarted once and has read the new file."""
    program = _lessee(bench, {"on_unhandled_signal": "restart"})
    with program:
        program.wait_for_files()
        with _app(bench, program, again=True):
            _wait_until_notified(program)
            for number in range(CHANGES):
                bench.write("unhandled/one", f"value-{number}")
                program.until(lambda number=number: _read(bench)[-1] == f"value-{number}", "a start with the new file")
                _wait_until_notified(program, number + 2)
    # It must have read each value exactly once.
    read = _read(bench)
    report(f"it read {read}")
    return sum(read.count(f"value-{number}") == 1 for number in range(CHANGES))


def _lessee(bench: Rig, settings: Mapping[str, object]) -> Program:
    pid_file = _reset(bench)
    return bench.lessee({"one.env": "unhandled/one"}, notify={"pid_file": str(pid_file), **NOTIFY, **settings})


def _reset(bench: Rig) -> Path:
    """Remove the files of an earlier app. Returns the path of its pid file."""
    bench.write("unhandled/one", "first")
    for name in ("app.pid", "reads"):
        (bench.folder / name).unlink(missing_ok=True)
    return bench.folder / "app.pid"


@contextmanager
def _app(bench: Rig, program: Program, *, again: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """The app, once it has read its file. `again`: a shell restarts it whenever it ends."""
    before = len(_read(bench))
    command = children.script(_APP, program.directory / "one.env", bench.folder / "app.pid", bench.folder / "reads")
    if again:
        command = ["sh", "-c", 'while true; do "$@"; done', "sh", *command]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        program.until(lambda: len(_read(bench)) > before, "the app")
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(TIMEOUT)


def _read(bench: Rig) -> list[str]:
    """The values that it has read at its starts."""
    return [start.value for start in children.starts(bench.folder / "reads")]


def _is_reported(program: Program, generation: int) -> bool:
    return "would terminate" in (_notification(program, generation)["error"] or "")


def _notification(program: Program, generation: int) -> Mapping[str, Any]:
    """The status of the notification of this generation."""
    app = request_status(program.socket, "GET", "/status.json")["apps"]["files"]
    return app["notify"] if app["generation"] == generation else {"pending": True, "error": None}


def _wait_until_notified(program: Program, generation: int = 1) -> None:
    program.until(lambda: not _notification(program, generation)["pending"], "the end of the notification")
