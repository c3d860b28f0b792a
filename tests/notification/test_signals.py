"""Which processes are signaled, left alone, or stopped to be restarted."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from lessee.config import CmdlineTarget, NameTarget, PidFileTarget
from lessee.host.openbao import find_bao, free_port
from lessee.host.procfs import ProcessIdentity, read_process
from lessee.notification.process_finder import AmbiguousProcess, ProcessNotFound, find
from lessee.notification.signals import (
    Restarted,
    SignalIgnored,
    SignalSent,
    StartedAfterPublish,
    StillRunning,
    StillStarting,
    WouldTerminate,
    restart,
    send,
)
from support.needs import need
from support.paths import TESTS
from support.programs.processes import Children
from support.programs.sidecar import eventually

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
INITS = {
    "sigwait": [sys.executable, "-c", INIT],
    "tini": ["tini", "-s", "--"],
    "docker-init": ["docker-init", "-s", "--"],
}
UNPRIVILEGED = """
import os, psutil, sys
from lessee.config import *
from lessee.notification.process_finder import *
from lessee.notification.signals import *
os.setgroups([]); os.setgid(65534); os.setuid(65534)
target, published_at = eval(sys.argv[1]), float(sys.argv[2])
print(send(target, 1, published_at=published_at, start_period=0, now=published_at))
print(restart(target, published_at=published_at, stop_grace_period=60))
"""
REUSE = TESTS / "bench" / "pid_reuse.py"


def boot_time():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@pytest.fixture
def children():
    with closing(Children()) as started:
        yield started


@pytest.fixture
def name():
    return f"t{os.urandom(5).hex()}"


@pytest.fixture
def child(children, name):
    return lambda how, init=(): children.child(how, name, init=init)


def identity_of(pid):
    return read_process(pid).identity


def signal_sent(target, number=signal.SIGHUP, *, published_at=None, start_period=0.0):
    now = boot_time()
    return send(
        target,
        number,
        published_at=now if published_at is None else published_at,
        start_period=start_period,
        now=now,
    )


def restarted(target, *, grace=60.0, published_at=None, stop_signal=signal.SIGTERM):
    published_at = boot_time() if published_at is None else published_at
    return restart(target, published_at=published_at, stop_grace_period=grace, stop_signal=stop_signal)


# -- signaled -----------------------------------------------------------------------------------------------


def test_a_process_that_catches_the_signal_gets_it_once(child, name):
    app = child("catch")
    outcome = signal_sent(NameTarget(name))
    assert isinstance(outcome, SignalSent)
    assert outcome.process.pid == app.pid
    assert [app.says(), app.asked()] == ["hangup", "here"]


def test_every_kind_of_target_finds_the_process(child, name, tmp_path):
    app = child("catch")
    (tmp_path / "pid").write_text(str(app.pid))
    process = find(NameTarget(name)).identity
    for target in (
        CmdlineTarget(f"catch {name}$"),
        PidFileTarget(str(tmp_path / "pid")),
        ProcessIdentity(process.pid, process.started),
    ):
        assert signal_sent(target) == SignalSent(process)
        assert app.says() == "hangup"


def test_only_the_master_is_signaled_and_not_its_workers(child, name):
    app = child("master")
    assert [app.says(), app.says()] == ["up", "up"]
    outcome = signal_sent(NameTarget(name))
    assert isinstance(outcome, SignalSent)
    assert outcome.process.pid == app.pid
    assert app.says() == "hangup"
    workers = Path(f"/proc/{app.pid}/task/{app.pid}/children").read_text().split()
    assert [app.asked(int(worker)) for worker in workers] == ["here", "here"]


def test_of_several_matches_none_is_signaled_or_restarted(child, name):
    apps = [child("catch"), child("catch")]
    assert isinstance(signal_sent(NameTarget(name)), AmbiguousProcess)
    assert isinstance(restarted(NameTarget(name)), AmbiguousProcess)
    assert [app.asked() for app in apps] == ["here", "here"]


def test_a_process_that_would_terminate_is_not_signaled(child, name):
    app = child("default")
    outcome = signal_sent(NameTarget(name))
    assert isinstance(outcome, WouldTerminate)
    assert (outcome.process.pid, outcome.signal) == (app.pid, signal.SIGHUP)
    assert app.asked() == "here"


def test_a_process_that_still_starts_is_signaled_once_it_catches_the_signal(child, name):
    app = child("late")
    outcome = signal_sent(NameTarget(name), start_period=3600)
    assert isinstance(outcome, StillStarting)
    assert outcome.until == outcome.process.started + 3600
    assert app.asked() == "here"
    app.popen.stdin.write("go\n")
    app.popen.stdin.flush()
    assert app.says() == "up"
    assert isinstance(signal_sent(NameTarget(name), start_period=3600), SignalSent)
    assert app.says() == "hangup"


def test_a_go_program_is_signaled_only_after_it_had_time_to_choose_its_signals(tmp_path):
    # Its runtime catches every signal before the program begins, and exits by those that the program does not handle.
    log = tmp_path / "log"
    command = [find_bao(), "server", "-dev", "-dev-no-store-token", f"-dev-listen-address=127.0.0.1:{free_port()}"]
    home = {"HOME": str(tmp_path)}
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out, env=home) as app:
        try:
            eventually(lambda: _catches(app.pid, signal.SIGRTMAX))
            process = identity_of(app.pid)

            def send_at(age):
                now = process.started + age
                return send(process, signal.SIGHUP, published_at=now, start_period=30.0, now=now)

            assert isinstance(send_at(0.1), StillStarting)
            eventually(lambda: "server started!" in log.read_text())
            assert isinstance(send_at(3.0), SignalSent)
            eventually(lambda: "reload triggered" in log.read_text())
            assert app.poll() is None
        finally:
            app.kill()


def _catches(pid, number):
    mask = Path(f"/proc/{pid}/status").read_text().partition("SigCgt:\t")[2].partition("\n")[0]
    return int(mask, 16) >> (number - 1) & 1


def test_a_process_that_ignores_the_signal_is_reported(child, name):
    app = child("ignore")
    assert isinstance(signal_sent(NameTarget(name)), SignalIgnored)
    assert app.asked() == "here"


def test_a_process_that_blocks_the_signal_gets_it(child, name):
    app = child("block")
    assert isinstance(signal_sent(NameTarget(name)), SignalSent)
    assert app.asked() == "[<Signals.SIGHUP: 1>]"


def test_a_process_that_started_after_the_publish_is_not_signaled(child, name):
    before = boot_time() - 1
    app = child("catch")
    assert isinstance(signal_sent(NameTarget(name), published_at=before), StartedAfterPublish)
    assert isinstance(restarted(NameTarget(name), published_at=before), StartedAfterPublish)
    assert app.asked() == "here"


def test_a_terminating_signal_is_sent_to_a_process_that_does_not_catch_it(child, name):
    app = child("default")
    assert isinstance(signal_sent(NameTarget(name), signal.SIGTERM, start_period=3600), SignalSent)
    assert app.popen.wait() == -signal.SIGTERM


def test_a_harmless_signal_is_sent_to_a_process_that_does_not_catch_it(child, name):
    app = child("default")
    assert isinstance(signal_sent(NameTarget(name), signal.SIGWINCH), SignalSent)
    assert app.asked() == "here"


@pytest.mark.parametrize("action", [signal.SIGUSR2, signal.SIGALRM, signal.SIGRTMIN + 3])
def test_any_other_signal_is_not_sent_to_one_that_does_not_catch_it(child, name, action):
    app = child("default")
    assert isinstance(signal_sent(NameTarget(name), action), WouldTerminate)
    assert app.asked() == "here"


def test_a_process_of_another_uid_cannot_be_signaled(child, name):
    app = child("catch")
    assert _unprivileged(f"NameTarget({name!r})") == [f"SignalForbidden(process={find(NameTarget(name)).identity})"] * 2
    assert app.asked() == "here"


def _unprivileged(target):
    """The outcomes of an agent that may signal no other uid."""
    need(os.geteuid() == 0, "needs root, to change its uid")
    command = [sys.executable, "-c", UNPRIVILEGED, target, str(boot_time())]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


# -- behind an init ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("init", list(INITS.values()), ids=list(INITS))
def test_behind_an_init_that_forwards_signals_the_child_is_checked_and_signaled(child, name, tmp_path, init):
    _need_inits()
    pid_file = tmp_path / "pid"
    for how, outcome in (("catch", SignalSent), ("default", WouldTerminate)):
        app = child(how, init=init)
        pid_file.write_text(str(app.pid))
        process = signal_sent(NameTarget(name)).process
        if how == "catch":
            assert app.says() == "hangup"
        found = signal_sent(PidFileTarget(str(pid_file)))
        assert isinstance(found, outcome)
        assert found.process == process
        assert process.pid != app.pid
        if how == "catch":
            assert app.says() == "hangup"
        assert app.asked(process.pid) == "here"
        app.end()


def test_an_init_is_recognized_by_its_name_if_its_wait_channel_is_hidden(child, name):
    _need_inits()
    init = identity_of(child("default", init=INITS["tini"]).pid)
    behind = find(NameTarget(name)).identity
    assert _unprivileged(repr(init)) == [
        f"WouldTerminate(process={behind}, signal=1)",
        f"SignalForbidden(process={behind})",
    ]


def test_behind_an_init_with_adopted_orphans_the_app_is_signaled(children, name):
    _need_inits()
    adopting = [*INITS["tini"], "sh", "-c", '(sleep 1000 &); exec "$@"', "sh"]
    app = children.child("catch", name, init=adopting)
    eventually(lambda: len(Path(f"/proc/{app.pid}/task/{app.pid}/children").read_text().split()) == 2, "the orphan")
    assert signal_sent(identity_of(app.pid)) == SignalSent(find(NameTarget(name)).identity)
    assert app.says() == "hangup"


def _need_inits():
    need(shutil.which("tini") and shutil.which("docker-init"), "needs tini and docker-init: apt install tini docker.io")


# -- restarted ----------------------------------------------------------------------------------------------


def test_a_process_that_obeys_sigterm_is_not_awaited_longer(child, name):
    app = child("default")
    outcome = restarted(NameTarget(name))
    assert isinstance(outcome, Restarted)
    assert (outcome.process.pid, outcome.killed) == (app.pid, False)
    assert outcome.seconds < 30
    # It has ended already: this test waits for nothing.
    assert app.popen.poll() == -signal.SIGTERM


def test_a_process_that_ignores_sigterm_is_killed_after_the_grace_period(child, name):
    app = child("deaf")
    outcome = restarted(NameTarget(name), grace=0.2)
    assert isinstance(outcome, Restarted)
    assert outcome.killed
    assert 0.2 <= outcome.seconds < 30
    assert app.popen.poll() == -signal.SIGKILL


def test_a_process_is_stopped_by_its_own_stop_signal(child, name):
    app = child("deaf")  # It ignores SIGTERM.
    outcome = restarted(NameTarget(name), stop_signal=signal.SIGQUIT)
    assert isinstance(outcome, Restarted)
    assert not outcome.killed
    assert app.popen.poll() == -signal.SIGQUIT


def test_a_stopped_process_is_killed_after_the_grace_period(child, name):
    app = child("default")
    os.kill(app.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, app.pid, os.WSTOPPED)
    assert restarted(NameTarget(name), grace=0.2).killed
    assert app.popen.poll() == -signal.SIGKILL


def test_without_a_match_nothing_is_restarted(name):
    assert restarted(NameTarget(name)) == ProcessNotFound(f"no process is called {name}")


@pytest.mark.parametrize("init", [INITS["tini"], INITS["docker-init"]], ids=["tini", "docker-init"])
@pytest.mark.parametrize(("how", "killed"), [("default", False), ("deaf", True)])
def test_behind_an_init_the_app_is_stopped_and_the_init_ends_with_it(child, name, init, how, killed):
    _need_inits()
    app = child(how, init=init)
    behind = find(NameTarget(name)).identity
    outcome = restarted(identity_of(app.pid), grace=0.2 if killed else 60)
    assert isinstance(outcome, Restarted)
    assert (outcome.process, outcome.killed) == (behind, killed)
    assert app.popen.wait() == 128 + (signal.SIGKILL if killed else signal.SIGTERM)


def test_pid_1_that_catches_nothing_is_reported_as_still_running(children):
    need(os.geteuid() == 0 and shutil.which("unshare"), "needs root and unshare(1)")
    script = """
