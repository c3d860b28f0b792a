"""Checks that `lessee check` reads Compose files as Docker Compose does."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lessee.ops.lint.policy.compose.reader import ComposeReader
from support.needs import need
from support.paths import ROOT

BASE = """\
x-common: &common
  environment: &environment {A: "1", EMPTY: "", FROM_HOST: }
  restart: unless-stopped
services:
  web:
    <<: *common
    image: web
    entrypoint: ["sh", -c, 'exec "$$@"', sh]
    command: uvicorn 'app:app' --workers "2" # not this
    volumes: ["files:/run/secrets/web:ro", "./src/../app:/app", /scratch, "/srv:/srv:rw"]
    secrets: [one, {source: one, target: two}, {source: one, target: /three}]
    stop_signal: SIGTERM
    build: {context: ., args: [B=2, FROM_HOST]}
  worker:
    extends: {service: web}
    environment: {C: "3", A: "2"}
    pid: service:web
    command: [celery, -A, app]
    volumes: [{type: volume, source: files, target: /run/secrets/web, read_only: false, volume: {subpath: w}}]
  other:
    extends: {file: in/other.yaml, service: base}
    env_file: more.env
  alone: {image: web, environment: {<<: *environment, D: "4"}}
secrets: {one: {file: ./one}}
volumes: {files: {}}
"""
OTHER = """\
services:
  base:
    image: base
    env_file: [./base.env, {path: gone.env, required: false}]
    volumes: ["./data:/data", "files:/files"]
volumes: {files: {}}
"""
OVER = """\
services:
  web:
    environment: [C=5, A=6]
    command: !reset null
    volumes: ["./other:/app:ro"]
  worker:
    environment: !override {Z: "26"}
    volumes: !reset []
  new: {image: new, pid: host}
