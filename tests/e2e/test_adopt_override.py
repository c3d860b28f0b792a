"""Compose reads the override of adopted projects of every shape: no secret is left, and no plain value changes."""

import json
import os
import subprocess

import pytest

from lessee.core.immutable import replace
from lessee.ops.adopt.policy import known_images
from lessee.ops.adopt.policy.app_plans import app_plans, verified
from lessee.ops.adopt.policy.classification import classified
from lessee.ops.adopt.policy.config_text import lessee_yaml
from lessee.ops.adopt.policy.layout import stored_fields
from lessee.ops.adopt.policy.model import Deployment, Plan
from lessee.ops.adopt.policy.override_text import override
from lessee.ops.adopt.policy.template_texts import templates
from lessee.ops.adopt.project import read_project
from support.inputs.adopted_projects import APP
from support.needs import need
from support.programs.forks import run_lessee

SECRET = "canary-7f3Kq9"  # Each secret of a project contains it.
ENV = f"""DB_PASSWORD={SECRET}1
SECRET_KEY='{SECRET}2$x"'
LOG_LEVEL=debug
"""
SHAPES = {
    "map": "services: {app: {image: app, environment: {SECRET_KEY: '${SECRET_KEY}', LOG_LEVEL: '${LOG_LEVEL}'}}}",
    "list": "services: {app: {image: app, environment: ['SECRET_KEY=${SECRET_KEY}', 'LOG_LEVEL=${LOG_LEVEL:-x}']}}",
    "pass-through list": "services: {app: {image: app, environment: [SECRET_KEY, LOG_LEVEL]}}",
    "pass-through map": "services: {app: {image: app, environment: {SECRET_KEY: , LOG_LEVEL: }}}",
    "literal": f"services: {{app: {{image: app, environment: {{API_KEY: {SECRET}, PORT: 8000, DEBUG: 'true'}}}}}}",
    "env_file": "services: {app: {image: app, env_file: .env}}",
    "env_file list": "services: {app: {image: app, env_file: [{path: .env}, {path: none.env, required: false}]}}",
    "env_file and environment": """
services:
  app: {image: app, env_file: [.env], environment: {SECRET_KEY: '${SECRET_KEY:?}', LOG_LEVEL: info}}
""",
    "default": f"services: {{app: {{image: app, environment: {{SECRET_TOKEN: '${{NONE:-{SECRET}}}'}}}}}}",
    "anchor": """
x-app: &app {image: app, environment: &env {SECRET_KEY: '${SECRET_KEY}', LOG_LEVEL: '${LOG_LEVEL}'}}
services:
  web: *app
  worker: {<<: *app, command: work, environment: {<<: *env, QUEUE: a}}
""",
    "extends": """
services:
  base: {image: app, environment: ['SECRET_KEY=${SECRET_KEY}'], command: [base]}
  app: {extends: {service: base}, environment: {LOG_LEVEL: x}}
""",
    "url": """
services:
  db: {image: 'postgres:17', environment: {POSTGRES_PASSWORD: '${DB_PASSWORD}', POSTGRES_USER: app}}
  app: {image: app, environment: {DATABASE_URL: 'postgres://app:${DB_PASSWORD}@db:5432/app?a=b'}, depends_on: [db]}
""",
    "redis word": """
services:
  cache: {image: 'redis:7-alpine', command: 'redis-server --requirepass ${DB_PASSWORD} --save ""'}
""",
    "redis list": """
services:
  cache:
    image: redis
    command: [redis-server, --requirepass, '${DB_PASSWORD}', --maxmemory, 1gb]
    healthcheck: {test: [CMD, redis-cli, -a, '${DB_PASSWORD}', ping], interval: 3s}
""",
    "healthcheck": """
services:
  db:
    image: mysql:8
    environment: {MYSQL_ROOT_PASSWORD: '${DB_PASSWORD}', MYSQL_DATABASE: app}
    healthcheck: {test: 'mysqladmin ping -p${DB_PASSWORD} || exit 1', retries: 9}
  other:
    image: mariadb
    environment: {MARIADB_ROOT_PASSWORD: '${DB_PASSWORD}'}
    healthcheck: {test: [CMD-SHELL, 'mysqladmin ping -p$$MARIADB_ROOT_PASSWORD']}
""",
    "secrets": """
services:
  db:
    image: postgres
    environment: {POSTGRES_PASSWORD_FILE: /run/secrets/db_password}
    secrets: [db_password]
secrets: {db_password: {file: ./db_password.txt}}
""",
    "profiles and replicas": """
services:
  app: {image: app, profiles: [tools], deploy: {replicas: 3}, environment: {SECRET_KEY: '${SECRET_KEY}'}}
""",
    "confined": """
services:
  app:
    image: app
    user: "1000:1001"
    read_only: true
    tmpfs: [/tmp]
    network_mode: host
    restart: on-failure
    init: true
    volumes: ['.:/src', 'data:/data']
    ports: ['8000:8000']
    entrypoint: [/bin/sh, -c, 'exec "$$@"', '$$0']
    command: [python, -c, 'print("$$HOME")', "it's"]
    environment: {SECRET_KEY: '${SECRET_KEY}'}
volumes: {data: {}}
""",
    "pid of the host": "services: {app: {image: app, pid: host, environment: {SECRET_KEY: '${SECRET_KEY}'}}}",
    "s6": "services: {tv: {image: lscr.io/linuxserver/sonarr, environment: {SECRET_KEY: '${SECRET_KEY}', PUID: 1000}}}",
    "names": """
services:
  "my.app_1": {image: app, environment: {SECRET_KEY: '${SECRET_KEY}'}}
  "2": {image: app, environment: {SECRET_KEY: '${SECRET_KEY}'}}
  "true": {image: app, environment: {SECRET_KEY: '${SECRET_KEY}'}}
""",
}


