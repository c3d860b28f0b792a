"""A target finds the process that is meant, and never another."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from lessee.config import CmdlineTarget, NameTarget, PidFileTarget
from lessee.host import clock
from lessee.host.procfs import TICK, ProcessIdentity, ProcessInfo
from lessee.notification.app_users import AppUsers
from lessee.notification.process_finder import (
    AmbiguousProcess,
    Candidate,
    ForeignProcess,
    InContainer,
    ProcessNotFound,
    TooManyProcesses,
    find,
)
from lessee.process.spawn import forget, spawn
from support.needs import need
from support.programs.processes import CHILD, Children
from support.programs.sidecar import eventually

CONTAINER = "0123456789abcdef" * 4


def boottime():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@pytest.fixture
def children():
    with closing(Children()) as started:
        yield started


@pytest.fixture
def run(children):
    return children.run


@pytest.fixture
def name():
    return f"t{os.urandom(5).hex()}"


@pytest.fixture
def child(children, name):
    def start(how="default", called=name, *more):
        return children.child(how, called, *more)

    return start


def found(target):
    """The pid of the process that the target finds."""
    return found_of(target, None)


def found_of(target, users):
    """The same, among the processes of these users."""
    info = find(target, users)
    assert isinstance(info, ProcessInfo), info
    return info.pid


def meant(target):
    """The pids of all candidates."""
    ambiguous = find(target)
    assert isinstance(ambiguous, AmbiguousProcess), ambiguous
    return {candidate.pid for candidate in ambiguous.candidates}


# -- names ---------------------------------------------------------------------------------------------------


def test_without_a_match_the_process_is_not_found(name):
    assert find(NameTarget(name)) == ProcessNotFound(f"no process is called {name}")


def test_the_start_of_a_process_is_on_the_boot_clock(child, name):
    before = boottime()
    child()
    assert before - 0.02 <= find(NameTarget(name)).identity.started <= boottime()


def test_two_matches_are_ambiguous(child, name):
    pids = {child().pid, child().pid}
    assert meant(NameTarget(name)) == pids


def test_of_a_master_and_its_workers_the_master_is_found(child, name):
    app = child("master")
    assert [app.says(), app.says()] == ["up", "up"]
    assert found(NameTarget(name)) == app.pid
    assert found(CmdlineTarget(f"master {name}$")) == app.pid


def test_a_name_longer_than_the_kernel_keeps_is_found(child, name):
    long = f"{name}-and-more-than-fifteen"
    assert child(called=long).pid == found(NameTarget(long))


def test_a_name_that_looks_like_a_stat_line_is_found(child, name):
    odd = f"{name[:5]}) R 1 ("
    assert child(called=odd).pid == found(NameTarget(odd))


def test_a_prefix_of_a_name_does_not_match(child, name):
    child()
    assert isinstance(find(NameTarget(name[:-1])), ProcessNotFound)


@pytest.mark.parametrize("first", ["/opt/app/{}", "{}", "{}: master [app:app]", "{}: master process /usr/bin/x -g"])
def test_a_program_is_known_by_the_first_word_of_its_command_line(run, name, first):
    app = run([first.format(name), "1000"], executable=shutil.which("sleep"), ready=False)
    # The kernel shows a new program's command line a moment after it has become that.
    eventually(lambda: isinstance(find(NameTarget(name)), ProcessInfo))
    assert found(NameTarget(name)) == app.pid


@pytest.mark.parametrize("options", [[], ["-u"], ["-m"]], ids=["script", "option", "module"])
def test_a_script_is_known_by_its_name_and_not_by_its_interpreters(run, name, tmp_path, options):
    (tmp_path / name).write_text(CHILD)
    (tmp_path / f"{name}.py").write_text(CHILD)
    script = name if "-m" in options else tmp_path / name
    app = run([sys.executable, *options, script, "default", "other"], cwd=tmp_path)
    assert found(NameTarget(name)) == app.pid


def test_a_name_in_an_inline_script_or_an_argument_does_not_match(run, name):
    run([sys.executable, "-c", CHILD, "default", "other", name])
    run(["sh", "-c", "echo up; read x", name])
    run(["sh", "-c", f"echo up; read x # /{name}"])
    assert isinstance(find(NameTarget(name)), ProcessNotFound)


# -- command lines -------------------------------------------------------------------------------------------


def test_a_command_line_is_searched_with_a_blank_between_its_words(child, name):
    app = child("default", "one", "--app", name)
    child("default", "two", "--app", name)
    assert found(CmdlineTarget(f"default one --app {name}$")) == app.pid
    assert isinstance(find(CmdlineTarget(f"^--app {name}")), ProcessNotFound)


def test_candidates_are_listed_by_pid_and_program_without_arguments(run, name, tmp_path):
    for script in ("shop", "default"):
        (tmp_path / script).write_text(CHILD)
    words = ["default", name, "--password=canary"]
    interpreted = run([sys.executable, tmp_path / "shop", *words])
    # Its first word is the script, so that its words are those of the others.
    compiled = run([f"/opt/{name}", *words], executable=sys.executable, cwd=tmp_path, ready=False)
    inline = run([sys.executable, "-c", CHILD, *words])
    outcome = find(CmdlineTarget(f"{name} --password=canary$"))
    python = Path(sys.executable).name
    expected = {f"{interpreted.pid} shop", f"{compiled.pid} {name}", f"{inline.pid} {python}"}
    assert {str(candidate) for candidate in outcome.candidates} == expected
    assert "canary" not in repr(outcome)
    assert "canary" not in repr(find(NameTarget("shop")))


@pytest.mark.parametrize("target", [NameTarget, CmdlineTarget])
def test_of_many_candidates_a_few_are_listed_and_the_others_counted(run, name, target):
    for _ in range(9):
        run([f"/opt/{name}", "-c", "echo up; read x"], executable=shutil.which("sh"))
    outcome = find(target(name))
    assert isinstance(outcome, AmbiguousProcess)
    assert (len(outcome.candidates), outcome.more) == (5, 4)


def test_a_candidates_program_is_shown_cut_and_without_control_characters(run, name):
    for _ in range(2):
        run([f"/{name}\x1b[2J\u202e{'x' * 3000}", "-c", "echo up; read x"], executable=shutil.which("sh"))
    for candidate in find(CmdlineTarget(f"^/{name}")).candidates:
        assert candidate.program == f"{name}\\u001b[2J\\u202e{'x' * 24}…"


# -- hostile command lines -------------------------------------------------------------------------------------

UP = ("-c", "echo up; read x")
HOSTILE = "zqattack " * 4000


def test_beyond_four_kibibytes_a_command_line_is_not_searched(run, name):
    app = run(["sh", *UP, "x" * 3900, name])
    assert found(CmdlineTarget(name)) == app.pid
    run(["sh", *UP, "x" * 4096, name])
    assert found(CmdlineTarget(name)) == app.pid


def test_a_pattern_that_takes_quadratic_time_takes_little_of_it(run, name):
    app = run(["sh", *UP, *[HOSTILE] * 3, name])
    began = time.thread_time()
    assert isinstance(find(CmdlineTarget(f"zqattack .*{name}")), ProcessNotFound)
    assert time.thread_time() - began < 2  # All of them take minutes.
    assert found(CmdlineTarget(r"zqattack (.{9})*zq")) == app.pid


@pytest.mark.thorough
def test_more_processes_than_are_searched_are_reported_and_do_not_hide_the_app(run, name):
    need(os.geteuid() == 0, "needs root, to run processes of another uid")
    uid, bystander = 64103, 64104
    users = AppUsers(frozenset({uid}))
    for _ in range(260):
        run(["sh", *UP, HOSTILE], user=uid, extra_groups=[])
    outcome = find(NameTarget(name), users)
    assert isinstance(outcome, TooManyProcesses)
    assert f"the processes of uid {uid} are too many" in outcome.reason
    # Those of another user keep no app from being found, and are reported only.
    others = AppUsers(frozenset({bystander}))
    absent = find(NameTarget(name), others)
    assert isinstance(absent, ProcessNotFound)
    assert absent.reason == f"no process is called {name}; of other users' processes, some were not looked at"
    app = run(["sh", *UP, name], user=bystander, extra_groups=[])
    assert found_of(CmdlineTarget(f"read x {name}"), others) == app.pid


def test_a_search_that_takes_too_much_processor_time_stops(run, name):
    for _ in range(3):
        run(["sh", *UP, "a" * 23, name])
    slow = CmdlineTarget(f"(a+)+[0-9].*{name}")  # Exponential: a second for each.
    assert isinstance(find(slow), TooManyProcesses)


def test_a_process_of_another_user_is_reported_by_the_start_of_its_command_line(run, name):
    need(os.geteuid() == 0, "needs root, to run processes of another uid")
    app = run(["sh", *UP, name, "x" * 600, f"{name}-end"], user=64103, extra_groups=[])
    users = AppUsers(frozenset({64104}))
    outcome = find(CmdlineTarget(f"x {name} x"), users)
    assert isinstance(outcome, ForeignProcess)
    assert f"process {app.pid} runs as uid 64103" in outcome.reason
    assert isinstance(find(CmdlineTarget(f"{name}-end"), users), ProcessNotFound)


# -- never a match --------------------------------------------------------------------------------------------


def test_lessee_itself_and_its_parents_never_match(name):
    script = """
