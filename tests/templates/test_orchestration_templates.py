"""The orchestrator and its services read the templates: AG2, python-dotenv, YAML, the memory service's settings."""

import json
import os
import subprocess
import sys

import psycopg
import pytest
import yaml
from dotenv import dotenv_values
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from pydantic_settings import BaseSettings, SettingsConfigDict

from lessee.core.errors import FormatError
from lessee.host.openbao import OpenBao
from lessee.rendering.formats.dotenv import variables
from support import readmes
from support.inputs.hostile_values import VALUES
from support.models.template_library import HOSTILE, NUMBERS, TEMPLATES, rendered, use, written
from support.needs import need
from support.programs.sidecar import Sidecar

HERE = TEMPLATES / "orchestration"
LIST = {"template": "orchestration/OAI_CONFIG_LIST.j2", "format": "json"}
ENV = "orchestration/orchestrator/.env.j2"
SERVICES = "orchestration/services.yaml.j2"
# And its client of the models, so the test can see the keys of requests.
AG2 = ("ag2==0.14.0", "openai==3.57.0", "httpx==0.28.1", "httpcore==1.0.9", "fast-depends==3.0.9", "termcolor==3.3.0")
# In addition to the tests' own packages.
AG2_ALSO = ("tiktoken==0.14.0", "regex==2026.11.19", "jiter==0.19.0", "distro==1.9.0", "tqdm==4.70.1", "sniffio==1.3.1")
MODELS = {
    "api-keys/openrouter": {"api_key": HOSTILE},
    "api-keys/openai": {"api_key": HOSTILE, "model": HOSTILE},
    "api-keys/azure-openai": {
        "api_key": HOSTILE,
        "endpoint": "https://canary.example/",
        "api_version": "2024-02-01",
        "deployment_name": "gpt-4o-mini",
    },
}
KEYS = ("OPENROUTER_API_KEY", "OPENAI_API_KEY", "AZURE_OPENAI_API_KEY")
SEED = {
    "database/postgres",
    "database/redis",
    "api-keys/openrouter",
    "api-keys/openai",
    "api-keys/azure-openai",
    "api-keys/brave-search",
    "storage/minio",
    "cache/database",
    "mcp/cache-server",
    "mcp/memory-service",
    "frontend/app",
}
"""What the programs of this ecosystem read; `frontend/` by the one name that the templates give it."""

ASK_AS_AG2 = """
import json, sys
import autogen
clients = autogen.OpenAIWrapper(config_list=autogen.LLMConfig.from_json(path=sys.argv[1]).config_list)._clients
clients = [client._oai_client for client in clients]
print(json.dumps([[client.api_key, str(client.base_url), client._custom_headers] for client in clients]))
"""
READ_AS_AG2 = """
import json, os, sys
from autogen.llm_config.utils import config_list_from_json
found = []
for name in sorted(os.listdir(sys.argv[1])):
    os.environ["OAI_CONFIG_LIST"] = os.path.join(sys.argv[1], name)
    found.append(config_list_from_json("OAI_CONFIG_LIST", filter_dict={"tags": ["openai"]})[0]["api_key"])
print(json.dumps(found))
"""
READ_AS_THE_MEMORY_SERVICE = """
import json, mcp_memory_service.config as read
print(json.dumps([read.API_KEY, read.HTTPS_ENABLED, read.HTTP_PORT, read.STORAGE_BACKEND, read.INCLUDE_HOSTNAME]))
"""


class Settings(BaseSettings):
    """The orchestrator's environment variables."""

    model_config = SettingsConfigDict(extra="forbid")

    openrouter_api_key: str
    openrouter_http_referer: str = "http://localhost"
    openrouter_x_title: str = "AG2 Orchestrator"
    ag2_model: str = "openai/gpt-4o-mini"
    openai_api_key: str
    openai_model: str = "gpt-4o-mini"
    openai_base_url: str = "https://api.openai.com/v1"
    azure_openai_api_key: str
    azure_openai_endpoint: str
    azure_openai_api_version: str
    azure_openai_deployment_name: str
    azure_openai_model: str | None = None


