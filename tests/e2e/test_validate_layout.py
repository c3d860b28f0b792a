"""`lessee validate` of the usual layout without a block for its systems: it reports what is broken, and no more."""

import tempfile
from pathlib import Path

import pytest

from lessee.host.openbao import ROOT_TOKEN
from support.environments.layout_worlds import WORLDS
from support.environments.usual_layout import COMPONENTS, UsualLayout, failures, unused_port

NO_LISTING = 'path "secret/data/testing/*" { capabilities = ["read"] }'


@pytest.fixture(scope="module")
def environment(tmp_path_factory, postgres):
    with tempfile.TemporaryDirectory(prefix="lessee-test-", dir="/dev/shm") as memory:
        environment = UsualLayout(tmp_path_factory.mktemp("layout"), Path(memory), postgres)
        yield environment
        environment.close()


def passed(found):
    return {result["component"] for result in found["results"] if result["passed"]}


def texts(found, component, *, passed=False):
    return [row["text"] for row in found["results"] if row["component"] == component and row["passed"] is passed]


@pytest.mark.thorough
def test_each_component_of_the_layout_is_looked_at_and_passes(environment):
    found = environment.report()
    assert failures(found) == {}
    assert found["not_looked_at"] == {}
    assert passed(found) >= COMPONENTS
    assert {host for host, _ in environment.providers.requests} == set(environment.providers.keys)
    text = environment.validate().stdout
    assert "\nLOOKED AT: all " in text


@pytest.mark.thorough(each=5)
@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.how.__name__)
def test_each_of_21_broken_worlds_is_reported_by_the_right_component_alone(environment, world):
    with world.how(environment):
        found = environment.report()
    assert failures(found).keys() == {world.component}, failures(found)
    assert not passed(found) & found["not_looked_at"].keys()


def test_there_are_21_broken_worlds():
    assert len(WORLDS) == 21


def test_what_no_part_of_the_configuration_names_is_not_looked_at_and_not_green(environment):
    """Another environment, in which there is no secret."""
    with environment.with_config(environment="production", apps={}):
        found = environment.report(VAULT_TOKEN=ROOT_TOKEN)
        unseen = found["not_looked_at"]
        assert {name for name, skip in unseen.items() if skip == "not_configured"} == COMPONENTS | {"secrets"}
        assert not passed(found) & unseen.keys()
        lines = environment.validate(VAULT_TOKEN=ROOT_TOKEN).stdout.splitlines()
        first = next(line for line in lines if line.startswith("NOT LOOKED AT: "))
        assert lines[lines.index(first) - 1] == "=" * 60
        assert first.startswith(
            "NOT LOOKED AT: database, api_keys, storage, mcp_cache, mcp_auth, frontend, secrets (not"
        )
        assert "could not be looked at" not in first
        assert lines[-1].startswith("✅ passed  ❌ failed  ⚪ not (wholly) looked at")


def test_what_cannot_be_looked_at_is_called_otherwise(environment):
    with environment.with_config(vault={"address": f"http://127.0.0.1:{unused_port()}"}):
        found = environment.report()
        assert {found["not_looked_at"][name] for name in COMPONENTS} == {"not_possible"}
        text = environment.validate().stdout
    assert "(could not be looked at: Vault is unavailable)" in text


def test_an_expected_component_must_be_looked_at(environment):
    assert environment.validate("--expect", "storage", "--component", "frontend").returncode == 0
    with environment.with_config(environment="production", apps={}):
        options = ("--component", "storage", "--expect", "mcp_auth")
        found = environment.report(*options, VAULT_TOKEN=ROOT_TOKEN)
        assert list(failures(found)) == ["mcp_auth"]
        assert "mcp_auth is expected, and was not looked at" in failures(found)["mcp_auth"]
        assert environment.validate(*options, VAULT_TOKEN=ROOT_TOKEN).returncode == 1
    done = environment.validate("--expect", "storrage")
    assert (done.returncode, "unknown component 'storrage'" in done.stderr) == (64, True)


