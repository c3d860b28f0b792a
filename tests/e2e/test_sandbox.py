"""What an intruder in the agent, or in a program that it starts, may still do: nothing but the agent's work."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from support.needs import need
from support.programs.attackers import UNPRIVILEGED
from support.programs.sidecar import eventually
from support.programs.users import as_user

# Tries what an intruder needs to read other processes or to leave a container.
INTRUDER = """
import ctypes, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
pid = os.getppid()

def refused(result):
    return result == -1 and ctypes.get_errno() == 1

def fields():
    lines = open("/proc/self/status").read().splitlines()
    return {name: dict(line.split(":\\t", 1) for line in lines if ":\\t" in line)[name].strip()
        for name in ("CapEff", "CapPrm", "CapInh", "CapAmb", "NoNewPrivs", "Seccomp", "Uid")}

numbers = {"x86_64": {"bpf": 321, "keyctl": 250, "init_module": 175, "process_vm_readv": 310, "io_uring_setup": 425},
    "aarch64": {"bpf": 280, "keyctl": 219, "init_module": 105, "process_vm_readv": 270, "io_uring_setup": 425}}
tries = {
    "ptrace": lambda: libc.ptrace(16, pid, None, None),
    "mount": lambda: libc.mount(b"none", sys.argv[1].encode(), b"tmpfs", 0, None),
    "unshare": lambda: libc.unshare(0x10000000),
    "setns": lambda: libc.setns(0, 0),
    "chroot": lambda: libc.chroot(b"/"),
}
# From number 424 on, all architectures have the same.
common = {"open_tree": 428, "open_tree_attr": 467, "quotactl_fd": 443}
for name, number in {**numbers[os.uname().machine], **common}.items():
    tries[name] = lambda number=number: libc.syscall(number, 0, 0, 0, 0, 0, 0)
allowed = [name for name, attempt in tries.items() if not refused(attempt())]
out = {"allowed": allowed, **fields()}
open(sys.argv[2], "w").write(json.dumps(out))
"""


@pytest.fixture
def agent(bao, sidecar, folder):
    need(os.geteuid() == 0, "needs root, to see what it drops")
    bao.put(f"testing/{folder}", value="canary")
    sidecar.template("a.txt.j2", f'{{{{ secret("{folder}").value }}}}')
    return sidecar


def fields(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def test_the_agent_drops_every_capability_that_its_configuration_does_not_need(agent):
    agent.start()
    status = fields(agent.pid)
    assert {status[name] for name in ("CapEff", "CapPrm", "CapInh", "CapAmb", "CapBnd")} == {"0" * 16}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert agent.status()["sandbox"] == {
        "capabilities": [],
        "no_new_privileges": True,
        "seccomp": "on",
        "landlock": "on",
        "writable": [str(agent.state), str(agent.directory)],
    }


def test_an_agent_that_signals_processes_and_gives_files_away_keeps_what_that_takes(agent):
    agent.web["notify"] = {"process": {"name": "no-such-program"}}
    agent.web["owner"] = "1000:1000"
    agent.start(wait=False)
    agent.until_file("a.txt", "canary")
    assert agent.status()["sandbox"]["capabilities"] == ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL"]
    status = (agent.directory / "a.txt").stat()
    assert (status.st_uid, status.st_gid) == (1000, 1000)


def test_an_intruder_in_a_program_of_the_agent_has_no_capability_and_no_dangerous_system_call(agent, tmp_path):
    found = tmp_path / "found.json"
    agent.web["check"] = [sys.executable, "-c", INTRUDER, str(tmp_path), str(found)]
    agent.start()
    intruder = json.loads(found.read_text())
    assert intruder["allowed"] == []
    assert {intruder[name] for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {"0" * 16}
    assert (intruder["NoNewPrivs"], intruder["Seccomp"]) == ("1", "2")


def test_a_reload_that_needs_a_dropped_capability_restarts_the_agent_with_its_pid_and_its_token(agent, bao, folder):
    agent.log_in_by_approle(bao, 'path "secret/*" { capabilities = ["read", "list"] }')
    agent.start()
    before, fork = agent.status()["token"]["accessor"], agent.pid
    agent.config["apps"]["late"] = {
        "directory": str(agent.memory / "late"),
        "owner": "1000:1000",
        "refresh_interval": "200ms",
        "files": [{"template": "a.txt.j2"}],
    }
    agent.write_config()
    late = agent.memory / "late/a.txt"
    eventually(late.exists, "its file")
    agent.until(lambda status: status["ready"] and "late" in status["apps"])
    assert late.stat().st_uid == 1000
    assert (agent.status()["token"]["accessor"], agent.pid != fork, agent.process.poll()) == (before, True, None)
    assert [event["reason"] for event in agent.events() if event["event"] == "agent restarting"] == [
        "it needs CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER"
    ]
    bao.put(f"testing/{folder}", value="second")
    agent.until_file("a.txt", "second")
    agent.stop()


# What an intruder in the agent's own process could try: the agent confines itself, and then runs this.
CONFINED = """
import json, os, sys
from pathlib import Path
from lessee.agent.sandbox import confine
from lessee.host.project import load
sandbox = confine(load(Path(sys.argv[1]), dict(os.environ)))
done = []
for name in sys.argv[2:]:
    try:
        Path(name, "planted").write_text("x")
        done.append(name)
    except OSError as exc:
        assert exc.errno == 13, exc