import ctypes, subprocess, sys
from lessee.config import CmdlineTarget, NameTarget
from lessee.notification.process_finder import find
ctypes.CDLL(None).prctl(15, sys.argv[1].encode(), 0, 0, 0)
if len(sys.argv) > 2:
    print(subprocess.check_output([sys.executable, "-c", *sys.argv[2:]], text=True))
else:
    name = sys.argv[1][:-1]
    print([str(find(target)) for target in (NameTarget(name + "x"), NameTarget(name + "y"), CmdlineTarget(name))])
"""
    parent, itself = f"{name}x", f"{name}y"
    command = [sys.executable, "-c", script, parent, script, itself]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert output.count("ProcessNotFound(reason='no process") == 3


def test_programs_that_the_agent_runs_never_match_but_the_child_of_exec_does(name):
    command = ["sh", "-c", f'"$@" & wait # {name}', "sh", sys.executable, "-c", CHILD, "default", name]
    checking = spawn(command, start_new_session=True)
    served = None
    try:
        eventually(lambda: _comm_of_child(checking.pid) == name, "the checking program")
        assert isinstance(find(NameTarget(name)), ProcessNotFound)
        assert isinstance(find(CmdlineTarget(name)), ProcessNotFound)
        served = spawn([sys.executable, "-c", CHILD, "default", name], process_group=0)
        assert eventually(lambda: isinstance(info := find(NameTarget(name)), ProcessInfo) and info.pid) == served.pid
    finally:
        os.killpg(checking.pid, signal.SIGKILL)
        for process in filter(None, (checking, served)):
            process.kill()
            process.wait()
            forget(process)


def _comm_of_child(pid):
    child = Path(f"/proc/{pid}/task/{pid}/children").read_text().strip()
    return child and Path(f"/proc/{child}/comm").read_text().strip()


def test_a_zombie_is_not_found(child, name):
    app = child()
    os.kill(app.pid, signal.SIGKILL)
    os.waitid(os.P_PID, app.pid, os.WEXITED | os.WNOWAIT)
    assert isinstance(find(NameTarget(name)), ProcessNotFound)


# -- by identity -----------------------------------------------------------------------------------------------


def test_a_process_is_known_by_its_pid_and_start(child, name):
    child()
    process = find(NameTarget(name)).identity
    pid, started = process.pid, process.started
    assert found(ProcessIdentity(pid, round(started / TICK) / os.sysconf("SC_CLK_TCK"))) == pid
    for other in (
        ProcessIdentity(pid, started - TICK),
        ProcessIdentity(pid, started + TICK),
        ProcessIdentity(4194305, started),
    ):
        assert find(other) == ProcessNotFound(f"process {other.pid} has ended")


# -- containers ----------------------------------------------------------------------------------------------


@pytest.fixture
def cgroup():
    """Puts processes into a cgroup of a name, as an engine does."""
    root = next((path for path in map(Path, ("/sys/fs/cgroup", "/sys/fs/cgroup/pids")) if _is_writable(path)), None)
    need(root, "needs root, to make cgroups")
    made = []

    def put(pid, name):
        folder = root
        for part in name.split("/"):
            folder /= part
            if not folder.exists():
                folder.mkdir()
                made.append(folder)
        (folder / "cgroup.procs").write_text(str(pid))

    yield put
    for folder in reversed(made):
        for pid in (folder / "cgroup.procs").read_text().split():
            with suppress(OSError):
                (root / "cgroup.procs").write_text(pid)
        folder.rmdir()


def _is_writable(cgroups):
    return (cgroups / "cgroup.procs").exists() and os.access(cgroups / "cgroup.procs", os.W_OK)


@pytest.mark.parametrize("place", ["docker/{}", "docker-{}.scope", "libpod-{}.scope/container", "docker/x/{}/init"])
def test_a_container_is_known_by_its_cgroup(child, cgroup, name, place):
    absent = find(InContainer(CONTAINER))
    assert isinstance(absent, ProcessNotFound)
    assert CONTAINER[:12] in absent.reason
    app = child()
    cgroup(app.pid, f"{name}/{place.format(CONTAINER)}")
    assert found(InContainer(CONTAINER)) == app.pid
    assert isinstance(find(InContainer(CONTAINER[1:] + "0")), ProcessNotFound)


def test_a_containers_monitor_process_does_not_match(child, cgroup, name):
    cgroup(child().pid, f"{name}/libpod-conmon-{CONTAINER}.scope")
    assert isinstance(find(InContainer(CONTAINER)), ProcessNotFound)


def test_a_process_started_later_in_a_container_is_not_its_main_process(child, cgroup, name):
    app = child("master")
    assert [app.says(), app.says()] == ["up", "up"]
    started = find(NameTarget(name)).identity.started
    eventually(lambda: boottime() > started + 2 * TICK)
    checks = [child(), child()]
    for pid in [*(check.pid for check in checks), app.pid, *_workers(app.pid)]:
        cgroup(pid, f"{name}/{CONTAINER}")
    assert found(InContainer(CONTAINER)) == app.pid


def _workers(pid):
    return map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def test_processes_of_the_same_name_are_listed_with_their_containers(child, cgroup, name):
    apps, other = [child(), child()], CONTAINER[::-1]
    cgroup(apps[0].pid, f"{name}/docker/{CONTAINER}")
    cgroup(apps[1].pid, f"{name}/docker/{other}")
    outcome = find(NameTarget(name))
    python = Path(sys.executable).name
    assert set(outcome.candidates) == {
        Candidate(apps[0].pid, python, CONTAINER),
        Candidate(apps[1].pid, python, other),
    }
    assert str(outcome.candidates[0]).endswith((f"in container {CONTAINER[:12]}", f"in container {other[:12]}"))


# -- pid files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["{}", "{}\n", " {} \n", "{}\n/var/lib/postgresql/data\n" + "more\n" * 40])
def test_a_pid_file_finds_its_process(child, tmp_path, text):
    app = child()
    (tmp_path / "pid").write_text(text.format(app.pid))
    assert found(PidFileTarget(str(tmp_path / "pid"))) == app.pid


@pytest.mark.parametrize(
    "text",
    ["", "\n", "nginx", "-1", "0", "12 13", "1e3", "\u0661", "9" * 64, "\0", "4194305", "{}"],
)
def test_a_pid_file_without_the_pid_of_a_process_is_not_found(tmp_path, text):
    (tmp_path / "pid").write_text(text.format(os.getpid()))
    outcome = find(PidFileTarget(str(tmp_path / "pid")))
    assert isinstance(outcome, ProcessNotFound)
    assert str(tmp_path / "pid") in outcome.reason


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (lambda _path: None, "No such file"),
        (os.mkfifo, "not a regular file"),
        (Path.mkdir, "not a regular file"),
        (lambda path: path.symlink_to("/run/other.pid"), "is a symbolic link"),
    ],
    ids=["nothing", "FIFO", "directory", "link"],
)
def test_an_entry_that_is_no_pid_file_is_not_found_without_blocking(tmp_path, plant, said):
    plant(tmp_path / "pid")
    outcome = find(PidFileTarget(str(tmp_path / "pid")))
    assert isinstance(outcome, ProcessNotFound)
    assert said in outcome.reason


def test_a_process_younger_than_its_pid_file_is_not_the_one_meant(child, tmp_path):
    (tmp_path / "pid").write_text(str(child().pid))
    an_hour_ago = time.time() - 3600
    os.utime(tmp_path / "pid", (an_hour_ago, an_hour_ago))
    outcome = find(PidFileTarget(str(tmp_path / "pid")))
    assert isinstance(outcome, ProcessNotFound)
    assert "older than process" in outcome.reason


@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_setting_the_clock_changes_nothing_about_which_process_wrote_its_pid_file(child, tmp_path, monkeypatch, step):
    monkeypatch.setattr(clock, "_periods", ())
    clock.watch_wall_clock()
    process = child()
    (tmp_path / "pid").write_text(str(process.pid))
    (tmp_path / "stale").write_text(str(process.pid))
    seconds_ago = time.time() - 5
    os.utime(tmp_path / "stale", (seconds_ago, seconds_ago))
    clock.watch_wall_clock()
    monkeypatch.setattr(clock, "wall_time", lambda: time.time() + step)
    assert find(PidFileTarget(str(tmp_path / "pid"))).pid == process.pid
    outcome = find(PidFileTarget(str(tmp_path / "stale")))
    assert isinstance(outcome, ProcessNotFound)
    assert "older than process" in outcome.reason