import os, signal, sys, threading
from lessee.host.procfs import read_process
from lessee.notification import signals
signal.signal(signal.SIGUSR1, lambda *_: print("here", flush=True))
if os.fork():
    print("up", flush=True)
    signal.pause()
    sys.exit()
signals._SIGKILL_TIMEOUT = 0.1
init = read_process(1).identity
print(signals.restart(init, published_at=init.started + 1, stop_grace_period=0.1), flush=True)
os.kill(1, signal.SIGUSR1)
"""
    app = children.run(["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", script], ready=False)
    said = [app.says(), app.says(), app.says()]
    said.remove("up")
    assert said[0].startswith(f"{StillRunning.__name__}(process=ProcessIdentity(pid=1, ")
    assert "PID 1" in said[0]
    assert said[1] == "here"


# -- and never another ---------------------------------------------------------------------------------------


def test_a_process_that_reuses_the_pid_at_any_moment_is_never_signaled():
    need(os.geteuid() == 0 and shutil.which("unshare"), "needs root and unshare(1)")
    need(Path("/proc/sys/kernel/ns_last_pid").exists(), "needs a kernel with CONFIG_CHECKPOINT_RESTORE")
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, REUSE, "108"]
    counts = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert counts["reused"] == 108
    assert counts["signaled"] == 0
    # With a bare pid, other processes are hit at the moments of sending: the test can detect it.
    assert counts["signaled by pid"] == counts["tries by pid"] > 0
