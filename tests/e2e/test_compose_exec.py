"""`lessee exec` as PID 1 of a container on a real Engine: secrets in the app's environment, and nowhere else."""

import json
import time

import pytest

from e2e.compose import AGENT, fingerprint, images, up
from support.programs.sidecar import eventually

pytestmark = pytest.mark.docker

IMAGE = "lessee-e2e-exec-app"
# Forty who outlive who started them, and end when they have come to PID 1.
ORPHANS = """
import os, time
ended, end = os.pipe()
for _ in range(40):
    if (child := os.fork()) == 0:
        if os.fork() == 0:
            while os.getppid() != 1:
                time.sleep(0.001)
            os.write(end, b".")
        os._exit(0)
    os.waitpid(child, 0)
os.close(end)
print(len(os.fdopen(ended, "rb").read()))
"""
ZOMBIES = """
from pathlib import Path
states = [file.read_text().rpartition(") ")[2][0] for file in Path("/proc").glob("[0-9]*/stat")]
print(len(states), states.count("Z"))
"""
ENVIRON = """
from pathlib import Path
for file in Path("/proc").glob("[0-9]*/environ"):
    if b"/app/app.py" in (file.parent / "cmdline").read_bytes().split(b"\\0") and file.parent.name != "1":
        print(file.read_text().replace("\\0", "\\n"))
"""


@pytest.fixture(scope="module")
def project(pytestconfig):
    made = images(pytestconfig)
    build = {"additional_contexts": {"lessee": f"docker-image://{AGENT}"}}
    with up(pytestconfig, "exec", {"app": {"image": IMAGE, "build": build}}) as project:
        project.until("app", "start:", 1)
        yield project
    made.engine.remove(IMAGE)


def test_a_rotated_secret_restarts_the_app_and_not_its_container(project):
    value = project.rotate()
    assert project.until("app", "start:", 2)[-1] == f"start: {fingerprint(value)}"
    assert environ_of(project)["DATABASE_PASSWORD"] == value
    seen = project.inspect("app")
    assert seen["RestartCount"] == 0
    assert project.run("app", "cat", "/proc/1/cmdline").startswith(
        "/opt/lessee/bin/python\0/opt/lessee/bin/lessee\0exec"
    )


def test_its_value_is_in_the_apps_environment_and_not_in_inspect_the_image_the_container_or_the_logs(project, tmp_path):
    environ = environ_of(project)
    assert environ["DATABASE_USER"] == "app"
    value = environ["DATABASE_PASSWORD"]
    assert "Permission denied" in project.run("app", "cat", "/proc/1/environ", fine=False)
    container = project.container("app")
    shown = [
        json.dumps(project.inspect("app")),
        project.compose("config"),
        project.compose("logs"),
        project.docker("history", "--no-trunc", IMAGE),
        project.docker("diff", container),
    ]
    assert not [text for text in shown if value in text]
    project.docker("export", "--output", str(tmp_path / "container.tar"), container)
    layers = (tmp_path / "container.tar").read_bytes()
    assert b"knows nothing of lessee" in layers  # app.py is there
    assert value.encode() not in layers
    # What is neither the image nor in memory does not exist for it.
    mounts = {mount["Destination"]: mount for mount in project.inspect("app")["Mounts"]}
    assert set(mounts) == {"/etc/lessee", "/run/identity", "/run/lessee", "/run/secrets/app"}
    written = [path for path, mount in mounts.items() if mount["RW"]]
    kinds = project.run("app", "stat", "--file-system", "--format=%T", *written).split()
    assert kinds == ["tmpfs"] * 2


def test_orphans_leave_no_zombies(project):
    assert project.run("app", "python3", "-c", ORPHANS).strip() == "40"

    def counted():
        there, zombies = map(int, project.run("app", "python3", "-c", ZOMBIES).split())
        assert there >= 3  # lessee, the app, and who counts
        return zombies == 0

    eventually(counted, "the end of the zombies")


def test_a_stop_ends_app_and_container_with_the_apps_exit_code_and_a_start_needs_no_second_login(project):
    starts, tokens = len(project.lines("app", "start:")), len(project.lines("app", '"logged in"'))
    before = time.monotonic()
    project.compose("stop", "--timeout", "60", "app")
    assert time.monotonic() - before < 10
    assert project.inspect("app")["State"]["ExitCode"] == 128 + 15  # it does not catch SIGTERM
    project.compose("start", "app")
    project.until("app", "start:", starts + 1)
    assert len(project.lines("app", '"logged in"')) == tokens


def test_the_apps_exit_code_is_the_containers(project):
    project.compose("stop", "app")
    long = project.rotate()
    command = ("run", "--detach", "--no-deps", "app", "sh", "-c", "exit ${#DATABASE_PASSWORD}")
    once = project.compose(*command).split()[-1]
    try:
        assert project.docker("wait", once).strip() == str(len(long))
    finally:
        project.docker("rm", "--force", once)


def environ_of(project):
    lines = project.run("app", "python3", "-c", ENVIRON).splitlines()
    return dict(line.split("=", 1) for line in lines if line)