@pytest.fixture(scope="module", autouse=True)
def compose():
    done = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    need(done.returncode == 0, "needs docker with Compose (Debian: docker-cli docker-compose)")


@pytest.fixture(params=SHAPES)
def folder(request, tmp_path, monkeypatch):
    (tmp_path / "compose.yaml").write_text(SHAPES[request.param])
    (tmp_path / ".env").write_text(ENV)
    (tmp_path / "db_password.txt").write_text(f"{SECRET}3\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def adopt(folder, image="lessee"):
    """Plan the project, and write all files."""
    project = read_project(["compose.yaml"], dict(os.environ))
    services = {name: replace(item, image=_image(item.image.reference)) for name, item in project.services.items()}
    project = classified(replace(project, services=services))
    stored, rendered = verified(project, *stored_fields(project))
    apps, steps = app_plans(project, stored, rendered)
    plan = Plan(project, "production", stored, apps, (), steps)
    deployment = Deployment("https://host.docker.internal:8200", ca_file=True, image=image)
    (folder / "compose.lessee.yaml").write_text(override(plan, deployment))
    (folder / "lessee").mkdir()
    (folder / "lessee/lessee.yaml").write_text(lessee_yaml(plan, deployment))
    for name, text in templates(plan).items():
        file = folder / "lessee/templates" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return plan


def _image(reference):
    return replace(APP, reference=reference) if reference == "app" else known_images.image(reference)


def resolved(*files):
    words = [word for file in files for word in ("-f", file)]
    command = ["docker", "compose", *words, "--profile", "*", "config", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.thorough(each=6)
def test_compose_accepts_the_override_and_finds_no_secret(folder):
    before = resolved("compose.yaml")
    plan = adopt(folder)
    after = resolved("compose.yaml", "compose.lessee.yaml")
    assert plan.apps
    assert SECRET in json.dumps(before) or plan.project.services["db"].secrets
    assert SECRET not in json.dumps(after["services"]), [
        (s, k) for s, data in after["services"].items() for k in data if SECRET in json.dumps(data[k])
    ]
    written = [folder / "compose.lessee.yaml", *(folder / "lessee").rglob("*.*")]
    assert not [file for file in written if file.is_file() and SECRET in file.read_text()]
    assert_same_values(plan, before["services"], after["services"])
    assert_only_own_plaintext_is_found(folder)


def assert_same_values(plan, before, after):
    """What is no secret is as it was."""
    secret = {(item.service, item.name) for app in plan.apps for item in app.rendered}
    for name, service in before.items():
        now = after[name]
        for variable, value in (service.get("environment") or {}).items():
            expected = "" if (name, variable) in secret else value
            assert now["environment"][variable] == expected
        for field in service.keys() - {"environment", "command", "entrypoint", "healthcheck", "secrets"}:
            if isinstance(service[field], dict):
                assert service[field].items() <= now[field].items()
            elif isinstance(service[field], list):
                assert [item for item in service[field] if item not in now[field]] == []
            elif field != "restart":
                assert now[field] == service[field]
        for field in service.get("healthcheck", {}).keys() - {"test"}:
            assert now["healthcheck"][field] == service["healthcheck"][field]


def assert_only_own_plaintext_is_found(folder):
    """`lessee check` finds only the plaintext that is still in the project's own files."""
    (folder / "lessee/ca.pem").write_text("")
    command = ["check", "--config", "lessee/lessee.yaml", "--format", "json"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("VAULT_", "LESSEE_"))}
    done = run_lessee(*command, "--compose", "compose.yaml", "compose.lessee.yaml", cwd=folder, env=environ)
    findings = json.loads(done.stdout)
    assert [item for item in findings if item["rule"] != "literal-secret"] == [], done.stderr
    assert [item for item in findings if item.get("file", "").startswith(("lessee", "compose.lessee"))] == []
