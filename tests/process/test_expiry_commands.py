"""The `on_expiry` command runs without the agent's variables, and for a limited time."""

import os
import sys
import threading

import pytest

from lessee.process import expiry_commands
from lessee.process.program_output import outputs_of
from support.programs.sidecar import PATIENCE

PATHS = ("database/creds/simba", "secret/testing/db")


@pytest.fixture
def said(caplog):
    """The logged events up to the command's end, with their fields."""
    caplog.set_level("INFO", logger="lessee")

    def until_the_end():
        for thread in threading.enumerate():
            if thread.name == "lessee-expiry":
                thread.join(PATIENCE)
        assert {record.fields["app"] for record in caplog.records} == {"web"}
        return [(record.getMessage(), record.fields) for record in caplog.records]

    return until_the_end


def lines(said):
    """The output in memory, after the end of the command. The log has none of it."""
    *_, output = outputs_of("web")
    assert said[-1][1]["lines"] == output.line_count
    assert not any(line in str(said) for line in output.lines if len(line) > 3)
    return list(output.lines)


def python(script):
    return sys.executable, "-c", script


def test_the_command_gets_the_app_and_the_paths_but_none_of_the_agents_variables(said, monkeypatch):
    monkeypatch.setenv("VAULT_TOKEN", "canary")
    monkeypatch.setenv("BAO_TOKEN", "canary")
    monkeypatch.setenv("LESSEE_CONFIG", "canary")
    monkeypatch.setenv("UNNAMED_PASSWORD", "canary")
    monkeypatch.setenv("LC_ALL", "visible")
    expiry_commands.run_command(python("import os; print(sorted(os.environ.items()))"), "web", PATHS)
    events = said()
    assert events[-1][0] == "on_expiry command exited"
    assert (events[-1][1]["status"], "reason" in events[-1][1]) == (0, False)
    (line,) = lines(events)
    assert "canary" not in line
    assert "('LESSEE_APP', 'web'), ('LESSEE_EXPIRED', 'database/creds/simba,secret/testing/db')" in line
    assert "('LC_ALL', 'visible')" in line


def test_it_has_no_input_no_shell_and_a_session_of_its_own(said):
    script = "import os, sys; print(repr(sys.stdin.read()), sys.argv[1:], os.getsid(0) == os.getpid())"
    expiry_commands.run_command((*python(script), "$HOME; echo x"), "web", PATHS)
    assert lines(said()) == ["'' ['$HOME; echo x'] True"]


def test_it_does_not_block_the_caller(said, tmp_path):
    os.mkfifo(tmp_path / "gate")
    expiry_commands.run_command(python(f"print(open({str(tmp_path / 'gate')!r}).read())"), "web", PATHS)
    (tmp_path / "gate").write_text("opened")  # While it was not, the command could not end.
    assert lines(said()) == ["opened"]


@pytest.mark.parametrize(("script", "status"), [("exit(3)", 3), ("import os; os.kill(os.getpid(), 15)", -15)])
def test_a_failure_is_logged_as_a_warning(said, caplog, script, status):
    expiry_commands.run_command(python(script), "web", PATHS)
    ((event, fields),) = said()
    assert (event, fields["status"]) == ("on_expiry command exited", status)
    assert caplog.records[0].levelname == "WARNING"


@pytest.mark.parametrize("command", [("/nonexistent/program",), ("/dev",), ("true", "\0")])
def test_a_command_that_cannot_be_started_is_logged(said, command):
    expiry_commands.run_command(command, "web", PATHS)
    ((event, fields),) = said()
    assert (event, fields["command"]) == ("on_expiry command not started", command[0])
    assert fields["reason"]


@pytest.mark.parametrize("closed", ["", "exec >&- 2>&-; "], ids=["open", "closed"])
def test_a_command_that_does_not_end_is_killed_with_its_session(said, monkeypatch, tmp_path, closed):
    monkeypatch.setattr(expiry_commands, "TIMEOUT", 2.0)
    os.mkfifo(tmp_path / "alive")
    alive = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    script = f"exec 3>'{tmp_path}/alive'; (echo up; {closed}exec sleep 60) & echo up; {closed}wait"
    expiry_commands.run_command(("sh", "-c", script), "web", PATHS)  # A shell starts much faster than Python.
    events = said()
    os.set_blocking(alive, True)
    with open(alive, "rb") as held:  # noqa: PTH123  # A descriptor.
        assert held.read() == b""  # The read ends when no process holds the pipe.
    assert events[-1][1]["status"] == -9
    assert events[-1][1]["reason"] == "it was killed after 2 s"
    assert lines(events) == ["up", "up"]


def test_a_process_that_a_finished_command_left_is_not_killed(said, tmp_path):
    os.mkfifo(tmp_path / "gate")
    script = f"import os; os.fork() and os._exit(0); open({str(tmp_path / 'gate')!r}, 'w').write('still there')"
    expiry_commands.run_command(python(script), "web", PATHS)
    ((_, fields),) = said()
    assert fields["status"] == 0
    assert (tmp_path / "gate").read_text() == "still there"


def test_much_output_delays_nothing_and_twenty_complete_lines_are_kept(said):
    expiry_commands.run_command(python("for number in range(200_000): print(number)"), "web", PATHS)
    events = said()
    assert lines(events) == [*map(str, range(20)), "…", "199999"]
    assert events[-1][1]["lines"] == 200_000
    assert events[-1][1]["status"] == 0


def test_an_incomplete_line_is_dropped(said):
    expiry_commands.run_command(python("print('whole'); print('x' * 100_000)"), "web", PATHS)
    assert lines(said()) == ["whole"]
