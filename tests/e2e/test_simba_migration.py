"""What compose/simba/MIGRATION.md says of its steps is so, for a project of the shape that Simba's own has."""

import json
import re
import subprocess
import sys

import pytest
import yaml
from dotenv import dotenv_values

from support.environments.setup_namespace import Ground
from support.paths import ROOT

PAGE = ROOT / "compose" / "simba" / "MIGRATION.md"
LESSEE_YAML = ROOT / "compose" / "simba" / "lessee" / "lessee.yaml"
CANARY = "canary-simba-c4n4ry"
ENV = f"""\
DATABASE_URL=postgresql://simba:{CANARY}@postgres:5432/simba
MINIO_SECRET_KEY={CANARY}
OPENAI_API_KEY={CANARY}
LOG_LEVEL=info
"""
# `env_file` and `environment` say the same, as in Simba's own file.
COMPOSE = f"""\
services:
  server:
    image: simba
    command: uvicorn simba.api.app:app --host 0.0.0.0
    env_file:
      - ../.env
    environment:
      - DATABASE_URL=postgresql://simba:{CANARY}@postgres:5432/simba
      - CELERY_BROKER_URL=redis://redis:6379/0
      - LOG_LEVEL=debug
  celery_worker:
    image: simba
    command: celery --app simba.tasks worker
    env_file: ../.env
    environment:
      DATABASE_URL: postgresql://simba:{CANARY}@postgres:5432/simba
  postgres: {{image: "postgres:15", environment: {{POSTGRES_USER: simba, POSTGRES_DB: simba}}}}
"""
SIDECAR = """\
services:
  holder: {image: lessee, entrypoint: [sleep, infinity], volumes: ["api:/hold/api", "worker:/hold/worker"]}
  agent:
    image: lessee
    pid: service:holder
    volumes: ["api:/run/secrets/simba", "worker:/run/secrets/simba-worker", "dashboard:/run/secrets/simba-dashboard"]
"""
MOUNTED = """\
  server: {pid: "service:holder", volumes: ["api:/run/secrets/simba:ro"]}
  celery_worker: {pid: "service:holder", volumes: ["worker:/run/secrets/simba:ro"]}
"""
TAKEN_OUT = """\
services:
  server:
    env_file: !reset []
    environment: {DATABASE_URL: !reset null, CELERY_BROKER_URL: !reset null}
  celery_worker:
    env_file: !reset []
    environment:
      DATABASE_URL: !reset null
"""


@pytest.fixture
def check(tmp_path):
    """What is told of a project of those files, without what is told of secrets that are spelled out."""
    (tmp_path / "docker").mkdir()
    (tmp_path / ".env").write_text(ENV)

    def run(**files):
        paths = ["--compose"]
        for name, text in files.items():
            (tmp_path / "docker" / f"{name}.yml").write_text(text)
            paths.append(f"docker/{name}.yml")
        command = [sys.executable, "-m", "lessee", "check", "--config", str(LESSEE_YAML), "--format", "json", *paths]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert not done.stderr
        assert CANARY not in done.stdout
        said = [one for one in json.loads(done.stdout) if one["rule"] != "literal-secret"]
        return done.returncode, sorted(
            (one["rule"], one["app"], one["line"], one["message"].split(" is set")[0]) for one in said
        )

    return run


