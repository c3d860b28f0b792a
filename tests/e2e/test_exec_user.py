"""Attacks of the child of `lessee exec` on the agent that started it, and on the agent's credentials."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lessee.host import procfs
from lessee.process.capabilities import Capability
from support.needs import need
from support.programs.sidecar import PATIENCE, eventually

PYTHON = "/usr/bin/python3"
USER = 54321
CANARY = "canary-9b1d"

# Prints what it is, what it could read of the agent, and its own secrets; and then does what a signal asks for.
THIEF = """
import json, os, signal, socket, sys
agent, files = os.getppid(), sys.argv[2:]
stolen = []
for path in (*files, f"/proc/{agent}/environ", f"/proc/{agent}/mem", f"/proc/{agent}/root/etc", f"/proc/{agent}/fd/0"):
    try:
        os.close(os.open(path, os.O_RDONLY))
        stolen.append(path)
    except OSError:
        pass
for name in files:
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(name)
        stolen.append(f"connected to {name}")
    except OSError:
        pass
try:
    os.kill(agent, signal.SIGUSR1)
    stolen.append("signaled the agent")
except PermissionError:
    pass
lines = open("/proc/self/status").read().splitlines()
status = dict(line.split(":\\t", 1) for line in lines if ":\\t" in line)
names = "CapEff", "CapPrm", "CapInh", "CapAmb", "NoNewPrivs", "Uid", "Gid", "Groups"
print(json.dumps({"stolen": stolen, "file": open(sys.argv[1]).read(), "password": os.environ["PASSWORD"],
    **{name: status[name].split() for name in names}}), flush=True)
signal.pause()
"""

# Pushes a line into its terminal, in each way that there is, and prints what the kernel said to each.
TYPIST = """
import ctypes, json, os
libc = ctypes.CDLL(None, use_errno=True)
def push(command):
    for character in b"pwned\\n":
        if libc.ioctl(0, ctypes.c_ulong(command), ctypes.byref(ctypes.c_ubyte(character))) != 0:
            return ctypes.get_errno()
    return 0
commands = {"TIOCSTI": 0x5412, "TIOCSTI of 64 bits": 1 << 32 | 0x5412, "TIOCLINUX": 0x541C}
try:
    is_foreground = os.tcgetpgrp(0) == os.getpgrp()
except OSError:
    is_foreground = False
print(json.dumps({"errors": {name: push(command) for name, command in commands.items()}, "uid": os.getuid(),
    "foreground": is_foreground, "terminal": os.isatty(0)}), flush=True)
"""
# A kernel without seccomp, or whose seccomp is forbidden.
WITHOUT_SECCOMP = """
import sys
from lessee.process import system_calls
system_calls.deny_terminal_input = lambda: "the kernel refuses a filter"
from lessee.cli import main
sys.exit(main())
"""


@pytest.fixture
def child(bao, sidecar, memory, folder):
    """Starts `lessee exec` with a thief, and returns what it prints."""
    need(os.geteuid() == 0 and Path(PYTHON).exists(), f"needs root, and {PYTHON}")
    memory.chmod(0o711)
    bao.put(f"testing/{folder}", value=CANARY)
    sidecar.template("a.txt.j2", f'{{{{ secret("{folder}").value }}}}')
    (sidecar.disk / "environ.j2").write_text(f'PASSWORD={{{{ secret("{folder}").value }}}}\n')
    sidecar.web["env_template"] = "environ.j2"
    sidecar.config["exec"] = {"user": f"{USER}:{USER}"}
    files = {"role_id_file": memory / "role_id", "secret_id_file": memory / "secret_id"}
    values = bao.approle(folder, 'path "secret/*" { capabilities = ["read", "list"] }')
    for path, value in zip(files.values(), values, strict=True):
        path.write_text(value)
        path.chmod(0o600)
    sidecar.config["vault"]["auth"] = {"method": "approle"} | {key: str(path) for key, path in files.items()}
    del sidecar.environ["VAULT_TOKEN"]
    output = sidecar.disk / "output"

    def start(*options):
        sidecar.write_config()
        sought = [*files.values(), sidecar.state, sidecar.socket, sidecar.state / "lock"]
        command = [PYTHON, "-I", "-c", THIEF, str(sidecar.directory / "a.txt"), *map(str, sought)]
        sidecar.spawn("exec", "--app", "web", *options, "--", *command, output=output)
        return said(output)

    def at_terminal(*options, program):
        """What the typist says, and what root's shell reads after it from their terminal."""
        sidecar.write_config()
        ours, theirs = os.openpty()
        read = sidecar.disk / "read"
        lessee = [*program, "exec", "--app", "web", *options, "--", PYTHON, "-I", "-c", TYPIST]
        shell = ["bash", "-c", f'"$@"; IFS= read -r line; printf %s "$line" >{read}', "-", *lessee]
        with output.open("wb") as file:
            process = subprocess.Popen(
                ["setsid", "--ctty", *shell],
                cwd=sidecar.disk,
                env=sidecar.environ,
                stdin=theirs,
                stdout=file,
                stderr=theirs,
            )
        os.close(theirs)
        try:
            found = said(output)
            os.write(ours, b"typed by root\n")
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
            os.close(ours)
        return found, read.read_text()

    start.at_terminal = at_terminal
    start.again = lambda count: said(output, count)
    return start


