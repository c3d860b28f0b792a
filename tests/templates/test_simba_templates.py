"""Simba, its workers and its dashboard read the templates with their settings, and log in to real servers."""

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import closing, suppress
from http.client import HTTPConnection

import psycopg
import pytest
import yaml
from celery import Celery
from dotenv import dotenv_values
from kombu import Connection
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from pydantic import AliasChoices, BaseModel, Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import NullPool, create_engine, make_url, text

from lessee.core.errors import FormatError
from lessee.host.openbao import free_port
from support import npm, readmes
from support.inputs.hostile_values import VALUES
from support.models.template_library import HOSTILE, NUMBERS, rendered, use, written
from support.needs import need
from support.programs.sidecar import eventually

ENV = "simba/.env.j2"
DASHBOARD = {"template": "simba/dashboard/.env.production.j2", "format": "dotenv-vite"}
SECRETS = {
    "database/postgres": ("host", "port", "database", "username", "password"),
    "database/redis": ("host", "port", "database", "password"),
    "database/qdrant": ("host", "port", "api_key"),
    "storage/minio": ("endpoint", "bucket", "access_key", "secret_key"),
    "applications/simba": ("auth_secret",),
    "api-keys/supabase": ("url", "key", "service_role_key", "jwt_secret"),
    **{f"api-keys/{name}": ("api_key",) for name in ("openai", "mistral", "unstructured")},
}
AUTH_SECRET = "p@ss'\"#${HOME} $PATH \\n \\$ü"
FIXED = {"host": "host", "port": 5432, "database": "3"}
UNHEARD = ("USER", "PASSWORD", "HOST", "PORT", "DB", "URL", "KEY", "CONNECTION_STRING", "STORAGE_PROVIDER")

ASK_FOR_THE_DASHBOARD = """
const fs = require("fs");
const { parse } = require("pg-connection-string");
const { loadEnvConfig } = require("@next/env");
const folder = process.argv[1];
const found = JSON.parse(fs.readFileSync(`${folder}/texts`)).map((text) => {
  fs.writeFileSync(`${folder}/.env.production`, text);
  const { parsedEnv } = loadEnvConfig(folder, false, console, true);
  return { ...parsedEnv, ...parse(parsedEnv.DATABASE_URL) };
});
fs.writeFileSync(`${folder}/found`, JSON.stringify(found));
"""
LOG_IN_AS_THE_DASHBOARD = """
const { loadEnvConfig } = require("@next/env");
loadEnvConfig(process.argv[1], false);
const { Pool } = require("pg");
const pool = new Pool({ connectionString: process.env.DATABASE_URL });
pool.query("SELECT session_user AS who").then(({ rows }) => {
  console.log(JSON.stringify([rows[0].who, process.env.BETTER_AUTH_SECRET]));
  return pool.end();
});
"""
SERVED = """
from dotenv import load_dotenv
from pydantic_settings import BaseSettings, SettingsConfigDict
load_dotenv()
class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_file=".env", extra="ignore")
    minio_secret_key: str
body = Settings().minio_secret_key.encode()
async def asgi(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
"""


class Settings05(BaseSettings):
    """The settings of simba/core/config.py 0.5."""

    model_config = SettingsConfigDict(env_file=".env", env_file_encoding="utf-8", extra="ignore")

    database_url: str = "postgresql://simba:simba@localhost:5432/simba"
    qdrant_host: str = "localhost"
    qdrant_port: int = 6333
    qdrant_api_key: str | None = None
    minio_endpoint: str = "localhost:9000"
    minio_access_key: str = Field("", validation_alias=AliasChoices("MINIO_ACCESS_KEY", "MINIO_ROOT_USER"))
    minio_secret_key: str = Field("", validation_alias=AliasChoices("MINIO_SECRET_KEY", "MINIO_ROOT_PASSWORD"))
    minio_bucket: str = "documents"
    minio_secure: bool = False
    celery_broker_url: str = "redis://localhost:6379/0"
    celery_result_backend: str = "redis://localhost:6379/1"
    mistral_api_key: str | None = None
    unstructured_api_key: str | None = None


