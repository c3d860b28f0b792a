"""The wall clock is set while the agent runs, as NTP and the resume of a virtual machine do."""

import pytest

from support.programs.movable_clock import movable_clock
from support.programs.sidecar import eventually


@pytest.mark.thorough
def test_an_app_with_a_pid_file_is_notified_although_the_clock_was_set_since_it_started(sidecar, bao, folder, app):
    set_clock = movable_clock(sidecar)
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
