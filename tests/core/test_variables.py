"""Templates read the variables of the environment that are for them, and none of the agent's own."""

import pytest

from lessee.core.errors import DeniedError
from lessee.core.variables import Readable, VariableScope

TOKEN = "canary-token-of-the-agent"
SCOPE = VariableScope(credentials=frozenset({"CI_JOB_JWT"}), fallbacks=frozenset({"DB_PASSWORD"}))


@pytest.mark.parametrize(
    "name",
    [
        "VAULT_TOKEN",
        "VAULT_ADDR",
        "vault_token",
        "BAO_TOKEN",
        "OPENBAO_TOKEN",
        "LESSEE_ENVIRONMENT",
        "CREDENTIALS_DIRECTORY",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "CI_JOB_JWT",
        "DB_PASSWORD",
    ],
)
def test_a_variable_of_the_agent_is_denied_whether_it_is_set_or_not(name):
    for environ in {}, {name: TOKEN}:
        with pytest.raises(DeniedError, match=f"cannot read the variable '{name}', which is one of the agent's own"):
            SCOPE.read(name, environ, "default")


def test_other_variables_and_defaults_are_returned():
    environ = {"HOSTNAME": "web-1", "VAULT_TOKEN": TOKEN, "DB_PASSWORD": "web-1-password"}
    assert SCOPE.read("HOSTNAME", environ) == "web-1"
    assert SCOPE.read("OTHER", environ, "none") == "none"
    assert SCOPE.read("OTHER", environ) is None


@pytest.mark.parametrize("name", ["VAULT_TOKEN", "BAO_TOKEN", "CI_JOB_JWT"])
def test_a_copy_of_a_credential_under_another_name_is_denied(name):
    environ = {name: f"{TOKEN}\n", "COPY": f"token={TOKEN};", "VAULT_SKIP_VERIFY": "true", "FLAG": "true"}
    with pytest.raises(DeniedError, match="'COPY', which contains a credential of the agent") as caught:
        SCOPE.read("COPY", environ)
    assert TOKEN not in str(caught.value)
    assert SCOPE.read("FLAG", environ) == "true"


@pytest.mark.parametrize("name", ["HTTP_PROXY", "https_proxy", "All_Proxy"])
@pytest.mark.parametrize(
    "value",
    ["http://web:p%40ss-word@proxy:8080", "web:p%40ss-word@proxy:8080", "http://p%40ss-word@proxy", "http://u:p@p"],
)
def test_a_proxy_with_a_login_is_denied_and_so_is_a_copy_of_its_password(name, value):
    environ = {name: value, "RAW": "it is p%40ss-word", "PLAIN": "it is p@ss-word", "OTHER": "fine"}
    copies = ["RAW", "PLAIN"] if "word" in value else []
    for denied in (name, *copies):
        with pytest.raises(DeniedError, match=f"'{denied}', which contains a credential of the agent") as caught:
            SCOPE.read(denied, environ)
        assert "word" not in str(caught.value)
    assert SCOPE.read("OTHER", environ) == "fine"


def test_a_proxy_without_a_login_is_returned():
    environ = {
        "HTTP_PROXY": "http://proxy:8080",
        "https_proxy": "proxy:8080",
        "NO_PROXY": "a@b",
        "MAIL": "me@web.example",
    }
    for name, value in environ.items():
        assert SCOPE.read(name, environ) == value
    assert SCOPE.read("ALL_PROXY", environ, "http://web:password@proxy") == "http://web:password@proxy"


def test_a_short_or_empty_token_is_no_part_of_another_value():
    assert SCOPE.read("HOSTNAME", {"HOSTNAME": "web-1", "VAULT_TOKEN": "", "BAO_TOKEN": "web"}) == "web-1"


def test_only_listed_variables_are_returned_where_there_is_a_list():
    scope = VariableScope(frozenset({"HOSTNAME"}))
    assert scope.read("HOSTNAME", {"HOSTNAME": "web-1"}) == "web-1"
    with pytest.raises(DeniedError, match="'PATH', which template_env does not list; add it to template_env"):
        scope.read("PATH", {"PATH": "/bin"}, "default")


def test_a_readable_environment_denies_what_templates_may_not_read():
    readable = Readable({"HOSTNAME": "web-1", "VAULT_TOKEN": TOKEN}, SCOPE)
    assert readable["HOSTNAME"] == "web-1"
    assert readable.get("OTHER", "none") == "none"
    assert list(readable) == ["HOSTNAME", "VAULT_TOKEN"]
    assert len(readable) == 2
    with pytest.raises(DeniedError):
        readable.get("VAULT_TOKEN", "none")
