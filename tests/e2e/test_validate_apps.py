"""`lessee validate` of API keys, MCP servers, frontends, secrets, the host and its apps."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from lessee.core.sensitive.leaks import SHORTEST
from lessee.host.openbao import ROOT_TOKEN, free_port
from lessee.ops.validate.inventory import MAX_SECRETS
from support.environments import host_breakages, key_breakages, secret_breakages
from support.environments.app_environment import OPERATOR, AppEnvironment
from support.needs import need
from support.servers.fault_proxy import Proxy

ROWS = (*key_breakages.ROWS, *secret_breakages.ROWS, *host_breakages.ROWS)
COMPONENTS = sorted({row.component for row in ROWS})
ALL = [word for name in COMPONENTS for word in ("--component", name)]
NO_LISTING = 'path "secret/data/testing/*" { capabilities = ["read"] }'


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    with tempfile.TemporaryDirectory(prefix="lessee-test-", dir="/dev/shm") as memory:
        environment = AppEnvironment(tmp_path_factory.mktemp("environment"), Path(memory))
        yield environment
        environment.close()


def failed(results):
    """The failed checks, without swap, which the machine of the test may have."""
    return {check for check, result in results.items() if result["passed"] is False} - {("host", "no-swap")}


def test_every_check_passes_in_a_valid_environment(environment):
    results = environment.results(*ALL)
    skipped = {check: result["text"] for check, result in results.items() if result["passed"] is None}
    # A certificate is not issued again, only to compare it.
    assert list(skipped) == [("web", "files-published")]
    assert skipped["web", "files-published"].startswith("2 of 3 published files are up to date; ")
    assert failed(results) == set()
    assert {(row.component, row.check) for row in ROWS} == results.keys()


@pytest.mark.thorough(each=26)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.component}-{row.check}-{row.how.__name__}")
def test_a_broken_part_fails_its_own_checks_with_a_todo(environment, row):
    with row.how(environment):
        results = environment.results("--component", row.component)
    result = results[row.component, row.check]
    assert (result["level"], result["passed"]) == (row.level, False), result
    assert result["todo"]
    others = {name for component, name in failed(results) if component == row.component} - {row.check}
    assert others == row.also, result


def test_broken_parts_are_repaired_without_a_trace(environment):
    assert failed(environment.results(*ALL)) == set()


def test_a_key_is_sent_only_in_its_header(environment):
    environment.provider.requests.clear()
    environment.validate("--component", "api_keys")
    [(path, headers)] = environment.provider.requests
    assert path == "/models"
    assert [name for name, value in headers.items() if environment.secrets["api-keys/openai"]["api_key"] in value] == [
        "Authorization"
    ]


def test_a_session_of_an_mcp_server_is_ended(environment):
    block = environment.config["validate"]["mcp_auth"]
    with Proxy(urlsplit(block["url"]).port) as proxy:
        url = f"http://127.0.0.1:{proxy.port}/mcp"
        with environment.with_config(validate={"mcp_auth": block | {"url": url}}):
            assert failed(environment.results("--component", "mcp_auth")) == set()
        assert [request.method for request in proxy.requests] == ["POST", "DELETE", "POST", "POST"]


def test_no_credentials_are_issued_and_no_token_is_left(environment):
    def state():
        paths = "auth/token/accessors", "pki/certs"
        return [set(environment.bao.ask("GET", f"{path}?list=true")["data"]["keys"]) for path in paths]

    before = state()
    assert failed(environment.results(*ALL)) == set()
    accessors, certificates = state()
    assert certificates == before[1]
    assert accessors <= before[0]


def test_a_token_that_may_not_list_reads_the_secrets_of_the_configuration(environment):
    environment.bao.ask("PUT", "sys/policies/acl/unlisting", {"policy": NO_LISTING})
    results = environment.results("--component", "secrets", VAULT_TOKEN=environment.token_with("unlisting"))
    result = results["secrets", "all-read"]
    assert (result["passed"], result["skip"]) == (None, "incomplete")
    assert "secrets that the configuration names were read" in result["text"]
    assert failed(results) == set()
    assert "may not read other environments" in results["secrets", "environments-differ"]["text"]


def test_a_folder_that_may_not_be_listed_is_reported(environment):
    closed = f'{OPERATOR}\npath "secret/metadata/testing/api-keys/" {{ capabilities = ["deny"] }}'
    environment.bao.ask("PUT", "sys/policies/acl/closed", {"policy": closed})
    results = environment.results("--component", "secrets", VAULT_TOKEN=environment.token_with("closed"))
    assert failed(results) == {("secrets", "all-read")}
    assert "secret/testing/api-keys/" in results["secrets", "all-read"]["text"]


def test_an_unreadable_directory_of_dist_is_reported(environment):
    need(shutil.which("setpriv"), "needs setpriv: apt install util-linux")
    need(os.geteuid() == 0, "needs root, to run without its capabilities")
    closed = environment.dist / "closed"
    closed.mkdir(0o700)
    (closed / "x.js").write_text(environment.secrets["mcp/memory"]["api_key"])
    os.chown(closed, 12345, -1)
    environment.prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
    results = environment.results("--component", "frontend")
    environment.prefix = []
    shutil.rmtree(closed)
    assert failed(results) == {("frontend", "dist-without-secrets"), ("frontend", "dist-without-keys")}
    assert {results[check]["level"] for check in failed(results)} == {"warning"}


def test_endless_begin_lines_of_certificates_take_no_long_time(environment):
    environment.bao.put("testing/x", certificate="-----BEGIN CERTIFICATE-----" * 15_000)
    environment.prefix = ["prlimit", "--cpu=20"]  # Seconds of the processor: a slow pattern took minutes.
    results = environment.results("--component", "secrets")
    environment.prefix = []
    environment.bao.ask("DELETE", "secret/metadata/testing/x")
    assert failed(results) == set()


def test_file_names_that_are_not_text_are_in_every_format(environment):
    with environment.with_file("\udcff.js", environment.secrets["mcp/memory"]["api_key"].encode()):
        for form, read in (("json", json.loads), ("yaml", yaml.safe_load), ("junit", str), ("text", str)):
            done = environment.validate("--component", "frontend", "--format", form)
            assert (done.returncode, done.stderr) == (1, ""), form
            assert read(done.stdout)


@pytest.mark.thorough
def test_too_many_secrets_are_reported(environment):
    paths = [f"testing/many/{number}" for number in range(MAX_SECRETS)]
    for path in paths:
        environment.bao.put(path, number=1)
    with environment.with_config(validate={"timeout": "50s"}):
        results = environment.results("--component", "secrets")
    for path in paths:
        environment.bao.ask("DELETE", f"secret/metadata/{path}")
    assert failed(results) == {("secrets", "all-read")}
    assert f"only {MAX_SECRETS} secrets were read" in results["secrets", "all-read"]["text"]


def test_secrets_of_kv_version_1_are_read(environment):
    environment.bao.ask("POST", "sys/mounts/old", {"type": "kv", "options": {"version": "1"}})
    environment.bao.ask("POST", "old/testing/deep/x", {"password": "changeme"})
    with environment.with_config(secrets={"mount": "old"}, apps={}):
        results = environment.results("--component", "secrets", VAULT_TOKEN=ROOT_TOKEN)
    environment.bao.ask("DELETE", "sys/mounts/old")
    assert {check for component, check in failed(results) if component == "secrets"} == {"no-placeholders"}
    assert "old/testing/deep/x: password is a placeholder" in results["secrets", "no-placeholders"]["text"]
    assert results["secrets", "rotated-on-time"]["passed"] is None


def test_without_vault_only_checks_that_need_it_are_skipped(environment):
    with environment.with_config(vault={"address": f"http://127.0.0.1:{free_port()}"}):
        results = environment.results(*ALL)
    assert failed(results) == {("vault", "reachable")}
    passed = {check for check, result in results.items() if result["passed"]}
    assert {("frontend", "dist-without-keys"), ("host", "agent-running"), ("web", "app-ready")} <= passed
    skipped = {("frontend", "dist-without-secrets"), ("secrets", "all-read"), ("web", "files-published")}
    assert all(results[check]["passed"] is None for check in skipped)


def test_unconfigured_components_are_skipped(environment):
    with environment.with_config(environment="staging", apps={}, rotation={}):
        environment.config["validate"] = {}
        results = environment.results("--component", "api_keys", "--component", "mcp_auth", "--component", "frontend")
    assert {name for name, _ in results} == {"api_keys", "mcp_auth", "frontend"}, results
    assert {(result["passed"], result["skip"]) for result in results.values()} == {(None, "not_configured")}


def test_no_report_has_a_value(environment):
    """Each run searches its output for values; this one has a long output."""
    key = environment.secrets["mcp/memory"]["api_key"]
    assert len(key) >= SHORTEST
    environment.bao.put("testing/x", password="changeme", token=key, url=f"redis://:{key}@cache:6379")
    with (
        environment.with_file("x.js", key.encode()),
        environment.with_template("app.env.j2", "{{ secret('mcp/memory').no }}"),
    ):
        for form in ("text", "json", "yaml", "junit"):
            done = environment.validate(*ALL, "--format", form, "--verbose")
            assert done.returncode == 1
            assert "x.js" in done.stdout
            assert done.stderr == ""
    environment.bao.ask("DELETE", "secret/metadata/testing/x")


def test_an_app_is_a_component(environment):
    found = json.loads(environment.validate("--component", "web", "--format", "json").stdout)["results"]
    assert {result["component"] for result in found} == {"web"}
    done = environment.validate("--component", "wbe")
    assert done.returncode == 64
    assert done.stderr.endswith("secrets, host, web\n")


def test_checks_of_unreadable_files_are_skipped(environment):
    need(shutil.which("setpriv"), "needs setpriv: apt install util-linux")
    need(os.geteuid() == 0, "needs root, to run without its capabilities")
    os.chown(environment.agent.state, 12345, -1)
    environment.prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
    results = environment.results("--component", "host")
    environment.prefix = []
    os.chown(environment.agent.state, 0, -1)
    assert failed(results) == set()
    assert "may not read" in results["host", "state-private"]["text"]
    assert results["host", "agent-running"]["passed"] is None