class Postgres04(BaseSettings):
    """Like all of 0.4: fields without a prefix, so USER and HOST of the environment fill missing ones."""

    user: str = "postgres"
    password: str = ""
    host: str = "localhost"
    port: str = "5432"
    db: str = "postgres"
    connection_string: str = ""


class Storage04(BaseSettings):
    provider: str = "local"
    minio_endpoint: str | None = None
    minio_access_key: str | None = None
    minio_secret_key: str | None = None
    minio_bucket: str | None = None
    minio_secure: bool = False


class Supabase04(BaseSettings):
    url: str = ""
    key: str = ""
    service_role_key: str = ""
    jwt_secret: str = ""


class Celery04(BaseModel):
    broker_url: str = "redis://localhost:6379/0"
    result_backend: str = "redis://localhost:6379/1"


class LLM04(BaseModel):
    provider: str = "ollama"
    api_key: str = Field(default_factory=lambda: os.environ["OPENAI_API_KEY"])


class Provided04(BaseModel):
    provider: str
    collection_name: str = ""


class Settings04(BaseSettings):
    """The settings of simba/core/config.py 0.4, with arguments from config.yaml."""

    llm: LLM04
    database: Provided04
    vector_store: Provided04
    celery: Celery04
    storage: Storage04
    supabase: Supabase04
    postgres: Postgres04


@pytest.fixture
def login(bao, postgres):
    """Hostile secrets, and a Postgres role with such a name and password."""
    name = sql.Identifier(HOSTILE)
    postgres.sql(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(HOSTILE)))
    put(bao, HOSTILE, **{"database/postgres": {"host": "127.0.0.1", "port": postgres.port, "database": "postgres"}})
    yield HOSTILE
    postgres.sql(sql.SQL("DROP ROLE {}").format(name))


@pytest.fixture
def redis_server(tmp_path):
    """A function that starts a Redis with users from a file."""
    need(shutil.which("redis-server"), "needs Redis: apt install redis-server")
    processes = []

    def start(port, file):
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--aclfile", str(file)]
        processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=tmp_path))

    yield start
    for process in processes:
        process.kill()
        process.wait()


def secrets_of(value, **others):
    """The secrets with this value in every field that accepts any text."""
    found = {path: {key: FIXED.get(key, value) for key in keys} for path, keys in SECRETS.items()}
    return found | {path: found[path] | fields for path, fields in others.items()}


def put(bao, value, **others):
    for path, fields in secrets_of(value, **others).items():
        bao.put(f"testing/{path}", **fields)


