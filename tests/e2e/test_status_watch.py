"""`lessee status --watch` on a terminal and in a pipe, with real services."""

import signal
import socketserver
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

from support.programs.rotator import Service
from support.programs.sidecar import eventually
from support.programs.terminal import Terminal, as_by_a_person

CANARY = "canary-of-the-watch"


@pytest.fixture
def running(bao, sidecar, folder):
    bao.put(f"testing/{folder}/db", user="simba", password=CANARY)
    sidecar.template("app.env.j2", f'PASSWORD={{{{ secret("{folder}/db").password }}}}\n')
    return sidecar.start()


@contextmanager
def on_a_terminal(agent, columns):
    """Run the command on a terminal with this number of columns."""
    environ = agent.environ | {"COLUMNS": str(columns), "LINES": "60", "TERM": "xterm-256color"}
    command = (sys.executable, "-m", "lessee", "status", "--watch")
    terminal = Terminal(*command, cwd=agent.disk, env=environ)
    try:
        yield terminal
    finally:
        terminal.close()


@pytest.mark.parametrize("columns", [60, 160])
def test_a_terminal_displays_changes_and_ctrl_c_exits_with_0(bao, running, folder, columns):
    with on_a_terminal(running, columns) as terminal:
        seen = terminal.until("Ready and fresh")
        seen += terminal.until("Secrets")
        bao.ask("DELETE", f"secret/metadata/testing/{folder}/db")
        seen += terminal.until("it does not exist")
        terminal.type("\x03")
        assert terminal.end(30) == 0
        assert CANARY not in seen


def test_a_stopped_agent_is_reported_and_waited_for(running):
    with on_a_terminal(running, 120) as terminal:
        terminal.until("Ready and fresh")
        running.stop()
        terminal.until("no agent answers")
        terminal.until("waiting")
        running.start(wait=False)
        terminal.until("\x1b[H\x1b[1mlessee")  # the first line, where the problem was
        terminal.type("\x03")
        assert terminal.end(30) == 0


class Lines:
    """The command in a pipe."""

    def __init__(self, folder, environ, *arguments):
        command = as_by_a_person(sys.executable, "-m", "lessee", "status", "--watch", *arguments)
        self.file = folder / "watched.txt"
        with self.file.open("wb") as out:
            self.process = subprocess.Popen(command, cwd=folder, env=environ, stdout=out, stderr=subprocess.STDOUT)

    def until(self, text):
        try:
            eventually(lambda: text in self.file.read_text(), repr(text), 60)
        except AssertionError as exc:
            raise AssertionError(f"{exc}; there is {self.file.read_text()!r}") from None

    def end(self):
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)


def test_in_a_pipe_lines_are_written_when_the_status_changes(bao, running, folder):
    lines = Lines(running.disk, running.environ)
    try:
        lines.until(f"secret/testing/{folder}/db  App: web  Version: 1")
        first = lines.file.read_text()
        assert first.startswith("lessee agent ")
        assert "\x1b" not in first
        bao.put(f"testing/{folder}/db", user="simba", password=f"{CANARY}-2")
        lines.until(f"secret/testing/{folder}/db  App: web  Version: 2")
        running.stop()
        lines.until("no agent answers")
        assert lines.end() == 0
        text = lines.file.read_text()
        assert 3 <= text.count("lessee agent ") + text.count("no agent answers") < 12  # not one for each second
        assert CANARY not in text
    finally:
        lines.process.kill()
        lines.process.wait()


def test_a_rotator_is_found_by_its_configuration(bao, tmp_path, memory, folder):
    service = Service(bao, tmp_path, memory, environment=f"watch-{folder}")
    service.target("one", rotation_period="1h", jitter="0s")
    try:
        service.start()
        service.until(lambda status: status["targets"]["one"]["rotation_count"], 60)
        lines = Lines(service.disk, {"PATH": "/usr/bin:/bin"})
        lines.until("  one  Step: idle")
        assert lines.end() == 0
        command = [sys.executable, "-m", "lessee", "status"]
        done = subprocess.run(command, cwd=service.disk, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("lessee rotator ")
        (service.state / "monitor.sock").touch()
        done = subprocess.run(command, cwd=service.disk, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 64
        assert "several services run here" in done.stderr
    finally:
        service.close()


def test_the_status_of_an_agent_has_the_monitor_of_the_same_file_too(running, tmp_path):
    """One file for all of a small machine: the agent's status alone would be silent about alerts."""
    command = [sys.executable, "-m", "lessee", "status"]

    def status(*options):
        return subprocess.run(
            command + list(options), cwd=running.disk, env=running.environ, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip

    (log := tmp_path / "audit.log").touch()
    running.config["monitor"] = {"audit": {"file": str(log)}, "state_dir": str(tmp_path / "monitor")}
    running.write_config()
    alone = status()
    assert (alone.returncode, "lessee monitor" in alone.stdout) == (0, False)
    monitor = subprocess.Popen(
        [*command[:-1], "monitor"], cwd=running.disk, env=running.environ, stderr=subprocess.DEVNULL
    )
    try:
        eventually(lambda: "\n\nlessee monitor " in status().stdout, "the monitor's status")
        both = status()
        assert both.stdout.startswith("lessee 0")
        assert "No alerts" in both.stdout
        assert (both.returncode, both.stderr) == (0, "")
        assert '"apps"' in status("--json").stdout
        running.stop()
        agentless = status()
        assert agentless.stdout.startswith("lessee monitor ")
        assert agentless.returncode == 69
        assert "no agent answers" in agentless.stderr
        for done in (agentless, status("--json")):
            assert f"lessee status --socket {running.socket.with_name('monitor.sock')}" in done.stderr
        assert status("--json").stdout == ""
    finally:
        monitor.kill()
        monitor.wait()
    running.start()
    dead = status()
    assert dead.returncode == 1
    assert "! lessee monitor does not answer at " in dead.stdout


@pytest.mark.parametrize("answer", [b"[]", b"{}", b'{"apps": {}}', b'"text"', b'{"version": 1}'])
def test_an_unknown_format_is_reported_and_waited_for(tmp_path, memory, answer):
    sock = memory / "other.sock"

    class Other(socketserver.StreamRequestHandler):
        def handle(self):
            self.rfile.readline()
            self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n" + answer)

    with socketserver.ThreadingUnixStreamServer(str(sock), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [sys.executable, "-m", "lessee", "status", "--socket", str(sock)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 69
        assert "the service's status has an unknown format; use the same version of lessee" in done.stderr
        lines = Lines(tmp_path, {"PATH": "/usr/bin:/bin"}, "--socket", str(sock))
        try:
            lines.until("the service's status has an unknown format; waiting for it")
            assert lines.end() == 0
        finally:
            lines.process.kill()
            lines.process.wait()
            server.shutdown()
