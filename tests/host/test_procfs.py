"""What /proc shows of a process, read by one parser."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lessee.host import procfs
from lessee.host.clock import boot_time
from support.needs import need
from support.programs.sidecar import eventually

RENAMED = (
    "import ctypes, sys; ctypes.CDLL(None).prctl(15, sys.argv[1].encode(), 0, 0, 0); print('up', flush=True); input()"
)


@pytest.fixture
def run():
    started = []

    def start(*command):
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("name", ["plain", "two words", "a) R 1 (b", "(((", ")"])
def test_a_name_with_blanks_and_brackets_does_not_shift_the_fields(run, name):
    before = boot_time()
    process = run(sys.executable, "-c", RENAMED, name)
    assert process.stdout.readline() == "up\n"
    stat = procfs.stat(process.pid)
    assert (stat.comm, stat.parent, stat.session) == (name.encode(), os.getpid(), os.getsid(0))
    assert before - procfs.TICK <= stat.started <= boot_time()
    assert not stat.has_exited


def running(process, argument):
    """What /proc shows of the process, once it has become `sleep` with this argument."""
    return eventually(
        lambda: (info := procfs.read_process(process.pid)) and info.argv == ("sleep", argument) and info, "the program"
    )


def test_a_process_is_identified_by_its_pid_and_start(run):
    process = run("sleep", "60")
    info = running(process, "60")
    assert info.identity == procfs.ProcessIdentity(process.pid, procfs.stat(process.pid).started)
    assert info.identity in [stat.identity for stat in procfs.running()]


def test_a_repr_omits_the_command_line(run):
    process = run("sleep", "60.0")
    assert "60.0" not in repr(running(process, "60.0"))


def test_of_a_command_line_only_the_start_is_read_and_its_last_word_cut(run):
    process = run("sh", "-c", "echo up; read x", *["é" * 1000] * 100)
    assert process.stdout.readline() == "up\n"
    info = procfs.read_process(process.pid)
    assert len(info.command) == procfs.COMMAND_BYTES
    assert info.argv[:5] == ("sh", "-c", "echo up; read x", "é" * 1000, "é" * 1000)
    assert "é" * 1000 not in repr(info)
    assert procfs.read_process(process.pid, at_most=4).argv == ("sh", "-")


def test_of_very_many_groups_the_first_are_known_and_none_is_cut_short(run):
    need(os.geteuid() == 0, "needs root, to join groups")
    groups = range(1_000_000, 1_060_000)
    code = f"import os; os.setgroups(range({groups.start}, {groups.stop})); print('up', flush=True); input()"
    process = run(sys.executable, "-c", code)
    assert process.stdout.readline() == "up\n"
    known = procfs.credentials(process.pid).groups - {os.getgid()}
    assert 1000 < len(known) < 3000
    assert known < set(groups)
    assert procfs.status(process.pid)["Threads"] == "1"


def test_a_zombie_is_a_child_to_reap_and_not_a_running_process(run):
    process = run("true")
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert procfs.stat(process.pid).has_exited
    assert procfs.read_process(process.pid) is None
    assert process.pid in list(procfs.zombie_children())
    assert process.pid not in [info.pid for info in procfs.running()]


def test_a_process_that_has_ended_is_not_read(run):
    process = run("true")
    process.wait()
    assert procfs.read_process(process.pid) is None
    assert procfs.container_id(process.pid) is None
    with pytest.raises(OSError, match="No such"):
        procfs.stat(process.pid)


def test_a_kernel_thread_is_not_a_running_process():
    threads = [
        pid
        for pid in map(int, (entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit()))
        if _is_kernel_thread(pid)
    ]
    need(threads, "needs the host's PID namespace, whose kernel threads are visible")
    assert not set(threads) & {info.pid for info in procfs.running()}


def _is_kernel_thread(pid):
    try:
        return procfs.stat(pid).parent == 2
    except OSError:
        return False


@pytest.mark.parametrize("hidepid", ["noaccess", "invisible"])
def test_a_process_hidden_by_hidepid_is_not_a_running_process(hidepid):
    need(os.geteuid() == 0, "needs root, to mount /proc")
    code = """
import os, psutil, sys
from lessee.host import procfs
os.setgroups([]); os.setgid(65534); os.setuid(65534)
print(procfs.read_process(int(sys.argv[1])), [info.pid for info in procfs.running()] == [os.getpid()])
"""
    script = f'mount -t proc -o hidepid={hidepid} proc /proc && exec "$@"'
    command = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", script, "sh", sys.executable, "-c", code, "1"]
    # PID 1 of the namespace is the shell, which becomes this program: a sibling of root's is to be hidden.
    command[6] = f'mount -t proc -o hidepid={hidepid} proc /proc || exit 77; sleep 60 & "$@"'
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    need(done.returncode != 77, "needs the right to mount /proc")
    assert done.stdout == "None True\n", done.stderr


def test_the_status_of_a_process_has_its_signal_masks(run):
    code = "import signal; signal.signal(signal.SIGHUP, lambda *_: None); print('up', flush=True); input()"
    process = run(sys.executable, "-c", code)
    process.stdout.readline()
    assert int(procfs.status(process.pid)["SigCgt"], 16) >> (signal.SIGHUP - 1) & 1


def test_a_name_with_a_line_break_adds_no_field_to_the_status(run):
    process = run(sys.executable, "-c", RENAMED, "a\x0bQ:\t1")
    assert process.stdout.readline() == "up\n"
    assert "Q" not in procfs.status(process.pid)
    assert procfs.credentials(process.pid).uid == os.getuid()


def test_psutil_is_imported_only_to_find_a_process():
    code = """
import os, sys
import lessee.cli.commands.run
from lessee.host import procfs
from lessee.notification import notifier, signals
procfs.read_process(os.getpid()), list(procfs.zombie_children())
before = "psutil" in sys.modules
list(procfs.running())
print(before, "psutil" in sys.modules)
"""
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False True\n"
