"""Who is told, and who is left alone."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from lessee.host import process as module
from lessee.host.process import (
    Absent,
    Booting,
    ByName,
    ByPidFile,
    Forbidden,
    Ignored,
    Several,
    StartedAfter,
    Told,
    WouldDie,
    tell,
)
from needs import need

# A child says what it gets. Asked by USR1 it says "here": by then every signal sent before has been taken.
CHILD = """
import ctypes, os, signal, sys
how, name = sys.argv[1:3]
ctypes.CDLL(None).prctl(15, name.encode(), 0, 0, 0)

def say(text):
    os.write(1, text.encode() + b"\\n")  # In one piece, also from several processes.

def catch():
    signal.signal(signal.SIGHUP, lambda *_: say("told"))

signal.signal(signal.SIGUSR1, lambda *_: say("here"))
if how == "catch":
    catch()
if how == "ignore":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
if how == "block":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    signal.signal(signal.SIGUSR1, lambda *_: say(str(sorted(signal.sigpending()))))
if how == "master":
    for _ in range(2):
        if os.fork() == 0:
            break
    catch()
say("up")
if how == "late":
    sys.stdin.readline()
    catch()
    say("up")
while True:
    signal.pause()
"""
INIT = """
import os, signal, subprocess, sys
everything = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
signal.pthread_sigmask(signal.SIG_BLOCK, everything)
child = subprocess.Popen(
    sys.argv[1:], preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, everything)
)
while (number := signal.sigwait(everything)) != signal.SIGCHLD:
    child.send_signal(number)
