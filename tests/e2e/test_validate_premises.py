"""`lessee validate`, beyond the servers: keys, frontends, secrets, the host and its apps."""

import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from lessee.core.sensitive.traces import SHORTEST
from lessee.host.openbao import ROOT_TOKEN, free_port
from lessee.ops.validate.inventory import MOST
from support.environments import host_breakages, key_breakages, secret_breakages
from support.environments.premises import OPERATOR, Premises
from support.needs import need
from support.servers.fault_proxy import Proxy

ROWS = (*key_breakages.ROWS, *secret_breakages.ROWS, *host_breakages.ROWS)
COMPONENTS = sorted({row.component for row in ROWS})
ALL = [word for one in COMPONENTS for word in ("--component", one)]
NO_LISTING = 'path "secret/data/testing/*" { capabilities = ["read"] }'


@pytest.fixture(scope="module")
def premises(tmp_path_factory):
    with tempfile.TemporaryDirectory(prefix="lessee-test-", dir="/dev/shm") as memory:
        premises = Premises(tmp_path_factory.mktemp("premises"), Path(memory))
        yield premises
        premises.close()


def failed(results):
    """What failed; whether the machine of the test has swap is not the test's to say."""
    return {one for one, result in results.items() if result["passed"] is False} - {("host", "no-swap")}


def test_where_all_is_well_every_check_passes(premises):
    results = premises.results(*ALL)
    assert {one: result["text"] for one, result in results.items() if result["passed"] is None} == {}
    assert failed(results) == set()
    assert {(row.component, row.check) for row in ROWS} == results.keys()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.component}-{row.check}-{row.how.__name__}")
def test_what_is_broken_is_told_by_its_check_with_what_to_do(premises, row):
    with row.how(premises):
        results = premises.results("--component", row.component)
    told = results[row.component, row.check]
    assert (told["level"], told["passed"]) == (row.level, False), told
    assert told["todo"]
    others = {name for component, name in failed(results) if component == row.component} - {row.check}
    assert others == row.also, told


def test_what_is_broken_is_well_again_afterwards(premises):
    assert failed(premises.results(*ALL)) == set()


def test_a_key_is_sent_in_its_header_alone(premises):
    premises.provider.requests.clear()
    premises.validate("--component", "api_keys")
    [(path, headers)] = premises.provider.requests
    assert path == "/models"
    assert [name for name, value in headers.items() if premises.secrets["api-keys/openai"]["api_key"] in value] == [
        "Authorization"
    ]


def test_a_session_that_an_mcp_server_opens_is_ended(premises):
    block = premises.config["validate"]["mcp_auth"]
    with Proxy(urlsplit(block["url"]).port) as proxy:
        url = f"http://127.0.0.1:{proxy.port}/mcp"
        with premises.with_config(validate={"mcp_auth": block | {"url": url}}):
            assert failed(premises.results("--component", "mcp_auth")) == set()
        assert [request.method for request in proxy.requests] == ["POST", "DELETE", "POST", "POST"]


def test_nothing_is_issued_and_no_token_is_left(premises):
    def state():
        paths = "auth/token/accessors", "pki/certs"
        return [set(premises.bao.ask("GET", f"{path}?list=true")["data"]["keys"]) for path in paths]

    before = state()
    assert failed(premises.results(*ALL)) == set()
    accessors, certificates = state()
    assert certificates == before[1]
    assert accessors <= before[0]


def test_a_token_that_may_not_list_looks_at_what_the_configuration_names(premises):
    premises.bao.ask("PUT", "sys/policies/acl/unlisting", {"policy": NO_LISTING})
    results = premises.results("--component", "secrets", VAULT_TOKEN=premises.token_with("unlisting"))
    told = results["secrets", "all-read"]
    assert told["passed"]
    assert "secrets that the configuration names were looked at" in told["text"]
    assert failed(results) == set()
    assert "may not read other environments" in results["secrets", "environments-differ"]["text"]


def test_a_folder_that_may_not_be_listed_is_told(premises):
    closed = f'{OPERATOR}\npath "secret/metadata/testing/api-keys/" {{ capabilities = ["deny"] }}'
    premises.bao.ask("PUT", "sys/policies/acl/closed", {"policy": closed})
    results = premises.results("--component", "secrets", VAULT_TOKEN=premises.token_with("closed"))
    assert failed(results) == {("secrets", "all-read")}
    assert "secret/testing/api-keys/" in results["secrets", "all-read"]["text"]


def test_a_folder_of_dist_that_may_not_be_read_is_told(premises):
    need(shutil.which("setpriv"), "needs setpriv: apt install util-linux")
    need(os.geteuid() == 0, "needs root, to look without its rights")
    closed = premises.dist / "closed"
    closed.mkdir(0o700)
    (closed / "x.js").write_text(premises.secrets["mcp/memory"]["api_key"])
    os.chown(closed, 12345, -1)
    premises.prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
    results = premises.results("--component", "frontend")
    premises.prefix = []
    shutil.rmtree(closed)
    assert failed(results) == {("frontend", "dist-without-secrets"), ("frontend", "dist-without-keys")}
    assert {results[one]["level"] for one in failed(results)} == {"warning"}


