"""What another process of the agent's uid finds out about it: nothing."""

import json
import subprocess
import sys

import pytest

DROP = """
import ctypes, json, os, resource, sys
from lessee.process.hardening import harden
if os.geteuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
"""
# setuid(2) makes a process undumpable; an agent that was started as its user is dumpable at first.
AGENT = f"""{DROP}
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
if sys.argv[1] == "private":
    harden()
print(json.dumps({{"core": resource.getrlimit(resource.RLIMIT_CORE), "umask": os.umask(0)}}), flush=True)
sys.stdin.read()
"""
STRANGER = f"""{DROP}
def opens(name):
    try:
        os.close(os.open(f"/proc/{{sys.argv[1]}}/{{name}}", os.O_RDONLY))
        return True
    except PermissionError:
        return False
print(json.dumps([name for name in ("environ", "maps", "mem", "fd", "stat") if opens(name)]))
"""


@pytest.fixture
def agent():
    started = []

    def start(how):
        process = subprocess.Popen(
            [sys.executable, "-c", AGENT, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process, json.loads(process.stdout.readline())

    yield start
    for process in started:
        process.communicate()


def what_a_stranger_opens(pid):
    command = [sys.executable, "-c", STRANGER, str(pid)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_another_process_of_the_same_uid_cannot_read_a_hardened_process(agent):
    process, _ = agent("private")
    assert what_a_stranger_opens(process.pid) == ["stat"]


def test_another_process_of_the_same_uid_can_read_an_unhardened_process(agent):
    process, _ = agent("open")
    # Yama may forbid mem anyway.
    assert set(what_a_stranger_opens(process.pid)) >= {"environ", "maps", "fd"}


def test_a_hardened_process_writes_no_core_and_private_files(agent):
    _, output = agent("private")
    assert output == {"core": [0, 0], "umask": 0o077}