"""

LAST_PID = Path("/proc/sys/kernel/ns_last_pid")


def boottime():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Child:
    def __init__(self, command, **options):
        self.popen = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,
        )
        self.pid = self.popen.pid

    def says(self):
        return self.popen.stdout.readline().strip()

    def asked(self, pid=None):
        """What it says when it is asked, and so what it had got before; "" where it is dead."""
        with suppress(ProcessLookupError):
            os.kill(pid or self.pid, signal.SIGUSR1)
        return self.says()

    def end(self):
        # Its whole session: tini puts its child into a group of its own.
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                pid = int(stat.parent.name)
                if os.getsid(pid) == self.pid:
                    os.kill(pid, signal.SIGKILL)
        self.popen.communicate()


@pytest.fixture
def run():
    started = []

    def start(command, *, ready=True, **options):
        started.append(Child(command, **options))
        if ready:
            assert started[-1].says() == "up"
        return started[-1]

    yield start
    for child in started:
        child.end()


@pytest.fixture
def name():
    return f"t{os.urandom(5).hex()}"


@pytest.fixture
def child(run, name):
    def start(how, called=name):
        return run([sys.executable, "-c", CHILD, how, called])

    return start


def told(target, action=signal.SIGHUP, *, published_at=None, boot_grace=0.0):
    now = boottime()
    return tell(
        target,
        action,
        published_at=now if published_at is None else published_at,
        boot_grace=boot_grace,
        now=now,
    )


# -- careful -------------------------------------------------------------------------------------------------


def test_one_that_catches_the_signal_is_told_once(child, name):
    app = child("catch")
    outcome = told(ByName(name))
    assert isinstance(outcome, Told)
    assert outcome.process.pid == app.pid
    assert [app.says(), app.asked()] == ["told", "here"]


def test_one_that_would_die_is_not_told(child, name):
    app = child("default")
    outcome = told(ByName(name))
    assert isinstance(outcome, WouldDie)
    assert (outcome.process.pid, outcome.signal) == (app.pid, signal.SIGHUP)
    assert app.asked() == "here"


def test_one_that_still_boots_is_waited_for_and_told_once_it_catches(child, name):
    app = child("late")
    outcome = told(ByName(name), boot_grace=3600)
    assert isinstance(outcome, Booting)
    assert outcome.until == outcome.process.started + 3600
    assert app.asked() == "here"
    app.popen.stdin.write("go\n")
    app.popen.stdin.flush()
    assert app.says() == "up"
    assert isinstance(told(ByName(name), boot_grace=3600), Told)
    assert app.says() == "told"


def test_one_that_ignores_the_signal_is_said_to(child, name):
    app = child("ignore")
    assert isinstance(told(ByName(name)), Ignored)
    assert app.asked() == "here"


def test_one_that_blocks_the_signal_gets_it_and_may_take_it_when_it_likes(child, name):
    app = child("block")
    assert isinstance(told(ByName(name)), Told)
    assert app.asked() == "[<Signals.SIGHUP: 1>]"


def test_one_that_started_after_the_publish_has_read_the_new_files_and_is_left_alone(child, name):
    before = boottime() - 1
    app = child("catch")
    assert isinstance(told(ByName(name), published_at=before), StartedAfter)
    assert app.asked() == "here"


def test_a_process_starts_when_the_clock_says_so(child, name):
    before = boottime()
    child("catch")
    outcome = told(ByName(name))
    assert before - 0.02 <= outcome.process.started <= boottime()


def test_a_signal_that_means_the_end_is_sent_to_one_that_does_not_catch_it(child, name):
    app = child("default")
    assert isinstance(told(ByName(name), signal.SIGTERM, boot_grace=3600), Told)
    assert app.popen.wait() == -signal.SIGTERM


def test_a_signal_that_ends_nobody_is_sent_to_one_that_does_not_catch_it(child, name):
    app = child("default")
    assert isinstance(told(ByName(name), signal.SIGWINCH), Told)
    assert app.asked() == "here"


@pytest.mark.parametrize("action", [signal.SIGUSR2, signal.SIGALRM, signal.SIGRTMIN + 3])
def test_any_other_signal_is_not_sent_to_one_that_does_not_catch_it(child, name, action):
    app = child("default")
    assert isinstance(told(ByName(name), action), WouldDie)
    assert app.asked() == "here"


def test_one_of_another_uid_is_out_of_reach(child, name):
    need(os.geteuid() == 0, "needs root, to be another")
    app = child("catch")
    script = (
        "import os, sys; from lessee.host.process import *;"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534);"
        "print(tell(ByName(sys.argv[1]), 1, published_at=float(sys.argv[2]), boot_grace=0, now=0.0))"
    )
    command = [sys.executable, "-c", script, name, str(boottime())]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert said.startswith(f"{Forbidden.__name__}(process=Process(pid={app.pid},")
    assert app.asked() == "here"


# -- who is meant --------------------------------------------------------------------------------------------


def test_nobody_of_that_name_is_absent(name):
    assert told(ByName(name)) == Absent(f"no process is called {name}")


def test_two_of_a_name_are_not_guessed_between(child, name):
    pids = {child("catch").pid, child("catch").pid}
    outcome = told(ByName(name))
    assert isinstance(outcome, Several)
    assert {process.pid for process in outcome.processes} == pids


def test_of_a_master_and_its_workers_the_master_alone_is_told(child, name):
    app = child("master")
    assert [app.says(), app.says()] == ["up", "up"]
    outcome = told(ByName(name))
    assert isinstance(outcome, Told)
    assert outcome.process.pid == app.pid
    assert app.says() == "told"
    workers = Path(f"/proc/{app.pid}/task/{app.pid}/children").read_text().split()
    assert [app.asked(int(worker)) for worker in workers] == ["here", "here"]


def test_a_name_longer_than_the_kernel_keeps_is_found(child, name):
    long = f"{name}-and-more-than-fifteen"
    app = child("catch", called=long)
    assert told(ByName(long)).process.pid == app.pid


def test_a_name_that_looks_like_proc_is_found(child, name):
    odd = f"{name[:5]}) R 1 ("
    app = child("catch", called=odd)
    assert told(ByName(odd)).process.pid == app.pid


def test_a_name_that_is_only_the_beginning_of_another_is_not_that(child, name):
    child("catch")
    assert isinstance(told(ByName(name[:-1])), Absent)


@pytest.mark.parametrize("first", ["/opt/app/{}", "{}", "{}: master [app:app]", "{}: master process /usr/bin/x -g"])
def test_a_program_is_known_by_the_first_word_of_its_command_line(run, name, first):
    app = run([first.format(name), "1000"], executable=shutil.which("sleep"), ready=False)
    assert told(ByName(name)).process.pid == app.pid


@pytest.mark.parametrize("options", [[], ["-u"], ["-m"]], ids=["script", "option", "module"])
def test_a_script_is_known_by_its_name_and_not_by_its_interpreters(run, name, tmp_path, options):
    (tmp_path / name).write_text(CHILD)
    (tmp_path / f"{name}.py").write_text(CHILD)
    script = name if "-m" in options else tmp_path / name
    app = run([sys.executable, *options, script, "catch", "other"], cwd=tmp_path)
    assert told(ByName(name)).process.pid == app.pid


def test_a_name_in_an_inline_script_or_an_argument_is_nobodys(run, name):
    run([sys.executable, "-c", CHILD, "catch", "other", name])
    run(["sh", "-c", "echo up; read x", name])
    run(["sh", "-c", f"echo up; read x # /{name}"])
    assert isinstance(told(ByName(name)), Absent)


def test_lessee_itself_and_who_started_it_are_never_meant(name):
    script = """
import ctypes, json, os, subprocess, sys, time
from lessee.host.process import ByName, tell
ctypes.CDLL(None).prctl(15, sys.argv[1].encode(), 0, 0, 0)
if len(sys.argv) > 2:
    print(subprocess.check_output([sys.executable, "-c", *sys.argv[2:]], text=True))
else:
    names = sys.argv[1], sys.argv[1][:-1] + "x"
    print([str(tell(ByName(name), 15, published_at=time.time(), boot_grace=0, now=0.0)) for name in names])