@pytest.fixture(scope="module")
def as_ag2(tmp_path_factory):
    """A function that runs a script with AG2, and returns its output."""
    folder = tmp_path_factory.mktemp("ag2")
    # Not compiled, because most modules are not imported.
    quick = ("--quiet", "--no-deps", "--no-compile", "--disable-pip-version-check")
    command = [sys.executable, "-m", "pip", "install", *quick, "--target", folder, *AG2, *AG2_ALSO]
    done = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True)
    need(done.returncode == 0, f"needs {AG2[0]} and {AG2[1]} from PyPI: {done.stderr}")
    environ = {"PYTHONPATH": str(folder), "HOME": str(folder), "PATH": os.environ["PATH"]}

    def run(script, *arguments):
        command = [sys.executable, "-c", script, *map(str, arguments)]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


def put(bao, secrets, environment="testing"):
    for path, fields in secrets.items():
        bao.put(f"{environment}/{path}", **fields)


@pytest.mark.thorough
def test_ag2_uses_each_models_key(bao, sidecar, as_ag2):
    put(bao, MODELS)
    keys = as_ag2(ASK_AS_AG2, rendered(sidecar, LIST) / "OAI_CONFIG_LIST")
    assert keys == [
        [HOSTILE, "https://openrouter.ai/api/v1/", {"HTTP-Referer": "http://localhost", "X-Title": "AG2 Orchestrator"}],
        [HOSTILE, "https://api.openai.com/v1/", {}],
        [HOSTILE, "https://canary.example/openai/deployments/gpt-4o-mini/", {}],
    ]


def test_ag2_reads_every_hostile_key_from_the_file_in_a_variable(as_ag2, tmp_path):
    for number, value in enumerate(VALUES):
        secrets = {path: {**fields, "api_key": value} for path, fields in MODELS.items()}
        (tmp_path / f"{number:06}").write_text(written(LIST["template"], "json", secrets))
    assert as_ag2(READ_AS_AG2, tmp_path) == list(VALUES)


def test_optional_fields_of_the_list_are_those_of_the_secret_and_numbers_become_text():
    for value, text in [*((value, value) for value in VALUES[:50]), *NUMBERS.items()]:
        openrouter = {"api_key": value, "model": value, "http_referer": value, "x_title": value}
        secrets = MODELS | {"api-keys/openrouter": openrouter, "api-keys/openai": {"api_key": "", "base_url": value}}
        first, second, _ = json.loads(written(LIST["template"], "json", secrets))
        assert [first["api_key"], first["model"], *first["default_headers"].values()] == [text] * 4
        assert (second["model"], second["base_url"]) == ("gpt-4o-mini", text)


def test_the_orchestrators_settings_are_those_of_the_secrets(bao, sidecar):
    whole = {"api_key": HOSTILE, "model": HOSTILE}
    put(
        bao,
        {
            "api-keys/openrouter": whole | {"http_referer": HOSTILE, "x_title": HOSTILE},
            "api-keys/openai": whole | {"base_url": HOSTILE},
            "api-keys/azure-openai": whole | {"endpoint": HOSTILE, "api_version": HOSTILE, "deployment_name": HOSTILE},
        },
    )
    read = Settings(_env_file=rendered(sidecar, ENV) / ".env").model_dump()
    assert read == dict.fromkeys(Settings.model_fields, HOSTILE)
    put(bao, MODELS)
    read = Settings(_env_file=rendered(sidecar, ENV) / ".env")
    assert (read.ag2_model, read.openai_model, read.azure_openai_model) == ("openai/gpt-4o-mini", HOSTILE, None)


def test_every_hostile_key_reaches_the_orchestrator_except_one_with_nul():
    for value in VALUES:
        secrets = {path: {**fields, "api_key": value} for path, fields in MODELS.items()}
        if "\0" in value:
            with pytest.raises(FormatError, match="contains a NUL"):
                written(ENV, "dotenv", secrets)
            continue
        found = variables(written(ENV, "dotenv", secrets), {"HOME": "/root"})
        assert [found[name] for name in KEYS] == [value] * 3


