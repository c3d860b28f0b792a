"""An app that names another user's process, in its pid file or by its name, does not make the agent signal it."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.needs import need
from support.programs.sidecar import eventually

FORKED_AGENTS = True
APP_UID, OTHER_UID = 64101, 64102
HEARS = """
import ctypes, os, signal, sys, time
uid = int(sys.argv[2])
os.setgroups([]), os.setresgid(uid, uid, uid), os.setresuid(uid, uid, uid)
ctypes.CDLL(None).prctl(15, sys.argv[1].encode(), 0, 0, 0)  # PR_SET_NAME
signal.signal(signal.SIGHUP, lambda *_: os.write(1, b"hangup\\n"))
signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b"here\\n"))
os.write(1, b"up\\n")
while True:
    time.sleep(0.05)  # Python would notice a signal just before pause(2) only with the next one.
"""


class Process:
    """A process of a user with this name that says which signals it gets."""

    def __init__(self, name, uid):
        # It is this test's Python, which another user may not start.
        command = [sys.executable, "-c", HEARS, name, str(uid)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.pid = self._process.pid
        assert self.hears() == "up"

    def hears(self):
        return self._process.stdout.readline().strip()

    def asked(self):
        """The next line after USR1, which shows an earlier signal too; "" if it has ended."""
        if self._process.poll() is None:
            os.kill(self.pid, signal.SIGUSR1)
        return self.hears()

    def close(self):
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture
def process():
    need(os.geteuid() == 0, "needs root, to run apps with other uids")
    started = []

    def start(name, uid=0):
        started.append(Process(name, uid))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def running(bao, sidecar, folder, memory):
    bao.put(f"testing/{folder}/db", password="first")
    sidecar.template("app.env.j2", f'PASSWORD={{{{ secret("{folder}/db").password }}}}\n')
    sidecar.web["owner"] = f"{APP_UID}:{APP_UID}"
    memory.chmod(0o755)
    own = memory / "run"
    own.mkdir()
    os.chown(own, APP_UID, APP_UID)
    sidecar.pid_file = own / "app.pid"
    return sidecar


def as_app(*command):
    """Run a command as the app's user."""
    subprocess.run(command, check=True, user=APP_UID, group=APP_UID, extra_groups=[], timeout=60)


def write_pid(path, pid):
    as_app("sh", "-c", 'rm -f "$1" && echo "$2" > "$1"', "sh", str(path), str(pid))


def notify_error(sidecar, text):
    return sidecar.until(lambda s: text in (s["apps"]["web"]["notify"]["error"] or ""))


def rotate(bao, sidecar, folder):
    bao.put(f"testing/{folder}/db", password="second")
    sidecar.until_file("app.env", "PASSWORD='second'\n")


@pytest.mark.parametrize("action", ["restart", "SIGHUP", "SIGTERM"])
def test_a_process_of_root_in_the_apps_pid_file_is_not_signaled(bao, running, process, folder, action):
    victim = process(f"root-{folder[:9]}")
    write_pid(running.pid_file, victim.pid)
    running.web["notify"] = {"pid_file": str(running.pid_file), "action": action}
    running.start()
    notify_error(running, f"uid {APP_UID} owns this file, but it names process {victim.pid} of uid 0")
    rotate(bao, running, folder)
    assert victim.asked() == "here"
    # The app's own process in the same file is notified.
    own = process(f"own-{folder[:10]}", APP_UID)
    write_pid(running.pid_file, own.pid)
    running.until(lambda s: s["apps"]["web"]["state"] == "notified")
    assert victim.asked() == "here"


def plant_hard_link(pid_file, of_root):
    os.link(of_root, pid_file)  # As its user may where fs.protected_hardlinks is 0.


def plant_link(pid_file, of_root):
    as_app("ln", "-s", str(of_root), str(pid_file))


def plant_linked_folder(pid_file, of_root):
    as_app("ln", "-s", str(of_root.parent), str(pid_file.parent / "below"))


def plant_writable_file(pid_file, of_root):
    pid_file.write_text("")
    pid_file.chmod(0o666)  # A daemon without a umask.
    as_app("cp", str(of_root), str(pid_file))