"""
    parent, itself = f"{name}x", f"{name}y"
    command = [sys.executable, "-c", script, parent, script, itself]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert said.count("Absent(what='no process is called") == 2


def test_a_zombie_is_absent(child, name):
    app = child("catch")
    os.kill(app.pid, signal.SIGKILL)
    os.waitid(os.P_PID, app.pid, os.WEXITED | os.WNOWAIT)
    assert isinstance(told(ByName(name)), Absent)


INITS = {
    "sigwait": [sys.executable, "-c", INIT],
    "tini": ["tini", "-s", "--"],
    "docker-init": ["docker-init", "-s", "--"],
}


@pytest.mark.parametrize("init", list(INITS.values()), ids=list(INITS))
def test_of_an_init_that_sends_signals_on_the_child_is_judged_and_told(run, name, tmp_path, init):
    need(shutil.which(init[0]), "needs tini and docker-init: apt-get install tini docker.io")
    pid_file = tmp_path / "pid"
    for how, outcome in (("catch", Told), ("default", WouldDie)):
        app = run([*init, sys.executable, "-c", CHILD, how, name])
        pid_file.write_text(str(app.pid))
        child = told(ByName(name)).process.pid
        if how == "catch":
            assert app.says() == "told"
        found = told(ByPidFile(pid_file))
        assert isinstance(found, outcome)
        assert found.process.pid == child != app.pid
        if how == "catch":
            assert app.says() == "told"
        assert app.asked(child) == "here"
        app.end()


# -- pid files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["{}", "{}\n", " {} \n", "{}\n/var/lib/postgresql/data\n" + "more\n" * 40])
def test_the_process_that_a_pid_file_names_is_told(child, tmp_path, text):
    app = child("catch")
    (tmp_path / "pid").write_text(text.format(app.pid))
    outcome = told(ByPidFile(tmp_path / "pid"))
    assert isinstance(outcome, Told)
    assert outcome.process.pid == app.pid
    assert app.says() == "told"


@pytest.mark.parametrize(
    "text",
    ["", "\n", "nginx", "-1", "0", "12 13", "1e3", "\u0661", "9" * 64, "\0", "4194305", str(os.getpid())],
)
def test_a_pid_file_that_names_no_process_to_be_told_is_absent(tmp_path, text):
    (tmp_path / "pid").write_text(text)
    outcome = told(ByPidFile(tmp_path / "pid"))
    assert isinstance(outcome, Absent)
    assert str(tmp_path / "pid") in outcome.what


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (lambda _path: None, "No such file"),
        (os.mkfifo, "no regular file"),
        (Path.mkdir, "no regular file"),
        (lambda path: path.symlink_to("/run/other.pid"), "is a link"),
    ],
    ids=["nothing", "FIFO", "directory", "link"],
)
def test_what_is_no_pid_file_is_absent_and_hangs_nobody(tmp_path, plant, said):
    plant(tmp_path / "pid")
    outcome = told(ByPidFile(tmp_path / "pid"))
    assert isinstance(outcome, Absent)
    assert said in outcome.what


def test_a_process_younger_than_the_file_that_names_it_is_a_stranger(child, tmp_path):
    app = child("catch")
    (tmp_path / "pid").write_text(str(app.pid))
    an_hour_ago = time.time() - 3600
    os.utime(tmp_path / "pid", (an_hour_ago, an_hour_ago))
    outcome = told(ByPidFile(tmp_path / "pid"))
    assert isinstance(outcome, Absent)
    assert "older than process" in outcome.what
    assert app.asked() == "here"


@pytest.fixture
def sleepers():
    """Starts a process that does nothing, as long as the test lasts; with its pid where one is wished."""
    started = []

    def start(pid=None):
        if pid:
            LAST_PID.write_text(str(pid - 1))
        started.append(subprocess.Popen(["sleep", "1000"]))
        return started[-1]

    yield start
    for sleeper in started:
        sleeper.kill()
        sleeper.wait()


def test_who_got_the_pid_of_the_one_that_was_meant_is_never_touched_in_a_hundred_tries(sleepers, tmp_path):
    need(_pids_may_be_chosen(), "needs root and a kernel with ns_last_pid")
    meant = [sleepers() for _ in range(130)]
    found = {victim.pid: module._look(victim.pid) for victim in meant}
    tries = 0
    for victim in meant:
        victim.kill()
        victim.wait()
        stranger = sleepers(pid=victim.pid)
        if stranger.pid == victim.pid and tries < 100:
            tries += 1
            outcomes = _both_ways(found[victim.pid], tmp_path / "pid")
            # Stopped, it had nothing deadly waiting: TERM's number is lower, it would have come first.
            os.kill(stranger.pid, signal.SIGSTOP)
            _, status = os.waitpid(stranger.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status)
            assert [type(outcome) for outcome in outcomes] == [Absent, Absent]
    assert tries == 100


def _pids_may_be_chosen():
    try:
        LAST_PID.write_text(LAST_PID.read_text())
    except OSError:
        return False
    return True


def _both_ways(found, pid_file):
    pid_file.write_text(str(found.process.pid))
    an_hour_ago = time.time() - 3600
    os.utime(pid_file, (an_hour_ago, an_hour_ago))
    now = boottime()
    return [
        module._tell(found, signal.SIGTERM, published_at=now, boot_grace=0, now=now),
        told(ByPidFile(pid_file), signal.SIGTERM),
    ]
