"""The wall clock is set while the agent runs, as NTP and the resume of a virtual machine do."""

import shutil
import subprocess

import pytest

from support.needs import need
from support.programs.sidecar import eventually


@pytest.fixture
def set_clock(sidecar):
    """Set the agent's wall clock so many seconds ahead; files have the times of the machine's clock."""
    need(shutil.which("faketime"), "needs libfaketime: apt install faketime")
    command = ["faketime", "-f", "+0d", "printenv", "LD_PRELOAD"]
    library = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    file = sidecar.disk / "clock"
    file.write_text("+0")
    sidecar.environ |= {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DISABLE_SHM": "1",  # A killed program would leave a segment.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }

    def set_to(seconds):
        fresh = file.with_suffix(".new")
        fresh.write_text(f"{seconds:+}")
        fresh.rename(file)  # A library that reads an empty file ends its program.

    return set_to


def test_an_app_with_a_pid_file_is_notified_although_the_clock_was_set_since_it_started(
    sidecar, bao, folder, app, set_clock
):
    bao.put(f"{folder}/db", password="first")
    sidecar.environ["LESSEE_ENVIRONMENT"] = folder
    sidecar.template("app.env.j2", 'PASSWORD={{ secret("db").password }}\n')
    pid_file = sidecar.disk / "app.pid"
    sidecar.web["notify"] = {"process": {"pid_file": str(pid_file)}, "action": "SIGHUP"}
    sidecar.start(wait=False)
    sidecar.until_file("app.env", "PASSWORD='first'\n")
    process = app("lessee-clock", sidecar.directory / "app.env")
    pid_file.write_text(str(process.process.pid))
    sidecar.until(lambda status: status["ready"] and not status["problems"])
    for step, value in ((3600, "second"), (0, "third"), (-3600, "fourth")):
        set_clock(step)
        bao.put(f"{folder}/db", password=value)
        sidecar.until(lambda status: status["fresh"] and not status["problems"])
        eventually(lambda value=value: value in process.hears(), "the notification")
    sidecar.process.kill()
    sidecar.process.wait()
    set_clock(7200)
    sidecar.start()
    bao.put(f"{folder}/db", password="fifth")
    eventually(lambda: "fifth" in process.hears(), "the notification after a restart")
