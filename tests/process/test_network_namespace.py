"""A program that is isolated reaches no network and no file, and ends with who started it."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from lessee.process import network_namespace
from lessee.process.network_namespace import ANY, REFUSED
from support.needs import need
from support.programs.sidecar import eventually

RUN = (sys.executable, "-I", network_namespace.__file__)


def run(root, *program):
    return subprocess.run([*RUN, str(root), *program], capture_output=True, text=True, check=False)


def test_it_has_a_loopback_of_its_own_and_nothing_else():
    need(run("/", "/bin/true").returncode != REFUSED, "needs a kernel that lets us make a network namespace")
    for root in ("/", ANY):
        said = run(root, "/bin/cat", "/proc/self/net/dev")
        assert [line.split(":")[0].strip() for line in said.stdout.splitlines()[2:]] == ["lo"]
        own = run(root, "/bin/readlink", "/proc/self/ns/net").stdout.strip()
        assert own != str(Path("/proc/self/ns/net").readlink())


def test_it_sees_only_its_root_directory(tmp_path):
    busybox = shutil.which("busybox")
    need(busybox, "needs a program without libraries: apt install busybox-static")
    (tmp_path / "here").touch()
    said = run(tmp_path, busybox, "ls", "-a", "/")
    need(said.returncode != REFUSED, "needs a kernel that lets us make a network namespace")
    assert said.stdout.split() == [".", "..", "here"], said.stderr
    assert run(tmp_path, busybox, "ls", "/..").stdout == "here\n"


def test_without_its_root_directory_it_does_not_start(tmp_path):
    assert run(tmp_path / "none", "/bin/true").returncode == REFUSED


def test_its_loopback_can_be_used():
    code = "import socket; s = socket.create_server(('127.0.0.1', 8200)); print(s.getsockname()[1])"
    said = run(ANY, sys.executable, "-c", code)
    assert said.stdout.strip() == "8200", said.stderr


def test_it_exits_with_the_programs_status():
    assert run(ANY, "/bin/sh", "-c", "exit 5").returncode == 5


def test_it_does_not_outlive_its_parent():
    code = (
        "import subprocess, sys, time\n"
        f"p = subprocess.Popen({[*RUN, ANY, '/bin/sleep', '60']!r})\n"
        "print(p.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        eventually(lambda: _name(pid) == "sleep", "the program")
        os.kill(parent.pid, signal.SIGKILL)
    eventually(lambda: _name(pid) != "sleep", "its end")


def _name(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    name, _, rest = state.partition("(")[2].partition(")")
    return None if rest.split()[0] == "Z" else name
