"""The desired state of a configuration, shared and for each environment."""

import json

import pytest

from lessee.config.parsing import parse
from lessee.ops.setup.policy.desired_state import InitialSecret, desired_for_all, desired_for_environment, record_path
from lessee.ops.setup.policy.initial_values import ALPHABET, Constant, FromVariable, Generate
from lessee.ops.setup.policy.objects import Group, Kind, Object
from lessee.rendering.app_templates import compile_apps, path_scope_of
from lessee.rendering.templates import Compiler

ROTATION = {
    "postgres": {
        "kind": "postgres",
        "secret": "database/postgres",
        "admin_secret": "database/admin",
        "roles": ["simba_a", "simba_b"],
    },
    "other": {"kind": "command", "secret": "other/thing", "command": ["x"]},
}
APPS = {"web": {"directory": "/run/web", "files": [{"template": "a.j2"}]}}


def read(environment="testing", **blocks):
    return parse(
        json.dumps(blocks), source="x", environ={}, environment=environment, blocks=("setup", "rotation", "monitor")
    )


def desired(environment="testing", **blocks):
    config = read(environment, **blocks)
    compiled_apps = compile_apps(config, Compiler(lambda _: '{{ secret("a").b }}', path_scope_of(config)))
    return list(desired_for_environment(config, compiled_apps))


def objects(kind, environment="testing", **blocks):
    return {
        one.path: one.fields for one in desired(environment, **blocks) if isinstance(one, Object) and one.kind is kind
    }


def test_all_environments_share_the_kv_engine_the_auth_method_and_the_audit_device():
    config = read(setup={"components": {"app": ["read"]}, "audit": {"file": "/log"}}, secrets={"mount": "kv"})
    assert [(one.kind, one.path) for one in desired_for_all(config)] == [
        (Kind.KV, "sys/mounts/kv"),
        (Kind.AUTH, "sys/auth/approle"),
        (Kind.AUDIT, "sys/audit/file"),
    ]
    assert record_path(config, "") == "lessee/setup"
    assert record_path(config, "testing") == "testing/lessee/setup"


@pytest.mark.parametrize(
    ("blocks", "logs_in"),
    [
        ({}, False),
        ({"setup": {"apps": False}, "apps": APPS}, False),
        ({"apps": APPS}, True),
        ({"setup": {"components": {"app": ["read"]}, "apps": False}}, True),
    ],
)
def test_approle_is_enabled_only_where_something_logs_in(blocks, logs_in):
    assert (Kind.AUTH in [one.kind for one in desired_for_all(read(**blocks))]) is logs_in


def test_each_component_and_app_has_its_own_policy_and_role():
    setup = {"components": {"App": ["read"]}, "apps": {"token_ttl": "5m", "bound_cidrs": ["10.0.0.0/8"]}}
    roles = objects(Kind.ROLE, setup=setup, apps=APPS)
    assert {path: fields["token_policies"] for path, fields in roles.items()} == {
        "auth/approle/role/testing-app": ["testing-app"],
        "auth/approle/role/testing-web": ["testing-web"],
    }
    web = roles["auth/approle/role/testing-web"]
    assert (web["token_ttl"], web["token_bound_cidrs"]) == (300, ["10.0.0.0/8"])
    assert (web["bind_secret_id"], web["token_no_default_policy"]) == (True, False)
    policies = objects(Kind.POLICY, setup=setup, apps=APPS)
    assert policies.keys() == {"sys/policies/acl/testing-app", "sys/policies/acl/testing-web"}


def test_the_names_of_roles_have_the_project():
    setup = {"project": "Shop", "components": {"app": ["read"]}}
    assert set(objects(Kind.ROLE, setup=setup, apps=APPS)) == {
        "auth/approle/role/testing-shop-app",
        "auth/approle/role/testing-shop-web",
    }


def test_apps_get_a_role_unless_disabled():
    assert "auth/approle/role/testing-web" in objects(Kind.ROLE, apps=APPS)
    assert objects(Kind.ROLE, setup={"apps": False}, apps=APPS) == {}


def test_an_app_of_another_server_is_not_set_up():
    away = {"web": APPS["web"] | {"vault": {"namespace": "elsewhere"}}}
    assert objects(Kind.ROLE, apps=away) == objects(Kind.POLICY, apps=away) == {}
    assert [one.kind for one in desired_for_all(read(apps=away))] == [Kind.KV]


@pytest.mark.parametrize(
    ("name", "said", "folder"),
    [
        ("database-admin", ["all"], "testing/database/*"),
        ("security", ["all"], "testing/*"),
        ("database-admin", {"capabilities": ["all"]}, "testing/*"),
    ],
)
def test_the_short_form_of_database_admin_is_restricted_to_the_database(name, said, folder):
    [policy] = objects(Kind.POLICY, setup={"components": {name: said}}).values()
    assert f'path "secret/data/{folder}"' in policy["policy"]


def test_a_secret_id_ttl_below_a_second_does_not_become_unlimited():
    setup = {"components": {"a": {"capabilities": ["read"], "secret_id_ttl": "500ms"}}}
    [role] = objects(Kind.ROLE, setup=setup).values()
    assert role["secret_id_ttl"] == 1