def test_what_stands_in_env_goes_to_vault_and_comes_back_as_it_was(bao, tmp_path):
    old = {
        "DATABASE_URL": f"postgresql://simba:{CANARY}@postgres:5432/simba",
        "MINIO_ENDPOINT": "minio:9000",
        "MINIO_BUCKET": "simba",
        "MINIO_ACCESS_KEY": f"{CANARY}-access",
        "MINIO_SECRET_KEY": f"{CANARY}-$secret '#",
        "OPENAI_API_KEY": f"{CANARY}-openai",
    }
    quoted = {name: value.replace("'", "\\'") for name, value in old.items()}
    (tmp_path / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in quoted.items()))
    assert dotenv_values(tmp_path / ".env") == old
    ground = Ground(bao, "simba-migration", tmp_path)
    shown = re.search("^```yaml\n(setup:.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    ground.config |= yaml.safe_load(shown[1])
    files = [{"template": "simba/app.env.j2", "name": ".env"}]
    ground.config["apps"] = {"simba": {"directory": "/dev/shm/nowhere", "files": files}}
    ground.config |= {"environment": "production", "templates": str(ROOT / "templates")}
    setup = ground.command("setup", "--output", "identity")

    def run(*command):
        environ = ground.environ | {"POSTGRES_PASSWORD": CANARY}
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
        assert (done.returncode, CANARY in done.stdout + done.stderr) == (0, False), done.stderr
        return done.stdout

    run(sys.executable, "-m", "dotenv", "-f", ".env", "run", "--", *setup)
    run(*ground.command("render", "--app", "simba", "--output", "out"))
    assert dotenv_values(tmp_path / "out" / ".env") == old
    assert [path.name for path in (tmp_path / "identity" / "production").iterdir()] == ["production-simba"]


def test_before_the_files_are_mounted_each_service_is_told_that_may_be_the_reader(check):
    code, told = check(compose=COMPOSE, sidecar=SIDECAR)
    assert code == 0
    assert {(rule, line, name) for rule, _, line, name in told if rule == "unread-app"} == {
        ("unread-app", 6, "DATABASE_URL"),
        ("unread-app", 6, "MINIO_SECRET_KEY"),
        ("unread-app", 6, "OPENAI_API_KEY"),
        ("unread-app", 8, "DATABASE_URL"),
        ("unread-app", 9, "CELERY_BROKER_URL"),
        ("unread-app", 14, "DATABASE_URL"),
        ("unread-app", 14, "MINIO_SECRET_KEY"),
        ("unread-app", 14, "OPENAI_API_KEY"),
        ("unread-app", 16, "DATABASE_URL"),
    }
    assert {app for _, app, *_ in told} == {"simba", "simba-worker", "simba-dashboard"}


def test_once_they_are_mounted_all_that_shadows_them_is_named_at_once_at_each_place(check):
    code, told = check(compose=COMPOSE, sidecar=SIDECAR + MOUNTED)
    assert code == 78
    assert [one for one in told if one[0] == "shadowed-variable"] == [
        ("shadowed-variable", "simba", 6, "DATABASE_URL"),
        ("shadowed-variable", "simba", 6, "MINIO_SECRET_KEY"),
        ("shadowed-variable", "simba", 6, "OPENAI_API_KEY"),
        ("shadowed-variable", "simba", 8, "DATABASE_URL"),
        ("shadowed-variable", "simba", 9, "CELERY_BROKER_URL"),
        ("shadowed-variable", "simba-worker", 14, "DATABASE_URL"),
        ("shadowed-variable", "simba-worker", 14, "MINIO_SECRET_KEY"),
        ("shadowed-variable", "simba-worker", 14, "OPENAI_API_KEY"),
        ("shadowed-variable", "simba-worker", 16, "DATABASE_URL"),
    ]


def test_an_empty_value_shadows_as_well(check):
    emptied = TAKEN_OUT.replace("DATABASE_URL: !reset null, ", 'DATABASE_URL: "", ')
    _, told = check(compose=COMPOSE, sidecar=SIDECAR + MOUNTED, out=emptied)
    assert [one[1:] for one in told if one[0] == "shadowed-variable"] == [("simba", 4, "DATABASE_URL")]


def test_when_all_is_taken_out_nothing_more_is_told_of_the_services_that_read(check):
    code, told = check(compose=COMPOSE, sidecar=SIDECAR + MOUNTED, out=TAKEN_OUT)
    assert (code, [one for one in told if one[0] in {"shadowed-variable", "unread-app"}]) == (0, [])