def test_marks_of_certificates_without_end_keep_nobody(premises):
    premises.bao.put("testing/x", certificate="-----BEGIN CERTIFICATE-----" * 15_000)
    begun = time.monotonic()
    results = premises.results("--component", "secrets")
    took = time.monotonic() - begun
    premises.bao.ask("DELETE", "secret/metadata/testing/x")
    assert failed(results) == set()
    assert took < 20  # It took minutes, in which nothing else ran.


def test_names_that_are_no_text_are_told_in_every_form(premises):
    with premises.with_file("\udcff.js", premises.secrets["mcp/memory"]["api_key"].encode()):
        for form, read in (("json", json.loads), ("yaml", yaml.safe_load), ("junit", str), ("text", str)):
            done = premises.validate("--component", "frontend", "--format", form)
            assert (done.returncode, done.stderr) == (1, ""), form
            assert read(done.stdout)


def test_of_very_many_secrets_so_many_are_looked_at_and_that_is_told(premises):
    paths = [f"testing/many/{number}" for number in range(MOST)]
    for path in paths:
        premises.bao.put(path, number=1)
    with premises.with_config(validate={"timeout": "50s"}):
        results = premises.results("--component", "secrets")
    for path in paths:
        premises.bao.ask("DELETE", f"secret/metadata/{path}")
    assert failed(results) == {("secrets", "all-read")}
    assert f"only {MOST} secrets were looked at" in results["secrets", "all-read"]["text"]


def test_secrets_without_versions_are_looked_at_too(premises):
    premises.bao.ask("POST", "sys/mounts/old", {"type": "kv", "options": {"version": "1"}})
    premises.bao.ask("POST", "old/testing/deep/x", {"password": "changeme"})
    with premises.with_config(secrets={"mount": "old"}, apps={}):
        results = premises.results("--component", "secrets", VAULT_TOKEN=ROOT_TOKEN)
    premises.bao.ask("DELETE", "sys/mounts/old")
    assert {check for component, check in failed(results) if component == "secrets"} == {"no-placeholders"}
    assert "old/testing/deep/x: password is a placeholder" in results["secrets", "no-placeholders"]["text"]
    assert results["secrets", "rotated-in-time"]["passed"] is None


def test_where_vault_is_away_what_needs_it_could_not_be_looked_at(premises):
    with premises.with_config(vault={"address": f"http://127.0.0.1:{free_port()}"}):
        results = premises.results(*ALL)
    assert failed(results) == {("vault", "reachable")}
    seen = {one for one, result in results.items() if result["passed"]}
    assert {("frontend", "dist-without-keys"), ("host", "agent-runs"), ("web", "app-ready")} <= seen
    blind = {("frontend", "dist-without-secrets"), ("secrets", "all-read"), ("web", "files-published")}
    assert all(results[one]["passed"] is None for one in blind)


def test_what_is_not_configured_is_no_failure(premises):
    with premises.with_config(apps={}, rotation={}):
        premises.config["validate"] = {}
        results = premises.results("--component", "api_keys", "--component", "mcp_auth", "--component", "frontend")
    assert {result["passed"] for (name, _), result in results.items() if name != "vault"} == {None}


def test_no_report_holds_a_value_whatever_is_broken(premises):
    """Each run looks for all values in what is printed; this one has much to print."""
    key = premises.secrets["mcp/memory"]["api_key"]
    assert len(key) >= SHORTEST
    premises.bao.put("testing/x", password="changeme", token=key, url=f"redis://:{key}@cache:6379")
    with (
        premises.with_file("x.js", key.encode()),
        premises.with_template("app.env.j2", "{{ secret('mcp/memory').no }}"),
    ):
        for form in ("text", "json", "yaml", "junit"):
            done = premises.validate(*ALL, "--format", form, "--verbose")
            assert done.returncode == 1
            assert "x.js" in done.stdout
            assert done.stderr == ""
    premises.bao.ask("DELETE", "secret/metadata/testing/x")


def test_an_app_is_a_component_that_may_be_asked_for(premises):
    found = json.loads(premises.validate("--component", "web", "--format", "json").stdout)["results"]
    assert {one["component"] for one in found} == {"web"}
    done = premises.validate("--component", "wbe")
    assert done.returncode == 64
    assert done.stderr.endswith("secrets, host, web\n")


def test_an_operator_who_may_not_look_is_told_so_and_nothing_fails(premises):
    need(shutil.which("setpriv"), "needs setpriv: apt install util-linux")
    need(os.geteuid() == 0, "needs root, to look without its rights")
    os.chown(premises.agent.state, 12345, -1)
    premises.prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
    results = premises.results("--component", "host")
    premises.prefix = []
    os.chown(premises.agent.state, 0, -1)
    assert failed(results) == set()
    assert "may not look at" in results["host", "state-private"]["text"]
    assert results["host", "agent-runs"]["passed"] is None