print(json.dumps({"status": sandbox.as_status(), "done": done}))
"""


def planted(agent, *places, env=None):
    """Where an intruder in the agent may make a file, and the status of the sandbox."""
    agent.write_config()
    command = [sys.executable, "-c", CONFINED, str(agent.disk / "lessee.yaml"), *map(str, places)]
    environ = agent.environ | (env or {})
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=agent.disk, env=environ)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    return [Path(name) for name in found["done"]], found["status"]


def planted_under_landlock(agent, *places, env=None):
    done, status = planted(agent, *places, env=env)
    need(status["landlock"] == "on", f"needs Landlock: {status['landlock']}")
    return done, [Path(name) for name in status["writable"]]


@pytest.fixture
def volume():
    """A directory directly below `/`, like a mounted volume."""
    need(os.geteuid() == 0, "needs root, to make it")
    with tempfile.TemporaryDirectory(prefix="lessee-test-", dir="/") as made:
        yield Path(made)


def test_an_intruder_in_the_agent_writes_only_where_the_agent_writes(agent, tmp_path, memory):
    (tmp_path / "cron.d").mkdir()
    (memory / "state").mkdir(mode=0o700)
    places = [tmp_path, tmp_path / "cron.d", Path("/etc"), Path("/var/tmp"), Path("/"), memory]
    own = [agent.state, agent.directory]
    assert planted_under_landlock(agent, *places, *own) == (own, own)


def test_a_volume_below_the_root_directory_makes_nothing_else_writable(agent, volume, memory):
    agent.config["allow_disk"] = True
    agent.config["state_dir"] = str(volume)
    agent.web["directory"] = f"{volume}-app"
    Path(f"{volume}-app").mkdir()
    try:
        own = [volume, Path(f"{volume}-app")]
        assert planted_under_landlock(agent, Path("/"), Path("/etc"), Path("/var/tmp"), memory, *own) == (own, own)
    finally:
        shutil.rmtree(f"{volume}-app")


def test_a_running_agent_with_a_volume_below_the_root_directory_writes_nowhere_else(agent, bao, folder, volume):
    agent.web["allow_disk"] = True
    agent.web["directory"] = str(volume)
    agent.directory = volume
    agent.start()
    sandbox = agent.status()["sandbox"]
    need(sandbox["landlock"] == "on", "needs Landlock")
    assert sandbox["writable"] == [str(agent.state), str(volume)]
    bao.put(f"testing/{folder}", value="second")
    agent.until_file("a.txt", "second")
    assert agent.stop() == 0


@pytest.mark.parametrize("key", ["socket", "file"])
def test_a_file_directly_in_the_root_directory_turns_landlock_off_and_the_status_says_so(agent, memory, key):
    name = f"/lessee-test-{memory.name}"
    if key == "socket":
        agent.config["status"] = {"socket": name}
    else:
        agent.web["fallback"] = {"last_known_good": name}
    _, status = planted(agent)
    reason = f"{name} is directly in /, and everything beneath / would be writable"
    assert (status["landlock"], status["writable"]) == (reason, None)


def test_a_link_of_another_user_makes_its_target_not_writable(agent, tmp_path, memory):
    theirs = memory / "theirs"
    theirs.mkdir()
    (theirs / "link").symlink_to(tmp_path)
    os.chown(theirs / "link", 1000, 1000, follow_symlinks=False)
    agent.web["directory"] = str(theirs / "link")
    done, _ = planted_under_landlock(agent, tmp_path)
    assert done == []
    agent.web["directory"] = str(theirs / "link" / "web")
    done, _ = planted_under_landlock(agent, tmp_path)
    assert done == []


def test_a_secret_id_that_the_agent_removes_makes_its_directory_not_writable(agent, bao):
    agent.log_in_by_approle(bao, 'path "secret/*" { capabilities = ["read", "list"] }')
    agent.config["vault"]["auth"]["remove_secret_id_file_after_reading"] = True
    assert planted_under_landlock(agent, agent.disk)[0] == []
    agent.start()
    assert not (agent.disk / "secret_id").exists()


def test_the_key_of_the_first_snapshot_is_made_under_landlock(agent, tmp_path):
    key = tmp_path / "keys/host.key"
    key.parent.mkdir(mode=0o700)
    agent.environ["LESSEE_HOST_KEY_FILE"] = str(key)
    agent.web["fallback"] = {"last_known_good": str(tmp_path / "snapshots/web")}
    agent.start()
    need(agent.status()["sandbox"]["landlock"] == "on", "needs Landlock")
    eventually((tmp_path / "snapshots/web").exists, "the snapshot")
    assert key.exists()
    agent.stop()
    # It exists now, and is not replaced.
    assert planted_under_landlock(agent, key.parent)[0] == []


def test_a_directory_that_was_deleted_is_made_again_by_a_reload_that_restarts_in_place(agent):
    agent.start()
    need(agent.status()["sandbox"]["landlock"] == "on", "needs Landlock")
    fork = agent.pid
    shutil.rmtree(agent.directory)
    agent.process.send_signal(signal.SIGHUP)
    eventually((agent.directory / "a.txt").exists, "its file")
    agent.until(lambda status: status["ready"])
    [restarting] = [event for event in agent.events() if event["event"] == "agent restarting"]
    assert restarting["reason"] == f"it writes to {agent.directory}"
    assert (agent.pid != fork, agent.stop()) == (True, 0)


def test_a_directory_that_cannot_be_made_at_the_start_is_made_once_it_can(agent, bao, folder, memory):
    blocked = memory / "blocked"
    blocked.write_text("a file, where the directory has its parent")
    app = {"directory": str(blocked / "late"), "refresh_interval": "200ms", "files": [{"template": "a.txt.j2"}]}
    agent.config["apps"]["late"] = app
    agent.start(wait=False)
    agent.until_file("a.txt", "canary")
    blocked.unlink()
    bao.put(f"testing/{folder}", value="second")
    eventually((blocked / "late/a.txt").exists, "its file")
    agent.until(lambda status: status["ready"])
    assert agent.stop() == 0


def test_an_app_that_a_reload_puts_elsewhere_is_served_after_a_restart_in_place(agent):
    agent.start()
    need(agent.status()["sandbox"]["landlock"] == "on", "needs Landlock")
    with tempfile.TemporaryDirectory(prefix="lessee-test-", dir="/dev/shm") as other:
        app = {"directory": f"{other}/late", "refresh_interval": "200ms", "files": [{"template": "a.txt.j2"}]}
        agent.config["apps"]["late"] = app
        agent.write_config()
        eventually(Path(other, "late/a.txt").exists, "its file")
        agent.until(lambda status: status["ready"] and "late" in status["apps"])
        [restarting] = [event for event in agent.events() if event["event"] == "agent restarting"]
        assert restarting["reason"] == f"it writes to {other}/late"
        assert agent.stop() == 0


def test_a_program_of_the_agent_may_write_anywhere_and_the_status_says_so(agent, tmp_path):
    agent.web["check"] = ["touch", str(tmp_path / "touched")]
    agent.start()
    reason = "apps.web.check starts a program, which would inherit it"
    assert agent.status()["sandbox"]["landlock"] == reason
    assert (tmp_path / "touched").exists()


def test_check_and_status_print_what_is_in_force(agent):
    agent.web["notify"] = {"process": {"name": "no-such-program"}}
    agent.write_config()
    line = f"sandbox  CAP_KILL  seccomp on  landlock on  writable {agent.state}, {agent.directory}\n"
    checked = agent.command("check", "--sandbox")
    assert (checked.returncode, checked.stdout) == (0, line)
    assert not agent.directory.exists()
    agent.start(wait=False)
    agent.until_file("a.txt", "canary")
    assert line in agent.command("status", "--socket", str(agent.socket)).stdout


@pytest.mark.parametrize(("before", "is_warned"), [(UNPRIVILEGED, True), ((), False)], ids=["one uid", "CAP_KILL"])
def test_an_agent_that_can_signal_only_its_own_user_warns_that_the_app_reads_its_credentials(agent, before, is_warned):
    agent.web["notify"] = {"process": {"name": "no-such-program"}}
    agent.start(wait=False, before=before)
    agent.until_file("a.txt", "canary")
    warned = [event["apps"] for event in agent.events() if event["event"] == "app has the agent's user"]
    assert warned == ["web"] * is_warned


@pytest.mark.parametrize(
    ("settings", "is_warned"),
    [
        ({"mode": "0400"}, True),
        ({"owner": "54321:54321", "mode": "0600"}, True),
        ({"mode": "0440"}, False),
        ({"mode": "0404"}, False),
    ],
)
def test_an_agent_whose_files_no_other_user_may_read_warns_that_the_app_has_its_user(
    agent, memory, folder, settings, is_warned
):
    memory.chmod(0o711)
    agent.disk = memory / "disk"
    agent.disk.mkdir()
    for own in agent.state, agent.directory:
        own.mkdir(mode=0o700)
        os.chown(own, 54321, 54321)
    agent.template("a.txt.j2", f'{{{{ secret("{folder}").value }}}}')
    agent.web.update(settings)
    agent.start(wait=False, before=as_user(memory, 54321, 54321))
    agent.until_file("a.txt", "canary")
    warned = [event for event in agent.events() if event["event"] == "app has the agent's user"]
    assert [event["apps"] for event in warned] == ["web"] * is_warned
    assert all("give the agent a user of its own" in event["todo"] for event in warned)


def test_root_may_keep_files_to_itself(agent):
    agent.web["mode"] = "0400"
    agent.start()
    assert not [event for event in agent.events() if event["event"] == "app has the agent's user"]


def test_a_program_gets_named_variables_alone_and_a_user_of_its_own(agent, memory):
    memory.chmod(0o711)
    output = memory / "output"
    output.mkdir()
    output.chmod(0o777)
    agent.environ |= {"SOME_PASSWORD": "canary", "SITE": "named"}
    agent.config["programs"] = {"environment": ["SITE"], "user": "54321:54321"}
    agent.web["check"] = ["sh", "-c", 'env >"$1/env"; cat /proc/self/status >"$1/status"', "sh", str(output)]
    agent.start()
    environ = dict(line.split("=", 1) for line in (output / "env").read_text().splitlines())
    assert environ["SITE"] == "named"
    assert not environ.keys() & {"SOME_PASSWORD", "VAULT_TOKEN"}
    status = dict(line.split(":\t", 1) for line in (output / "status").read_text().splitlines() if ":\t" in line)
    assert set(status["Uid"].split()) == set(status["Gid"].split()) == {"54321"}
    assert (status["CapPrm"], status["Groups"].strip()) == ("0" * 16, "")
    assert agent.status()["sandbox"]["capabilities"] == ["KILL", "SETGID", "SETUID"]