def services(text):
    """The environment of each service, by name."""
    groups = yaml.load(text, yaml.CSafeLoader)["services"].values()  # The same grammar as safe_load, but faster.
    return {name: service["environment"] for group in groups for name, service in group["services"].items()}


def test_the_services_log_in_with_the_values_of_services_yaml(bao, sidecar, postgres):
    user = f"{HOSTILE} of services"
    name = sql.Identifier(user)
    postgres.sql(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(HOSTILE)))
    login = {"host": "127.0.0.1", "port": postgres.port, "database": "postgres", "username": user, "password": HOSTILE}
    put(bao, {"database/postgres": login, "api-keys/github": {"api_key": 1}, "api-keys/brave-search": {"api_key": "x"}})
    try:
        found = services((rendered(sidecar, SERVICES) / "services.yaml").read_text())
        assert all(isinstance(value, str) for environ in found.values() for value in environ.values())
        for url in (found["agent-memory"]["DATABASE_URL"], found["testing-validation"]["DATABASE_URL"]):
            with psycopg.connect(url) as connection:
                assert connection.execute("SELECT session_user").fetchone() == (user,)
        words = ("host", "port", "dbname", "user", "password")
        with psycopg.connect(**dict(zip(words, found["postgres"].values(), strict=True))) as connection:
            assert connection.execute("SELECT session_user").fetchone() == (user,)
    finally:
        postgres.sql(sql.SQL("DROP ROLE {}").format(name))


def test_every_hostile_value_is_unchanged_in_services_yaml():
    for value in VALUES:
        secrets = {
            "database/postgres": {"host": "db", "port": 5432, "database": "x", "username": value, "password": value},
            "api-keys/github": {"api_key": value},
            "api-keys/brave-search": {"api_key": value},
        }
        found = services(written(SERVICES, "yaml", secrets))
        assert list(found) == ["github", "postgres", "agent-memory", "testing-validation", "brave-search"]
        assert found["github"] == {"GITHUB_PERSONAL_ACCESS_TOKEN": value}
        assert found["brave-search"] == {"BRAVE_API_KEY": value}
        assert (found["postgres"]["PGUSER"], found["postgres"]["PGPASSWORD"]) == (value, value)
        if "\0" not in value:  # libpq rejects NUL with an error.
            read = {"user": "", "password": ""} | conninfo_to_dict(found["agent-memory"]["DATABASE_URL"])
            assert (read["user"], read["password"]) == (value, value)


def test_the_memory_service_reads_its_key_and_its_store(bao, sidecar, memory_service):
    put(bao, {"mcp/memory-service": {"api_key": HOSTILE}})
    folder = rendered(sidecar, "orchestration/memory-service/.env.j2")
    environ = {"PYTHONPATH": str(memory_service), "HOME": str(sidecar.disk)}
    command = [sys.executable, "-c", READ_AS_THE_MEMORY_SERVICE]
    done = subprocess.run(command, cwd=folder, env=environ, stdout=subprocess.PIPE, check=True, timeout=60)
    assert json.loads(done.stdout.splitlines()[-1]) == [HOSTILE, True, 8000, "sqlite_vec", True]


def configuration(name):
    return yaml.safe_load((HERE / name).read_text())


@pytest.mark.parametrize(
    ("name", "warning"),
    # The servers have the user of the orchestrator, which starts lessee: README.md says so.
    [("lessee.yaml", ""), ("mcp.yaml", "can read secret_id_file: /run/lessee/secret_id")],
)
def test_the_configuration_is_valid(name, warning, tmp_path):
    command = [sys.executable, "-m", "lessee", "check", "--config", HERE / name]
    environ = {"HOME": str(tmp_path), "SERVER": "github"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stderr.count("warning:")) == (0, len(warning) > 0), done.stderr
    assert warning in done.stderr