@pytest.mark.parametrize(
    ("plant", "below", "named"),
    [
        (plant_hard_link, "", False),
        (plant_hard_link, "", True),
        (plant_link, "", True),
        (plant_linked_folder, "below/", True),
        (plant_writable_file, "", True),
    ],
    ids=["hard link, uid of the app", "hard link", "link", "linked folder", "writable file"],
)
def test_a_pid_file_of_root_that_the_app_puts_in_place_of_its_own_is_not_believed(
    bao, running, process, folder, memory, plant, below, named
):
    victim = process(f"root-{folder[:9]}")
    of_root = memory / "daemon" / "app.pid"
    of_root.parent.mkdir()
    of_root.write_text(f"{victim.pid}\n")
    plant(running.pid_file, of_root)
    pid_file = running.pid_file.parent / f"{below}app.pid"
    running.web["notify"] = {"pid_file": str(pid_file), "action": "restart"} | ({"uid": 0} if named else {})
    running.start()
    rotate(bao, running, folder)
    running.until(lambda s: s["apps"]["web"]["notify"]["error"])
    assert victim.asked() == "here"


def test_the_agents_own_parents_in_a_pid_file_are_not_signaled(running):
    running.pid_file.write_text(f"{os.getpid()}\n")
    running.web["notify"] = {"pid_file": str(running.pid_file), "action": "SIGCONT", "uid": 0}
    running.start()
    notify_error(running, "its first line is not the pid of a running process")


@pytest.mark.parametrize("how", ["name", "cmdline"])
@pytest.mark.parametrize("uid", [0, OTHER_UID])
def test_another_users_process_of_the_same_name_does_not_keep_the_app_from_being_notified(
    bao, running, process, folder, how, uid
):
    name = f"app-{folder[:11]}"
    running.web["notify"] = {"process": {how: name if how == "name" else f"{name} [0-9]"}, "action": "SIGHUP"}
    own, other = process(name, APP_UID), process(name, uid)
    running.start()
    running.until(lambda s: s["apps"]["web"]["state"] == "notified")
    rotate(bao, running, folder)
    assert own.hears() == "hangup"
    assert other.asked() == "here"


@pytest.mark.parametrize("action", ["SIGHUP", "restart"])
def test_a_process_of_another_user_alone_is_reported_and_gets_no_signal(running, process, folder, action):
    name = f"app-{folder[:11]}"
    running.web["notify"] = {"process": {"name": name}, "action": action}
    other = process(name, OTHER_UID)
    running.start()
    notify_error(running, f"process {other.pid} runs as uid {OTHER_UID}, and the app as uid {APP_UID}; ")
    assert other.asked() == "here"


def test_a_uid_in_the_configuration_is_the_one_that_counts(bao, running, process, folder):
    name = f"app-{folder[:11]}"
    running.web["notify"] = {"process": {"name": name}, "uid": OTHER_UID}
    own, other = process(name, APP_UID), process(name, OTHER_UID)
    running.start()
    running.until(lambda s: s["apps"]["web"]["state"] == "notified")
    rotate(bao, running, folder)
    assert other.hears() == "hangup"
    assert own.asked() == "here"


def test_an_app_that_reads_roots_files_by_its_group_is_notified(bao, running, process, folder):
    name = f"app-{folder[:11]}"
    running.web.update(owner=f"0:{APP_UID}", notify={"process": {"name": name}})
    own, other = process(name, APP_UID), process(name, OTHER_UID)
    running.start()
    running.until(lambda s: s["apps"]["web"]["state"] == "notified")
    rotate(bao, running, folder)
    assert own.hears() == "hangup"
    assert other.asked() == "here"


