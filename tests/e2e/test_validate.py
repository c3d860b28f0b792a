"""`lessee validate`: all is well where all is well, and each check fails when its part is broken."""

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
from lessee.host.openbao import free_port
from lessee.ops.validate.components import checks
from lessee.ops.validate.context import Subject
from support.environments import breakages, storage_breakages, system_breakages
from support.environments.sound_environment import Environment, postgres_with_tls
from support.paths import TESTS
from support.servers.cluster import Cluster
from support.servers.detours import Detour
from support.servers.fault_proxy import Fault, Proxy

ROWS = (*breakages.ROWS, *system_breakages.ROWS, *storage_breakages.ROWS)
MINE = ("vault", "database", "storage", "mcp_cache")
ASKED = tuple(word for name in MINE for word in ("--component", name))
BLIND = """
import sys
class Blind:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"psycopg", "redis", "botocore"}:
            raise ImportError(name)
sys.meta_path.insert(0, Blind())
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory, postgres):
    with tempfile.TemporaryDirectory(prefix="lessee-test-", dir="/dev/shm") as memory:
        environment = Environment(tmp_path_factory.mktemp("validated"), Path(memory), postgres)
        yield environment
        environment.close()


def names(environment):
    """All that can be told of this configuration, by component and check."""
    config = parse(yaml.safe_dump(environment.config), source="lessee.yaml", environ={})
    subject = Subject(config, environment.folder / "lessee.yaml", {}, now=0.0)
    return [(check.component, name) for check in checks(subject) for name in check.names]


def failed(results):
    return {one for one, result in results.items() if result["passed"] is False}


def test_where_all_is_well_every_check_passes(environment):
    results = environment.results(*ASKED)
    assert {one: result["text"] for one, result in results.items() if not result["passed"]} == {}
    assert set(results) == {one for one in names(environment) if one[0] in MINE}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.component}-{row.check}-{row.how.__name__}")
def test_what_is_broken_is_told_by_its_check_with_what_to_do(environment, row):
    with row.how(environment):
        results = environment.results("--component", row.component)
    told = results[row.component, row.check]
    assert failed(results) == {(row.component, name) for name in {row.check, *row.also}}, results
    assert (told["level"], told["passed"]) == (row.level, False), told
    assert told["todo"]


def test_every_check_has_been_seen_to_fail(environment):
    tables = [
        import_module(f"support.environments.{file.stem}")
        for file in (TESTS / "support/environments").glob("*breakages.py")
    ]
    broken = {(row.component, row.check) for table in tables for row in table.ROWS}
    assert set(names(environment)) <= broken


def test_what_is_broken_is_well_again_afterwards(environment):
    """The rows above leave no trace, in whatever order they run; nor do the probes, failed ones included."""
    assert failed(environment.results(*ASKED)) == set()
    assert environment.redis.ask("KEYS", "lessee:*") == []
    for bucket in ("docs", "open"):
        found = environment.admin.list_objects_v2(Bucket=bucket, Prefix="lessee-validate").get("Contents", [])
        assert [one["Key"] for one in found] == []


def test_what_leaves_this_machine_with_tls_that_is_verified_passes(environment):
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
    for one in (("database", "postgres-tls"), ("mcp_cache", "redis-tls"), ("storage", "s3-tls")):
        assert results[one]["text"].endswith("and verified")


def test_an_answer_that_is_no_refusal_is_not_taken_for_one(environment):
    with Proxy(environment.store.port) as proxy:
        proxy.on_path("-anonymous", Fault.DROP)
        with environment.with_secret("storage/minio", endpoint=f"127.0.0.1:{proxy.port}"):
            results = environment.results("--component", "storage")
    assert failed(results) == set()
    told = results["storage", "s3-refuses-anonymous"]
    assert (told["passed"], "no clear answer" in told["text"]) == (None, True)
    with environment.with_secret("storage/minio", bucket="no bucket/.."):
        results = environment.results("--component", "storage")
    assert results["storage", "s3-refuses-wrong-key"]["passed"] is None


def test_a_terminal_that_cannot_say_all_characters_gets_the_report_too(environment):
    said = environment.validate("--component", "vault", PYTHONIOENCODING="iso-8859-1")
    assert (said.returncode, said.stderr) == (0, "")
    assert "\\u2705" in said.stdout


def test_a_standby_passes_on(environment, tmp_path):
    with Cluster(tmp_path) as cluster:
        standby = next(i for i in range(3) if i != cluster.active())
        environment.values.append(cluster.root_token)
        with (
            environment.with_token_file(cluster.root_token),
            environment.with_config(vault={"address": cluster.nodes[standby].address}),
        ):
            results = environment.results("--component", "vault")
    assert results["vault", "active-node"]["text"] == "a standby passes on to an active node"


def test_where_nobody_says_which_environment_it_is_a_mistake_of_configuration(environment):
    with environment.with_config(environment=None):
        done = environment.validate()
    assert done.returncode == 78
    assert "it names no environment" in done.stderr


def test_where_vault_is_away_the_rest_could_not_be_looked_at(environment):
    with environment.with_config(vault={"address": f"http://127.0.0.1:{free_port()}"}):
        results = environment.results(*ASKED)
        assert failed(results) == {("vault", "reachable")}
        asked = [result["passed"] for (component, _), result in results.items() if component == "database"]
        assert asked
        assert set(asked) == {None}
        assert environment.validate().returncode == 1
        blind = environment.results("--component", "database")
        assert failed(blind) == {("vault", "reachable")}
        assert environment.validate("--component", "database").returncode == 1


def test_what_hangs_is_told_of_and_keeps_nobody(environment):
    with (
        Detour() as tar,
        environment.with_config(validate={"timeout": "3s"}),
        environment.with_secret("cache/redis", port=tar.port),
        environment.with_secret("storage/minio", endpoint=f"127.0.0.1:{tar.port}"),
        environment.with_secret("database/postgres", port=tar.port),
    ):
        results = environment.results(*ASKED)
        assert time.monotonic() - tar.first < 3 * 3  # As long as they would take one after the other.
    components = {component for component, _ in failed(results)}
    assert components == {"database", "mcp_cache", "storage"}
    assert all(results[one]["level"] == "critical" for one in failed(results))


@pytest.mark.parametrize("names", [["127.0.0.1"], ["127.0.0.1", "localhost", "127.0.0.2"]])
def test_where_vault_hangs_it_ends_too(environment, names):
    with Detour() as tar, Detour(host="127.0.0.2", port=tar.port) as other:
        urls = [f"http://{name}:{tar.port}" for name in names]
        block = {"address": urls[0]} if len(urls) == 1 else {"addresses": urls, "address": None}
        with environment.with_config(vault=block, validate={"timeout": "2s"}):
            results = environment.results(*ASKED)
            begun = min(one.first for one in (tar, other) if one.first is not None)
            assert time.monotonic() - begun < 2 * 3  # As above.
    assert failed(results) == {("vault", "reachable")}


def test_what_is_not_configured_and_not_there_is_no_failure(environment):
    with environment.with_config(
        environment="staging", validate={"database": None, "storage": None, "mcp_cache": None}
    ):
        results = environment.results("--component", "database", "--component", "storage", "--component", "mcp_cache")
        told = [result for (component, _), result in results.items() if component != "vault"]
        assert {(result["passed"], result["level"]) for result in told} == {(None, "info")}
        assert all("not configured" in result["text"] for result in told)


def test_it_ends_with_1_where_what_fails_is_as_bad_as_asked(environment):
    with environment.with_token(["validated"], ttl="1h", renewable=False):
        assert environment.validate("--component", "vault").returncode == 0
        assert environment.validate("--component", "vault", "--fail-on", "warning").returncode == 1
    with environment.with_secret("cache/redis", port=free_port()):
        assert environment.validate("--component", "mcp_cache").returncode == 1


def test_a_component_that_there_is_not_is_a_mistake_of_usage(environment):
    done = environment.validate("--component", "databse")
    assert done.returncode == 64
    assert "there is no component 'databse'; there are: vault, database" in done.stderr


def test_a_client_that_is_not_installed_is_told_with_how_to_get_it(environment, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(BLIND)
    results = environment.results(*ASKED, PYTHONPATH=str(tmp_path))
    missing = {("database", "postgres-login"), ("mcp_cache", "postgres-login"), ("mcp_cache", "redis-tls")}
    assert failed(results) == missing | {("storage", "s3-tls")}
    for one in failed(results):
        assert results[one]["todo"] == "install it: pip install 'lessee[validate]'"


def test_an_operators_token_reads_secrets_while_the_login_is_still_tried(environment):
    token = environment.bao.ask("POST", "auth/token/create", {"policies": ["validated"], "ttl": "1h"})
    environment.values.append(token["auth"]["client_token"])
    assert failed(environment.results(*ASKED, VAULT_TOKEN=token["auth"]["client_token"])) == set()
    results = environment.results("--component", "vault", VAULT_TOKEN=environment.value())
    assert failed(results) == {("vault", "login")}


def test_its_own_tokens_are_revoked(environment):
    def accessors():
        return set(environment.bao.ask("GET", "auth/token/accessors?list=true")["data"]["keys"])

    before = accessors()
    environment.validate()
    assert accessors() <= before


def test_all_forms_of_the_report_say_the_same(environment):
    with environment.with_secret("cache/redis", port=free_port()):
        asked = ("--component", "mcp_cache")
        text, verbose = environment.validate(*asked).stdout, environment.validate(*asked, "--verbose").stdout
        as_json, as_yaml, junit = (
            environment.validate(*asked, "--format", form).stdout for form in ("json", "yaml", "junit")
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


def test_a_sidecar_pays_for_none_of_it():
    code = "import lessee.cli, lessee.cli.commands.run, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"psycopg", "redis", "botocore", "lessee.ops.validate", "lessee.ops.validate.policy"} & set(loaded)
