"""A configured command runs for a limited time, and its output is collected."""

import os
import signal
import sys
import threading

import pytest

from lessee.host import procfs
from lessee.process import spawn
from lessee.process.programs import run

LONG = 60.0
"""Seconds that no test waits."""


@pytest.fixture(autouse=True)
def no_child_is_left():
    before = set(procfs.zombie_children())
    yield
    assert spawn._registered == {}
    assert set(procfs.zombie_children()) <= before


@pytest.fixture
def held(tmp_path):
    """A pipe that programs hold open, and a function that waits until none does."""
    os.mkfifo(tmp_path / "held")
    descriptor = os.open(tmp_path / "held", os.O_RDONLY | os.O_NONBLOCK)  # With a reader, no program waits at it.

    def until_released():
        os.set_blocking(descriptor, True)
        assert os.read(descriptor, 1) == b""

    yield f"os.open({str(tmp_path / 'held')!r}, os.O_WRONLY)", until_released
    os.close(descriptor)


def python(script):
    return sys.executable, "-c", f"import os, signal, sys\n{script}"


def test_a_program_that_exits_with_0_succeeds_and_its_output_is_collected():
    result = run(python("print('out', flush=True); print('err', file=sys.stderr)"), timeout=LONG)
    assert result.succeeded
    assert (result.status, result.failure, result.lines, result.last_line) == (0, "", ("out", "err"), "err")


@pytest.mark.parametrize(
    ("script", "status", "why"),
    [
        ("exit(3)", 3, "exited with status 3"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", -signal.SIGSEGV, "was terminated by SIGSEGV"),
        ("os.kill(os.getpid(), 40)", -40, "was terminated by signal 40"),
    ],
)
def test_a_failure_is_described_in_a_phrase(script, status, why):
    result = run(python(script), timeout=LONG)
    assert (result.succeeded, result.status, result.failure) == (False, status, why)


def test_a_program_that_ignores_signals_is_killed_at_its_timeout_with_its_session(held, tmp_path):
    _, until_released = held
    script = f"exec 3>'{tmp_path}/held'; trap '' TERM; (echo up; exec sleep 60) & echo up; wait"
    result = run(("sh", "-c", script), timeout=1.0)  # A shell starts much faster than Python.
    assert (result.succeeded, result.status, result.failure) == (False, None, "was killed after 1 s")
    assert result.lines == ("up", "up")
    until_released()


def test_a_program_that_closes_its_output_is_still_awaited(tmp_path):
    os.mkfifo(tmp_path / "gate")
    opener = threading.Thread(target=(tmp_path / "gate").write_text, args=("opened",))
    opener.start()
    result = run(python(f"os.close(1); os.close(2); open({str(tmp_path / 'gate')!r}).read(); exit(4)"), timeout=LONG)
    opener.join()
    assert result.failure == "exited with status 4"


def test_ten_megabytes_of_output_delay_nothing_and_the_first_and_last_lines_are_reported():
    result = run(python("print('\\n'.join(map(str, range(1_500_000))))"), timeout=LONG)
    assert result.succeeded
    assert result.lines == tuple(str(number) for number in range(20))
    assert result.last_line == "1499999"


def test_an_incomplete_line_is_dropped():
    result = run(python("print('whole'); print('x' * 100_000)"), timeout=LONG)
    assert (result.lines, result.last_line) == (("whole",), "")


def test_an_incomplete_line_of_a_killed_program_is_dropped():
    result = run(("sh", "-c", "echo whole; printf hal; exec sleep 60"), timeout=1.0)
    assert (result.lines, result.last_line) == (("whole",), "whole")


def test_a_last_line_without_an_end_is_reported_if_the_program_exited():
    assert run(python("print('whole', end='')"), timeout=LONG).lines == ("whole",)


def test_the_last_output_is_never_lost():
    ends = [run(("/bin/sh", "-c", "echo first; exec echo last"), timeout=LONG) for _ in range(200)]
    assert {result.lines for result in ends} == {("first", "last")}


def test_output_that_is_not_text_is_reported_with_replacement_characters():
    result = run(python(r"sys.stdout.buffer.write(b'\xff\x00\x80 there\n\xc3')"), timeout=LONG)
    assert result.succeeded
    assert result.lines == ("\N{REPLACEMENT CHARACTER}\0\N{REPLACEMENT CHARACTER} there", "\N{REPLACEMENT CHARACTER}")


def test_a_daemon_that_holds_the_output_open_delays_nothing_and_lives_on(tmp_path):
    os.mkfifo(tmp_path / "gate")
    script = f"""
if os.fork():
    print("started", flush=True)
    os._exit(0)
with open({str(tmp_path / "gate")!r}, "w") as gate:  # Waits for a reader.
    gate.write("still there")
"""
    result = run(python(script), timeout=LONG)  # Without a reader, the daemon cannot end.
    assert (result.succeeded, result.lines) == (True, ("started",))
    assert (tmp_path / "gate").read_text() == "still there"


def test_a_daemon_that_writes_forever_delays_nothing(held):
    hold, until_released = held
    script = f"""
{hold}
if os.fork():
    os._exit(0)
while True:
    os.write(1, b"x" * 4096)
"""
    assert run(python(script), timeout=LONG).succeeded
    until_released()  # Its output has no reader any more.


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (("/nonexistent/program",), "No such file or directory"),
        (("/dev",), "Permission denied"),
        (("true", "\0"), "an argument holds a NUL"),
    ],
)
def test_a_program_that_cannot_be_started_is_reported_with_the_reason(command, reason):
    result = run(command, timeout=LONG)
    assert (result.succeeded, result.status, result.lines) == (False, None, ())
    assert (result.failure, result.start_error) == (f"was not started: {reason}", reason)


def test_its_environment_is_the_agents_without_own_variables_and_with_the_extra_ones(monkeypatch):
    for name in ("VAULT_TOKEN", "BAO_TOKEN", "LESSEE_CONFIG", "UNNAMED_PASSWORD"):
        monkeypatch.setenv(name, "canary")
    monkeypatch.setenv("OTHER", "visible")
    monkeypatch.setattr(spawn, "_named", frozenset({"OTHER", "VAULT_TOKEN"}))
    script = "for item in sorted(os.environ.items()):\n    if item[1] in ('canary', 'visible', 'web'): print(*item)"
    result = run(python(script), timeout=LONG, extra={"LESSEE_APP": "web"})
    assert result.lines == ("LESSEE_APP web", "OTHER visible")


def test_it_has_no_input_no_shell_and_a_session_of_its_own():
    script = "print(repr(sys.stdin.read()), sys.argv[1:], os.getsid(0) == os.getpid())"
    assert run((*python(script), "$HOME; echo x"), timeout=LONG).lines == ("'' ['$HOME; echo x'] True",)


def test_it_may_be_given_a_year():
    assert run(("true",), timeout=366 * 86400.0).succeeded