def test_each_environment_has_its_own_engines():
    connection = {
        "connection_url": "postgresql://{{username}}:{{password}}@{environment}-db/a",
        "username": "admin_{environment}",
        "password": {"env": "PASSWORD_{environment}"},
        "roles": {
            "b": {"creation_statements": ["make"], "revocation_statements": ["drop"]},
            "a": {"creation_statements": ["make"]},
        },
    }
    roles = {"web": {"allowed_domains": ["{environment}.local"], "max_ttl": "1h"}}
    setup = {
        "database": {"connections": {"simba": connection}},
        "pki": {"common_name": "{environment} root", "ttl": "24h", "roles": roles},
    }
    made = {one.path: one for one in desired(setup=setup)}
    assert list(made) == [
        "sys/mounts/testing/database",
        "testing/database/config/simba",
        "testing/database/roles/b",
        "testing/database/roles/a",
        "sys/mounts/testing/pki",
        "testing/pki/root/generate/internal",
        "testing/pki/roles/web",
    ]
    assert [one.group for one in made.values()] == [Group.DATABASE] * 4 + [Group.PKI] * 3
    config = made["testing/database/config/simba"]
    assert config.password == FromVariable("PASSWORD_testing")
    assert config.fields == {
        "plugin_name": "postgresql-database-plugin",
        "connection_url": "postgresql://{{username}}:{{password}}@testing-db/a",
        "username": "admin_testing",
        "allowed_roles": ["a", "b"],
    }
    assert made["testing/database/roles/b"].fields["revocation_statements"] == ["drop"]
    assert made["testing/pki/root/generate/internal"].fields == {"common_name": "testing root", "ttl": "86400s"}
    assert made["testing/pki/roles/web"].fields["allowed_domains"] == ["testing.local"]


def test_initial_secrets_are_below_the_prefix_and_rotated_ones_require_check_and_set():
    secrets = {"database/postgres": {"password": {"generate": 8}, "username": {"value": "simba"}}}
    *_, first, a, b, c, d = desired(setup={"secrets": secrets}, rotation=ROTATION)
    settings = [a, b, c, d]
    keys = {"password": Generate(8, ALPHABET), "username": Constant("simba")}
    assert first == InitialSecret("testing", "secret", "testing/database/postgres", keys)
    assert first.name == "secret/testing/database/postgres"
    assert [one.path for one in settings] == [
        "secret/metadata/testing/database/postgres",
        "secret/metadata/testing/lessee/rotation/other",
        "secret/metadata/testing/lessee/rotation/postgres",
        "secret/metadata/testing/other/thing",
    ]
    assert {one.group for one in settings} == {Group.SECRETS}


def test_each_environment_with_issued_roles_has_an_issuer_whose_policy_has_its_own_alone():
    issue = {"roles": {f"{name}-web": {"units": ["web.service"]} for name in ("testing", "production")}}
    assert objects(Kind.ROLE, issue=issue)["auth/approle/role/testing-issuer"]["token_policies"] == ["testing-issuer"]
    policy = objects(Kind.POLICY, issue=issue)["sys/policies/acl/testing-issuer"]["policy"]
    assert 'path "auth/approle/role/testing-web/secret-id" {' in policy
    assert "production" not in policy
    assert objects(Kind.ROLE, "staging", issue=issue) == {}
    assert Kind.AUTH in [one.kind for one in desired_for_all(read(issue=issue))]


def test_with_a_rotation_the_rotator_has_a_policy_and_a_role_and_apps_may_confirm():
    apps = {"web": {"directory": "/run/web", "files": [{"template": "a.j2"}]}}
    rotation = ROTATION | {"a": {"kind": "vault", "secret": "a", "keys": {"b": {}}}}
    roles = objects(Kind.ROLE, rotation=rotation, apps=apps)
    assert roles["auth/approle/role/testing-rotator"]["token_policies"] == ["testing-rotator"]
    policies = objects(Kind.POLICY, rotation=rotation, apps=apps)
    assert 'path "secret/data/testing/database/admin" {' in policies["sys/policies/acl/testing-rotator"]["policy"]
    assert "secret/metadata/testing/lessee/consumers/web/*" in policies["sys/policies/acl/testing-web"]["policy"]
    assert Kind.AUTH in [one.kind for one in desired_for_all(read(rotation=rotation))]
    alone = objects(Kind.POLICY, apps=apps)
    assert list(alone) == ["sys/policies/acl/testing-web"]
    # Another file may have the rotation.
    assert "consumers/web/*" in alone["sys/policies/acl/testing-web"]["policy"]
    elsewhere = objects(Kind.POLICY, rotation=ROTATION, apps=apps)
    assert "consumers" not in elsewhere["sys/policies/acl/testing-web"]["policy"]


def test_responses_that_need_vault_give_the_monitor_a_policy_and_a_role():
    def monitor(action, **settings):
        response = {"rule": "policy-changed", "action": action, **settings}
        return {"audit": {"file": "a"}, "responses": {"actions": [response], "protected": []}}

    revoke = monitor("revoke-token")
    roles = objects(Kind.ROLE, monitor=revoke)
    assert roles["auth/approle/role/testing-monitor"]["token_policies"] == ["testing-monitor"]
    policies = objects(Kind.POLICY, monitor=revoke)
    assert 'path "auth/token/revoke-accessor" {' in policies["sys/policies/acl/testing-monitor"]["policy"]
    assert Kind.AUTH in [one.kind for one in desired_for_all(read(monitor=revoke))]
    for other in (monitor("command", command=["true"]), {"audit": {"file": "a"}}):
        assert objects(Kind.ROLE, monitor=other) == {}
        assert Kind.AUTH not in [one.kind for one in desired_for_all(read(monitor=other))]
