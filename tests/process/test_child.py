"""A program as a child: what it inherits, what it leaves behind, and who has the terminal."""

import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from lessee.host.clock import boot_time
from lessee.process.child import Child, StartError
from lessee.process.hardening import InheritedLimits
from support.needs import need
from support.programs.sidecar import eventually
from support.programs.terminal import Terminal

BEFORE = InheritedLimits(core=resource.getrlimit(resource.RLIMIT_CORE), umask=0o027)
ENVIRON = {"PATH": os.environ["PATH"]}

# A program of ours with a child, as `lessee exec` is one, that knows no Vault: with its child's code it ends.
PARENT = """
import os, signal, sys
from lessee.agent.child_supervisor import ChildSupervisor
from lessee.config import Restart
from lessee.process.child import adopt_orphans
from lessee.host.clock import boot_time
from lessee.process.hardening import harden
before = harden(permanent=False)
adopt_orphans()
reader, writer = os.pipe()
os.set_blocking(writer, False)
supervisor = ChildSupervisor(sys.argv[1:], lambda: dict(os.environ), inherited=before, restart=None)
class Owner:
    def wake(self):
        os.write(writer, b".")

    def start_rollback(self):
        return False


supervisor.owner = Owner()
signal.signal(signal.SIGCHLD, lambda *_: supervisor.on_sigchld())
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(number, lambda number, _: supervisor.forward(number))
supervisor.start()
while not isinstance(code := supervisor.update(boot_time()), int):
    os.read(reader, 100)
sys.exit(code)
"""
# Says what it inherited, on stdout.
TELLS = """
import json, os, resource, sys
fields = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
print(json.dumps({
    "core": resource.getrlimit(resource.RLIMIT_CORE), "umask": os.umask(0), "environ": dict(os.environ),
    "blocked": int(fields["SigBlk"], 16), "group": os.getpgid(0) == os.getpid(),
    "descriptors": sorted(map(int, os.listdir("/proc/self/fd")))[:-1],
}), flush=True)
"""


def python(script, *words):
    return sys.executable, "-c", script, *words


def ended(child):
    code = eventually(lambda: (answer := child.poll()) is not None and [answer], "its end")[0]
    child.reap()
    return code


@pytest.fixture
def start():
    children = []

    def start(command, environ=ENVIRON):
        children.append(Child(command, environ, BEFORE))
        return children[-1]

    yield start
    for child in children:
        with suppress(ChildProcessError):
            child.kill()
            ended(child)


def stat(pid):
    """State, parent and so on, by proc_pid_stat(5); None where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return None


def descendants(pid):
    """All below a process, alive or dead, with their states."""
    seen = {int(entry.name): stat(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    found, size = {pid}, 0
    while size < len(found):
        size = len(found)
        found |= {child for child, fields in seen.items() if fields is not None and int(fields[1]) in found}
    return {child: seen[child][0] for child in found - {pid}}


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -15 $$", 143)])
def test_its_exit_code_is_reported_or_128_plus_the_signal(start, script, code):
    assert ended(start(("sh", "-c", script))) == code


@pytest.mark.parametrize(
    ("make", "code", "says"),
    [
        (lambda _: ("lessee-no-such-program",), 127, "No such file"),
        (lambda folder: (str(folder / "plain"),), 126, "Permission denied"),
        (lambda folder: (str(folder),), 126, "Permission denied"),
        (lambda _: ("true", "x" * 10_000_000), 126, "too long"),
    ],
)
def test_a_child_that_cannot_be_started_has_the_shells_exit_code(start, tmp_path, make, code, says):
    (tmp_path / "plain").write_text("true")
    with pytest.raises(StartError, match=says) as caught:
        start(make(tmp_path))
    assert caught.value.exit_code == code


def test_a_value_that_no_environment_can_hold_is_not_quoted(start):
    with pytest.raises(StartError) as caught:
        start(("true",), {**ENVIRON, "KEY": "canary\0"})
    assert caught.value.exit_code == 126
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_it_is_found_on_its_own_path(start, tmp_path):
    program = tmp_path / "only-here"
    program.write_text("#!/bin/sh\nexit 5\n")
    program.chmod(0o700)
    assert ended(start(("only-here",), {"PATH": f"{tmp_path}:{ENVIRON['PATH']}"})) == 5


def test_it_inherits_the_original_limits_and_no_descriptor():
    # Core files are allowed as far as they can be, and a pipe's end is open.
    script = f"""
