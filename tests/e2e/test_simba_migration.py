"""Follows the steps of compose/simba/MIGRATION.md with a Compose project that resembles Simba's."""

import json
import re
import subprocess
import sys

import pytest
import yaml
from dotenv import dotenv_values

from support.environments.setup_namespace import SetupNamespace
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
# `env_file` and `environment` set the same variables, as in Simba's own file.
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
  celery_worker: {pid: "service:holder", restart: always, volumes: ["worker:/run/secrets/simba:ro"]}
"""
REMOVED = """\
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
    """Runs `lessee check` on these Compose files, and returns its exit code and findings except for literal secrets."""
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
        findings = [finding for finding in json.loads(done.stdout) if finding["rule"] != "literal-secret"]
        return done.returncode, sorted(
            (finding["rule"], finding["app"], finding["line"], finding["message"].split(" is set")[0])
            for finding in findings
        )

    return run


def test_setup_writes_the_variables_of_env_to_vault_and_the_template_renders_them_unchanged(bao, tmp_path):
    variables = {
        "DATABASE_URL": f"postgresql://simba:{CANARY}@postgres:5432/simba",
        "MINIO_ENDPOINT": "minio:9000",
        "MINIO_BUCKET": "simba",
        "MINIO_ACCESS_KEY": f"{CANARY}-access",
        "MINIO_SECRET_KEY": f"{CANARY}-$secret '#",
        "OPENAI_API_KEY": f"{CANARY}-openai",
    }
    quoted = {name: value.replace("'", "\\'") for name, value in variables.items()}
    (tmp_path / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in quoted.items()))
    assert dotenv_values(tmp_path / ".env") == variables
    namespace = SetupNamespace(bao, "simba-migration", tmp_path)
    block = re.search("^```yaml\n(setup:.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    namespace.config |= yaml.safe_load(block[1])
    files = [{"template": "simba/app.env.j2", "name": ".env"}]
    namespace.config["apps"] = {"simba": {"directory": "/dev/shm/nowhere", "files": files}}
    namespace.config |= {"environment": "production", "template_dir": str(ROOT / "templates")}
    setup = namespace.command("setup", "--output", "identity")

    def run(*command):
        environ = namespace.environ | {"POSTGRES_PASSWORD": CANARY}
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
        assert (done.returncode, CANARY in done.stdout + done.stderr) == (0, False), done.stderr
        return done.stdout

    run(sys.executable, "-m", "dotenv", "-f", ".env", "run", "--", *setup)
    run(*namespace.command("render", "--app", "simba", "--output", "out"))
    assert dotenv_values(tmp_path / "out" / ".env") == variables
    assert [path.name for path in (tmp_path / "identity" / "production").iterdir()] == ["production-simba"]


def test_before_the_files_are_mounted_check_reports_each_service_that_may_read_them(check):
    code, findings = check(compose=COMPOSE, sidecar=SIDECAR)
    assert code == 0
    assert {(rule, line, name) for rule, _, line, name in findings if rule == "app-without-reader"} == {
        ("app-without-reader", 6, "DATABASE_URL"),
        ("app-without-reader", 6, "MINIO_SECRET_KEY"),
        ("app-without-reader", 6, "OPENAI_API_KEY"),
        ("app-without-reader", 8, "DATABASE_URL"),
        ("app-without-reader", 9, "CELERY_BROKER_URL"),
        ("app-without-reader", 14, "DATABASE_URL"),
        ("app-without-reader", 14, "MINIO_SECRET_KEY"),
        ("app-without-reader", 14, "OPENAI_API_KEY"),
        ("app-without-reader", 16, "DATABASE_URL"),
    }
    of_apps = [finding for finding in findings if finding[0] != "broker-possible"]
    assert {app for _, app, *_ in of_apps} == {"simba", "simba-worker", "simba-dashboard"}


def test_once_the_files_are_mounted_check_reports_each_variable_that_shadows_them(check):
    code, findings = check(compose=COMPOSE, sidecar=SIDECAR + MOUNTED)
    assert code == 78
    assert [finding for finding in findings if finding[0] == "shadowed-variable"] == [
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


def test_a_variable_with_an_empty_value_shadows_too(check):
    override = REMOVED.replace("DATABASE_URL: !reset null, ", 'DATABASE_URL: "", ')
    _, findings = check(compose=COMPOSE, sidecar=SIDECAR + MOUNTED, override=override)
    assert [finding[1:] for finding in findings if finding[0] == "shadowed-variable"] == [("simba", 4, "DATABASE_URL")]


def test_once_the_variables_are_removed_check_reports_nothing_about_the_services(check):
    code, findings = check(compose=COMPOSE, sidecar=SIDECAR + MOUNTED, override=REMOVED)
    assert (code, [finding for finding in findings if finding[0] in {"shadowed-variable", "app-without-reader"}]) == (
        0,
        [],
    )
