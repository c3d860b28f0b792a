"""Stacks that do not work are mended by `lessee check --fix`, or by its lines, and come up on a real Engine."""

import os
import shutil
from contextlib import contextmanager

import pytest

from e2e.compose import AGENT, OPENBAO, Project, fingerprint
from support.paths import ROOT
from support.programs.forks import run_lessee

pytestmark = pytest.mark.docker

QUICKSTART = ROOT / "compose/quickstart"
OLD = "stale-and-never-read"
AGENT_PARTS = """
  # The app alone, with its server.
  app:
    image: BASE
    user: "1000:1000"
    read_only: true
    command: [python3, /app/app.py]
    environment:
      DATABASE_PASSWORD: stale-and-never-read # from before
    volumes: ["./app:/app:ro"]
    depends_on: [openbao]
"""
SERVER = """
  openbao:
    image: lessee-e2e-openbao
    command: [server, -dev, -dev-no-store-token, "-dev-listen-address=0.0.0.0:8200", -dev-root-token-id=quickstart]
    environment: &openbao {BAO_ADDR: "http://openbao:8200", BAO_TOKEN: quickstart}
    networks: [vault]
    healthcheck:
      test: [CMD, bao, read, secret/config]
      start_period: 30s
      start_interval: 500ms

  setup:
    image: lessee-e2e-openbao
    user: "0:0"
    entrypoint: [sh, /setup.sh]
    environment: *openbao
    networks: [vault]
    volumes: ["./openbao/setup.sh:/setup.sh:ro", "./identity:/run/identity"]
    depends_on:
      openbao: {condition: service_healthy}

networks:
  vault: {}
"""
# It prefers its environment, as most programs do.
APP = """
import hashlib, os, signal, time
from pathlib import Path

FILE = Path("PATH")

def read(reason):
    lines = dict(line.split("=", 1) for line in FILE.read_text().splitlines() if "=" in line)
    value = os.environ.get("DATABASE_PASSWORD") or lines["DATABASE_PASSWORD"].strip("'")
    print(f"{reason}: {hashlib.sha256(value.encode()).hexdigest()[:12]}", flush=True)

signal.signal(signal.SIGHUP, lambda *_: read("SIGHUP"))
while not FILE.exists():
    time.sleep(0.1)
read("start")
while True:
    signal.pause()
"""


IMAGES = f"services: {{agent: {{image: {AGENT}}}, holder: {{image: {AGENT}}}}}\n"
"""The lines of `lessee check` name the image `lessee`."""


class Stack:
    """A copy of the quickstart, whose files a test breaks and `lessee check` mends."""

    def __init__(self, images, folder, name):
        self._images, self.name, self.folder = images, f"lessee-e2e-fixes-{name}", folder
        for part in ("app", "lessee", "openbao"):
            shutil.copytree(QUICKSTART / part, folder / part)
        (folder / "identity").mkdir()
        self.file = folder / "compose.yaml"
        self.write(QUICKSTART.joinpath("compose.yaml").read_text())
        self.app()

    def app(self, path="/run/secrets/app/app.env"):
        (self.folder / "app/app.py").write_text(APP.replace("PATH", path))

    def write(self, text):
        self.file.write_text(text.replace("image: lessee-openbao", f"image: {OPENBAO}"))

    def edit(self, *pairs):
        text = self.file.read_text()
        for old, new in pairs:
            assert old in text, old
            text = text.replace(old, new)
        self.write(text)

    def check(self, *options):
        words = ["check", "--config", "lessee/lessee.yaml", *options, "--compose", self.file.name]
        return run_lessee(*words, cwd=self.folder, env=dict(os.environ))

    def fix(self):
        done = self.check("--fix", "--yes")
        assert done.returncode == 0, done.stderr
        assert OLD not in done.stdout + done.stderr
        assert "`docker compose config` accepts them" in done.stderr
        assert self.check().stdout.startswith("app ")
        assert "nothing to fix" in self.check("--fix", "--yes").stderr

    @contextmanager
    def up(self, *files):
        """Start it; the images that it names are the tests'."""
        (self.folder / "images.yaml").write_text(IMAGES)
        paths = [self.folder / file for file in (self.file.name, *files, "images.yaml")]
        project = Project(self._images.engine, self.name, paths, {"BASE_IMAGE": self._images.base})
        try:
            project.compose("run", "--rm", "setup")
            project.compose("up", "--detach", "--no-build", "app")  # `setup` would write its files again.
            yield project
        finally:
            project.down()


@pytest.fixture
def stack(images, tmp_path, request):
    return Stack(images, tmp_path, request.node.name.partition("[")[0].rpartition("_")[2])


def check_that_a_rotation_reaches(project):
    project.wait_for_lines("app", "start:", 1)
    value = project.rotate()
    [line] = project.wait_for_lines("app", f": {fingerprint(value)}", 1)
    assert line.startswith("SIGHUP:")


def write_app_alone(stack):
    stack.write(f"services:{AGENT_PARTS.replace('BASE', stack._images.base)}{SERVER}")


@pytest.mark.thorough
def test_fix_adds_the_agent_and_all_that_it_shares_to_a_stack_without_one(stack):
    write_app_alone(stack)
    stack.fix()
    assert "# The app alone, with its server." in stack.file.read_text()
    with stack.up() as project:
        check_that_a_rotation_reaches(project)


@pytest.mark.thorough
def test_the_lines_of_check_make_a_stack_work_when_pasted(stack):
    write_app_alone(stack)
    done = stack.check()
    assert done.returncode == 0, done.stderr
    (stack.folder / "compose.override.yaml").write_text(done.stdout)
    with stack.up("compose.override.yaml") as project:
        check_that_a_rotation_reaches(project)


@pytest.mark.thorough
def test_fix_lets_agent_and_app_share_a_pid_namespace(stack):
    stack.edit(("    pid: service:holder\n", ""))
    assert "no-shared-pid" in stack.check("--format", "json").stdout
    stack.fix()
    with stack.up() as project:
        check_that_a_rotation_reaches(project)


@pytest.mark.thorough
def test_fix_mounts_the_directory_instead_of_a_part_and_removes_a_variable_that_hides_another(stack):
    part = "{type: volume, source: files, target: /run/secrets/app/conf, read_only: true, volume: {subpath: conf}}"
    variables = f"    environment: {{LOG_LEVEL: debug, DATABASE_PASSWORD: {OLD}}}\n"
    (stack.folder / "app.env").write_text(f"A=1\nDATABASE_PASSWORD={OLD}\nB=2\n")
    command = "    command: [python3, /app/app.py]\n"
    stack.edit(('"files:/run/secrets/app:ro"', part), (command, f"{command}{variables}    env_file: app.env\n"))
    config = stack.folder / "lessee/lessee.yaml"
    config.write_text(config.read_text().replace("template: app.env.j2", "{template: app.env.j2, name: conf/app.env}"))
    stack.app("/run/secrets/app/conf/app.env")
    found = stack.check("--format", "json").stdout
    assert [rule for rule in ("stale-mount", "shadowed-variable") if rule not in found] == []
    stack.fix()
    assert (stack.folder / "app.env").read_text() == "A=1\nB=2\n"
    assert "    environment: {LOG_LEVEL: debug}\n" in stack.file.read_text()
    with stack.up() as project:
        check_that_a_rotation_reaches(project)