def said(output, count=1):
    def look():
        assert output.exists()
        lines = output.read_text().splitlines()
        return len(lines) >= count and json.loads(lines[count - 1])

    return eventually(look, "its words")


@pytest.mark.parametrize("options", [(), ("--once",)], ids=["exec", "once"])
def test_a_child_with_a_user_of_its_own_reads_nothing_of_the_agent_and_has_no_privileges(child, options):
    found = child(*options)
    # With --once there is no agent: its parent is the test.
    assert [one for one in found["stolen"] if not (options and one.startswith("/proc/"))] == []
    assert (found["file"], found["password"]) == (CANARY, CANARY)
    assert {found[name][0] for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {"0" * 16}
    assert (found["NoNewPrivs"], found["Groups"]) == (["1"], [])
    assert set(found["Uid"]) == set(found["Gid"]) == {str(USER)}


@pytest.mark.parametrize("options", [(), ("--once",)], ids=["exec", "once"])
def test_a_child_with_a_user_of_its_own_types_nothing_into_the_terminal_of_root(child, options):
    found, line = child.at_terminal(*options, program=[sys.executable, "-m", "lessee"])
    assert (line, found["uid"]) == ("typed by root", USER)
    assert found["errors"] == dict.fromkeys(found["errors"], errno.EPERM)
    # It is as interactive as before.
    assert found["foreground"]
    assert found["terminal"]


WAITER = "import os, signal, json; print(json.dumps(os.getpid()), flush=True); signal.pause()"


@pytest.mark.parametrize("killed", ["first process", "agent"])
@pytest.mark.parametrize("has_user", [True, False], ids=["user", "same user"])
@pytest.mark.usefixtures("child")
def test_a_killed_agent_leaves_no_child_behind(sidecar, killed, has_user):
    """A service manager starts a second one, and both would serve."""
    if not has_user:
        del sidecar.config["exec"]
    sidecar.write_config()
    output = sidecar.disk / "output"
    sidecar.spawn("exec", "--app", "web", "--", PYTHON, "-I", "-c", WAITER, output=output)
    pid = said(output)
    identity = procfs.stat(pid).started
    os.kill(sidecar.process.pid if killed == "first process" else sidecar.pid, signal.SIGKILL)
    assert sidecar.process.wait(PATIENCE) == -signal.SIGKILL

    def has_ended():
        try:
            found = procfs.stat(pid)
        except OSError:
            return True
        return found.started != identity or found.state in "ZX"

    eventually(has_ended, "the end of the child")


@pytest.mark.usefixtures("child")
def test_the_thread_that_started_the_child_may_kill_it(sidecar):
    """The kernel kills the child with the rights of the thread, where that is the last of a killed agent to end."""
    sidecar.write_config()
    output = sidecar.disk / "output"
    sidecar.spawn("exec", "--app", "web", "--", PYTHON, "-I", "-c", WAITER, output=output)
    child, task = said(output), Path(f"/proc/{sidecar.pid}/task")
    [parent] = [one for one in task.iterdir() if str(child) in (one / "children").read_text().split()]
    effective = re.search(r"^CapEff:\s*(\w+)$", (parent / "status").read_text(), re.MULTILINE)[1]
    assert int(effective, 16) >> Capability.KILL & 1


def environ_of(sidecar, *options):
    sidecar.write_config()
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    done = sidecar.command("exec", "--app", "web", *options, "--", PYTHON, "-I", "-c", code)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


CREDENTIALS = {
    "RPW": "canary-of-redis",
    "HOOKPW": "canary-of-the-hook",
    "COPY": "url=redis://agent:canary-of-redis@127.0.0.1:9/0",
    "OPENBAO_TOKEN": "canary-1",
    "bao_token": "canary-2",
    "vault_secret_id": "canary-3",
    "OTEL_EXPORTER_OTLP_HEADERS": "api-key=canary-4",
    "OTEL_EXPORTER_OTLP_METRICS_HEADERS": "api-key=canary-5",
    "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://u:canary-of-otel@127.0.0.1:9",
    "CREDENTIALS_DIRECTORY": "/canary-6",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "canary-7",
}
PROXY = "http://u:canary-of-the-proxy@127.0.0.1:9"


@pytest.mark.parametrize("options", [(), ("--once",)], ids=["exec", "once"])
@pytest.mark.parametrize("has_user", [True, False], ids=["user", "same user"])
@pytest.mark.usefixtures("child")
def test_the_child_inherits_no_credential_of_the_agent(sidecar, options, has_user):
    if not has_user:
        del sidecar.config["exec"]
    sidecar.config["events"] = {"redis": "redis://agent:${RPW}@127.0.0.1:9/0"}
    sidecar.web["notify"] = {"http": "http://hook:${HOOKPW}@127.0.0.1:9/"}
    sidecar.environ |= CREDENTIALS | {"HTTPS_PROXY": PROXY, "NO_PROXY": "*", "OTEL_SERVICE_NAME": "web"}
    found = environ_of(sidecar, *options)
    canaries = {name for name, value in found.items() if "canary" in value and name != "PASSWORD"}
    # A child of the agent's own user could read the login anyway, and may need the proxy.
    assert canaries == (set() if has_user else {"HTTPS_PROXY"})
    assert (found["NO_PROXY"], found["OTEL_SERVICE_NAME"], found["PASSWORD"]) == ("*", "web", CANARY)


@pytest.mark.usefixtures("child")
def test_the_child_gets_the_proxy_that_its_template_sets(sidecar):
    sidecar.environ |= {"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}
    with (sidecar.disk / "environ.j2").open("a") as file:
        file.write("HTTPS_PROXY=http://web:of-the-app@127.0.0.1:9\n")
    assert environ_of(sidecar)["HTTPS_PROXY"] == "http://web:of-the-app@127.0.0.1:9"


@pytest.mark.parametrize("options", [(), ("--once",)], ids=["exec", "once"])
def test_without_seccomp_such_a_child_has_no_controlling_terminal_to_type_into(child, options):
    found, line = child.at_terminal(*options, program=[sys.executable, "-c", WITHOUT_SECCOMP])
    assert (line, found["uid"]) == ("typed by root", USER)
    assert 0 not in found["errors"].values()
    assert not found["foreground"]


def test_the_agent_of_such_a_child_keeps_three_capabilities_and_still_restarts_it(child, bao, sidecar, folder):
    sidecar.web["notify"] = {"child": True, "action": "restart", "stop_grace_period": "5s"}
    child()
    assert sidecar.status()["sandbox"]["capabilities"] == ["KILL", "SETGID", "SETUID"]
    lines = Path(f"/proc/{sidecar.pid}/status").read_text().splitlines()
    fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert (fields["CapEff"], fields["NoNewPrivs"]) == ("00000000000000e0", "1")
    bao.put(f"testing/{folder}", value="second")
    again = child.again(2)
    assert (again["file"], again["password"], again["stolen"]) == ("second", "second", [])
    sidecar.process.terminate()
    assert sidecar.process.wait(PATIENCE) == 143


@pytest.mark.usefixtures("child")
def test_without_the_capabilities_or_with_the_agents_own_user_it_does_not_start(sidecar):
    sidecar.config["exec"] = {"user": "0:0"}
    sidecar.write_config()
    run = sidecar.command("exec", "--app", "web", "--", "true")
    assert (run.returncode, "exec.user" in run.stderr, "write the uid of the app" in run.stderr) == (78, True, True)
    sidecar.config["exec"] = {"user": "1000:1000"}
    sidecar.write_config()
    before = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--")
    run = sidecar.command("exec", "--app", "web", "--", "true", before=before)
    assert (run.returncode, "the agent lacks CAP_KILL, CAP_SETGID, CAP_SETUID" in run.stderr) == (78, True)
