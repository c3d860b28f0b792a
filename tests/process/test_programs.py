"""A program that an operator named: it runs on its own, for its time, and what it said is known."""

import os
import signal
import sys
import threading

import pytest

from lessee.host import procfs
from lessee.process import spawn
from lessee.process.programs import run

LONG = 60.0
"""Seconds that a test never waits for."""


@pytest.fixture(autouse=True)
def nothing_is_left_to_be_waited_for():
    before = set(procfs.zombie_children())
    yield
    assert spawn._registered == {}
    assert set(procfs.zombie_children()) <= before


@pytest.fixture
def held(tmp_path):
    """A pipe for programs to hold, and a wait until none does any more."""
    os.mkfifo(tmp_path / "held")
    descriptor = os.open(tmp_path / "held", os.O_RDONLY | os.O_NONBLOCK)  # With a reader, no program waits at it.

    def until_nobody_does():
        os.set_blocking(descriptor, True)
        assert os.read(descriptor, 1) == b""

    yield f"os.open({str(tmp_path / 'held')!r}, os.O_WRONLY)", until_nobody_does
    os.close(descriptor)


def python(script):
    return sys.executable, "-c", f"import os, signal, sys\n{script}"


def test_what_ends_with_0_is_fine_and_its_output_and_errors_are_known():
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
def test_a_bad_end_is_told_in_a_phrase(script, status, why):
    result = run(python(script), timeout=LONG)
    assert (result.succeeded, result.status, result.failure) == (False, status, why)


def test_one_that_minds_no_signal_is_killed_at_its_time_with_what_it_started(held, tmp_path):
    _, until_nobody_does = held
    script = f"exec 3>'{tmp_path}/held'; trap '' TERM; (echo up; exec sleep 60) & echo up; wait"
    result = run(("sh", "-c", script), timeout=1.0)  # A shell is there much sooner than Python.
    assert (result.succeeded, result.status, result.failure) == (False, None, "was killed after 1 s")
    assert result.lines == ("up", "up")
    until_nobody_does()


def test_one_that_closes_its_output_is_still_waited_for(tmp_path):
    os.mkfifo(tmp_path / "gate")
    opener = threading.Thread(target=(tmp_path / "gate").write_text, args=("opened",))
    opener.start()
    result = run(python(f"os.close(1); os.close(2); open({str(tmp_path / 'gate')!r}).read(); exit(4)"), timeout=LONG)
    opener.join()
    assert result.failure == "exited with status 4"


def test_ten_megabytes_hold_nothing_up_and_are_told_in_the_first_lines_and_the_last():
    result = run(python("print('\\n'.join(map(str, range(1_500_000))))"), timeout=LONG)
    assert result.succeeded
    assert result.lines == tuple(str(number) for number in range(20))
    assert result.last_line == "1499999"


def test_no_half_of_a_line_is_told():
    result = run(python("print('whole'); print('x' * 100_000)"), timeout=LONG)
    assert (result.lines, result.last_line) == (("whole",), "")


def test_what_was_half_said_when_it_was_killed_is_not_told():
    result = run(("sh", "-c", "echo whole; printf hal; exec sleep 60"), timeout=1.0)
    assert (result.lines, result.last_line) == (("whole",), "whole")


def test_a_last_line_without_an_end_is_told_where_the_program_came_to_its_own():
    assert run(python("print('whole', end='')"), timeout=LONG).lines == ("whole",)


def test_what_it_said_last_is_never_lost():
    ends = [run(("/bin/sh", "-c", "echo first; exec echo last"), timeout=LONG) for _ in range(200)]
    assert {result.lines for result in ends} == {("first", "last")}


def test_output_that_is_no_text_is_told_as_far_as_it_goes():
    result = run(python(r"sys.stdout.buffer.write(b'\xff\x00\x80 there\n\xc3')"), timeout=LONG)
    assert result.succeeded
    assert result.lines == ("\N{REPLACEMENT CHARACTER}\0\N{REPLACEMENT CHARACTER} there", "\N{REPLACEMENT CHARACTER}")


def test_a_daemon_that_holds_the_output_holds_nothing_up_and_lives_on(tmp_path):
    os.mkfifo(tmp_path / "gate")
    script = f"""
if os.fork():
    print("started", flush=True)
    os._exit(0)
with open({str(tmp_path / "gate")!r}, "w") as gate:  # Waits for a reader.
    gate.write("still there")
"""
    result = run(python(script), timeout=LONG)  # While nobody reads, the daemon cannot end.
    assert (result.succeeded, result.lines) == (True, ("started",))
    assert (tmp_path / "gate").read_text() == "still there"


def test_a_daemon_that_never_stops_talking_holds_nothing_up(held):
    hold, until_nobody_does = held
    script = f"""
{hold}
if os.fork():
    os._exit(0)
while True:
    os.write(1, b"x" * 4096)
"""
    assert run(python(script), timeout=LONG).succeeded
    until_nobody_does()  # Nobody reads what it says any more.


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (("/nonexistent/program",), "No such file or directory"),
        (("/dev",), "Permission denied"),
        (("true", "\0"), "an argument holds a NUL"),
    ],
)
def test_what_cannot_be_started_is_told_and_why(command, reason):
    result = run(command, timeout=LONG)
    assert (result.succeeded, result.status, result.lines) == (False, None, ())
    assert (result.failure, result.start_error) == (f"was not started: {reason}", reason)


def test_its_environment_is_the_agents_without_what_is_the_agents_own_and_with_what_is_given(monkeypatch):
    for name in ("VAULT_TOKEN", "BAO_TOKEN", "LESSEE_CONFIG"):
        monkeypatch.setenv(name, "canary")
    monkeypatch.setenv("OTHER", "kept")
    script = "for item in sorted(os.environ.items()):\n    if item[1] in ('canary', 'kept', 'web'): print(*item)"
    result = run(python(script), timeout=LONG, extra={"LESSEE_APP": "web"})
    assert result.lines == ("LESSEE_APP web", "OTHER kept")


def test_it_has_no_input_no_shell_and_a_session_of_its_own():
    script = "print(repr(sys.stdin.read()), sys.argv[1:], os.getsid(0) == os.getpid())"
    assert run((*python(script), "$HOME; echo x"), timeout=LONG).lines == ("'' ['$HOME; echo x'] True",)


def test_it_may_be_given_a_year():
    assert run(("true",), timeout=366 * 86400.0).succeeded
