"""Templates read the variables of the environment that are for them, and none of the agent's own."""

import pytest

from lessee.core.errors import DeniedError
from lessee.core.variables import Readable, VariableScope, passwords_in

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
        "ACTIONS_ID_TOKEN_REQUEST_URL",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
        "otel_exporter_otlp_logs_headers",
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


URLS = (
    "redis://agent:redis-p%40ssword@redis:6379/0",
    "redis://agent-of-the-web-app@redis:6379/0",
    "redis://:only-a-password@redis",
    "http://hook:hook-password@hook/a?ref=production-1&api_key=key-in-a%20query#x",
    "https://token-instead-of-a-user@hook/me@example",
    "https://deploybot@hook/a:no-password-at-all@example",
    "https://hook:short@hook",
    "https://hook/plain",
)


def test_the_passwords_of_urls_are_those_of_users_and_in_queries():
    assert passwords_in(URLS) == {
        "redis-p%40ssword",
        "redis-p@ssword",
        "agent-of-the-web-app",
        "only-a-password",
        "hook-password",
        "key-in-a%20query",
        "key-in-a query",
        "token-instead-of-a-user",
    }


@pytest.mark.parametrize("value", ["redis-p@ssword", "x redis-p%40ssword", "hook-password", "key-in-a query"])
def test_a_password_of_the_configuration_is_denied_in_any_variable(value):
    with pytest.raises(DeniedError, match="'RPW', which contains a credential of the agent") as caught:
        VariableScope(passwords=passwords_in(URLS)).read("RPW", {"RPW": value})
    assert "word" not in str(caught.value)


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"])
def test_a_collector_with_a_login_is_denied_and_so_is_a_copy_of_its_password(name):
    environ = {name: "http://u:otel-password@collector:4318/a", "COPY": "otel-password"}
    for denied in environ:
        with pytest.raises(DeniedError, match=f"'{denied}', which contains a credential of the agent"):
            SCOPE.read(denied, environ)
    plain = {name: "http://collector:4318/a@b"}
    assert SCOPE.read(name, plain) == plain[name]


CHILD = {
    "PATH": "/home/deploybot/bin:/bin",
    "USER": "deploybot",
    "DB_PASSWORD": "of the app",
    "NO_PROXY": "a@b",
    "OTEL_SERVICE_NAME": "web",
    "HTTP_PROXY": "http://proxy:8080",
}
OF_AGENT = {
    "VAULT_TOKEN": TOKEN,
    "bao_token": "x",
    "OPENBAO_TOKEN": "x",
    "LESSEE_CONFIG": "x",
    "CREDENTIALS_DIRECTORY": "/x",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "x",
    "OTEL_EXPORTER_OTLP_HEADERS": "api-key=x",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://u:p@collector",
    "CI_JOB_JWT": "jwt",
    "COPY": f"token={TOKEN}",
    "RPW": "redis-p@ssword",
}
LOGINS = {
    "HTTPS_PROXY": "http://u:proxy-password@proxy",
    "all_proxy": "http://deploybot@proxy",
    "PROXY_COPY": "proxy-password",
}
CHILD_SCOPE = VariableScope(frozenset(), frozenset({"CI_JOB_JWT"}), frozenset({"DB_PASSWORD"}), passwords_in(URLS))


def test_a_child_inherits_no_credential_of_the_agent():
    environ = CHILD | OF_AGENT | LOGINS
    assert CHILD_SCOPE.for_child(environ, keeps_proxies=True) == CHILD | LOGINS
    assert CHILD_SCOPE.for_child(environ, keeps_proxies=False) == CHILD


def test_a_child_inherits_no_copy_of_a_credential_that_was_removed():
    environ = CHILD | {"CI_COPY": "jwt-of-the-job", "ALL_PROXY": "http://proxy/proxy-password"}
    before = environ | {"CI_JOB_JWT": "jwt-of-the-job"} | LOGINS
    assert CHILD_SCOPE.for_child(environ, keeps_proxies=False, before=before) == CHILD
    kept = CHILD | {"ALL_PROXY": environ["ALL_PROXY"]}
    assert CHILD_SCOPE.for_child(environ, keeps_proxies=True, before=before) == kept


def test_the_passwords_are_not_in_the_repr():
    assert "canary" not in repr(VariableScope(passwords=frozenset({"canary-password"})))
