"""`lessee validate` of servers: it passes in a valid environment, and each check fails when its part is broken."""

import json
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from lxml import etree

from lessee.config.parsing import parse
from lessee.host.openbao import ROOT_TOKEN, free_port
from lessee.ops.validate.components import checks
from lessee.ops.validate.context import ValidationContext
from support.environments import breakages, storage_breakages, system_breakages
from support.environments.server_environment import ServerEnvironment, postgres_with_tls
from support.paths import TESTS
from support.servers.cluster import Cluster
from support.servers.detours import Detour
from support.servers.fault_proxy import Fault, Proxy

ROWS = (*breakages.ROWS, *system_breakages.ROWS, *storage_breakages.ROWS)
COMPONENTS = ("vault", "database", "storage", "mcp_cache")
SYSTEMS = ("--component", "database", "--component", "storage", "--component", "mcp_cache")
OPTIONS = tuple(word for name in COMPONENTS for word in ("--component", name))
WITHOUT_CLIENTS = """
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"psycopg", "redis", "botocore"}:
            raise ImportError(name)
sys.meta_path.insert(0, Finder())
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory, postgres):
    with tempfile.TemporaryDirectory(prefix="lessee-test-", dir="/dev/shm") as memory:
        environment = ServerEnvironment(tmp_path_factory.mktemp("validated"), Path(memory), postgres)
        yield environment
        environment.close()


def names(environment, *, optional=True):
    """All checks of this configuration, by component and name; also those that may find nothing to check."""
    config = parse(yaml.safe_dump(environment.config), source="lessee.yaml", environ={})
    context = ValidationContext(config, environment.folder / "lessee.yaml", {}, now=0.0)
    found = [check for check in checks(context) if optional or not check.optional]
    return [(check.component, name) for check in found for name in check.names]


def failed(results):
    return {check for check, result in results.items() if result["passed"] is False}


@pytest.mark.thorough
def test_every_check_passes_in_a_valid_environment(environment):
    results = environment.results(*OPTIONS)
    assert {check: result["text"] for check, result in results.items() if not result["passed"]} == {}
    always = names(environment, optional=False)
    assert set(results) == {(component, name) for component, name in always if component in COMPONENTS}


@pytest.mark.thorough(each=12)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.component}-{row.check}-{row.how.__name__}")
def test_a_broken_part_fails_its_own_checks_with_a_todo(environment, row):
    with row.how(environment):
        results = environment.results("--component", row.component)
    result = results[row.component, row.check]
    assert failed(results) == {(row.component, name) for name in {row.check, *row.also}}, results
    assert (result["level"], result["passed"]) == (row.level, False), result
    assert result["todo"]


def test_each_check_has_a_broken_part(environment):
    tables = [
        import_module(f"support.environments.{file.stem}")
        for file in (TESTS / "support/environments").glob("*breakages.py")
    ]
    broken = {(row.component, row.check) for table in tables for row in table.ROWS}
    assert set(names(environment)) <= broken


def test_broken_parts_are_repaired_without_a_trace(environment):
    """The breakages leave no trace in any order, nor do probes, including failed ones."""
    assert failed(environment.results(*OPTIONS)) == set()
    assert environment.redis.ask("KEYS", "lessee:*") == []
    for bucket in ("docs", "open"):
        found = environment.admin.list_objects_v2(Bucket=bucket, Prefix="lessee-validate").get("Contents", [])
        assert [item["Key"] for item in found] == []


def test_verified_tls_to_other_machines_passes(environment):
    trusted = {"ca_file": str(environment.authority)}
    with (
        postgres_with_tls(environment),
        Detour(environment.postgres.port) as database,
        Detour(environment.redis.tls_port) as cache,
        Detour(environment.store.tls_port) as store,
        environment.with_secret(
            "database/postgres", host=database.host, port=database.port, sslmode="verify-full", **trusted
        ),
        environment.with_secret("cache/redis", host=cache.host, port=cache.port, tls=True, **trusted),
        environment.with_secret("storage/minio", endpoint=f"https://{store.host}:{store.port}", **trusted),
    ):
        results = environment.results("--component", "database", "--component", "mcp_cache", "--component", "storage")
    assert failed(results) == set()
    for check in (("database", "postgres-tls"), ("mcp_cache", "redis-tls"), ("storage", "s3-tls")):
        assert results[check]["text"].endswith("certificate verified")


def test_a_failed_request_is_not_taken_for_a_rejection(environment):
    with Proxy(environment.store.port) as proxy:
        proxy.on_path("-anonymous", Fault.DROP)
        with environment.with_secret("storage/minio", endpoint=f"127.0.0.1:{proxy.port}"):
            results = environment.results("--component", "storage")
    assert failed(results) == set()
    result = results["storage", "s3-rejects-anonymous"]
    assert (result["passed"], "does not answer a client without a key" in result["text"]) == (None, True)
    with environment.with_secret("storage/minio", bucket="no bucket/.."):
        results = environment.results("--component", "storage")
    assert results["storage", "s3-rejects-wrong-key"]["passed"] is None


def test_a_terminal_with_a_limited_charset_gets_the_report(environment):
    done = environment.validate("--component", "vault", PYTHONIOENCODING="iso-8859-1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u2705" in done.stdout


def test_a_standby_node_that_forwards_requests_passes(environment, tmp_path):
    with Cluster(tmp_path) as cluster:
        standby = next(i for i in range(3) if i != cluster.active())
        environment.values.append(cluster.root_token)
        with (
            environment.with_token_file(cluster.root_token),
            environment.with_config(vault={"address": cluster.nodes[standby].address}),
        ):
            results = environment.results("--component", "vault")
    assert results["vault", "active-node"]["text"] == "a standby node forwards requests to the active node"


def test_a_missing_environment_is_a_configuration_error(environment):
    with environment.with_config(environment=None):
        done = environment.validate()
    assert done.returncode == 78
    assert "`environment` is missing" in done.stderr


def test_without_vault_other_checks_are_skipped(environment):
    with environment.with_config(vault={"address": f"http://127.0.0.1:{free_port()}"}):
        results = environment.results(*OPTIONS)
        assert failed(results) == {("vault", "reachable")}
        outcomes = [result["passed"] for (component, _), result in results.items() if component == "database"]
        assert outcomes
        assert set(outcomes) == {None}
        assert environment.validate().returncode == 1
        results = environment.results("--component", "database")
        assert failed(results) == {("vault", "reachable")}
        assert environment.validate("--component", "database").returncode == 1


def test_hanging_systems_fail_and_delay_no_other_check(environment):
    with (
        Detour() as hanging,
        environment.with_config(validate={"timeout": "3s"}),
        environment.with_secret("cache/redis", port=hanging.port),
        environment.with_secret("storage/minio", endpoint=f"127.0.0.1:{hanging.port}"),
        environment.with_secret("database/postgres", port=hanging.port),
    ):
        results = environment.results(*OPTIONS)
        assert time.monotonic() - hanging.first < 3 * 3  # The time of sequential checks.
    components = {component for component, _ in failed(results)}
    assert components == {"database", "mcp_cache", "storage"}
    assert all(results[check]["level"] == "critical" for check in failed(results))


@pytest.mark.parametrize("names", [["127.0.0.1"], ["127.0.0.1", "localhost", "127.0.0.2"]])
def test_a_hanging_vault_does_not_hang_the_command(environment, names):
    with Detour() as hanging, Detour(host="127.0.0.2", port=hanging.port) as other:
        urls = [f"http://{name}:{hanging.port}" for name in names]
        block = {"address": urls[0]} if len(urls) == 1 else {"addresses": urls, "address": None}
        with environment.with_config(vault=block, validate={"timeout": "2s"}):
            results = environment.results(*OPTIONS)
            begun = min(server.first for server in (hanging, other) if server.first is not None)
            assert time.monotonic() - begun < 2 * 3  # As above.
    assert failed(results) == {("vault", "reachable")}


def test_unconfigured_systems_without_secrets_are_skipped(environment):
    with environment.with_config(
        environment="staging", validate={"database": None, "storage": None, "mcp_cache": None}
    ):
        results = environment.results(*SYSTEMS)
        others = [result for (component, _), result in results.items() if component != "vault"]
        assert {(result["passed"], result["level"]) for result in others} == {(None, "info")}
        assert {result["skip"] for result in others} == {"not_possible", "incomplete"}  # The login may not read them.
        results = environment.results(*SYSTEMS, VAULT_TOKEN=ROOT_TOKEN)
        assert {component for component, _ in results} == {"database", "storage", "mcp_cache"}
        assert all("not configured" in result["text"] for result in results.values())
        assert {(result["passed"], result["skip"]) for result in results.values()} == {(None, "not_configured")}


def test_the_exit_code_depends_on_fail_on(environment):
    with environment.with_token(["validated"], ttl="1h", renewable=False):
        assert environment.validate("--component", "vault").returncode == 0
        assert environment.validate("--component", "vault", "--fail-on", "warning").returncode == 1
    with environment.with_secret("cache/redis", port=free_port()):
        assert environment.validate("--component", "mcp_cache").returncode == 1


def test_an_unknown_component_is_a_usage_error(environment):
    done = environment.validate("--component", "databse")
    assert done.returncode == 64
    assert "unknown component 'databse'; the components are: vault, database" in done.stderr


def test_a_missing_client_library_is_reported_with_its_install_command(environment, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_CLIENTS)
    results = environment.results(*OPTIONS, PYTHONPATH=str(tmp_path))
    missing = {("database", "postgres-login"), ("mcp_cache", "postgres-login"), ("mcp_cache", "redis-tls")}
    assert failed(results) == missing | {("storage", "s3-tls")}
    for check in failed(results):
        assert results[check]["todo"] == "pip install 'lessee[validate]'"


def test_an_operator_s_token_reads_secrets_and_the_login_is_checked_too(environment):
    token = environment.bao.ask("POST", "auth/token/create", {"policies": ["validated"], "ttl": "1h"})
    environment.values.append(token["auth"]["client_token"])
    assert failed(environment.results(*OPTIONS, VAULT_TOKEN=token["auth"]["client_token"])) == set()
    results = environment.results("--component", "vault", VAULT_TOKEN=environment.value())
    assert failed(results) == {("vault", "login")}


def test_validate_revokes_its_own_tokens(environment):
    def accessors():
        return set(environment.bao.ask("GET", "auth/token/accessors?list=true")["data"]["keys"])

    before = accessors()
    environment.validate()
    assert accessors() <= before


def test_all_formats_have_the_same_results(environment):
    with environment.with_secret("cache/redis", port=free_port()):
        options = ("--component", "mcp_cache")
        text, verbose = environment.validate(*options).stdout, environment.validate(*options, "--verbose").stdout
        as_json, as_yaml, junit = (
            environment.validate(*options, "--format", form).stdout for form in ("json", "yaml", "junit")
        )
    found = json.loads(as_json)
    results = found["results"]
    assert {**yaml.safe_load(as_yaml), "at": 0} == {**found, "at": 0}
    cases = {
        (case.get("classname"), case.get("name")): case for case in etree.fromstring(junit.encode()).iter("testcase")
    }
    assert len(cases) == len(results)
    for result in results:
        case = cases[f"lessee.{result['component']}", result["check"]]
        kind = {True: None, False: "failure", None: "skipped"}[result["passed"]]
        assert [child.tag for child in case] == ([kind] if kind else [])
        assert f"{result['text']} [{result['check']}]" in verbose
        assert (result["text"] in text) or result["passed"] is None
    assert (
        f"SUMMARY: {found['passed']}/{found['passed'] + found['failed']} checks passed, {found['failed']} failed"
        in text
    )


def test_the_sidecar_does_not_import_validate():
    code = "import lessee.cli, lessee.cli.commands.run, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"psycopg", "redis", "botocore", "lessee.ops.validate", "lessee.ops.validate.policy"} & set(loaded)
