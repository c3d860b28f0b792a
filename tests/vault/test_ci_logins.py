"""Logins of CI jobs, with a JWT in a variable or one that GitHub issues, against a real OpenBao."""

from contextlib import closing

import pytest

from lessee.config import Vault
from lessee.config.grammar.vault import JwtAuth
from lessee.core.failures import Kind
from lessee.host.clock import boot_time
from lessee.vault.client_factory import address_of, auth_method_of
from lessee.vault.transport import RequestFailedError, Transport
from support.servers.jwt_issuer import REQUEST_TOKEN, Issuer

AUDIENCE = "https://vault.example.com"


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    issuer = Issuer(tmp_path_factory.mktemp("issuer"))
    issuer.claims = {"sub": "repo:octo/app:ref:refs/heads/main", "repository": "octo/app"}
    yield issuer
    issuer.close()


@pytest.fixture(scope="module")
def mount(bao, issuer):
    """A role `build` for the repository octo/app."""
    bao.ask("POST", "sys/auth/jobs", {"type": "jwt"})
    bao.ask(
        "POST", "auth/jobs/config", {"oidc_discovery_url": issuer.url, "oidc_discovery_ca_pem": issuer.ca.read_text()}
    )
    role = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": [AUDIENCE], "token_ttl": "1h"}
    bao.ask("POST", "auth/jobs/role/build", {**role, "bound_claims": {"repository": "octo/app"}})
    yield "jobs"
    bao.ask("DELETE", "sys/auth/jobs")


@pytest.fixture
def job(bao, mount, issuer, monkeypatch):
    """A function that logs in with these settings of `auth` and these variables."""
    monkeypatch.setenv("SSL_CERT_FILE", str(issuer.ca))
    issuer.answer = 200

    def login(environ, **auth):
        said = JwtAuth(mount=mount, role="build", **auth)
        block = dict.fromkeys(("namespace", "ca_file", "tls_server_name", "client_cert_file", "client_key_file"))
        vault = Vault(address=bao.address, addresses=(), tls_skip_verify=False, auth=said, **block)
        with closing(Transport(address_of(vault, environ))) as transport:
            return auth_method_of(said, environ).login(transport, boot_time)

    return login


def refusal(login, *arguments, **settings):
    with pytest.raises(RequestFailedError) as caught:
        login(*arguments, **settings)
    return caught.value.failure


def test_github_issues_a_jwt_for_each_login_with_the_configured_audience(job, issuer):
    issuer.asked.clear()
    for _ in range(2):
        assert job(issuer.variables, jwt_from="github", audience=AUDIENCE).token.ttl == 3600
    assert issuer.asked == [[AUDIENCE]] * 2
    failure = refusal(job, issuer.variables, jwt_from="github")
    assert issuer.asked[2] is None
    assert failure.kind is Kind.DENIED
    assert failure.text.endswith("its claims: sub 'repo:octo/app:ref:refs/heads/main', aud 'https://github.com/octo'")


def test_a_jwt_is_read_from_a_variable_and_an_invalid_one_is_reported(job, issuer):
    jwt = issuer.sign(aud=AUDIENCE)
    assert job({"ID": f"{jwt}\n"}, jwt_variable="ID").token.ours
    foreign = refusal(job, {"ID": issuer.sign(aud=AUDIENCE, repository="evil/app")}, jwt_variable="ID")
    assert (foreign.kind, "its claims: sub 'repo:octo" in foreign.text) == (Kind.DENIED, True)
    garbage = refusal(job, {"ID": "canary-no-jwt"}, jwt_variable="ID")
    assert garbage.text == "Vault does not accept the JWT in $ID at auth/jobs/login, role build; it is not a JWT"
    assert "$ID is not set" in refusal(job, {"ID": " "}, jwt_variable="ID").text


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        ({"ACTIONS_ID_TOKEN_REQUEST_URL": ""}, Kind.DENIED, "$ACTIONS_ID_TOKEN_REQUEST_URL is not set; add `permis"),
        ({"ACTIONS_ID_TOKEN_REQUEST_TOKEN": ""}, Kind.DENIED, "pull requests from forks get no JWT"),
        ({"ACTIONS_ID_TOKEN_REQUEST_TOKEN": "wrong"}, Kind.DENIED, "it answered 401"),
        ({"ACTIONS_ID_TOKEN_REQUEST_TOKEN": "a\nb"}, Kind.DENIED, "cannot be sent"),
        (
            {"ACTIONS_ID_TOKEN_REQUEST_URL": "https://127.0.0.1:1/"},
            Kind.UNAVAILABLE,
            "no JWT from GitHub: connection refused",
        ),
    ],
)
def test_a_job_for_which_github_issues_no_jwt_reports_the_reason(job, issuer, change, kind, text):
    failure = refusal(job, issuer.variables | change, jwt_from="github")
    assert (failure.kind, text in failure.text) == (kind, True), failure.text
    assert REQUEST_TOKEN not in failure.text


@pytest.mark.parametrize(("status", "kind"), [(403, Kind.DENIED), (429, Kind.UNAVAILABLE), (503, Kind.UNAVAILABLE)])
def test_a_denial_from_github_is_final_and_an_outage_is_not(job, issuer, status, kind):
    issuer.answer = status
    failure = refusal(job, issuer.variables, jwt_from="github")
    assert (failure.kind, failure.text) == (kind, f"GitHub issued no JWT for this job: it answered {status}")


def test_an_untrusted_certificate_of_github_is_reported(job, issuer, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    failure = refusal(job, issuer.variables, jwt_from="github")
    assert (failure.kind, "$SSL_CERT_FILE" in failure.text) == (Kind.UNAVAILABLE, True)
