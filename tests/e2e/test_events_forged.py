"""Another user's heartbeats at the events socket do not keep the agent from polling."""

import os
import subprocess
import sys

import pytest

from support.needs import need

FORKED_AGENTS = True
FORGER, MONITOR = 64102, 64103
LISTENS = """
import os, socket, sys, time
path, uid = sys.argv[1], int(sys.argv[2])
os.setgroups([]), os.setresgid(uid, uid, uid), os.setresuid(uid, uid, uid)
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
os.chmod(path, 0o666)
listener.listen()
print("up", flush=True)
while True:
    client, _ = listener.accept()
    try:
        while True:
            client.sendall(b'{"heartbeat": "alive", "interval": 1}\\n')
            time.sleep(0.2)
    except OSError:
        pass
"""


@pytest.fixture
def listen():
    need(os.geteuid() == 0, "needs root, to run the forger with another uid")
    started = []

    def start(path, uid):
        command = [sys.executable, "-c", LISTENS, str(path), str(uid)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout.readline() == "up\n"

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def agent(bao, sidecar, folder, memory):
    memory.chmod(0o755)
    bao.put(f"testing/{folder}/one", value="first")
    sidecar.template("one.env.j2", f'VALUE={{{{ secret("{folder}/one").value }}}}\n')
    sidecar.config["events"] = {"socket": str(memory / "events" / "socket"), "poll_interval": "1h"}
    (memory / "events").mkdir()
    return sidecar


@pytest.mark.parametrize("place", ["open", "sticky", "own folder in a shared one"])
def test_a_forgers_heartbeats_at_the_events_socket_do_not_stop_the_polling(bao, agent, listen, folder, memory, place):
    events = memory / "events"
    events.chmod(0o1777 if place == "sticky" else 0o777)
    if place == "own folder in a shared one":
        events = events / "below"
        events.mkdir()
        os.chown(events, FORGER, FORGER)
        agent.config["events"]["socket"] = str(events / "socket")
    listen(events / "socket", FORGER)
    agent.start()
    agent.until(lambda s: any(f"a process of uid {FORGER} listens there" in line for line in s["problems"]))
    bao.put(f"testing/{folder}/one", value="second")
    agent.until_file("one.env", "VALUE='second'\n")
    assert not agent.status()["events"]["live"]


def test_a_monitor_of_another_user_in_a_directory_of_its_own_is_heard(agent, listen, memory):
    os.chown(memory / "events", MONITOR, MONITOR)
    listen(memory / "events" / "socket", MONITOR)
    agent.start()
    agent.until(lambda s: s["events"]["live"])