"""


@pytest.fixture
def compose(tmp_path):
    """The services that Docker Compose reads from these files."""
    docker = shutil.which("docker")
    has_compose = (
        docker and subprocess.run([docker, "compose", "version"], check=False, capture_output=True).returncode == 0
    )
    need(has_compose, "needs docker with Compose (Debian: docker-cli docker-compose)")

    def services(*paths):
        files = [word for path in paths for word in ("-f", str(path))]
        environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DOCKER_GID": "1"}
        done = subprocess.run(
            [docker, "compose", *files, "config", "--format", "json"],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["services"]

    return services


def assert_same(read, expected, variables=lambda _: {}):
    """Compare lessee's services with those of Compose. `variables` returns the names in a service's env_files."""
    assert read.keys() == expected.keys()
    for name, service in expected.items():
        ours = read[name]
        # Compose adds the variables of env_files to the environment.
        assert ours.environment.keys() | variables(ours) == (service.get("environment") or {}).keys(), name
        for item, value in ours.environment.items():
            if "$" not in (value.value or ""):
                assert value.value == service["environment"][item]
        with_value = {item for item, value in ours.build_args.items() if value.value is not None}
        assert with_value == service.get("build", {}).get("args", {}).keys()
        for words, theirs in ((ours.command, service["command"]), (ours.entrypoint, service["entrypoint"])):
            # Compose writes `$$` for each `$`, so that the output is a valid Compose file.
            plain = theirs and [word.replace("$$", "$") for word in theirs]
            assert (list(words.words) if words else None) == plain
        assert {(m.volume, m.target, m.read_only) for m in ours.mounts if m.volume or m.source != "/"} == {
            (m["source"] if m["type"] == "volume" else "", m["target"], m.get("read_only", False))
            for m in service.get("volumes", [])
            if "source" in m
        }
        sources = {m["target"]: m["source"] for m in service.get("volumes", []) if m["type"] == "bind"}
        for mount in ours.mounts:
            if mount.target in sources and "$" not in mount.source:
                assert mount.source == sources[mount.target]
        targets = [item.get("target") or f"/run/secrets/{item['source']}" for item in service.get("secrets", [])]
        assert sorted(target for target, _ in ours.secrets) == sorted(
            target if target.startswith("/") else f"/run/secrets/{target}" for target in targets
        )
        assert (ours.pid, ours.restart, ours.stop_signal) == tuple(
            service.get(key) for key in ("pid", "restart", "stop_signal")
        )


@pytest.mark.parametrize("example", sorted(ROOT.glob("compose/*/compose.yaml")), ids=lambda path: path.parent.name)
def test_the_files_of_the_stacks_are_read_as_by_compose(compose, example):
    assert_same(ComposeReader(lambda path: Path(path).read_text()).services([str(example)]), compose(example))


@pytest.mark.parametrize("names", [["compose.yaml"], ["compose.yaml", "over.yaml"]], ids=["one", "over"])
def test_all_notations_of_a_value_are_read_as_by_compose(compose, tmp_path, names):
    (tmp_path / "in").mkdir()
    texts = {
        "compose.yaml": BASE,
        "in/other.yaml": OTHER,
        "over.yaml": OVER,
        "more.env": "M=1\n",
        "in/base.env": "N=2\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    paths = [tmp_path / name for name in names]
    reader = ComposeReader(lambda path: Path(path).read_text())
    services = reader.services(map(str, paths))

    def variables(service):
        present = [Path(file.path) for file in service.env_files if Path(file.path).exists()]
        return {line.partition("=")[0] for path in present for line in path.read_text().splitlines()}

    assert_same(services, compose(*paths), variables)
    assert not reader.findings


IMAGE = "services: {x: {image: %s, volumes: ['./q:/q']}}"
UNUSUAL = {
    "include": {
        "compose.yaml": "include: [{path: [a/a.yaml, a/b.yaml]}]\nservices: {web: {image: i}}",
        "a/a.yaml": "include: [../c/c.yaml]\nservices: {db: {image: d, volumes: ['./x:/x'], environment: {A: '1'}}}",
        "a/b.yaml": "services: {db: {environment: {A: '2'}, volumes: ['./y:/y']}}",
        "c/c.yaml": IMAGE % "c",
        "over.yaml": "services: {db: {environment: {A: '3'}}}",
    },
    "project_directory": {
        "compose.yaml": "include: [{path: a/a.yaml, project_directory: p}]\nservices: {web: {image: i}}",
        "a/a.yaml": "include: [x.yaml]\nservices: {a: {extends: {file: y.yaml, service: x}, volumes: ['./z:/z']}}",
        "p/x.yaml": IMAGE % "x",
        "p/y.yaml": IMAGE % "y",
        "over.yaml": "services: {web: {environment: [A]}}",
    },
    "documents": {
        "compose.yaml": "\ufeffservices: {a: {image: i, environment: {A: '1'}}}\n---\n"
        "services: {b: {image: j}, a: {pid: host}}\n",
        "over.yaml": "---\nservices: {a: {environment: {B: '2'}}}\n...\n",
    },
    "reset": {
        "compose.yaml": "services:\n"
        "  a: {image: i}\n"
        "  b: {image: j, command: x, environment: {A: '1', B: '2'}}\n"
        "  c: {build: {context: ., args: {A: '1', B: '2'}}, command: x, entrypoint: y, pid: host,"
        " environment: {A: '1'}}\n"
        "  d: {build: {context: ., args: {A: '1', B: '2'}}, environment: {A: '1', B: '2'}, volumes: ['aa:/a']}\n"
        "volumes: {aa: {}, bb: {}}",
        "other.yaml": "services: {e: {image: k, volumes: ['bb:/b']}}",
        "over.yaml": "services:\n"
        "  a: !reset null\n"
        "  b: !override {image: k, environment: {B: '3'}}\n"
        "  c: {build: {args: !override {C: '3'}}, command: null, entrypoint: , pid: null, environment: null}\n"
        "  d: {extends: {file: other.yaml, service: e}, build: {args: {A: !reset null}}, environment: {A: !reset null},"
        " volumes: !reset []}\n",
    },
    "everything": {
        "compose.yaml": "include: [x.yaml]\nservices: {a: {image: i}}",
        "x.yaml": IMAGE % "x",
        "over.yaml": "services: !override {b: {image: j}}",
    },
    "twice": {
        "compose.yaml": "services: {a: {image: i, secrets: [s, {source: s, target: t}], "
        " volumes: ['./a:/a', './b:/a/']}}\n"
        "secrets: {s: {environment: S}, u: {environment: S}}",
        "over.yaml": "services: {a: {secrets: [s, {source: u, target: t}, u]}}",
    },
}


@pytest.mark.parametrize("names", [["compose.yaml"], ["compose.yaml", "over.yaml"]], ids=["one", "over"])
@pytest.mark.parametrize("case", UNUSUAL)
def test_unusual_valid_files_are_read_as_by_compose(compose, tmp_path, case, names):
    for name, text in UNUSUAL[case].items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    paths = [tmp_path / name for name in names]
    reader = ComposeReader(lambda path: Path(path).read_text())
    assert_same(reader.services(map(str, paths)), compose(*paths))
    assert not reader.findings


def test_relative_paths_are_relative_to_the_first_file(compose, tmp_path):
    texts = {
        "d/compose.yaml": "services: {a: {image: i}}",
        "e/over.yaml": "include: [x.yaml]\n"
        "services: {a: {volumes: ['./y:/y'], command: z}, b: {extends: {file: x.yaml, service: x}}}",
        "d/x.yaml": IMAGE % "d",
        "e/x.yaml": IMAGE % "e",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    paths = [tmp_path / "d/compose.yaml", tmp_path / "e/over.yaml"]
    assert_same(ComposeReader(lambda path: Path(path).read_text()).services(map(str, paths)), compose(*paths))