def test_without_listing_only_what_is_named_is_looked_at_and_the_report_says_so(environment):
    found = environment.report(VAULT_TOKEN=environment.token_with(NO_LISTING))
    assert failures(found) == {}
    for component in ("api_keys", "mcp_auth", "mcp_cache"):
        assert any("the token may not list secret/testing/" in text for text in texts(found, component, passed=None))
    assert any("accepts the key" in text for text in texts(found, "api_keys", passed=True))
    assert "only the" in texts(found, "secrets", passed=None)[0]


def test_a_login_without_listing_need_not_read_what_only_operators_read(environment):
    denied = 'path "secret/data/testing/database/admin" { capabilities = ["deny"] }'
    token = environment.token_with(f"{NO_LISTING}\n{denied}")
    setup = environment.config["setup"] | {"secrets": {"database/admin": {"password": {"generate": 40}}}}
    with environment.with_config(setup=setup):
        found = environment.report("--component", "secrets", "--component", "database", VAULT_TOKEN=token)
    assert failures(found) == {}
    assert any(
        "1 of 1 secrets that the configuration names cannot" in text for text in texts(found, "database", passed=None)
    )


def test_a_key_is_sent_only_to_the_provider_that_it_belongs_to(environment):
    token = environment.value()
    with (
        environment.added("api-keys/unstructured", api_key=environment.value()),
        environment.added("api-keys/github", token=token, base_url="https://git.internal/api"),
    ):
        before = len(environment.providers.requests)
        found = environment.report("--component", "api_keys")
        hosts = {host for host, _ in environment.providers.requests[before:]}
    assert hosts == set(environment.providers.keys)
    skipped = texts(found, "api_keys", passed=None)
    assert any("lessee knows no provider of this name" in text for text in skipped)
    assert any("not sent to github, because its secret names git.internal" in text for text in skipped)
    with environment.added("applications/simba", GITHUB_TOKEN=token):
        found = environment.report("--component", "api_keys")
    assert "simba: GITHUB_TOKEN: https://api.github.com/rate_limit rejects the key (401)" in failures(found)["api_keys"]


def test_a_server_is_asked_where_its_secret_says_where_it_is(environment):
    port = unused_port()
    with environment.added("mcp/other", api_key=environment.value(), url=f"http://127.0.0.1:{port}/mcp"):
        found = environment.report("--component", "mcp_auth")
    assert f"127.0.0.1:{port}/mcp does not answer" in failures(found)["mcp_auth"]


def test_values_that_are_too_short_to_compare_are_counted_and_the_check_is_not_green(environment):
    with environment.added("web/short", pin_token="4711"):
        found = environment.report("--component", "secrets", "--component", "frontend")
    checks = {row["check"]: row for row in found["results"]}
    for check in ("not-repeated", "public-variables"):
        assert (checks[check]["passed"], checks[check]["skip"]) == (None, "incomplete")
        assert "1 of " in checks[check]["text"]
        assert "secret/testing/web/short: pin_token" in checks[check]["text"]


def test_whatever_the_configuration_names_must_exist(environment):
    rotation = {"kind": "vault", "secret": "rotated/one", "keys": {"password": {"generate": 40}}}
    first = {
        "database/admin": {"password": {"generate": 40}},
        "mcp/other": {"api_key": {"generate": 40}},
        "api-keys/github": {"api_key": {"generate": 40}},
        "cache/other": {"password": {"generate": 40}},
        "frontend/app": {"VITE_THEME": {"value": "dark"}},
    }
    setup = environment.config["setup"] | {"secrets": first}
    with environment.with_config(setup=setup, rotation={"one": rotation}):
        found = failures(environment.report())
    assert found.keys() == COMPONENTS - {"storage"} | {"secrets"}
    assert "secret/testing/database/admin does not exist (named by setup.secrets)" in found["database"]
    assert "secret/testing/frontend/app has no VITE_THEME (named by setup.secrets)" in found["frontend"]
    assert "secret/testing/rotated/one does not exist (named by rotation.one)" in found["secrets"]


def test_files_that_an_agent_cannot_publish_are_reported_by_their_app_alone(environment):
    with environment.with_agent_template("cache", '{{ secret("cache/database").nowhere }}\n'):
        found = environment.report()
    assert failures(found).keys() == {"cache"}, failures(found)
    assert any("follows from cache" in text for text in texts(found, "vault", passed=None))