import os, resource
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
os.umask(0o022)
{PARENT}"""
    run = subprocess.run(python(script, *python(TELLS)), env=ENVIRON, check=True, capture_output=True, text=True)
    messages = json.loads(run.stdout)
    messages["environ"].pop("LC_CTYPE", None)  # which Python sets itself
    assert messages == {
        "core": [BEFORE.core[1]] * 2, "umask": 0o022, "environ": ENVIRON, "blocked": 0, "group": True,
        "descriptors": [0, 1, 2],
    }  # fmt: skip


def test_a_stop_is_reported_once_and_an_exit_until_it_is_reaped(start):
    child = start(("sh", "-c", "kill -STOP $$; exit 3"))
    eventually(lambda: stat(child.pid)[0] == "T", "its stop")
    assert child.poll() is None  # without a terminal, no process stops with it
    child.signal(signal.SIGCONT)
    eventually(lambda: child.poll() == 3, "its end")
    assert child.poll() == 3
    assert stat(child.pid)[0] == "Z"
    child.reap()
    assert stat(child.pid) is None


def test_a_signal_reaches_the_child_alone_and_a_kill_its_whole_group_even_after_its_end(start, tmp_path):
    os.mkfifo(tmp_path / "life")
    rest = "trap : TERM; while :; do sleep 60; done"
    holder = f"exec 3>{tmp_path}/life; sh -c '{rest}' & trap 'exit 9' TERM; echo up >&3; wait"
    child = start(("sh", "-c", holder))
    with (tmp_path / "life").open() as life:
        assert life.readline() == "up\n"
        child.signal(signal.SIGTERM)
        eventually(lambda: child.poll() == 9, "its end")
        assert select.select([life], [], [], 0)[0] == [], "what it started should live on, and hold the pipe"
        child.kill()
        assert life.read() == "", "all that held the pipe is dead"
    child.reap()


def test_its_start_is_on_the_boot_clock(start):
    before = boot_time()
    child = start(("sleep", "60"))
    assert before - 0.02 <= child.started <= boot_time()


ORPHANS = """
import os, sys, time
for _ in range(40):
    if os.fork() == 0:
        if os.fork() == 0:
            os.close(0), os.close(1)
            os._exit(0)  # its parent is gone, or will be
        os._exit(0)
    os.wait()
print("made", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("first", [False, True], ids=["with a reaper above", "as PID 1"])
def test_orphans_of_the_child_leave_no_zombies(first):
    prefix = ()
    if first:
        prefix = ("unshare", "--pid", "--fork", "--mount-proc", *(() if os.geteuid() == 0 else ("--map-root-user",)))
        able = subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode == 0
        need(able, "needs unshare(1), and to be allowed a PID namespace: run as root")
    with subprocess.Popen([*prefix, *python(PARENT, *python(ORPHANS))], stdin=-1, stdout=-1, text=True) as parent:
        assert parent.stdout.readline() == "made\n"
        alive = 2 if first else 1
        eventually(
            lambda: len(descendants(parent.pid)) == alive, "the end of all but the child, and ours below unshare"
        )
        parent.stdin.close()
        assert parent.wait(10) == 0


@pytest.fixture
def terminal(tmp_path):
    """With a command `parent` that runs its words as a child."""
    (tmp_path / "parent.py").write_text(PARENT)
    need(shutil.which("bash"), "needs bash: apt install bash")
    settings = ENVIRON | {"PS1": "READY> ", "TERM": "dumb"}
    screen = Terminal("bash", "--norc", "--noediting", "-i", env=settings)
    screen.until("READY> ")
    screen.type(f'parent() {{ {sys.executable} {tmp_path}/parent.py "$@"; }}; set -b\n')  # report jobs immediately
    screen.until("READY> ")
    yield screen
    screen.close()


def test_the_child_reads_the_terminal_and_ctrl_d_ends_it(terminal):
    terminal.type("parent cat; echo code=$?.\n")
    terminal.type("hello\n")
    terminal.until("hello\r\nhello\r\n")
    terminal.type("\x04")
    terminal.until("code=0.")


def test_ctrl_c_reaches_the_child_and_the_shell_has_its_terminal_back(terminal):
    terminal.type(
        "parent sh -c 'trap \"echo got-it; exit 4\" INT; echo go; while :; do sleep 0.01; done'; echo code=$?.\n"
    )
    terminal.until("\r\ngo\r\n")
    terminal.type("\x03")
    terminal.until("^Cgot-it\r\n")
    terminal.until("code=4.")
    terminal.type("echo still-$((40+2))\n")
    terminal.until("still-42")


def test_ctrl_z_stops_both_and_fg_has_both_go_on(terminal):
    terminal.type(
        f'parent {sys.executable} -c \'print("go"); print("read", input()); print("again", input())\'; echo code=$?.\n'
    )
    terminal.until("go\r\n")
    terminal.type("one\n")
    terminal.until("read one")
    terminal.type("\x1a")
    terminal.until("READY> ")
    terminal.type("jobs; echo at-the-shell\n")
    assert "Stopped" in terminal.until("\r\nat-the-shell")
    terminal.type("fg\n")
    terminal.type("two\n")
    terminal.until("again two")


def test_a_child_started_in_the_background_runs_there_until_it_reads(terminal):
    terminal.type("parent sh -c 'echo go; read word; echo word=$word.' &\n")
    terminal.until("go\r\n")
    terminal.until("Stopped")
    terminal.type("fg\n")
    terminal.type("hello\n")
    terminal.until("word=hello.")


def test_a_child_put_in_the_foreground_while_it_runs_gets_the_terminal_when_it_reads(terminal):
    terminal.type("parent sh -c 'echo go; sleep 0.5; read word; echo word=$word.' &\n")
    terminal.until("go\r\n")
    terminal.type("fg\n")
    terminal.type("hello\n")
    terminal.until("word=hello.")