def who(url):
    """The user that SQLAlchemy or psycopg logs in as."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    with engine.connect() as connection, psycopg.connect(url) as other:
        ask = "SELECT session_user"
        return connection.execute(text(ask)).scalar_one(), other.execute(ask).fetchone()[0]


@pytest.mark.parametrize("template", [ENV, "simba/app.env.j2"])
def test_simba_logs_in_to_its_database(sidecar, login, template):
    file = rendered(sidecar, {"template": template, "name": ".env"}) / ".env"
    settings = Settings05(_env_file=file)
    assert who(settings.database_url) == (login, login)
    assert settings.minio_secret_key == dotenv_values(file)["OPENAI_API_KEY"] == HOSTILE


def test_celery_logs_in_to_redis(bao, sidecar, redis_server):
    port = free_port()
    put(bao, HOSTILE, **{"database/redis": {"host": "127.0.0.1", "port": port}})
    folder = rendered(sidecar, "redis/users.acl.j2", ENV)
    redis_server(port, folder / "users.acl")
    settings = Settings05(_env_file=folder / ".env")
    with Connection(settings.celery_broker_url) as connection:
        connection.ensure_connection(max_retries=20, interval_start=0.1)
        with connection.SimpleQueue("ingestion") as queue:
            queue.put("a document")
            assert queue.get(timeout=10).payload == "a document"
    app = Celery("simba", broker=settings.celery_broker_url, backend=settings.celery_result_backend)
    assert app.backend.client.ping()
    app.close()


@pytest.mark.thorough
def test_simba_reads_every_hostile_value(tmp_path):
    file = tmp_path / ".env"
    for value in VALUES:
        if "\0" in value:
            with pytest.raises(FormatError, match="contains a NUL"):
                written(ENV, "dotenv", secrets_of(value))
            continue
        file.write_text(written(ENV, "dotenv", secrets_of(value)))
        settings = Settings05(_env_file=file)
        url = make_url(settings.database_url)
        assert (url.username or "", url.password or "") == (value, value)
        assert (url.host, url.port, url.database) == ("host", 5432, "3")
        read = {"user": "", "password": ""} | conninfo_to_dict(settings.database_url)
        assert read == {"user": value, "password": value, "host": "host", "port": "5432", "dbname": "3"}
        assert settings.celery_broker_url == settings.celery_result_backend
        queue = Connection(settings.celery_broker_url)
        assert (queue.userid, queue.password or "", queue.virtual_host) == (None, value, "3")
        assert (settings.qdrant_host, settings.qdrant_port, settings.qdrant_api_key) == ("host", 5432, value)
        s3 = settings.minio_endpoint, settings.minio_bucket, settings.minio_access_key, settings.minio_secret_key
        assert {*s3, settings.mistral_api_key, settings.unstructured_api_key} == {value}


def test_simba_reads_numbers_and_booleans_as_text(tmp_path):
    for value, expected in NUMBERS.items():
        (tmp_path / ".env").write_text(written(ENV, "dotenv", secrets_of(value)))
        settings = Settings05(_env_file=tmp_path / ".env")
        url = make_url(settings.database_url)
        assert {url.username, url.password, settings.minio_secret_key, settings.mistral_api_key} == {expected}
        settings = Settings04(**yaml.safe_load(written("simba/0.4/config.yaml.j2", "yaml", secrets_of(value))))
        s3, db = settings.storage, settings.postgres
        assert {s3.minio_endpoint, s3.minio_bucket, s3.minio_access_key, s3.minio_secret_key} == {expected}
        assert {db.user, db.password, *settings.supabase.model_dump().values(), settings.llm.api_key} == {expected}


def test_simba_uses_its_defaults_for_missing_values(bao, sidecar):
    put(bao, "x")
    bao.put("testing/database/qdrant", host="q", port=6333)
    settings = Settings05(_env_file=rendered(sidecar, ENV) / ".env")
    assert (settings.qdrant_host, settings.qdrant_api_key, settings.minio_secure) == ("q", None, False)
    bao.put("testing/storage/minio", endpoint="s3:9000", bucket="b", access_key="a", secret_key="s", secure=True)
    assert Settings05(_env_file=rendered(sidecar, ENV) / ".env").minio_secure


def test_new_workers_of_simba_load_a_new_file(bao, sidecar, tmp_path):
    put(bao, "first")
    notify = {"process": {"pid_file": str(tmp_path / "pid")}, "action": "SIGHUP"}
    use(sidecar, ENV, notify=notify)
    sidecar.start()
    (tmp_path / "app").mkdir()
    (tmp_path / "app/.env").symlink_to(sidecar.directory / ".env")
    (tmp_path / "app/served.py").write_text(SERVED)
    port = free_port()
    options = ["--workers=2", "--timeout-worker-healthcheck=60", f"--port={port}", "--log-level=error"]
    command = [sys.executable, "-m", "uvicorn", "served:asgi", *options]
    uvicorn = subprocess.Popen(command, cwd=tmp_path / "app", env={"PATH": os.environ["PATH"]}, start_new_session=True)
    try:
        (tmp_path / "pid").write_text(f"{uvicorn.pid}\n")
        eventually(lambda: answer(port) == "first", "the first answer")
        put(bao, HOSTILE)
        eventually(lambda: {answer(port) for _ in range(8)} == {HOSTILE}, "the new one")
    finally:
        os.killpg(uvicorn.pid, signal.SIGKILL)
        uvicorn.wait()


def answer(port):
    with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection, suppress(OSError):
        connection.request("GET", "/")
        return connection.getresponse().read().decode()


@pytest.mark.thorough
def test_simba_0_4_reads_hostile_values_in_any_environment(monkeypatch):
    for name in UNHEARD:
        monkeypatch.setenv(name, "unheard")
    assert (Postgres04().user, Supabase04().url) == ("unheard", "unheard")
    for value in VALUES[::3]:  # PyYAML is slow.
        settings = Settings04(**yaml.safe_load(written("simba/0.4/config.yaml.j2", "yaml", secrets_of(value))))
        db, queue = settings.postgres, Connection(settings.celery.broker_url)
        assert (db.user, db.password, db.host, db.port, db.db) == (value, value, "host", "5432", "3")
        url = make_url(db.connection_string)
        assert (url.username or "", url.password or "", url.host) == (value, value, "host")
        assert settings.celery.result_backend == settings.celery.broker_url
        assert (queue.hostname, queue.port, queue.password or "", queue.virtual_host) == ("host", 5432, value, "3")
        assert settings.storage.provider == "minio"
        s3 = settings.storage
        assert {s3.minio_endpoint, s3.minio_bucket, s3.minio_access_key, s3.minio_secret_key} == {value}
        assert {*settings.supabase.model_dump().values(), settings.llm.api_key} == {value}


def test_simba_0_4_logs_in_to_its_database(sidecar, login):
    folder = rendered(sidecar, "simba/0.4/.env.j2", "simba/0.4/config.yaml.j2")
    settings = Settings04(**yaml.safe_load((folder / "config.yaml").read_text()))
    assert who(settings.postgres.connection_string) == (login, login)
    read = dotenv_values(folder / ".env")
    part = {"user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT", "dbname": "DB"}
    with psycopg.connect(**{key: read[f"POSTGRES_{name}"] for key, name in part.items()}) as connection:
        assert connection.execute("SELECT session_user").fetchone() == (login,)
    assert read["CELERY_BROKER_URL"] == settings.celery.broker_url
    assert read["SUPABASE_KEY"] == read["MINIO_SECRET_KEY"] == HOSTILE


def test_the_dashboard_logs_in_to_its_database(bao, sidecar, login):
    packages = npm.packages()
    bao.put("testing/applications/simba", auth_secret=AUTH_SECRET)
    folder = rendered(sidecar, DASHBOARD)
    command = [npm.program(packages, "node"), "-e", LOG_IN_AS_THE_DASHBOARD, folder]
    done = subprocess.run(command, cwd=packages, env={}, stdout=subprocess.PIPE, check=True, timeout=60)
    assert json.loads(done.stdout.splitlines()[-1]) == [login, AUTH_SECRET]


def test_the_dashboard_reads_every_hostile_value_of_its_url(memory):
    packages = npm.packages()
    secrets = [secrets_of(value, **{"applications/simba": {"auth_secret": "x"}}) for value in VALUES]
    texts = [written(DASHBOARD["template"], "dotenv-vite", each) for each in secrets]
    (memory / "texts").write_text(json.dumps(texts))
    command = [npm.program(packages, "node"), "-e", ASK_FOR_THE_DASHBOARD, memory]
    subprocess.run(command, cwd=packages, env={}, check=True, stdout=subprocess.DEVNULL, timeout=60)
    found = json.loads((memory / "found").read_bytes())
    meant = {"host": "host", "port": "5432", "database": "3", "BETTER_AUTH_SECRET": "x"}
    for value, read in zip(VALUES, found, strict=True):
        del read["DATABASE_URL"]
        assert read == meant | {"user": value, "password": value}


def test_the_readme_is_valid(tmp_path):
    readmes.check("simba", tmp_path)