@pytest.mark.parametrize("uid", [0, OTHER_UID])
def test_an_app_that_calls_itself_an_init_gets_no_child_of_another_user_signaled(running, tmp_path, uid):
    script = tmp_path / "tini"
    script.write_text(
        "import os, sys, time\n"
        "if os.fork() == 0:\n"
        f"    os.execv(sys.executable, [sys.executable, '-c', {HEARS!r}, 'child', '{uid}'])\n"
        f"os.setresuid({APP_UID}, {APP_UID}, {APP_UID})\n"
        "os.write(1, f'{os.getpid()}\\n'.encode())\n"
        "while True:\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as init:
        said = sorted([init.stdout.readline().strip(), init.stdout.readline().strip()])
        assert said[-1] == "up"
        write_pid(running.pid_file, init.pid)
        running.web["notify"] = {"pid_file": str(running.pid_file), "action": "SIGHUP", "start_period": "0s"}
        running.start()
        notify_error(running, f"process {init.pid} does not catch it")
        child = next(iter(eventually(lambda: _children(init.pid))))
        os.kill(child, signal.SIGUSR1)
        assert init.stdout.readline().strip() == "here"
        os.kill(child, signal.SIGKILL)
        init.kill()


# -- hostile command lines: one user's processes do not stall the agent --------------------------------------

MOST_MEMORY = 120  # MiB
PROGRAM = "echo up; read x"


@pytest.fixture
def crowd():
    """Start processes of a user with any command line; they end with the test."""
    need(os.geteuid() == 0, "needs root, to run processes with other uids")
    started = []
    # The stack bounds the command line, and each user may raise that limit.
    before = resource.getrlimit(resource.RLIMIT_STACK)
    resource.setrlimit(resource.RLIMIT_STACK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def start(uid, count, *words, first="sh"):
        for _ in range(count):
            options = {"user": uid, "group": uid, "extra_groups": [], "executable": "/bin/sh"}
            command = [first, "-c", PROGRAM, *words]
            started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options))
            assert started[-1].stdout.readline() == b"up\n"

    yield start
    resource.setrlimit(resource.RLIMIT_STACK, before)
    for one in started:
        one.kill()
        one.communicate()


def peak(sidecar):
    """The most memory that the sidecar has used (RSS), in MiB."""
    text = Path(f"/proc/{sidecar.pid}/status").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmHWM:")) / 1024


def add_neighbor(sidecar, memory):
    """Another app with the same secret, and no process to notify."""
    directory = memory / "neighbor"
    sidecar.config["apps"]["neighbor"] = {
        "directory": str(directory),
        "refresh_interval": "200ms",
        "files": [{"template": "app.env.j2"}],
    }
    return directory / "app.env"


@pytest.mark.thorough
@pytest.mark.parametrize("uid", [OTHER_UID, APP_UID], ids=["another user", "the app's user"])
def test_a_command_line_that_takes_a_pattern_minutes_delays_no_publication(bao, running, crowd, folder, memory, uid):
    # "zqattack .*worker", as `celery .*worker`, takes quadratic time: an hour for each of these.
    crowd(uid, 12, *["zqattack " * 13000] * 40)
    running.web["notify"] = {"process": {"cmdline": "zqattack .*worker"}, "action": "SIGHUP"}
    neighbor = add_neighbor(running, memory)
    running.start()
    rotate(bao, running, folder)
    eventually(lambda: neighbor.read_text() == "PASSWORD='second'\n", "the neighbor's file")
    notify_error(running, "no process has a command line with zqattack .*worker")
    assert running.stop() == 0


@pytest.mark.thorough
@pytest.mark.parametrize("how", ["name", "cmdline"])
def test_command_lines_of_millions_of_words_take_no_memory_of_the_agent(bao, running, process, crowd, folder, how):
    crowd(OTHER_UID, 12, *["éé"] * 400_000)
    name = f"app-{folder[:11]}"
    running.web["notify"] = {"process": {how: name if how == "name" else f"{name} [0-9]"}, "action": "SIGHUP"}
    own = process(name, APP_UID)
    running.start()
    running.until(lambda s: s["apps"]["web"]["state"] == "notified")
    rotate(bao, running, folder)
    assert own.hears() == "hangup"
    assert peak(running) <= MOST_MEMORY


def test_an_apps_many_processes_with_long_names_flood_neither_log_nor_status(bao, running, crowd, folder):
    crowd(APP_UID, 20, first="B" * 120_000 + "\x1b[2J")
    running.web["notify"] = {"process": {"cmdline": "^B{100}"}, "action": "SIGHUP"}
    running.start()
    status = notify_error(running, "several processes match (")
    error = status["apps"]["web"]["notify"]["error"]
    assert ", and 15 more); use a pid_file" in error
    assert "\x1b" not in error
    assert len(error) < 600
    rotate(bao, running, folder)
    running.until(lambda s: s["apps"]["web"]["notify"]["error"])
    assert max(map(len, running.log.read_text().splitlines())) < 2000
    assert peak(running) <= MOST_MEMORY


def _children(pid):
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
