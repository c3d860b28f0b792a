"""What a configuration wants made, for all environments and for each."""

import json

import pytest

from lessee.config.parsing import parse
from lessee.ops.setup.policy.desired_state import InitialSecret, desired_for_all, desired_for_environment, record_path
from lessee.ops.setup.policy.initial_values import ALPHABET, Constant, FromVariable, Generate
from lessee.ops.setup.policy.objects import Group, Kind, Object
from lessee.rendering.app_templates import compile_recipes, space_of
from lessee.rendering.templates import Compiler

ROTATION = {
    "postgres": {
        "kind": "postgres",
        "secret": "database/postgres",
        "admin": "database/admin",
        "roles": ["simba_a", "simba_b"],
    },
    "other": {"kind": "command", "secret": "other/thing", "command": ["x"]},
}
APPS = {"web": {"directory": "/run/web", "files": [{"template": "a.j2"}]}}


def read(environment="testing", **blocks):
    return parse(json.dumps(blocks), source="x", environ={}, environment=environment, blocks=("setup", "rotation"))


def wanted(environment="testing", **blocks):
    config = read(environment, **blocks)
    recipes = compile_recipes(config, Compiler(lambda _: '{{ secret("a").b }}', space_of(config)))
    return list(desired_for_environment(config, recipes))


def objects(kind, **blocks):
    return {one.path: one.fields for one in wanted(**blocks) if isinstance(one, Object) and one.kind is kind}


def test_all_share_an_engine_a_way_to_log_in_and_the_audit_log():
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
def test_nobody_logs_in_where_there_is_nobody(blocks, logs_in):
    assert (Kind.AUTH in [one.kind for one in desired_for_all(read(**blocks))]) is logs_in


def test_each_component_and_app_has_a_policy_and_a_role_of_its_own():
    setup = {"components": {"App": ["read"]}, "apps": {"token_ttl": "5m", "cidrs": ["10.0.0.0/8"]}}
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


def test_apps_get_a_role_unless_it_is_said_otherwise():
    assert "auth/approle/role/testing-web" in objects(Kind.ROLE, apps=APPS)
    assert objects(Kind.ROLE, setup={"apps": False}, apps=APPS) == {}


def test_an_app_of_another_server_is_none_of_ours():
    away = {"web": APPS["web"] | {"vault": {"namespace": "elsewhere"}}}
    assert objects(Kind.ROLE, apps=away) == objects(Kind.POLICY, apps=away) == {}
    assert [one.kind for one in desired_for_all(read(apps=away))] == [Kind.KV]


@pytest.mark.parametrize(
    ("name", "said", "folder"),
    [
        ("database-admin", ["all"], "testing/database/*"),
        ("security", ["all"], "testing/*"),
        ("database-admin", {"rights": ["all"]}, "testing/*"),
    ],
)
def test_the_database_admin_in_its_short_form_is_kept_to_the_database(name, said, folder):
    [policy] = objects(Kind.POLICY, setup={"components": {name: said}}).values()
    assert f'path "secret/data/{folder}"' in policy["policy"]


def test_a_secret_id_that_ends_within_a_second_does_not_last_for_ever():
    setup = {"components": {"a": {"rights": ["read"], "secret_id_ttl": "500ms"}}}
    [role] = objects(Kind.ROLE, setup=setup).values()
    assert role["secret_id_ttl"] == 1


def test_each_environment_has_engines_of_its_own():
    connection = {
        "url": "postgresql://{{username}}:{{password}}@{environment}-db/a",
        "username": "admin_{environment}",
        "password": {"env": "PASSWORD_{environment}"},
        "roles": {"b": {"creation": ["make"], "revocation": ["drop"]}, "a": {"creation": ["make"]}},
    }
    roles = {"web": {"allowed_domains": ["{environment}.local"], "max_ttl": "1h"}}
    setup = {
        "database": {"connections": {"simba": connection}},
        "pki": {"common_name": "{environment} root", "ttl": "24h", "roles": roles},
    }
    made = {one.path: one for one in wanted(setup=setup)}
    assert list(made) == [
        "sys/mounts/testing/database",
        "testing/database/config/simba",
        "testing/database/roles/b",
        "testing/database/roles/a",
        "sys/mounts/testing/pki",
        "testing/pki/root/generate/internal",
        "testing/pki/roles/web",
    ]
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


def test_first_secrets_lie_below_the_environments_prefix_and_rotated_ones_want_check_and_set():
    secrets = {"database/postgres": {"password": {"generate": 8}, "username": {"value": "simba"}}}
    *_, first, a, b, c, d = wanted(setup={"secrets": secrets}, rotation=ROTATION)
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


def test_where_something_is_rotated_the_rotator_has_a_policy_and_a_role_and_apps_may_confirm():
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
    assert "consumers" not in alone["sys/policies/acl/testing-web"]["policy"]
