"""Programs react to SIGHUP as `lessee check` states."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from lessee.ops.lint.policy.signals import issue_of_command
from support.needs import need
from support.programs.sidecar import eventually

APP = """import pathlib, time
time.sleep(7 if pathlib.Path("slow").exists() else 0)
async def app(scope, receive, send): pass
"""
UVICORN = [sys.executable, "-m", "uvicorn", "asgi:app", "--port", "0"]
WORKERS = [*UVICORN, "--workers", "2"]
PATIENT = [*WORKERS, "--timeout-worker-healthcheck", "60"]
SERVER = 'require("http").createServer().listen(0); console.log("up")\n'
JAVA = """class App {
    public static void main(String[] words) throws Exception { System.out.println("up"); Thread.sleep(60000); }
}"""


@pytest.fixture
def start(tmp_path):
    """A function that starts a program, and waits until it has started."""
    (tmp_path / "asgi.py").write_text(APP)
    (tmp_path / "server.js").write_text(SERVER)
    (tmp_path / "App.java").write_text(JAVA)
    started = []

    def start(command, up):
        with (tmp_path / "log").open("ab") as log:
            started.append(subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True))
        eventually(lambda: up in (tmp_path / "log").read_text(), up)
        return started[-1]

    yield start
    for item in started:
        with suppress(ProcessLookupError):
            os.killpg(item.pid, signal.SIGKILL)  # With the workers of uvicorn.
        item.wait()


@pytest.mark.parametrize(
    ("command", "up"),
    [(UVICORN, "Uvicorn running"), (["node", "server.js"], "up"), (["java", "App.java"], "up")],
    ids=["uvicorn", "node", "java"],
)
def test_programs_listed_as_killed_by_sighup_are_killed(start, command, up):
    need(shutil.which(command[0]), f"needs {command[0]}: apt install nodejs default-jdk-headless")
    assert issue_of_command(command, {}) is not None
    process = start(command, up)
    process.send_signal(signal.SIGHUP)
    assert process.wait(15) in {-signal.SIGHUP, 128 + signal.SIGHUP}


def test_uvicorn_with_workers_survives_sighup(start):
    assert issue_of_command(PATIENT, {}) is None
    process = start(PATIENT, "Uvicorn running")
    caught = next(
        line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if line.startswith("SigCgt")
    )
    assert int(caught.split()[1], 16) & 1 << signal.SIGHUP - 1


@pytest.mark.thorough
@pytest.mark.parametrize(("command", "line"), [(WORKERS, "keeping worker ["), (PATIENT, "Terminated child process [")])
def test_uvicorn_keeps_a_worker_if_its_successor_is_not_ready_in_time(start, tmp_path, command, line):
    process = start(command, "Application startup complete")
    (tmp_path / "slow").touch()
    process.send_signal(signal.SIGHUP)
    log = eventually(lambda: ended(tmp_path / "log"), "the end of the restart")
    assert line in log


def ended(log):
    """The output, once it reports the result of the first worker."""
    text = log.read_text()
    return text if "keeping worker [" in text or "Terminated child process [" in text else None
