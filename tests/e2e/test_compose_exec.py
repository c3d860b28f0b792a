"""`lessee exec` as PID 1 of a container on a real Engine: secrets are only in the app's environment."""

import json

import pytest

from e2e.compose import AGENT_THIEF, EXEC_APP, fingerprint
from support.paths import ROOT
from support.programs.sidecar import eventually

pytestmark = pytest.mark.docker

USER = "1000:1000"
"""The app's user, in compose/exec/lessee/lessee.yaml."""

# Forty processes whose parents exit; each exits once PID 1 has become its parent.
ORPHANS = """
import os, time
reader, writer = os.pipe()
for _ in range(40):
    if (child := os.fork()) == 0:
        if os.fork() == 0:
            while os.getppid() != 1:
                time.sleep(0.001)
            os.write(writer, b".")
        os._exit(0)
    os.waitpid(child, 0)
os.close(writer)
print(len(os.fdopen(reader, "rb").read()))
"""
ZOMBIES = """
from pathlib import Path
states = [file.read_text().rpartition(") ")[2][0] for file in Path("/proc").glob("[0-9]*/stat")]
print(len(states), states.count("Z"))
"""
ENVIRON = """
from pathlib import Path
for file in Path("/proc").glob("[0-9]*/environ"):
    words = (file.parent / "cmdline").read_bytes().split(b"\\0")
    if b"/app/app.py" in words and b"/opt/lessee/bin/lessee" not in words:
        print(file.read_text().replace("\\0", "\\n"))
"""


@pytest.fixture(scope="module")
def project(images):
    with images.up("exec", {"app": EXEC_APP}) as project:
        project.wait_for_lines("app", "start:", 1)
        yield project


@pytest.mark.thorough
def test_a_rotated_secret_restarts_the_app_but_not_its_container(project):
    value = project.rotate()
    assert project.wait_for_lines("app", "start:", 2)[-1] == f"start: {fingerprint(value)}"
    assert app_environment(project)["DATABASE_PASSWORD"] == value
    assert project.inspect("app")["RestartCount"] == 0
    assert project.run("app", "cat", "/proc/1/cmdline").startswith(
        "/opt/lessee/bin/python\0/opt/lessee/bin/lessee\0exec"
    )


def test_the_value_is_in_the_apps_environment_but_not_in_inspect_image_container_or_logs(project, tmp_path):
    environ = app_environment(project)
    assert environ["DATABASE_USER"] == "app"
    value = environ["DATABASE_PASSWORD"]
    assert "Permission denied" in project.run("app", "cat", "/proc/1/environ", check=False)
    container = project.container("app")
    outputs = [
        json.dumps(project.inspect("app")),
        project.compose("config"),
        project.compose("logs"),
        project.docker("history", "--no-trunc", EXEC_APP["image"]),
        project.docker("diff", container),
    ]
    assert not [text for text in outputs if value in text]
    project.docker("export", "--output", str(tmp_path / "container.tar"), container)
    layers = (tmp_path / "container.tar").read_bytes()
    assert (ROOT / "compose/exec/app.py").read_bytes() in layers
    assert value.encode() not in layers
    # The container can write only to tmpfs.
    mounts = {mount["Destination"]: mount for mount in project.inspect("app")["Mounts"]}
    assert set(mounts) == {"/etc/lessee", "/run/identity", "/run/lessee", "/run/secrets/app"}
    writable = [path for path, mount in mounts.items() if mount["RW"]]
    kinds = project.run("app", "stat", "--file-system", "--format=%T", *writable).split()
    assert kinds == ["tmpfs"] * 2


def test_the_agent_has_three_capabilities_and_the_app_none(project):
    container = project.inspect("app")
    assert container["Config"]["User"] == "0:0"
    assert container["HostConfig"]["ReadonlyRootfs"]
    status = fields(project.run("app", "cat", "/proc/1/status"))
    assert {status[name] for name in ("CapEff", "CapPrm", "CapBnd")} == {"00000000000000e0"}
    assert {status[name] for name in ("CapInh", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"


def test_orphans_leave_no_zombies(project):
    assert project.run("app", "python3", "-c", ORPHANS).strip() == "40"

    def no_zombies():
        processes, zombies = map(int, project.run("app", "python3", "-c", ZOMBIES).split())
        assert processes >= 3  # lessee, the app, and the counting program
        return zombies == 0

    eventually(no_zombies, "a process list without zombies")


def test_docker_stop_returns_the_apps_exit_code_and_a_start_needs_no_second_login(project):
    starts, logins = len(project.lines("app", "start:")), len(project.lines("app", '"logged in"'))
    # The app itself exits; after the timeout the Engine would kill it with another exit code.
    project.compose("stop", "--timeout", "60", "app")
    assert project.inspect("app")["State"]["ExitCode"] == 128 + 15  # it does not catch SIGTERM
    project.compose("start", "app")
    project.wait_for_lines("app", "start:", starts + 1)
    assert len(project.lines("app", '"logged in"')) == logins


def test_the_container_exits_with_the_apps_exit_code(project):
    project.compose("stop", "app")
    value = project.rotate()
    command = ("run", "--detach", "--no-deps", "app", "sh", "-c", "exit ${#DATABASE_PASSWORD}")
    container = project.compose(*command).split()[-1]
    try:
        assert project.docker("wait", container).strip() == str(len(value))
    finally:
        project.docker("rm", "--force", container)


def test_the_app_reads_nothing_of_the_agent_and_cannot_signal_it(project):
    project.compose("stop", "app")
    container = project.compose("run", "--detach", "--no-deps", "app", "python3", "-c", AGENT_THIEF).split()[-1]
    try:
        assert project.docker("wait", container).strip() == "0"
        lines = project.docker("logs", container).splitlines()
    finally:
        project.docker("rm", "--force", container)
    [found] = [json.loads(line) for line in lines if line.startswith('{"agents"')]
    assert found["agents"] == 2  # the first process, and the fork that holds the secrets
    assert (found["folders"], found["stolen"]) == (["/run/identity", "/run/lessee"], [])
    assert {found[name][0] for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {"0" * 16}
    assert (found["NoNewPrivs"], found["Groups"], {*found["Uid"], *found["Gid"]}) == (["1"], [], {"1000"})


def app_environment(project):
    # Of another user, without CAP_SYS_PTRACE, not even root may read it.
    lines = project.run("app", "python3", "-c", ENVIRON, user=USER).splitlines()
    return dict(line.split("=", 1) for line in lines if line)


def fields(status):
    return dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