def test_all_services_get_their_values_from_the_seeds_paths(tmp_path, memory):
    """Only the server, the login and the directories differ from the configurations in the README."""
    one = {"host": "db", "port": 5432, "database": "x", "username": HOSTILE, "password": HOSTILE, "api_key": HOSTILE}
    one |= {"endpoint": "minio:9000", "bucket": "x", "access_key": "canary", "secret_key": HOSTILE}
    one |= {
        "api_url": "/api",
        "app_name": "x",
        "enable_auth": True,
        "api_version": "2024-02-01",
        "deployment_name": "x",
    }
    with OpenBao(tmp_path) as bao:
        put(bao, dict.fromkeys([*SEED, "api-keys/github"], one) | {"api-keys/openrouter": {"api_key": "canary-1"}})
        bao.ask("POST", "sys/mounts/pki", {"type": "pki"})
        bao.ask("POST", "pki/root/generate/internal", {"common_name": "an authority", "ttl": "48h"})
        bao.ask("POST", "pki/roles/memory-service", {"allow_any_name": True, "ttl": "24h"})
        agent = Sidecar(bao.address, tmp_path, memory)
        for name in ("lessee.yaml", "mcp.yaml"):
            apps = configuration(name)["apps"]
            for app in apps:
                apps[app].pop("owner", None)
                apps[app]["directory"] = str(memory / app)
            agent.config.update({"template_dir": str(TEMPLATES), "apps": apps})
            agent.write_config()
            if name == "lessee.yaml":
                done = agent.command("render", "--output", "out")
                assert done.returncode == 0, done.stderr
                assert {path.name for path in (tmp_path / "out").iterdir()} == set(apps)
                assert dotenv_values(tmp_path / "out/simba/.env")["MINIO_SECRET_KEY"] == HOSTILE
                continue
            for app in apps:
                done = agent.command("exec", "--once", "--app", app, "--", "env", "-0")
                assert done.returncode == 0, done.stderr
                assert HOSTILE in done.stdout or "DATABASE_URL=postgresql://p%40ss" in done.stdout


def test_the_configurations_read_all_paths_of_the_seed_and_one_more():
    done = ""
    for name in ("lessee.yaml", "mcp.yaml"):
        command = [sys.executable, "-m", "lessee", "check", "--config", HERE / name]
        done += subprocess.run(command, env={}, capture_output=True, text=True, check=True, timeout=30).stdout
    read = {line.split("secret/development/")[1] for line in done.splitlines() if "reads secret/" in line}
    assert read == SEED | {"api-keys/github"}


def test_the_readme_is_valid_and_each_server_has_its_app(tmp_path):
    readmes.check("orchestration", tmp_path)
    shown = [yaml.safe_load(text) for text in readmes.blocks("orchestration", "yaml")]
    [servers] = [block["mcpServers"] for block in shown if "mcpServers" in block]
    apps = configuration("mcp.yaml")["apps"]
    for server in servers.values():
        assert server["command"] == "env"
        name = server["args"][0].removeprefix("SERVER=")
        assert server["args"][1:7] == [
            "lessee",
            "exec",
            "--config",
            "/etc/lessee/orchestration/mcp.yaml",
            "--app",
            name,
        ]
        assert name in apps
    assert {name: app for block in shown for name, app in block.get("apps", {}).items()}.items() <= (
        configuration("lessee.yaml")["apps"].items()
    )


def test_a_key_that_is_missing_is_reported_and_nothing_is_written(bao, sidecar):
    put(bao, MODELS | {"api-keys/azure-openai": {"api_key": HOSTILE}})
    use(sidecar, LIST)
    done = sidecar.command("render", "--app", "web", "--output", "out")
    assert done.returncode != 0
    assert "api-keys/azure-openai" in done.stderr
    assert HOSTILE not in done.stderr
    assert not (sidecar.disk / "out" / "OAI_CONFIG_LIST").exists()
