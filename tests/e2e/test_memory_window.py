"""Attacks on the moment between the start of lessee and prctl(2), in which its uid may still open its memory."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from lessee.host.openbao import free_port
from support.needs import need
from support.programs.attackers import STOP_AT_START, UNPRIVILEGED, MemoryReader
from support.programs.sidecar import PATIENCE, eventually, fork_of

CANARY = "canary-7f3a91c4"


@pytest.fixture
def stopped(sidecar, tmp_path):
    """Starts a command that stops before lessee's first line."""
    need(os.geteuid() == 0 and shutil.which("setpriv"), "needs root, and util-linux's setpriv")
    (tmp_path / "early").mkdir()
    (tmp_path / "early/sitecustomize.py").write_text(STOP_AT_START)
    started = []

    def start(*arguments, env=None):
        sidecar.write_config()
        with sidecar.log.open("ab") as log:
            process = subprocess.Popen(
                [*UNPRIVILEGED, sys.executable, "-m", "lessee", *arguments],
                cwd=sidecar.disk,
                env=sidecar.environ | {"PYTHONPATH": str(tmp_path / "early")} | (env or {}),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        started.append(process)
        eventually(lambda: status_of(process.pid)["State"].startswith("T"), "its stop")
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def reads():
    """An attacker that opens the memory of a process."""
    with ExitStack() as stack:
        yield lambda pid: stack.enter_context(closing(MemoryReader(pid, CANARY)))


def status_of(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def test_descriptors_opened_before_the_agent_hides_itself_lead_to_no_secret(stopped, reads, bao, sidecar, folder):
    bao.put(f"testing/{folder}", value=CANARY)
    sidecar.template("a.txt.j2", f'{{{{ secret("{folder}").value }}}}')
    sidecar.process = stopped("run")
    reader = reads(sidecar.process.pid)
    assert reader.opened == ["environ", "maps", "mem"]
    sidecar.process.send_signal(signal.SIGCONT)
    sidecar.until_file("a.txt", CANARY)
    assert reader.read() == []
    assert reads(sidecar.pid).opened == []


@pytest.mark.parametrize("command", ["run", "exec"])
def test_the_environment_that_the_agent_was_started_with_is_gone_from_its_first_process(
    stopped, reads, bao, sidecar, folder, command
):
    # What an attacker reads before it is hidden is lost; what it reads later is not there.
    bao.put(f"testing/{folder}", value="other")
    sidecar.template("a.txt.j2", f'{{{{ secret("{folder}").value }}}}')
    program = ("--app", "web", "--", "sleep", "1000") if command == "exec" else ()
    sidecar.process = stopped(command, *program, env={"SOME_PASSWORD": CANARY})
    reader = reads(sidecar.process.pid)
    sidecar.process.send_signal(signal.SIGCONT)
    sidecar.until_file("a.txt", "other")
    assert reader.read() == []
    if command == "exec":
        # A pipe of the child's ends with the child.
        assert list(Path(f"/proc/{sidecar.process.pid}/fd").iterdir()) == []


# Each holds values, and waits for a Vault or a file that is not there.
COMMANDS = [
    ("render", "--output", "out", "--timeout", "100s"),
    ("exec", "--app", "web", "--timeout", "100s", "--", "true"),
    ("exec", "--once", "--app", "web", "--timeout", "100s", "--", "true"),
    ("read", "web", "a.txt", "--timeout", "100s"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: " ".join(words[:2]))
def test_no_command_reads_values_in_the_memory_that_was_open_at_its_start(stopped, reads, sidecar, command):
    sidecar.config["vault"]["address"] = f"http://127.0.0.1:{free_port()}"
    sidecar.template("a.txt.j2", '{{ secret("any").value }}')
    process = stopped(*command, env={"SOME_PASSWORD": CANARY})
    reader = reads(process.pid)
    assert reader.opened == ["environ", "maps", "mem"]
    process.send_signal(signal.SIGCONT)
    assert reads(fork_of(process)).opened == []
    assert reader.read() == []


TRACER = """
import ctypes, os, signal, sys
SEIZE, TRACEFORK = 0x4206, 2
libc = ctypes.CDLL(None, use_errno=True)
pid = int(sys.argv[1])
assert libc.ptrace(SEIZE, pid, None, ctypes.c_void_p(TRACEFORK)) == 0, os.strerror(ctypes.get_errno())
os.kill(pid, signal.SIGCONT)
while True:
    try:
        found, status = os.waitpid(-1, 0x40000000)  # __WALL
    except ChildProcessError:
        break
    if os.WIFSTOPPED(status):
        number = 0 if status >> 16 else os.WSTOPSIG(status)
        libc.ptrace(7, found, None, ctypes.c_void_p(number))  # PTRACE_CONT
"""


def test_a_tracer_of_the_first_process_gets_no_fork_that_reads_secrets(stopped, bao, sidecar, folder):
    need(not Path("/proc/sys/kernel/yama").exists(), "needs a kernel that lets a process trace others of its uid")
    bao.put(f"testing/{folder}", value=CANARY)
    sidecar.template("a.txt.j2", f'{{{{ secret("{folder}").value }}}}')
    process = stopped("run")
    tracer = subprocess.Popen([*UNPRIVILEGED, sys.executable, "-c", TRACER, str(process.pid)])
    try:
        assert process.wait(PATIENCE) == 71, sidecar.log.read_text()
    finally:
        tracer.kill()
        tracer.wait()
    assert "traces this one" in sidecar.log.read_text()
    assert not (sidecar.directory / "a.txt").exists()
