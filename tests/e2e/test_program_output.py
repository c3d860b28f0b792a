"""What an app's programs print is in no log and no status, and an operator's terminal gets it on request."""

import http.client
import os
import subprocess
import sys

import pytest

from lessee.host.openbao import free_port
from support.programs.sidecar import PATIENCE

VALUE = "canary-printed-4711"
# Redaction cannot know every form of a value: the program prints it from its end.
PRINTS = """#!/bin/sh
echo {name}: at work
rev < {directory}/app.env
printf '\\033[2Jescape\\n'
exit {status}
"""


@pytest.fixture
def program(tmp_path, sidecar):
    def make(name, status=0, directory=None):
        path = tmp_path / name
        path.write_text(PRINTS.format(name=name, status=status, directory=directory or sidecar.directory))
        path.chmod(0o700)
        return [str(path)]

    return make


@pytest.fixture
def running(bao, sidecar, folder):
    bao.put(f"testing/{folder}/db", password=VALUE)
    sidecar.template("app.env.j2", f'PASSWORD={{{{ secret("{folder}/db").password }}}}\n')
    return sidecar


def on_a_terminal(sidecar, *arguments, socket=True):
    """What a command of lessee prints to a terminal."""
    master, slave = os.openpty()
    command = [sys.executable, "-m", "lessee", *arguments, *(["--socket", str(sidecar.socket)] if socket else [])]
    with subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, cwd=sidecar.disk, env=os.environ | sidecar.environ
    ) as process:
        os.close(slave)
        printed = b""
        try:
            while chunk := os.read(master, 65536):
                printed += chunk
        except OSError:  # The terminal's last program has ended.
            process.wait(PATIENCE)
    os.close(master)
    return printed.decode().replace("\r\n", "\n")


def seen_by_others(sidecar):
    """Everything that leaves the agent without a request for its programs' output."""
    answers = [sidecar.get(path)[1] for path in ("/", "/status.json", "/metrics", "/readyz")]
    return "\n".join([sidecar.log.read_text(), *answers])


def test_the_output_of_programs_is_in_no_log_and_on_a_terminal_on_request(running, program):
    running.web.update(
        check=["sh", "-c", f"{program('check', directory='$0')[0]}", "{directory}"],
        notify={"command": program("notify")},
        ready={"command": program("ready"), "initial_delay": "0s"},
    )
    running.start()
    running.until(lambda s: s["apps"]["web"]["state"] == "ready")
    assert VALUE[::-1] not in seen_by_others(running)
    assert "escape" not in seen_by_others(running)
    exits = {event["event"]: (event["status"], event["lines"]) for event in running.events() if "lines" in event}
    assert exits == {"check exited": (0, 3), "notify command exited": (0, 3)}
    shown = on_a_terminal(running, "status", "--output", "web")
    assert [line.split("  ")[-1] for line in shown.splitlines() if line.startswith("check")] == [
        "exited with status 0, 3 lines"
    ]
    assert f"'{VALUE[::-1]}'=DROWSSAP" in shown
    assert r"  \u001b[2Jescape" in shown
    assert "  notify: at work\n" in shown
    assert on_a_terminal(running, "status", "--output", "other") == "no program of other has run since the start\n"


def test_a_failed_check_is_reported_without_its_output(running, program):
    running.web["check"] = ["sh", "-c", "exec " + program("check", 3)[0]]
    running.start(wait=False)
    status = running.until(lambda s: s["apps"]["web"]["error"])
    hint = "`lessee status --output web` prints its output, "
    assert status["apps"]["web"]["error"].startswith(f"its check, sh, exited with status 3; {hint}")
    assert "at work" not in seen_by_others(running)
    assert "  check: at work\n" in on_a_terminal(running, "status", "--output", "web")


def test_a_failed_probe_is_reported_without_its_output(running, program):
    running.web.update(notify={"command": ["true"]}, ready={"command": program("ready", 4), "timeout": "600ms"})
    running.start(wait=False)
    text = "exited with status 4; `lessee status --output web` prints its output, 3 lines"
    running.until(lambda s: text in str(s))
    assert VALUE[::-1] not in seen_by_others(running)
    assert f"'{VALUE[::-1]}'=DROWSSAP" in on_a_terminal(running, "status", "--output", "web")


def test_a_value_that_redaction_knows_is_hidden_on_the_terminal_too(running):
    running.web["notify"] = {"command": ["sh", "-c", "cat $LESSEE_DIRECTORY/app.env"]}
    running.start()
    running.until(lambda s: s["apps"]["web"]["state"] == "notified")
    shown = on_a_terminal(running, "status", "--output", "web")
    assert "PASSWORD='***'" in shown
    assert VALUE not in shown


def test_the_output_goes_to_no_pipe_and_through_no_port(running):
    running.web["notify"] = {"command": ["echo", "printed"]}
    port = free_port()
    running.config["status"] = {"listen": f"127.0.0.1:{port}", "allow_unauthenticated": True}
    running.start()
    running.until(lambda s: s["apps"]["web"]["state"] == "notified")
    done = running.command("status", "--output", "web")
    assert (done.returncode, done.stdout) == (64, "")
    assert "it is printed only to a terminal" in done.stderr
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("GET", "/output?of=web")
    response = connection.getresponse()
    assert (response.status, b"printed" in response.read()) == (404, False)
    connection.close()
    assert "printed" in running.get("/output?of=web")[1]


def test_a_command_that_ends_prints_the_output_to_its_terminal_and_to_no_pipe(running, program):
    running.web["check"] = ["sh", "-c", "exec " + program("check", 3)[0]]
    running.write_config()
    done = running.command("render")
    assert "its check, sh, exited with status 3; its output, " in done.stderr
    assert "at work" not in done.stderr + done.stdout
    assert "  check: check: at work\n" in on_a_terminal(running, "render", socket=False)
