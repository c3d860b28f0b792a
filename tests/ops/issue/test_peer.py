"""The service knows which process asks, whatever others do with its pid or its connection."""

import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import closing

import pytest

from lessee.core.issue_messages import Hello, Reply, decode, encode
from lessee.host import procfs
from lessee.ops.issue.peer import UnknownPeerError, asking, runs
from lessee.ops.issue.policy.issued import Holder
from lessee.ops.issue.server import IssueServer
from support.needs import need
from support.programs.sidecar import eventually

# Connects, and does what argv[2] says; prints what it got.
CLIENT = """
import json, os, socket, sys

connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
connection.settimeout(30)
connection.connect(sys.argv[1])

def answer():
    nonce = json.loads(connection.recv(4096))["nonce"]
    connection.send(json.dumps({"nonce": nonce}).encode())

match sys.argv[2]:
    case "itself":
        answer()
    case "child":
        if os.fork() == 0:
            answer()
            os._exit(0)
        os.wait()
    case "heir":  # The process that connected ends, and its child answers when another one has its pid.
        if os.fork() != 0:
            os._exit(0)
        os.setsid()
        answer()
    case "early":
        connection.send(json.dumps({"nonce": ""}).encode())
        connection.recv(4096)
    case "other nonce":
        connection.recv(4096)
        connection.send(json.dumps({"nonce": "0" * 32}).encode())
    case "long":
        connection.recv(4096)
        connection.send(b"x" * 100_000)
    case "leaves":
        sys.exit()
print(connection.recv(4096).decode(), flush=True)
"""


class Recorder:
    """In the place of the issuer: it gives every process that is known a token."""

    def __init__(self):
        self.peers = []

    def is_known(self, uid, cgroup):
        return uid == os.geteuid() and bool(cgroup)

    def issue(self, peer, deliver):
        self.peers.append(peer)
        deliver(Reply("s.token"))

    def report(self, error):
        raise error


@pytest.fixture
def served(tmp_path):
    recorder = Recorder()
    with closing(IssueServer(tmp_path / "made" / "issue.sock", recorder)):
        recorder.path = tmp_path / "made" / "issue.sock"
        yield recorder


def client(served, how):
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, served.path, how], stdout=subprocess.PIPE, text=True, check=False, timeout=60
    )
    return json.loads(done.stdout) if done.stdout else {}


def test_a_process_that_asks_is_named_by_the_kernel(served):
    process = subprocess.Popen([sys.executable, "-c", CLIENT, served.path, "itself"], stdout=subprocess.PIPE, text=True)
    assert json.loads(process.communicate(timeout=60)[0]) == {"wrapping_token": "s.token"}
    [peer] = served.peers
    assert (peer.pid, peer.uid, peer.wanted) == (process.pid, os.geteuid(), "")
    assert peer.cgroup == procfs.cgroup(os.getpid()) != ""
    assert (served.path.stat().st_mode & 0o777, served.path.parent.stat().st_mode & 0o777) == (0o666, 0o755)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("child", "another process than the one that connected has sent the request"),
        ("early", "the request does not repeat the nonce"),
        ("other nonce", "the request does not repeat the nonce"),
        ("long", "the request does not repeat the nonce"),
    ],
)
def test_no_other_process_can_answer_for_it_and_none_before_it_is_held(served, how, reason):
    assert reason in client(served, how)["unavailable"]
    assert served.peers == []


def test_a_process_whose_pid_another_one_may_have_by_now_gets_nothing(served):
    assert "wrapping_token" not in client(served, "heir")
    assert served.peers == []


def test_a_client_that_leaves_ends_nothing(served):
    client(served, "leaves")
    assert client(served, "itself") == {"wrapping_token": "s.token"}


# Opens connections as long as it can, and says how many were not closed.
FLOOD = """
import os, select, socket, sys

os.setuid(65534)
held = []
for _ in range(300):
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(sys.argv[1])
    held.append(connection)
    if len(held) > 200:
        held.pop(0).close()
print("flooded", flush=True)
sys.stdin.read()
"""


def test_silent_connections_of_another_user_keep_no_process_waiting(memory):
    need(os.geteuid() == 0, "needs root: it is another user")
    memory.chmod(0o755)
    recorder = Recorder()
    recorder.path = memory / "s" / "issue.sock"
    with (
        closing(IssueServer(recorder.path, recorder)),
        subprocess.Popen(
            [sys.executable, "-c", FLOOD, recorder.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as flood,
    ):
        assert flood.stdout.readline() == "flooded\n"
        assert client(recorder, "itself") == {"wrapping_token": "s.token"}
        flood.stdin.close()


def test_one_user_of_one_place_has_a_few_connections(served):
    silent = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(8)]
    for one in silent:
        one.connect(str(served.path))
        assert one.recv(4096)
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)) as another:
        another.connect(str(served.path))
        assert another.recv(4096) == b""
    silent.pop().close()
    eventually(lambda: client(served, "itself") == {"wrapping_token": "s.token"}, "a free place")
    for one in silent:
        one.close()


def test_a_process_of_another_pid_namespace_cannot_be_held():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with closing(ours), closing(theirs):
        ended = threading.Event()

        def answer():
            hello = decode(theirs.recv(4096), Hello)
            theirs.sendall(encode(Hello(hello.nonce)))
            ended.set()

        threading.Thread(target=answer).start()
        with asking(ours) as peer:  # A pair has the credentials of the process that made it.
            assert peer.pid == os.getpid()
        assert ended.wait(30)
    # The kernel says pid 0 of a process that it cannot name here.
    alone = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    refused = pytest.raises(UnknownPeerError, match="it must run in the PID namespace of the host")
    with closing(alone), refused, asking(alone):
        pass


def test_a_holder_is_a_process_with_its_start():
    own = procfs.stat(os.getpid())
    assert runs(Holder(own.pid, own.started, 0.0))
    assert not runs(Holder(own.pid, own.started - 1, 0.0))
    child = subprocess.Popen([sys.executable, "-c", ""])
    started = procfs.stat(child.pid).started
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not runs(Holder(child.pid, started, 0.0))  # A zombie.
    child.wait()
    assert not runs(Holder(child.pid, started, 0.0))
    assert procfs.cgroup(child.pid) == ""
