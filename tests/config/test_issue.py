"""The block `issue`, and a login that gets its secret_id from the socket."""

import pytest

from lessee.config.grammar.app import LabeledContainer
from lessee.config.grammar.vault import credential_command
from lessee.config.parsing import parse
from lessee.core.errors import ConfigError


def read(issue):
    return parse(f"issue: {issue}", source="lessee.yaml", environ={}, blocks=("issue",)).issue


def error(text, blocks=("issue",)):
    with pytest.raises(ConfigError) as caught:
        parse(text, source="lessee.yaml", environ={}, blocks=blocks)
    return str(caught.value)


def test_a_role_names_containers_and_units():
    issue = read("{roles: {web: {containers: [{project: shop, service: agent}], units: [lessee@web.service], uid: 7}}}")
    role = issue.roles["web"]
    assert (issue.socket, issue.mount, issue.wrap_ttl) == ("/run/lessee-issue/issue.sock", "approle", 60.0)
    assert role.containers == (LabeledContainer(project="shop", service="agent"),)
    assert (role.units, role.uid) == (("lessee@web.service",), 7)


def test_a_file_without_the_block_has_none():
    assert parse("environment: a", source="lessee.yaml", environ={}, blocks=("issue",)).issue is None


@pytest.mark.parametrize(
    ("issue", "text"),
    [
        ("{}", "issue.roles: missing"),
        ("{roles: {}}", "issue.roles: it has no role; write `NAME:"),
        ("{roles: {web: {}}}", "issue.roles.web: no agent gets a secret_id of this role; write `containers:"),
        ("{roles: {web: {containers: [{}]}}}", "issue.roles.web.containers[0]: it names no container; write `project`"),
        (
            "{roles: {web: {containers: [{service: agent}]}}}",
            "issue.roles.web.containers[0]: `project` is missing, so that containers of others would get the secret_id",
        ),
        ("{roles: {web: {containers: [{project: shop, label: a=b}]}}}", "`service` is missing"),
        ("{roles: {web: {containers: [{label: tier}]}}}", "label: expected a label `KEY=VALUE`"),
        ("{roles: {web: {units: [web.socket]}}}", "units[0]: expected a unit of systemd such as `web.service`"),
        (f"{{socket: /{'a' * 107}, roles: {{web: {{units: [a.service]}}}}}}", "issue.socket: it has 108 bytes"),
    ],
)
def test_a_role_that_no_agent_or_any_agent_would_get_is_an_error(issue, text):
    assert text in error(f"issue: {issue}")


@pytest.mark.parametrize(
    ("auth", "text"),
    [
        (
            "secret_id_socket: /s, secret_id_file: f",
            "vault.auth.secret_id_socket: `secret_id_file` is set too, and a login has one secret_id; remove one",
        ),
        ("secret_id_socket: /s, secret_id_command: [a]", "vault.auth.secret_id_socket: `secret_id_command` is set too"),
        ("secret_id_file: f, secret_id_command: [a]", "vault.auth.secret_id_command: `secret_id_file` is set too"),
        ("secret_id_command: []", "vault.auth.secret_id_command"),
        ("secret_id_role: web", "vault.auth.secret_id_role: it applies only to `secret_id_socket`"),
        ("secret_id_socket: s", "vault.auth.secret_id_socket: expected an absolute path"),
    ],
)
def test_a_login_has_one_secret_id(auth, text):
    assert text in error(f"vault: {{auth: {{method: approle, role_id: r, {auth}}}}}")


@pytest.mark.parametrize(
    ("auth", "command"),
    [
        ("{method: approle, role_id: r, secret_id_command: [helper, --role, web]}", ("helper", "--role", "web")),
        ("{method: approle, role_id: r, secret_id_command: [helper], wrapped: true}", ("helper",)),
        ("{method: jwt, jwt_command: [helper]}", ("helper",)),
        ("{method: jwt, jwt_file: f}", ()),
        ("{method: token}", ()),
    ],
)
def test_a_program_may_make_the_credential_of_a_login(auth, command):
    parsed = parse(f"vault: {{auth: {auth}}}", source="lessee.yaml", environ={})
    assert credential_command(parsed.vault.auth) == command


def test_a_login_by_the_socket_needs_no_file():
    text = "vault: {auth: {method: approle, role_id: r, secret_id_socket: /s, secret_id_role: web}}"
    auth = parse(text, source="lessee.yaml", environ={}).vault.auth
    assert (auth.secret_id_socket, auth.secret_id_role, auth.secret_id_file) == ("/s", "web", None)


def test_a_check_of_all_blocks_finds_what_the_issuer_refuses():
    text = "issue: {roles: {web: {containers: [{service: agent}]}}}"
    with pytest.raises(ConfigError, match=r"containers\[0\]: `project` is missing"):
        parse(text, source="lessee.yaml", environ={}, checks_operators=True)


def test_a_user_by_name_is_not_to_be_quoted():
    assert error("issue: {roles: {web: {units: [a.service], uid: root}}}").endswith(
        "expected a uid in numbers, such as 1000, found a string; "
        "write the number without quotes; `id -u NAME` prints it"
    )
